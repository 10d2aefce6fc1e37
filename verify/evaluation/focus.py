"""The closer look of a report: who errs, which groups and strata, what enrolment and searches come to.

With several sets it is taken on one of them: the one that governed the first operating point, or, where
all sets together did, the one with the most test subjects. Trials of two sets have no person
in common, so a list of look-alikes over both would say nothing more.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import PurePath
from typing import TYPE_CHECKING

from verify.errors import UsageError
from verify.evaluation.analysis import dependence, enrolment_counts, fmr_of, one_to_n, strata
from verify.evaluation.embedded_source import EmbeddedSource
from verify.evaluation.prepare import prepare
from verify.evaluation.spaces import InRangeSource
from verify.metrics.logistic import DEFAULT_TERMS
from verify.metrics.prediction import checked_bound
from verify.score_space import ScoreSpace

if TYPE_CHECKING:
    from collections.abc import Sequence

    from verify.evaluation.job import CalibrationJob
    from verify.evaluation.prepare import SplitSet
    from verify.evaluation.side import Side
    from verify.evaluation.sources import TrialSource
    from verify.facts import Dependence, EnrolmentCount, GroupFacts, OneToN, StrataFacts
    from verify.types import OperatingPoint

# looked at beside the measures that enter the score, where the captures have them
SHOWN_MEASURES = ("net_speech_s", "snr_db", "face_size_px", "sharpness")
GALLERY_SIZES = (1, 10, 100, 1_000, 10_000, 100_000, 1_000_000)


@dataclass(frozen=True, slots=True)
class Look:
    """Parts of `CalibrationFacts`; empty where the data has nothing to say."""

    dependence: Dependence | None = None
    groups: list[GroupFacts] = field(default_factory=list)
    strata: list[StrataFacts] = field(default_factory=list)
    enrolment: list[EnrolmentCount] = field(default_factory=list)
    one_to_n: list[OneToN] = field(default_factory=list)
    notes: tuple[str, ...] = ()


def closer_look(job: CalibrationJob) -> Look:
    """Look at the set in focus, at the threshold of the first operating point.

    Raises:
        UsageError: rates by a group column were asked for that no set has.
    """
    columns = _columns(job)
    if not job.calibration.points:
        return Look()
    point = job.calibration.points[0]
    raw, judged = in_focus(job)
    one = raw if point.mode == "1:N" else judged  # who errs in comparisons, whatever the mode
    confidence, seed = job.method.confidence, job.method.seed
    enrolment, searches = _with_templates(raw, point, seed=seed)
    return Look(
        dependence=dependence(
            one.test,
            threshold=point.threshold,
            calibration=one.calibration,
            confidence=confidence,
            seed=seed,
            name_of=_short_name,
        ),
        groups=_groups(one, point, columns) if columns else [],
        strata=_strata(raw, one, point, confidence=confidence, seed=seed),
        enrolment=enrolment,
        one_to_n=searches,
        notes=_notes(job, one),
    )


def in_focus(job: CalibrationJob) -> tuple[SplitSet, SplitSet]:
    """The set that the closer look is taken on: in its raw space, and in the judged one."""
    points = job.calibration.points
    governed_by = points[0].data["governed_by"] if points else ""
    pairs = list(zip(job.spaces.raw, job.spaces.judged, strict=True))
    for raw, judged in pairs:
        if judged.name == governed_by:
            return raw, judged
    return max(pairs, key=lambda pair: pair[1].test.subjects_seen)


def _columns(job: CalibrationJob) -> tuple[str, ...]:
    known = sorted({column for one in job.calibration.sets for column in one.source.groups})
    for column in job.method.groups:
        if column not in known:
            msg = f"no data has the group column {column!r}; there are {', '.join(known) or 'none'}"
            raise UsageError(msg)
    return job.method.groups or tuple(known)


def _groups(one: SplitSet, point: OperatingPoint, columns: Sequence[str]) -> list[GroupFacts]:
    from verify.evaluation.analysis.groups import groups

    return groups(
        one.calibration,
        one.test,
        columns=[column for column in columns if column in one.source.groups],
        threshold=point.threshold,
        target_fmr=point.target_fmr if point.mode == "1:1" else None,
        confidence=point.confidence,
        bound=checked_bound(point.bound),
    )


def _strata(
    raw: SplitSet, one: SplitSet, point: OperatingPoint, *, confidence: float, seed: int
) -> list[StrataFacts]:
    used = [term.measure for term in point.llr.terms] if point.llr else []
    default = [term.measure for term in DEFAULT_TERMS.get(str(point.modality), ())]
    measures = [
        name for name in dict.fromkeys([*used, *default, *SHOWN_MEASURES]) if name in one.source.measures
    ]
    constant: Side | None = None
    constant_source: TrialSource | None = None
    if point.llr is not None and point.score_space == ScoreSpace.LLR and point.attempts == 1:
        # both spaces on the same trials: captures outside of the calibrated range have no llr
        constant_source = InRangeSource(raw.source, mapping=point.llr)
        constant = prepare(constant_source, raw.test.among, part="test")
    found = (
        strata(
            one.test,
            source=one.source,
            measure=measure,
            threshold=point.threshold,
            raw=constant,
            raw_source=constant_source,
            confidence=confidence,
            seed=seed,
        )
        for measure in measures
    )
    return [stratum for stratum in found if stratum is not None]


def _with_templates(
    raw: SplitSet, point: OperatingPoint, *, seed: int
) -> tuple[list[EnrolmentCount], list[OneToN]]:
    """What needs the templates themselves, and thresholds on their plain cosines."""
    source = raw.source
    if not isinstance(source, EmbeddedSource) or point.score_space != ScoreSpace.COSINE or point.attempts > 1:
        return [], []
    rate = fmr_of(raw.test, threshold=point.threshold, confidence=point.confidence)
    if rate is None:
        return [], []
    vectors, owner, among = source.vectors, source.owner, raw.test.among
    sizes = sorted({*GALLERY_SIZES, point.gallery_size} - {0})
    return (
        enrolment_counts(
            vectors, owner, among, threshold=point.threshold, confidence=point.confidence, seed=seed
        ),
        one_to_n(
            vectors, owner, among, threshold=point.threshold, fmr=rate, sizes=sizes,
            confidence=point.confidence, seed=seed,
        ),
    )  # fmt: skip


def _notes(job: CalibrationJob, one: SplitSet) -> tuple[str, ...]:
    if len(job.calibration.sets) == 1:
        return ()
    return (f"look-alikes, groups, strata, enrolment and searches are those of {one.name}",)


def _short_name(name: str) -> str:
    """The subject's folder and the file."""
    return "/".join(PurePath(name).parts[-2:])
