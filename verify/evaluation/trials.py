"""From embeddings to trials: mated and non-mated scores with the subjects behind them."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from verify.errors import ScoreError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray

_BLOCK = 512  # rows of a score block: 512 x 10^5 float32 are 200 MB
_CHUNK = 1 << 14  # sampled pairs scored at once


@dataclass(frozen=True, slots=True)
class Trials:
    """Scores of pairs of samples, with subject numbers.

    Attributes:
        mated: (M,) float32 cosine scores of two samples of one subject.
        mated_subject: (M,) int32, whose.
        non_mated: (N,) float32 cosine scores of samples of two subjects.
        subject_a: (N,) int32, one of the two.
        subject_b: (N,) int32, the other.
        subjects: number of subjects with at least one sample.
        samples: number of samples.
        possible_non_mated: N if all pairs were scored, more if N were sampled.
    """

    mated: NDArray[np.float32] = field(repr=False)
    mated_subject: NDArray[np.int32] = field(repr=False)
    non_mated: NDArray[np.float32] = field(repr=False)
    subject_a: NDArray[np.int32] = field(repr=False)
    subject_b: NDArray[np.int32] = field(repr=False)
    subjects: int
    samples: int
    possible_non_mated: int


def make_trials(
    vectors: NDArray[np.float32], *, subjects: ArrayLike, max_non_mated: int | None = None, seed: int = 0
) -> Trials:
    """Score all mated pairs, and all non-mated pairs or a random sample of them.

    Memory beyond the result is one block of scores; no samples x samples matrix is made.

    Args:
        vectors: (n, D) float32 of unit L2 norm.
        subjects: (n,) subject numbers, integers >= 0.
        max_non_mated: sample that many distinct non-mated pairs if there are more.
        seed: of the sample.

    Raises:
        ScoreError: vectors that are not finite unit vectors, or subjects that do not fit them.
    """
    owner = np.asarray(subjects)
    if vectors.ndim != 2 or owner.shape != vectors.shape[:1] or owner.dtype.kind not in "iu":  # noqa: PLR2004
        msg = f"vectors {vectors.shape} need one whole subject number a row, not {owner.dtype} {owner.shape}"
        raise ScoreError(msg)
    norms = np.linalg.norm(vectors, axis=1)
    if not np.allclose(norms, 1.0, atol=1e-3):  # false for NaN too
        at = int(np.argmax(~np.isclose(norms, 1.0, atol=1e-3)))
        msg = f"vectors: row {at} has norm {norms[at]}, not 1; leave failed captures out"
        raise ScoreError(msg)
    order = np.argsort(owner, kind="stable")  # with equal subjects side by side, pairs i < j never go back
    owner, sorted_vectors = (
        owner[order].astype(np.int32),
        np.ascontiguousarray(vectors[order], dtype=np.float32),
    )
    counts = np.unique(owner, return_counts=True)[1].astype(np.int64)
    mated_total = int(np.sum(counts * (counts - 1) // 2))
    possible = owner.size * (owner.size - 1) // 2 - mated_total
    everything = max_non_mated is None or max_non_mated >= possible
    mated, mated_subject = _mated(sorted_vectors, owner, total=mated_total)
    if everything:
        scores, a, b = _all_non_mated(sorted_vectors, owner, total=possible)
    else:
        scores, a, b = _sampled_non_mated(sorted_vectors, owner, wanted=int(max_non_mated or 0), seed=seed)
    return Trials(
        mated=mated,
        mated_subject=mated_subject,
        non_mated=scores,
        subject_a=a,
        subject_b=b,
        subjects=int(counts.size),
        samples=int(owner.size),
        possible_non_mated=possible,
    )


def pooled(parts: Sequence[Trials]) -> Trials:
    """Trials of several sets as one: no pair across sets, because one person may be in two of them."""
    offsets = np.cumsum([0, *(_numbers(part) for part in parts)]).astype(np.int32)
    shifted = list(zip(parts, offsets[:-1], strict=True))
    return Trials(
        mated=np.concatenate([part.mated for part in parts]),
        mated_subject=np.concatenate([part.mated_subject + offset for part, offset in shifted]),
        non_mated=np.concatenate([part.non_mated for part in parts]),
        subject_a=np.concatenate([part.subject_a + offset for part, offset in shifted]),
        subject_b=np.concatenate([part.subject_b + offset for part, offset in shifted]),
        subjects=sum(part.subjects for part in parts),
        samples=sum(part.samples for part in parts),
        possible_non_mated=sum(part.possible_non_mated for part in parts),
    )


def _numbers(part: Trials) -> int:
    """One more than the largest subject number."""
    return 1 + max(
        (int(ids.max()) for ids in (part.mated_subject, part.subject_b, part.subject_a) if ids.size),
        default=-1,
    )


def _mated(
    vectors: NDArray[np.float32], owner: NDArray[np.int32], *, total: int
) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
    """All pairs within each subject; `owner` is ascending."""
    scores, subject = np.empty(total, dtype=np.float32), np.empty(total, dtype=np.int32)
    filled = 0
    starts = np.flatnonzero(np.diff(owner, prepend=-1)).tolist()  # subject numbers start at 0
    for start, end in pairwise([*starts, owner.size]):
        theirs = vectors[start:end]
        i, j = np.triu_indices(end - start, 1)
        pairs = slice(filled, filled + i.size)
        scores[pairs] = (theirs @ theirs.T)[i, j]
        subject[pairs] = owner[start]
        filled += i.size
    return np.clip(scores, -1.0, 1.0), subject


def _all_non_mated(
    vectors: NDArray[np.float32], owner: NDArray[np.int32], *, total: int
) -> tuple[NDArray[np.float32], NDArray[np.int32], NDArray[np.int32]]:
    scores = np.empty(total, dtype=np.float32)
    a, b = np.empty(total, dtype=np.int32), np.empty(total, dtype=np.int32)
    filled = 0
    for start in range(0, owner.size, _BLOCK):
        block = vectors[start : start + _BLOCK] @ vectors[start:].T
        rows, columns = np.nonzero(owner[start : start + _BLOCK, None] < owner[None, start:])
        pairs = slice(filled, filled + rows.size)
        scores[pairs] = block[rows, columns]
        a[pairs], b[pairs] = owner[start + rows], owner[start + columns]
        filled += rows.size
    return np.clip(scores, -1.0, 1.0, out=scores), a, b


def _sampled_non_mated(
    vectors: NDArray[np.float32], owner: NDArray[np.int32], *, wanted: int, seed: int
) -> tuple[NDArray[np.float32], NDArray[np.int32], NDArray[np.int32]]:
    """`wanted` distinct non-mated pairs, each as likely as any other."""
    rng = np.random.default_rng(seed)
    n = owner.size
    keys = np.empty(0, dtype=np.int64)
    while keys.size < wanted:  # a share of the draws is mated or drawn before: draw again for these
        i, j = rng.integers(0, n, size=(2, 2 * (wanted - keys.size) + 64))
        i, j = np.minimum(i, j), np.maximum(i, j)
        drawn = (i * n + j)[owner[i] != owner[j]]
        keys = np.concatenate([keys, np.setdiff1d(drawn, keys)])
    # setdiff1d sorts each round: take a random subset, not the smallest keys
    keys = np.sort(rng.permutation(keys)[:wanted])
    i, j = keys // n, keys % n
    scores = np.empty(wanted, dtype=np.float32)
    for start in range(0, wanted, _CHUNK):
        part = slice(start, start + _CHUNK)
        scores[part] = np.einsum("nd,nd->n", vectors[i[part]], vectors[j[part]])
    return np.clip(scores, -1.0, 1.0, out=scores), owner[i], owner[j]
