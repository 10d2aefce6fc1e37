"""Samples that look like somebody else's: low scores with their subject's others, who agree among themselves.

A subject's samples are whittled down, worst mean llr first, until all that are left agree; so two strangers
among ten samples do not hide each other. Who was taken out is held against those who are left. Of a
subject's two samples that disagree, either may be the wrong one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from verify.evaluation.analysis.label_evidence import witnesses
from verify.metrics.evidence import llr_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from verify.evaluation.side import Side
    from verify.score_space import LlrMap


@dataclass(frozen=True, slots=True)
class Outlier:
    """A sample unlike the rest of its subject.

    Attributes:
        subject: number of the subject.
        attempts: the sample; both samples where there are only two, and either may be wrong.
        evidence: for a stranger, in nats; a ranking, not a probability.
        score: mean score with the samples that agree.
        others: how many these are.
        agreement: their mean score with each other; NaN for a single one.
    """

    subject: int
    attempts: tuple[int, ...]
    evidence: float
    score: float
    others: int
    agreement: float


def outliers(side: Side, mapping: LlrMap) -> list[Outlier]:
    """Samples that look like somebody else's, strongest evidence first; empty where no samples are known.

    Args:
        side: whose mated trials name their attempts.
        mapping: of the side's scores to llrs.
    """
    found: list[Outlier] = []
    if side.mated.size:
        for subject, attempts, scores, llr in _matrices(side, llr_of(mapping, side.mated)):
            found.extend(_unlike(subject, attempts, scores, llr))
    return sorted(found, key=lambda one: -one.evidence)


def _matrices(
    side: Side, llr: NDArray[np.float64]
) -> Iterator[tuple[int, NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]]:
    """Of each subject with known samples: attempts (k,), their scores and llrs (k, k), NaN where there are none."""
    known = (side.mated_attempts >= 0).all(axis=1)
    order = np.flatnonzero(known)
    order = order[np.argsort(side.mated_subject[order], kind="stable")]
    if not order.size:
        return
    subject = side.mated_subject[order]
    starts = np.flatnonzero(np.append(True, subject[1:] != subject[:-1]))
    for start, end in zip(starts.tolist(), [*starts[1:].tolist(), order.size], strict=True):
        rows = order[start:end]
        attempts, place = np.unique(side.mated_attempts[rows], return_inverse=True)
        place = place.reshape(-1, 2)
        matrices = np.full((2, attempts.size, attempts.size), np.nan)
        for matrix, values in zip(matrices, (side.mated, llr), strict=True):
            matrix[place[:, 0], place[:, 1]] = values[rows]
            matrix[place[:, 1], place[:, 0]] = values[rows]
            np.fill_diagonal(matrix, np.nan)
        yield int(subject[start]), attempts.astype(np.int64), matrices[0], matrices[1]


def _unlike(
    subject: int, attempts: NDArray[np.int64], scores: NDArray[np.float64], llr: NDArray[np.float64]
) -> Iterator[Outlier]:
    """The samples that have to go until all that are left agree."""
    keep = np.ones(attempts.size, dtype=bool)
    while np.count_nonzero(keep) > 1:
        kept = np.flatnonzero(keep)
        mean = _row_means(llr[np.ix_(kept, kept)])
        worst = int(np.argmin(mean))
        if not mean[worst] < 0:
            break
        keep[kept[worst]] = False
    core = np.flatnonzero(keep)
    if core.size == 1 and attempts.size == 2:  # noqa: PLR2004  two that disagree: either may be the wrong one
        yield Outlier(
            subject, tuple(attempts.tolist()), float(-llr[0, 1]), float(scores[0, 1]), 1, float("nan")
        )
        return
    agreement = float(np.nanmean(scores[np.ix_(core, core)])) if core.size > 1 else float("nan")
    for out in np.flatnonzero(~keep).tolist():
        met = core[np.isfinite(llr[out, core])]
        if met.size:
            evidence = -float(llr[out, met].mean() * witnesses(met.size))
            mean_score = float(scores[out, met].mean())
            yield Outlier(subject, (int(attempts[out]),), evidence, mean_score, int(met.size), agreement)


def _row_means(llr: NDArray[np.float64]) -> NDArray[np.float64]:
    """(k,) mean of what is known of each row; infinite where nothing is."""
    known = np.isfinite(llr)
    counts = known.sum(axis=1)
    sums = np.where(known, llr, 0.0).sum(axis=1)
    return np.where(counts > 0, sums / np.maximum(counts, 1), np.inf)
