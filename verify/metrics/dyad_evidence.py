"""What non-mated trials prove about rates, and the bounds that follow; `verify.metrics.dyadic` derives them."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from verify.metrics.intervals import hoeffding_upper, quantile, stretched, wilson_bounds
from verify.metrics.prediction import Bound, checked_bound, dyadic_growth, labelled
from verify.types import Rate

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Evidence:
    """What trials prove about rates: the effective number of trials, and how well that is known.

    Attributes:
        rate: (E,) errors / trials.
        n_eff: (E,) effective number of independent trials.
        freedom: (E,) degrees of freedom behind `n_eff`; infinite where it is a count.
        subject_share: (E,) share of the variance that falls with the number of subjects; the rest falls
            with the number of pairs.
        subjects: behind all of it.
        trials: of which the rates are.
        disjoint: how many pairs that share nobody the rates are means of, at the least.
    """

    rate: NDArray[np.float64] = field(repr=False)
    n_eff: NDArray[np.float64] = field(repr=False)
    freedom: NDArray[np.float64] = field(repr=False)
    subject_share: NDArray[np.float64] = field(repr=False)
    subjects: int
    trials: int
    disjoint: float

    def __getitem__(self, which: slice | NDArray[np.integer]) -> Evidence:
        """These elements of it."""
        return replace(
            self,
            rate=self.rate[which],
            n_eff=self.n_eff[which],
            freedom=self.freedom[which],
            subject_share=self.subject_share[which],
        )

    def with_freedom(self, freedom: float) -> Evidence:
        """The same with other degrees of freedom."""
        return replace(self, freedom=np.full(self.rate.size, freedom))

    def bounds(
        self, *, confidence: float, bound: Bound = "population", further_subjects: int | None = None
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """(E,) lower and (E,) upper one-sided bounds."""
        lower, upper, worst = self._bounds(confidence, bound, further_subjects)
        return lower, np.minimum(upper, worst)

    def _bounds(
        self, confidence: float, bound: Bound, further_subjects: int | None
    ) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
        """(E,) lower and (E,) upper Wilson bounds, and (E,) Hoeffding's upper one (infinite where it is larger)."""
        both: NDArray[np.float64] = np.ones(self.rate.size)
        if checked_bound(bound) == "prediction":
            both = 1 + self.further_variance(further_subjects)
        n, z = self.n_eff / both, quantile(confidence, freedom=self.freedom)
        lower, upper = wilson_bounds(self.rate, n, z=z)
        upper = stretched(upper, rate=self.rate, n=n, trials=self.trials / both, z=z)
        units = self.disjoint / both
        # no bound of Hoeffding's is below the one without an error, so most need not be worked out
        worst = np.full(upper.size, np.inf)
        wide = upper > -np.expm1(np.log1p(-confidence) / units)
        worst[wide] = hoeffding_upper(self.rate[wide], units[wide], confidence=confidence)
        return lower, upper, worst

    def further_variance(self, further_subjects: int | None) -> NDArray[np.float64]:
        """(E,) variance of a further group's rate, as a multiple of that of the rate seen."""
        return dyadic_growth(
            subject_share=self.subject_share, subjects=self.subjects, further_subjects=further_subjects
        )

    def rates(
        self,
        *,
        confidence: float,
        bound: Bound = "population",
        further_subjects: int | None = None,
    ) -> list[Rate]:
        """One Rate an element."""
        lower, upper, worst = self._bounds(confidence, bound, further_subjects)
        errors = np.rint(self.rate * self.trials).astype(np.int64)
        wilson, hoeffding = (labelled(f"{name}-dyadic", bound=bound) for name in ("wilson", "hoeffding"))
        return [
            Rate(
                errors=e,
                trials=self.trials,
                upper=min(u, w),
                lower=low,
                bound=hoeffding if w < u else wilson,
                n_eff=n,
            )
            for e, u, w, low, n in zip(
                errors.tolist(),
                upper.tolist(),
                worst.tolist(),
                lower.tolist(),
                self.n_eff.tolist(),
                strict=True,
            )
        ]
