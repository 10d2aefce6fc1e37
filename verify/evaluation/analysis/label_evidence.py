"""Evidence on labels, in nats: what scores with several samples of one subject say together.

All is told in llrs (natural-log likelihood ratio of one subject against two), from a logistic map fitted on
the side itself, whose few wrong labels hardly move it. Scores of one sample with n others are not n independent
witnesses: a poor photo scores low with all of them. So evidence is the mean llr times
n / (1 + (n - 1) / 2), which takes any two of them to be correlated by a half, and never counts more than
two full witnesses. It ranks; it is no probability.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from verify.errors import ScoreError
from verify.metrics.logistic import fit_llr

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from verify.evaluation.side import Side
    from verify.score_space import LlrMap

_FIT_TRIALS = 500_000
CORRELATION = 0.5  # between the llrs of one sample with two others


def evidence_map(side: Side, *, seed: int = 0) -> LlrMap | None:
    """A map of the side's scores to llrs, fitted on the side; None where none can be.

    Args:
        side: with mated and non-mated trials.
        seed: of the sample of non-mated trials.
    """
    if not (side.mated.size and side.non_mated.trials):
        return None
    try:
        return fit_llr(mated=side.mated, non_mated=side.non_mated.sample(_FIT_TRIALS, seed=seed))
    except ScoreError:  # constant scores, or mated ones no higher than the others: nothing stands out
        return None


def witnesses(n: ArrayLike) -> NDArray[np.float64]:
    """How many independent llrs each of (...) numbers of correlated ones is worth, at most two."""
    count = np.asarray(n, dtype=np.float64)
    return count / (1 + (count - 1) * CORRELATION)
