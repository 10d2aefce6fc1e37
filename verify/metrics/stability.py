"""Has a distribution of scores moved since it was measured?

The population stability index of bin shares p (now) and q (then),

    PSI = sum_b (p_b - q_b) ln(p_b / q_b),

is read by a rule of thumb in banking: below 0.1 stable, above 0.25 shifted. But it is never 0 for two
samples of one population: with n and m scores, PSI / (1/n + 1/m) is then about chi-squared with
B - 1 degrees of freedom (Yurdakul, 2018). A window is called shifted only when it passes both.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from verify.errors import ScoreError
from verify.metrics.scores import checked_confidence, checked_scores

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

SHIFTED, MODERATE = 0.25, 0.10  # the rule of thumb


@dataclass(frozen=True, slots=True)
class Stability:
    """A population stability index beside what chance alone makes of it.

    Attributes:
        psi: the index, >= 0.
        by_chance: the index that two samples of one population pass with probability 1 - confidence.
    """

    psi: float
    by_chance: float

    @property
    def level(self) -> str:
        """``stable``, ``moderate`` or ``shifted``."""
        if self.psi <= max(MODERATE, self.by_chance):
            return "stable"
        return "shifted" if self.psi > SHIFTED else "moderate"


def quantile_edges(scores: ArrayLike, *, bins: int = 10) -> NDArray[np.float64]:
    """Inner edges (at most `bins` - 1, ascending, distinct) of bins with about equal shares of `scores`.

    Raises:
        ScoreError: no scores, NaN or infinite ones, or fewer than two bins.
    """
    if bins < 2:  # noqa: PLR2004
        msg = f"bins must be at least 2, not {bins}"
        raise ScoreError(msg)
    values = checked_scores(scores, name="scores")
    return np.unique(np.quantile(values, np.arange(1, bins) / bins))


def bin_counts(scores: ArrayLike, *, edges: NDArray[np.float64]) -> NDArray[np.int64]:
    """(E + 1,) counts of scores below, between and at or above the inner edges (E,).

    Raises:
        ScoreError: no scores, or NaN or infinite ones.
    """
    values = checked_scores(scores, name="scores")
    return np.bincount(np.searchsorted(edges, values, side="right"), minlength=edges.size + 1)


def population_stability(*, then: ArrayLike, now: ArrayLike, confidence: float = 0.999) -> Stability:
    """The index of two histograms over the same bins.

    Args:
        then: (B,) counts of the baseline.
        now: (B,) counts of the window.
        confidence: of `Stability.by_chance`; high, because many windows are looked at.

    Raises:
        ScoreError: counts that do not fit each other, are negative, or are all zero.
    """
    from scipy.special import chdtri

    before, after = np.asarray(then, dtype=np.float64), np.asarray(now, dtype=np.float64)
    if before.shape != after.shape or before.ndim != 1 or before.size < 2:  # noqa: PLR2004
        msg = f"then and now must be counts over the same two or more bins, not {before.shape} and {after.shape}"
        raise ScoreError(msg)
    for name, counts in (("then", before), ("now", after)):
        if not (np.isfinite(counts).all() and (counts >= 0).all() and counts.sum() > 0):
            msg = f"{name} must be counts, not negative and not all zero"
            raise ScoreError(msg)
    # half a count in every bin keeps the logarithm finite and vanishes as counts grow
    q = (before + 0.5) / (before + 0.5).sum()
    p = (after + 0.5) / (after + 0.5).sum()
    psi = float(np.sum((p - q) * np.log(p / q)))
    noise = float(chdtri(before.size - 1, 1.0 - checked_confidence(confidence)))
    return Stability(psi=psi, by_chance=noise * (1 / before.sum() + 1 / after.sum()))
