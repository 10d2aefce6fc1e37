"""Score spaces as sources around sources: normalised scores, evidence, and whole transactions.

Each has the trials of the source inside it, with other scores; everything else is passed on.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np

from verify.evaluation.prepare import taken
from verify.metrics.evidence import in_range, llr_of
from verify.metrics.normalisation import CohortStats, norm_scores

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from verify.evaluation.sources import TrialBlock, TrialSource
    from verify.score_space import LlrMap, ScoreNorm


class _Around:
    """Everything but the scores is the inner source's."""

    def __init__(self, inner: TrialSource) -> None:
        self.inner = inner
        self.name, self.kind, self.data_sha256 = inner.name, inner.kind, inner.data_sha256
        self.subjects, self.groups, self.attempts = inner.subjects, inner.groups, inner.attempts
        self.measures, self.model_id = inner.measures, inner.model_id
        self.copies, self.conflicts, self.warnings = inner.copies, inner.conflicts, inner.warnings

    def crossing(self, among: NDArray[np.bool_]) -> int:
        """See `TrialSource.crossing`."""
        return self.inner.crossing(among)


class NormalisedSource(_Around):
    """The inner source's cosines, normalised by a cohort.

    Args:
        inner: a source of cosines that knows which attempts met.
        norm: the recipe.
        stats: of each attempt against the cohort; NaN for captures that failed.
    """

    def __init__(self, inner: TrialSource, *, norm: ScoreNorm, stats: CohortStats) -> None:
        super().__init__(inner)
        self._norm, self._stats = norm, stats

    def blocks(
        self, among: NDArray[np.bool_], *, measures: Sequence[str] = (), mated_only: bool = False
    ) -> Iterator[TrialBlock]:
        """See `TrialSource.blocks`."""
        for block in self.inner.blocks(among, measures=measures, mated_only=mated_only):
            if block.score.size:
                scores = norm_scores(
                    block.score,
                    method=self._norm.method,
                    enrol=self._of(block.attempt_a),
                    probe=self._of(block.attempt_b),
                )
                yield dataclasses.replace(block, score=scores)

    def _of(self, attempts: NDArray[np.int32]) -> CohortStats:
        return CohortStats(mean=self._stats.mean[attempts], std=self._stats.std[attempts])


class LlrSource(_Around):
    """The inner source's scores as evidence; trials that the map says nothing about are left out."""

    def __init__(self, inner: TrialSource, *, mapping: LlrMap) -> None:
        super().__init__(inner)
        self._mapping = mapping

    def blocks(
        self, among: NDArray[np.bool_], *, measures: Sequence[str] = (), mated_only: bool = False
    ) -> Iterator[TrialBlock]:
        """See `TrialSource.blocks`."""
        needed = [term.measure for term in self._mapping.terms]
        wanted = tuple(dict.fromkeys([*needed, *measures]))
        for block in self.inner.blocks(among, measures=wanted, mated_only=mated_only):
            scores = llr_of(
                self._mapping, block.score, quality={name: block.quality[name] for name in needed}
            )
            kept = {name: block.quality[name] for name in measures}
            known = np.isfinite(scores)
            made = dataclasses.replace(block, score=scores, quality=kept)
            yield made if known.all() else taken(made, known)

    def left_out(self, among: NDArray[np.bool_]) -> NDArray[np.int32]:
        """(L,) int32 subjects of the mated trials that the map says nothing about.

        Captures that it says nothing about have failed before they meet anybody, so there are none such of media:
        where only scores are known, the trial itself is what fails.
        """
        needed = [term.measure for term in self._mapping.terms]
        found = [np.empty(0, dtype=np.int32)]
        for block in self.inner.blocks(among, measures=needed, mated_only=True):
            known = in_range(self._mapping, block.quality, trials=block.score.size)
            found.append(block.subject_a[block.mated & ~known])
        return np.concatenate(found)


class InRangeSource(_Around):
    """The inner source's own scores of the trials that a map says something about: those of `LlrSource`."""

    def __init__(self, inner: TrialSource, *, mapping: LlrMap) -> None:
        super().__init__(inner)
        self._mapping = mapping

    def blocks(
        self, among: NDArray[np.bool_], *, measures: Sequence[str] = (), mated_only: bool = False
    ) -> Iterator[TrialBlock]:
        """See `TrialSource.blocks`."""
        needed = [term.measure for term in self._mapping.terms]
        wanted = tuple(dict.fromkeys([*needed, *measures]))
        for block in self.inner.blocks(among, measures=wanted, mated_only=mated_only):
            known = in_range(
                self._mapping, {name: block.quality[name] for name in needed}, trials=block.score.size
            )
            kept = {name: block.quality[name] for name in measures}
            yield taken(dataclasses.replace(block, quality=kept), known)


class TransactionSource(_Around):
    """Transactions of K attempts: the best score of each run of K trials of the inner source.

    The block's `attempt_b` is the attempt that scored best, and the measures are that attempt's.
    """

    def __init__(self, inner: TrialSource, *, attempts: int) -> None:
        super().__init__(inner)
        self._k = attempts

    def blocks(
        self, among: NDArray[np.bool_], *, measures: Sequence[str] = (), mated_only: bool = False
    ) -> Iterator[TrialBlock]:
        """See `TrialSource.blocks`."""
        for block in self.inner.blocks(among, measures=measures, mated_only=mated_only):
            runs = block.score.reshape(-1, self._k)
            best = np.zeros(block.score.size, dtype=bool)
            best[np.arange(runs.shape[0]) * self._k + runs.argmax(axis=1)] = True
            yield taken(block, best)
