"""Prior-weighted logistic loss and its minimum: what `verify.metrics.logistic` fits with."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from verify.errors import ScoreError
from verify.metrics.scores import checked_scores

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

_RIDGE = 0.01  # 1 / 10^2, divided by the trials of the smaller class
_ROWS = 1 << 16  # trials handled at once: temporaries stay in the processor's cache
_ROUNDS = 100
_SETTLED = 1e-12  # of the cost: some way above its rounding errors


@dataclass(frozen=True, slots=True)
class WeightedTrials:
    """Which trials are mated and what each weighs, mated ones first.

    Attributes:
        sign: (T,) float64, +1 for mated trials, -1 for non-mated ones.
        weight: (T,) float64; the weights of a class sum to its prior.
        mated: number of mated trials.
        log_odds: of the prior, in nats.
        ridge: on every coefficient but the first, per standard deviation of its column.
    """

    sign: NDArray[np.float64] = field(repr=False)
    weight: NDArray[np.float64] = field(repr=False)
    mated: int
    log_odds: float
    ridge: float

    @classmethod
    def of(
        cls,
        mated: ArrayLike,
        non_mated: ArrayLike,
        *,
        prior: float,
        mated_weight: ArrayLike | None = None,
        non_mated_weight: ArrayLike | None = None,
    ) -> WeightedTrials:
        """The trials of (M,) mated and (N,) non-mated scores, weighing alike within a class by default.

        Raises:
            ScoreError: bad scores or weights, or a prior outside (0, 1).
        """
        if not 0.0 < prior < 1.0:
            msg = f"prior must lie inside (0, 1), not {prior}"
            raise ScoreError(msg)
        sizes = [
            checked_scores(values, name=name).size
            for name, values in (("mated", mated), ("non_mated", non_mated))
        ]
        weights = [
            prior * _weights(mated_weight, size=sizes[0], name="mated_weight"),
            (1.0 - prior) * _weights(non_mated_weight, size=sizes[1], name="non_mated_weight"),
        ]
        return cls(
            sign=np.repeat([1.0, -1.0], sizes),
            weight=np.concatenate(weights),
            mated=sizes[0],
            log_odds=float(np.log(prior) - np.log1p(-prior)),
            ridge=_RIDGE / min(sizes),
        )

    def joined(self, of_mated: NDArray[np.float64], of_non_mated: NDArray[np.float64]) -> NDArray[np.float64]:
        """One column (T,) of both classes.

        Raises:
            ScoreError: not one value a trial.
        """
        if of_mated.size != self.mated or of_mated.size + of_non_mated.size != self.sign.size:
            expected = (self.mated, self.sign.size - self.mated)
            msg = f"{of_mated.size} mated and {of_non_mated.size} non-mated values for {expected} trials"
            raise ScoreError(msg)
        return np.concatenate([of_mated, of_non_mated])


def _weights(values: ArrayLike | None, *, size: int, name: str) -> NDArray[np.float64]:
    """(size,) weights that sum to 1."""
    if values is None:
        return np.full(size, 1.0 / size)
    weights = checked_scores(values, name=name)
    total = float(weights.sum())
    if weights.size != size or (weights < 0).any() or not total > 0:
        msg = f"{name}: needs {size} weights >= 0 that are not all 0"
        raise ScoreError(msg)
    return weights / total


def standardised(
    column: NDArray[np.float64], weight: NDArray[np.float64]
) -> tuple[NDArray[np.float64], float, float]:
    """The column with mean 0 and standard deviation 1 under the weights, and both; all 0 if constant.

    Raises:
        ScoreError: the values span more, or less, than double precision can square.
    """
    low, high = float(column.min()), float(column.max())
    if low == high:
        return np.zeros_like(column), low, 0.0
    with np.errstate(over="ignore", invalid="ignore"):
        centre = float(column @ weight)
        scale = float(np.sqrt(np.square(column - centre) @ weight))
    if not np.isfinite(scale) or scale <= np.finfo(np.float64).tiny:
        msg = (
            f"values between {low:.4g} and {high:.4g} are out of the range of double precision; rescale them"
        )
        raise ScoreError(msg)
    return (column - centre) / scale, centre, scale


def minimise(x: NDArray[np.float64], data: WeightedTrials) -> NDArray[np.float64]:
    """Coefficients (C,) of the columns of `x` (T, C), the first of them ones: Newton with step halving.

    Loss and ridge are convex and smooth, so there is one minimum and Newton's steps end in it.

    Raises:
        ScoreError: rounding keeps it from settling.
    """
    ridge = np.full(x.shape[1], data.ridge)
    ridge[0] = 1e-12  # keeps the system solvable when every trial is decided beyond doubt
    b = np.zeros(x.shape[1])
    cost, gradient, hessian = _cost(x, b, data, ridge)
    for _ in range(_ROUNDS):
        step = np.linalg.solve(hessian, gradient)
        gain = float(gradient @ step)  # twice what is left to gain, in nats
        if gain <= _SETTLED * (1.0 + cost):
            return b
        share = 1.0
        tried = _cost(x, b - step, data, ridge)
        while tried[0] > cost - 1e-4 * share * gain and share > _SETTLED:  # Armijo's rule
            share /= 2
            tried = _cost(x, b - share * step, data, ridge)
        b = b - share * step
        cost, gradient, hessian = tried
    msg = f"the logistic fit did not settle in {_ROUNDS} rounds; look for outliers among the scores and measures"
    raise ScoreError(msg)


def _cost(
    x: NDArray[np.float64], b: NDArray[np.float64], data: WeightedTrials, ridge: NDArray[np.float64]
) -> tuple[float, NDArray[np.float64], NDArray[np.float64]]:
    """Weighted logistic loss with its gradient (C,) and Hessian (C, C)."""
    cost, gradient, hessian = float(ridge @ b**2) / 2, ridge * b, np.diag(ridge)
    for start in range(0, x.shape[0], _ROWS):
        rows = slice(start, start + _ROWS)
        part, sign, weight = x[rows], data.sign[rows], data.weight[rows]
        margin = sign * (part @ b + data.log_odds)
        cost += float(weight @ np.logaddexp(0.0, -margin))
        wrong = np.exp(-np.logaddexp(0.0, margin))  # the chance given to the other answer
        gradient = gradient - part.T @ (weight * sign * wrong)
        hessian = hessian + part.T @ (part * (weight * wrong * (1.0 - wrong))[:, None])
    return cost, gradient, hessian
