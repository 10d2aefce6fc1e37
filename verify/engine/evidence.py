"""From vectors and quality to the score that a threshold judges, in the operating point's own space.

Normalisation and the map to evidence are applied to each of a subject's templates, with that
template's own recorded quality, and the results are averaged: what was proven on single comparisons
holds for their mean (see `verify.engine.scores`), and a poor template cannot borrow a good one's
quality. A capture of which the calibration has seen no like gives no score at all.
"""

from __future__ import annotations

import math
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import numpy as np

from verify.errors import GalleryError, ModelIntegrityError, NoDecisionError, ScoreError
from verify.gallery.vectors import exact_cosines
from verify.metrics.evidence import in_range, llr_of
from verify.metrics.normalisation import CohortStats, cohort_stats, norm_scores
from verify.models.cohorts import read_cohort
from verify.score_space import ScoreSpace
from verify.types import Reason

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from verify.protocols import Gallery
    from verify.score_space import LlrMap, QualityTerm, ScoreNorm
    from verify.types import Capture, OperatingPoint, TemplateRecord


_READS = 20


@dataclass(frozen=True, slots=True)
class Side:
    """One side of a comparison: the templates of a subject, or one capture.

    Attributes:
        vectors: (T, D) float32 of unit norm, T >= 1.
        quality: T mappings, the untransformed measures of each template.
        names: T names for messages.
        enrolled: True if it comes out of a gallery (the way out then is to enrol again).
    """

    vectors: NDArray[np.float32] = field(repr=False)
    quality: tuple[Mapping[str, float], ...]
    names: tuple[str, ...]
    enrolled: bool = False


@dataclass(frozen=True, slots=True)
class Scored:
    """What a comparison came to.

    Attributes:
        score: in the operating point's score space.
        cosine: mean raw cosine over the templates.
        llr: mean natural-log likelihood ratio; None without a map, or, where another space
            decides, outside the map's range.
    """

    score: float
    cosine: float
    llr: float | None = None


class Cohorts:
    """The cohort files of one folder, each read once when first needed. Safe across threads."""

    def __init__(self, folder: Path | str | None) -> None:
        self._folder = None if folder is None else Path(folder)
        self._lock = threading.Lock()
        self._read: dict[str, NDArray[np.float64]] = {}

    def of(self, norm: ScoreNorm) -> NDArray[np.float64]:
        """The (K, D) templates of a normalisation's cohort, as numbers of the width that they are summed in.

        Raises:
            ModelIntegrityError: the file is missing or is not that cohort.
        """
        if self._folder is None:
            msg = (
                f"{norm.method.value} scores need the cohort {norm.cohort_sha256[:12]}: say in which folder it lies "
                "(cohorts=...), or open the operating points by their file"
            )
            raise ModelIntegrityError(msg)
        with self._lock:
            key = norm.cohort_sha256
            if key not in self._read:
                self._read[key] = read_cohort(self._folder, norm).astype(np.float64)
            return self._read[key]


def captured_side(capture: Capture) -> Side:
    """A capture that has a template, as one side.

    Raises:
        NoDecisionError: it has none.
    """
    if capture.template is None:
        raise NoDecisionError(capture.message, reason=capture.failure or Reason.INVALID_SAMPLES)
    measures = {} if capture.quality is None else capture.quality.measures
    return Side(capture.template.vector[None, :], (measures,), (capture.source,))


def enrolled_side(gallery: Gallery, subject_id: str, *, model_id: str, with_quality: bool) -> Side | None:
    """A subject's templates of one model, with their recorded quality if asked; None if there are none.

    Template ids are never given twice, so equal ids before and after mean that the vectors in between
    are theirs, whoever else writes.

    Raises:
        GalleryError: the subject is rewritten faster than it can be read.
    """
    if not with_quality:
        vectors = gallery.templates(subject_id, model_id=model_id)
        unknown: tuple[Mapping[str, float], ...] = ({},) * len(vectors)
        return Side(vectors, unknown, ("",) * len(vectors), enrolled=True) if len(vectors) else None
    before = _records(gallery, subject_id, model_id)
    for _ in range(_READS):
        vectors = gallery.templates(subject_id, model_id=model_id)
        after = _records(gallery, subject_id, model_id)
        if [r.template_id for r in before] == [r.template_id for r in after] and len(after) == len(vectors):
            names = tuple(f"template {r.template_id} of {subject_id!r} ({r.source})" for r in after)
            quality = tuple(r.quality for r in after)
            return Side(vectors, quality, names, enrolled=True) if len(vectors) else None
        before = after
    msg = f"subject {subject_id!r} is being rewritten without pause: try again"
    raise GalleryError(msg)


def scored(point: OperatingPoint | None, reference: Side, probe: Side, *, cohorts: Cohorts) -> Scored:
    """Score a probe against a reference in the space of an operating point (None: raw cosine).

    Raises:
        NoDecisionError: a capture is outside the range that the point was calibrated on.
        ModelIntegrityError: the point needs a cohort that is not there, or is of a fusion.
    """
    cosines = exact_cosines(reference.vectors, probe.vectors[0])
    cosine = float(cosines.mean())
    if point is None:
        return Scored(cosine, cosine)
    space = ScoreSpace(point.score_space)
    if space is ScoreSpace.LLR and point.llr is not None:
        llr = float(template_llrs(point.llr, reference, probe, cohorts=cohorts).mean())
        return Scored(_finite(llr), cosine, llr)
    scores = cosines
    if point.norm is not None and space is point.norm.method:
        scores = _normalised(cosines, point.norm, reference, probe, cohorts=cohorts)
    elif space is not ScoreSpace.COSINE:
        msg = f"operating point {point.name!r} holds for {space.value} scores but lacks their recipe: calibrate again"
        raise ModelIntegrityError(msg)
    return Scored(_finite(float(scores.mean())), cosine, _side_llr(point.llr, scores, reference, probe))


def template_llrs(mapping: LlrMap, reference: Side, probe: Side, *, cohorts: Cohorts) -> NDArray[np.float64]:
    """The natural-log likelihood ratio of the probe with each of the reference's T templates, (T,).

    Raises:
        NoDecisionError: a capture is outside the range that the map was fitted on; the message names
            the capture, the measure, its value and the range.
        ModelIntegrityError: the map needs a cohort that is not there.
    """
    _check_range(mapping, reference, probe)
    scores = exact_cosines(reference.vectors, probe.vectors[0])
    if mapping.norm is not None:
        scores = _normalised(scores, mapping.norm, reference, probe, cohorts=cohorts)
    return llr_of(mapping, scores, quality=_measures(mapping, reference, probe))


def _records(gallery: Gallery, subject_id: str, model_id: str) -> list[TemplateRecord]:
    return [record for record in gallery.records(subject_id) if record.model_id == model_id]


def _normalised(
    cosines: NDArray[np.float64], norm: ScoreNorm, reference: Side, probe: Side, *, cohorts: Cohorts
) -> NDArray[np.float64]:
    cohort = cohorts.of(norm)
    try:
        both = np.concatenate([reference.vectors, probe.vectors])  # the cohort is gone through once
        stats = cohort_stats(both, cohort, method=norm.method, top_k=norm.top_k)
        enrol = CohortStats(stats.mean[:-1], stats.std[:-1])
        asking = CohortStats(stats.mean[-1:], stats.std[-1:])
        return norm_scores(cosines, method=norm.method, enrol=enrol, probe=asking)
    except ScoreError as error:
        msg = f"the {norm.method.value} score cannot be formed: {error}"
        raise NoDecisionError(msg, reason=Reason.OUTSIDE_CALIBRATED_RANGE) from error


def _measures(
    mapping: LlrMap, reference: Side, probe: Side
) -> dict[str, tuple[NDArray[np.float64], NDArray[np.float64]]]:
    """Measure -> (of each template, of the probe), both (T,); NaN where there is none."""
    return {
        term.measure: (
            np.array([_measure(quality, term) for quality in reference.quality]),
            np.full(len(reference.quality), _measure(probe.quality[0], term)),
        )
        for term in mapping.terms
    }


def _measure(quality: Mapping[str, float], term: QualityTerm) -> float:
    value = quality.get(term.measure, math.nan)
    return float(value) if isinstance(value, int | float) else math.nan


def _side_llr(
    mapping: LlrMap | None, scores: NDArray[np.float64], reference: Side, probe: Side
) -> float | None:
    """Evidence told beside a score of another space: the decision does not hang on it."""
    if mapping is None:
        return None
    llr = float(llr_of(mapping, scores, quality=_measures(mapping, reference, probe)).mean())
    return llr if math.isfinite(llr) else None


def _check_range(mapping: LlrMap, reference: Side, probe: Side) -> None:
    quality = _measures(mapping, reference, probe)
    if in_range(mapping, quality, trials=len(reference.quality)).all():
        return
    for side in (probe, reference):
        for measures, name in zip(side.quality, side.names, strict=True):
            for term in mapping.terms:
                value = _measure(measures, term)
                if not value >= term.low:  # NaN, too
                    _refuse(name, term, value, enrolled=side.enrolled)
    msg = "a capture lies outside the range that the operating point was calibrated on: take another sample"
    raise NoDecisionError(msg, reason=Reason.OUTSIDE_CALIBRATED_RANGE)


def _refuse(name: str, term: QualityTerm, value: float, *, enrolled: bool) -> NoReturn:
    way_out = "delete the subject and enrol again" if enrolled else "take another sample"
    calibrated = f"the operating point was calibrated on {term.low:.4g} to {term.high:.4g}"
    if math.isnan(value):
        msg = f"{name}: has no {term.measure}; {calibrated}: {way_out}"
    else:
        msg = f"{name}: {term.measure} is {value:.4g}; {calibrated}: {way_out}"
    raise NoDecisionError(msg, reason=Reason.OUTSIDE_CALIBRATED_RANGE)


def _finite(score: float) -> float:
    if not math.isfinite(score):
        msg = f"the score is {score}, which is no evidence: take another sample"
        raise NoDecisionError(msg, reason=Reason.OUTSIDE_CALIBRATED_RANGE)
    return score
