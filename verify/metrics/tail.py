"""EXTRAPOLATED rates: a generalised Pareto distribution fitted to the highest non-mated scores.

Beyond the data nothing is measured. Scores above a high one do, for most distributions, fall off as a
generalised Pareto distribution (Pickands, 1975), and with that a threshold can be guessed at rates that no
trial supports. Whatever comes of it is labelled extrapolated, and is never used unless asked for.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from verify.errors import InsufficientTrialsError
from verify.metrics.bootstrap import weighted_fmr
from verify.metrics.scores import checked_confidence

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from verify.metrics.non_mated import NonMatedScores

MIN_EXCEEDANCES = 100
MIN_SUBJECTS = 20  # behind the exceedances, in effect: a few wolves are no tail
_MOST_EXCEEDANCES = 20_000
_HEAVIEST = 0.5  # a shape at or above has no variance: scores of a matcher do not look like that
_FARTHEST = 1e4  # how far beyond its own rate a fit is believed


@dataclass(frozen=True, slots=True)
class GeneralisedParetoTail:
    """A fitted tail, with the fits to resampled subjects beside it.

    Attributes:
        location: the score above which the tail was fitted.
        rate: FMR at the location.
        shape: xi; below 0 the scores end somewhere.
        scale: sigma > 0.
        exceedances: how many scores were fitted.
        replicates: (R, 3) rate, shape and scale of each resampled group.
    """

    location: float
    rate: float
    shape: float
    scale: float
    exceedances: int
    replicates: NDArray[np.float64] = field(repr=False)

    @classmethod
    def fit(
        cls,
        scores: NonMatedScores,
        *,
        exceedances: int | None = None,
        replicates: int = 500,
        seed: int = 0,
    ) -> GeneralisedParetoTail:
        """Fit the highest scores.

        Args:
            scores: with their subjects.
            exceedances: how many of the highest to fit; None takes 2 % of all, at least `MIN_EXCEEDANCES`
                and at most 20,000.
            replicates: groups of resampled subjects that the bound is made of.
            seed: of the resampling.

        Raises:
            InsufficientTrialsError: too few scores, too few subjects behind them, too many ties, or a fit that no
                matcher's scores would give.
        """
        from scipy.stats import genpareto

        wanted = exceedances or min(max(scores.trials // 50, MIN_EXCEEDANCES), _MOST_EXCEEDANCES)
        if wanted < MIN_EXCEEDANCES or wanted >= scores.tail.score.size:
            msg = (
                f"a tail is fitted to at least {MIN_EXCEEDANCES} of the highest scores and to fewer than there "
                f"are in the exact tail ({scores.tail.score.size}), not to {wanted}: bring more trials"
            )
            raise InsufficientTrialsError(msg)
        top = scores.top(wanted + 1)
        location = float(top.score[-1])
        above = top.taken(top.score > top.score[-1])
        excess = above.score.astype(np.float64) - location
        _check_spread(excess, above.subject_a, above.subject_b)
        shape, _, scale = genpareto.fit(excess, floc=0.0)
        if not (math.isfinite(shape) and math.isfinite(scale) and scale > 0 and -1 < shape < _HEAVIEST):
            msg = (
                f"the highest {excess.size} scores do not fall off as a tail does "
                f"(shape {shape:.3g}, scale {scale:.3g}): there is nothing to extrapolate from"
            )
            raise InsufficientTrialsError(msg)
        fits = _resampled(scores, above.subject_a, above.subject_b, excess, replicates=replicates, seed=seed)
        return cls(location, excess.size / scores.trials, float(shape), float(scale), excess.size, fits)

    def fmr(self, threshold: float) -> float:
        """The extrapolated FMR at `threshold`, at or above `location`."""
        point = np.array([[self.rate, self.shape, self.scale]])
        return float(_survival(point, self._distance(threshold))[0])

    def upper(self, threshold: float, *, confidence: float = 0.95) -> float:
        """One-sided upper bound on the extrapolated FMR, from the resampled subjects."""
        rates = _survival(self.replicates, self._distance(threshold))
        return max(float(np.quantile(rates, checked_confidence(confidence))), self.fmr(threshold))

    def threshold_at_fmr(
        self, target: float, *, confidence: float = 0.95, ceiling: float = math.inf
    ) -> float:
        """The smallest threshold, to 1e-9 of the scale, whose upper bound is at or below `target`.

        Raises:
            InsufficientTrialsError: the target is not beyond the location, further beyond it than a fit can
                be believed, or not reached below `ceiling`.
        """
        if not self.rate / _FARTHEST <= target < self.rate:
            msg = (
                f"EXTRAPOLATED from FMR {self.rate:.2g}, a target must lie in [{self.rate / _FARTHEST:.2g}, "
                f"{self.rate:.2g}), not at {target:g}"
            )
            raise InsufficientTrialsError(msg)
        low, high = self.location, self.location + self.scale
        while self.upper(high, confidence=confidence) > target:
            low, high = high, self.location + 2 * (high - self.location)
            if low > ceiling or high - self.location > 1e6 * self.scale:
                break
        while high - low > 1e-9 * self.scale:
            middle = (low + high) / 2
            if middle in (low, high):
                break
            if self.upper(middle, confidence=confidence) <= target:
                high = middle
            else:
                low = middle
        if high > ceiling or self.upper(high, confidence=confidence) > target:
            msg = (
                f"FMR {target:g} is not reached at any possible score, even EXTRAPOLATED from "
                f"{self.exceedances:,} scores: bring more subjects"
            )
            raise InsufficientTrialsError(msg)
        return high

    def _distance(self, threshold: float) -> float:
        if threshold < self.location:
            msg = f"the tail begins at {self.location:g}; below it, at {threshold:g}, rates are measured"
            raise InsufficientTrialsError(msg)
        return threshold - self.location


def _survival(fits: NDArray[np.float64], distance: float) -> NDArray[np.float64]:
    """(R,) FMR at `distance` above the location, for (R, 3) rate, shape and scale."""
    rate, shape, scale = fits.T
    with np.errstate(divide="ignore", over="ignore"):
        inside = np.maximum(1 + shape * distance / scale, 0.0)
        bent = -np.log(inside) / np.where(np.abs(shape) < 1e-9, 1.0, shape)  # noqa: PLR2004
        power = np.where(np.abs(shape) < 1e-9, -distance / scale, bent)  # noqa: PLR2004
        power = np.where(inside > 0, power, -np.inf)
    survival: NDArray[np.float64] = rate * np.exp(power)
    return survival


def _check_spread(excess: NDArray[np.float64], a: NDArray[np.integer], b: NDArray[np.integer]) -> None:
    if np.unique(excess).size < MIN_EXCEEDANCES // 2:
        msg = f"only {np.unique(excess).size} distinct scores among the highest: ties have no tail to fit"
        raise InsufficientTrialsError(msg)
    shares = np.bincount(np.concatenate([a, b])).astype(np.float64)
    effective = float(shares.sum() ** 2 / np.sum(shares**2))
    if effective < MIN_SUBJECTS:
        msg = (
            f"the highest {excess.size} scores are those of {effective:.0f} subjects in effect, and "
            f"{MIN_SUBJECTS} are needed: this tail is of people, not of chance"
        )
        raise InsufficientTrialsError(msg)


def _resampled(
    scores: NonMatedScores,
    a: NDArray[np.integer],
    b: NDArray[np.integer],
    excess: NDArray[np.float64],
    *,
    replicates: int,
    seed: int,
) -> NDArray[np.float64]:
    """(R, 3) fits to groups of resampled subjects, by probability-weighted moments (Hosking and Wallis, 1987)."""
    per_subject = scores.design.per_subject
    present = np.flatnonzero(per_subject)
    rng = np.random.default_rng(seed)
    weights = np.zeros((per_subject.size, replicates))
    weights[present] = rng.multinomial(
        present.size, np.full(present.size, 1 / present.size), size=replicates
    ).T
    lowest = float(np.nextafter(scores.tail.score.dtype.type(scores.top(excess.size).score[-1]), -np.inf))
    rate = weighted_fmr(scores, np.array([max(lowest, np.nextafter(scores.floor, np.inf))]), weights=weights)[
        :, 0
    ]
    fits = np.full((replicates, 3), np.nan)
    for r in range(replicates):
        w = weights[a, r] * weights[b, r]  # excess is descending
        total = w.sum()
        if total <= 0:
            continue
        above = (np.cumsum(w) - w / 2) / total  # weighted share of higher scores
        mean, moment = float(w @ excess) / total, float(w @ (excess * above)) / total
        shape = 2 - mean / (mean - 2 * moment)
        fits[r] = rate[r], shape, 2 * mean * moment / (mean - 2 * moment)
    sound = np.isfinite(fits).all(axis=1) & (fits[:, 2] > 0) & (fits[:, 1] < 1)
    if np.count_nonzero(sound) < 0.9 * replicates:
        msg = "the tail cannot be fitted to resampled subjects: too few people are behind the highest scores"
        raise InsufficientTrialsError(msg)
    kept: NDArray[np.float64] = fits[sound]
    return kept
