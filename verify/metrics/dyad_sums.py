"""The sums behind the dyadic variance, kept up to date as errors come in one at a time.

With K_i errors and N_i trials of subject i, k_ij and n_ij of a pair, all that the variance needs at a rate f are
sums over subjects and pairs of products of their powers; each error adds to them what a step of K by one adds.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from verify.metrics.pair_counts import PairTrials

_CHUNK = 1 << 17  # errors taken at once


@dataclass(frozen=True, slots=True)
class RunningSums:
    """(C,) each: sums over subjects or pairs of powers of K (errors) and N (trials)."""

    k_n: NDArray[np.float64]
    k_n3: NDArray[np.float64]
    k2: NDArray[np.float64]
    k2_n2: NDArray[np.float64]
    k3_n: NDArray[np.float64]
    k4: NDArray[np.float64]
    pair_k2: NDArray[np.float64]
    pair_kn: NDArray[np.float64]


def running_sums(
    a: NDArray[np.integer],
    b: NDArray[np.integer],
    *,
    at: NDArray[np.integer],
    per_subject: NDArray[np.int64],
    pairs: PairTrials,
) -> RunningSums:
    """The sums over the first at[c] + 1 errors, chunk by chunk.

    Args:
        a: (E,) subjects of the trials in error, in the order of coming in.
        b: (E,) the other subject of each.
        at: (C,) ascending places in 0..E-1.
        per_subject: (S,) trials that each subject took part in.
        pairs: trials of each pair.
    """
    seen = np.zeros(per_subject.size, dtype=np.int64)
    carry = np.zeros(8)
    out = np.empty((8, at.size))
    last = int(at[-1]) + 1 if at.size else 0
    earlier_pairs = _earlier_pairs(a[:last], b[:last])
    for start in range(0, last, _CHUNK):
        chunk = slice(start, min(start + _CHUNK, last))
        sums = _steps(
            a[chunk], b[chunk], earlier_pairs[chunk], seen=seen, per_subject=per_subject, pairs=pairs
        )
        sums[:, 0] += carry
        np.cumsum(sums, axis=1, out=sums)
        carry = sums[:, -1].copy()
        low, high = np.searchsorted(at, [chunk.start, chunk.stop])
        out[:, low:high] = sums[:, at[low:high] - start]
    return RunningSums(*out)


def subject_spread(
    sums: RunningSums, f: NDArray[np.float64], *, per_subject: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """sum_i R_i^2 and sum_i R_i^4 with R_i = K_i - f N_i (errors and trials of subject i)."""
    # without the zeros: sums must not depend on how many numbers are unused
    all_n = per_subject[per_subject > 0].astype(np.float64)
    squares = sums.k2 - 2 * f * sums.k_n + f**2 * np.sum(all_n**2)
    fourths = (sums.k4 - 4 * f * sums.k3_n + 6 * f**2 * sums.k2_n2 - 4 * f**3 * sums.k_n3) + f**4 * np.sum(
        all_n**4
    )
    return squares, fourths


def _steps(
    a: NDArray[np.integer],
    b: NDArray[np.integer],
    earlier_pair: NDArray[np.integer],
    *,
    seen: NDArray[np.int64],
    per_subject: NDArray[np.int64],
    pairs: PairTrials,
) -> NDArray[np.float64]:
    """(8, e) what each error adds to the running sums; `seen` (S,) is brought up to date."""
    # an error adds one to K of both of its subjects, who differ
    ends = np.stack([a, b], axis=1).ravel().astype(np.int64)
    k = (_earlier(ends) + seen[ends]).astype(np.float64)
    seen += np.bincount(ends, minlength=seen.size)
    n = per_subject[ends].astype(np.float64)
    step2, step3 = 2 * k + 1, 3 * k**2 + 3 * k + 1  # (k + 1)^2 - k^2, (k + 1)^3 - k^3
    step4 = 4 * k**3 + 6 * k**2 + 4 * k + 1
    terms = (n, n**3, step2, step2 * n**2, step3 * n, step4)
    both = [term[0::2] + term[1::2] for term in terms]
    return np.stack([*both, 2.0 * earlier_pair + 1.0, pairs.trials_of(a, b).astype(np.float64)])


def _earlier(values: NDArray[np.int64]) -> NDArray[np.int64]:
    """(E,) how often each element's value has come before it."""
    order = np.argsort(values, kind="stable")
    ranked = values[order]
    starts = np.flatnonzero(np.append(True, ranked[1:] != ranked[:-1]))
    lengths = np.diff(np.append(starts, values.size))
    earlier = np.empty(values.size, dtype=np.int64)
    earlier[order] = np.arange(values.size) - np.repeat(starts, lengths)
    return earlier


def _earlier_pairs(a: NDArray[np.integer], b: NDArray[np.integer]) -> NDArray[np.int64]:
    """(E,) how often each error's pair of subjects has come before it."""
    a, b = a.astype(np.int64), b.astype(np.int64)
    return _earlier(np.maximum(a, b) * (np.maximum(a.max(), b.max()) + 1) + np.minimum(a, b))
