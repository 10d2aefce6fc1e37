"""Several models on the same trials: their evidence as one score.

A `FusedSource` is a source around sources: each part scores the very same pairs of samples with its own
model, and the fused score is the weighted sum of the parts' log-likelihood ratios. Sets of captures are
made fit for it by `verify.evaluation.pairing`.
"""

from __future__ import annotations

import dataclasses
import hashlib
from itertools import zip_longest
from typing import TYPE_CHECKING

import numpy as np

from verify.errors import InsufficientTrialsError, ScoreError, UsageError
from verify.metrics.evidence import fused_llr, fusion_id, llr_of
from verify.metrics.logistic import fit_fusion, fit_llr
from verify.score_space import FusionPart, LlrMap

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from verify.evaluation.sources import TrialBlock, TrialSource
    from verify.metrics.logistic import TermSpec
    from verify.score_space import Fusion, ScoreNorm

# Where the maps are to be at their best: access control accepts at large llrs. On colour photos the fused FNMR at
# FMR 1e-3 and 1e-4 was lowest with priors around this one (tools/measure_fusion.py).
FUSION_PRIOR = 1e-3
_FIT_NON_MATED = 1_000_000  # more add nothing to a handful of coefficients


def fit_fused(
    sets: Sequence[Sequence[TrialSource]],
    *,
    among: Sequence[NDArray[np.bool_]],
    modalities: Sequence[str],
    prior: float = FUSION_PRIOR,
    terms: Sequence[Sequence[TermSpec]] = (),
    norms: Sequence[ScoreNorm | None] = (),
    seed: int = 0,
) -> Fusion:
    """Fit each model's map to evidence, then the weights of their sum, on calibration subjects.

    Args:
        sets: for each data set one source a model, aligned; the models in the same order everywhere.
        among: for each data set (S,) bool, its calibration subjects.
        modalities: ``face`` or ``voice``, one a model.
        prior: effective prior of a mated trial, see `verify.metrics.logistic`.
        terms: quality terms of each model's map; none if empty.
        norms: the normalisation that made each model's scores; none if empty.
        seed: of the sample of non-mated trials where there are more than a million.

    Raises:
        UsageError: fewer than two models, or lists that do not fit.
        ScoreError: sources that are not aligned, constant or NaN scores.
        InsufficientTrialsError: no mated or no non-mated trial among the calibration subjects.
    """
    count = len(modalities)
    terms, norms = terms or [()] * count, norms or [None] * count
    if not sets or len(sets) != len(among) or not len(terms) == len(norms) == count > 1:
        msg = f"{len(sets)} data sets with {len(among)} masks, {count} models: name two models and one mask a set"
        raise UsageError(msg)
    measures = [tuple(spec.measure for spec in specs) for specs in terms]
    trials = _Gathered(count, seed=seed)
    for sources, mask in zip(sets, among, strict=True):
        for blocks in _side_by_side(sources, mask, measures=measures):
            trials.take(blocks)
    scores, quality = trials.finish()
    parts: list[FusionPart] = []
    llrs: list[tuple[NDArray[np.float64], NDArray[np.float64]]] = []
    for k, source in enumerate(sets[0]):
        (mated, non_mated), (mated_quality, non_mated_quality) = scores[k], quality[k]
        mapping: LlrMap = fit_llr(
            mated=mated,
            non_mated=non_mated,
            prior=prior,
            terms=terms[k],
            mated_quality=mated_quality,
            non_mated_quality=non_mated_quality,
            norm=norms[k],
        )
        if source.model_id is None:
            msg = f"{source.name}: scores of unknown origin cannot be fused; each part needs its model_id"
            raise UsageError(msg)
        parts.append(FusionPart(source.model_id, str(modalities[k]), 1.0, mapping))
        llrs.append(
            (
                llr_of(mapping, mated, quality=mated_quality),
                llr_of(mapping, non_mated, quality=non_mated_quality),
            )
        )
    return fit_fusion(
        mated_llrs=[pair[0] for pair in llrs],
        non_mated_llrs=[pair[1] for pair in llrs],
        parts=parts,
        prior=prior,
    )


class FusedSource:
    """The trials of several aligned sources with one fused score each; see `TrialSource`.

    Args:
        parts: one source a part of the fusion, in its order, with the scores that the part's map takes.
        fusion: the recipe.

    Raises:
        UsageError: a part of another model, or sources over different samples.
    """

    def __init__(self, parts: Sequence[TrialSource], *, fusion: Fusion) -> None:
        if len(parts) != len(fusion.parts):
            msg = f"{len(parts)} sources for a fusion of {len(fusion.parts)} models; give one a model"
            raise UsageError(msg)
        for source, part in zip(parts, fusion.parts, strict=True):
            if source.model_id != part.model_id:
                found, wanted = str(source.model_id)[:12], part.model_id[:12]
                msg = f"{source.name}: scores of model {found} where the fusion has {wanted}"
                raise UsageError(msg)
        _check_aligned(parts)
        first = parts[0]
        self.parts, self.fusion = tuple(parts), fusion
        self.name, self.kind, self.data_sha256 = first.name, first.kind, _joint_hash(parts)
        self.subjects, self.groups, self.attempts = first.subjects, first.groups, first.attempts
        self.measures = tuple(dict.fromkeys(measure for part in parts for measure in part.measures))
        self.model_id: str | None = fusion_id(fusion.parts)
        self.copies, self.conflicts = first.copies, first.conflicts
        self.warnings = tuple(dict.fromkeys(warning for part in parts for warning in part.warnings))

    def blocks(
        self, among: NDArray[np.bool_], *, measures: Sequence[str] = (), mated_only: bool = False
    ) -> Iterator[TrialBlock]:
        """See `TrialSource.blocks`; trials that a part's map says nothing about are left out."""
        terms = [tuple(term.measure for term in part.llr.terms) for part in self.fusion.parts]
        asked = [
            tuple(dict.fromkeys((*own, *(name for name in measures if name in source.measures))))
            for own, source in zip(terms, self.parts, strict=True)
        ]
        for blocks in _side_by_side(self.parts, among, measures=asked, mated_only=mated_only):
            if not blocks[0].score.size:
                continue
            llrs = [
                llr_of(part.llr, block.score, quality={name: block.quality[name] for name in own})
                for part, block, own in zip(self.fusion.parts, blocks, terms, strict=True)
            ]
            quality = {
                name: next(block.quality[name] for block in blocks if name in block.quality)
                for name in measures
            }
            fused = dataclasses.replace(blocks[0], score=fused_llr(self.fusion, llrs), quality=quality)
            known = np.isfinite(fused.score)
            yield fused if known.all() else _taken(fused, known)

    def crossing(self, among: NDArray[np.bool_]) -> int:
        """See `TrialSource.crossing`."""
        return self.parts[0].crossing(among)

    def possible_non_mated(self, among: NDArray[np.bool_]) -> int:
        """Number of non-mated trials that there are, sampled or not."""
        count = getattr(self.parts[0], "possible_non_mated", None)
        if count is not None:
            return int(count(among))
        return sum(int(np.count_nonzero(~block.mated)) for block in self.parts[0].blocks(among))


class _Gathered:
    """Scores and measures of all parts, with a bounded random share of the non-mated trials."""

    def __init__(self, parts: int, *, seed: int) -> None:
        self._rng = np.random.default_rng(seed)
        self._parts = parts
        self._mated: list[list[TrialBlock]] = []
        self._non_mated: list[list[TrialBlock]] = []
        self._keys = np.empty(0)

    def take(self, blocks: Sequence[TrialBlock]) -> None:
        """Keep the mated trials, and the non-mated ones whose random key is among the smallest so far."""
        mated = blocks[0].mated
        if mated.any():
            self._mated.append([_taken(block, mated) for block in blocks])
        others = ~mated
        if others.any():
            keys = self._rng.random(int(np.count_nonzero(others)))
            self._non_mated.append([_taken(block, others) for block in blocks])
            self._keys = np.concatenate([self._keys, keys])
            if self._keys.size > 2 * _FIT_NON_MATED:
                self._thin()

    def _thin(self) -> None:
        if self._keys.size <= _FIT_NON_MATED:
            return
        limit = np.partition(self._keys, _FIT_NON_MATED)[_FIT_NON_MATED]
        kept = self._keys < limit
        sizes = [blocks[0].score.size for blocks in self._non_mated]
        shares = np.split(kept, np.cumsum(sizes)[:-1])
        self._non_mated = [
            [_taken(block, share) for block in blocks]
            for blocks, share in zip(self._non_mated, shares, strict=True)
        ]
        self._keys = self._keys[kept]

    def finish(self) -> tuple[list[tuple[_Scores, _Scores]], list[tuple[_Quality, _Quality]]]:
        """For each part the (mated, non-mated) scores, and the measures of both."""
        self._thin()
        for kind, kept in (("mated", self._mated), ("non-mated", self._non_mated)):
            if not kept:
                msg = f"no {kind} trials among the calibration subjects: bring more subjects with several samples"
                raise InsufficientTrialsError(msg)
        return (
            [(_scores(self._mated, k), _scores(self._non_mated, k)) for k in range(self._parts)],
            [(_quality(self._mated, k), _quality(self._non_mated, k)) for k in range(self._parts)],
        )


if TYPE_CHECKING:
    _Scores = NDArray[np.float64]
    _Quality = Mapping[str, tuple[NDArray[np.float64], NDArray[np.float64]]]


def _scores(kept: Sequence[Sequence[TrialBlock]], part: int) -> _Scores:
    return np.concatenate([blocks[part].score for blocks in kept]).astype(np.float64)


def _quality(kept: Sequence[Sequence[TrialBlock]], part: int) -> _Quality:
    return {
        name: (
            np.concatenate([blocks[part].quality[name][0] for blocks in kept]),
            np.concatenate([blocks[part].quality[name][1] for blocks in kept]),
        )
        for name in kept[0][part].quality
    }


def _side_by_side(
    sources: Sequence[TrialSource],
    among: NDArray[np.bool_],
    *,
    measures: Sequence[Sequence[str]],
    mated_only: bool = False,
) -> Iterator[tuple[TrialBlock, ...]]:
    """The same trials from every source.

    Raises:
        ScoreError: the sources disagree about a block's trials.
    """
    runs = [
        source.blocks(among, measures=own, mated_only=mated_only)
        for source, own in zip(sources, measures, strict=True)
    ]
    for blocks in zip_longest(*runs):
        present = tuple(block for block in blocks if block is not None)
        if len(present) != len(blocks):
            raise _not_aligned(sources)
        first = present[0]
        if not all(_same_trials(block, first) for block in present[1:]):
            raise _not_aligned(sources)
        yield present


def _same_trials(one: TrialBlock, other: TrialBlock) -> bool:
    places = ("attempt_a", "attempt_b", "subject_a", "subject_b")
    return all(np.array_equal(getattr(one, place), getattr(other, place)) for place in places)


def _not_aligned(sources: Sequence[TrialSource]) -> ScoreError:
    msg = (
        f"{sources[0].name}: the models' sources differ in their trials (a capture that failed for one model only, or "
        "another sample of the trials): align the sets first, see aligned_sets"
    )
    return ScoreError(msg)


def _check_aligned(parts: Sequence[TrialSource]) -> None:
    first = parts[0]
    for other in parts[1:]:
        if other.subjects != first.subjects or len(other.attempts) != len(first.attempts):
            msg = f"{first.name} and {other.name}: different subjects or samples; one set for all models is needed"
            raise UsageError(msg)
    if not first.attempts:
        msg = f"{first.name}: a fusion needs samples to align the models by; bare scores name none"
        raise UsageError(msg)


def _joint_hash(parts: Sequence[TrialSource]) -> str:
    """One hash for one set of files; of several, the hash of the hashes in order."""
    hashes = list(dict.fromkeys(part.data_sha256 for part in parts))
    return hashes[0] if len(hashes) == 1 else hashlib.sha256("\n".join(hashes).encode()).hexdigest()


def _taken(block: TrialBlock, chosen: NDArray[np.bool_]) -> TrialBlock:
    """Only some trials of a block."""
    from verify.evaluation.prepare import taken

    return taken(block, chosen)
