"""Bounds for trials that share subjects, which all biometric trials do.

A thousand people give half a million non-mated trials, but no more than a thousand independent
people: a few who look like many others move the rate as a whole. Bounds that count trials as
independent are too narrow, and claims built on them break on the next thousand people.

Non-mated trials are dyads. With k_ij errors in n_ij trials between subjects i and j, f the overall
rate and r_ij = k_ij - n_ij f, the variance of f is (Fafchamps and Gubert, 2007; Aronow, Samii and
Assenova, 2015)

    Var = [ sum_i (sum_j r_ij)^2 - sum_{i<j} r_ij^2 ] / N^2

times c = S (S - 1) / ((S - 2)(S - 3)), which makes it unbiased for complete balanced designs of S
subjects: r is taken about the estimated rate, and working out the expectation gives (S - 2)(S - 3) /
(S (S - 1)) of the truth, whether errors are driven by subjects or by pairs. Mated trials are clusters of one
subject, with the usual S / (S - 1). With few subjects the dyadic sum may come out near zero or below by chance;
it is never taken as less than sum_{i<j} r_ij^2, its value if pairs were independent. Then n_eff = f (1 - f) / Var
goes into the Wilson bound.

The variance is itself an estimate, and a poor one when a few subjects carry the errors. So the bound takes
Student's quantile with G - 1 degrees of freedom, where R_i = sum_j r_ij and G = (sum_i R_i^2)^2 / sum_i R_i^4
is the number of subjects that the variance effectively rests on. With errors spread over hundreds of
subjects this changes next to nothing; with a dozen subjects who err beside a hundred who do not, the normal
quantile covers 82 % in simulation, this one 92 %. Nor does Wilson's bound know that the variance grows
faster than the rate where people differ: see `verify.metrics.intervals.stretched`. On halves of real faces n_eff
falls as f^-1.4, where Wilson assumes that it stays; with Wilson alone a prediction at 95 % was kept in 92 % of them.

All of this estimates a spread, and where one or two people make all the errors no estimate is worth anything: the
bound may reach 1. So it is never more than Hoeffding's bound, which needs no estimate and, at a rate of 0, is the
claim for no errors (`verify.metrics.intervals.hoeffding_upper`). Mated errors are a weighted mean of each
subject's own rate, and these are independent numbers in [0, 1]; with n = M / max n_i it holds whatever the dependence
inside a subject (n = S if all have as many trials). Non-mated trials can be coloured with max N_i + max n_ij colours,
each as often as any other, so that trials of one colour share nobody (Vizing, 1964; de Werra, 1971). So the rate
is a mean of means of n = N / (max N_i + max n_ij) independent trials, and it holds with that n (Hoeffding, 1963,
section 5): (S - 1) / 2 in complete balanced designs. Both take for granted that people with many trials err no
oftener than those with few. For a further group n is divided by 1 + V' / V, which is wide.

Nothing here makes an S x S matrix: only pairs that had trials are counted.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from verify.metrics.clusters import mated_rate
from verify.metrics.dyad_evidence import Evidence
from verify.metrics.dyad_sums import running_sums, subject_spread
from verify.metrics.intervals import effective_number
from verify.metrics.pair_counts import PairCounter, PairTrials, RenumberedPairs
from verify.metrics.prediction import (
    Bound,
    labelled,
    subject_share,
    upper_without_errors,
)
from verify.metrics.scores import kept_scores, threshold_in
from verify.metrics.subjects import checked_pairs
from verify.types import Rate

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

# Fewer subjects than this leave the dyadic variance without a degree of freedom.
_MIN_SUBJECTS = 4

__all__ = ["DyadDesign", "Evidence", "checked_pairs", "mated_rate", "non_mated_rate"]


def non_mated_rate(
    *,
    non_mated: ArrayLike,
    subject_a: ArrayLike,
    subject_b: ArrayLike,
    threshold: float,
    confidence: float = 0.95,
    bound: Bound = "population",
    further_subjects: int | None = None,
) -> Rate:
    """FMR at `threshold` with dyadic bounds.

    Args:
        non_mated: (N,) scores.
        subject_a: (N,) subject numbers of one side, integers >= 0.
        subject_b: (N,) subject numbers of the other side; never equal to `subject_a`.
        threshold: accepted is ``score >= threshold``.
        confidence: of each one-sided bound.
        bound: ``population``, or ``prediction`` for what a further group will show.
        further_subjects: size of that group; None for as many as are in the trials.

    Returns:
        Rate with bound ``wilson-dyadic``, ``hoeffding-dyadic`` where that is smaller, or ``zero-errors-dyadic`` when
        there was no error.

    Raises:
        ScoreError: bad scores, or subjects that do not fit them.
    """
    scores = kept_scores(non_mated, name="non_mated")
    design = DyadDesign.of(subject_a=subject_a, subject_b=subject_b, trials=scores.size)
    wrong = scores >= threshold_in(threshold, dtype=scores.dtype)
    return design.rate(
        np.asarray(subject_a)[wrong],
        np.asarray(subject_b)[wrong],
        confidence=confidence,
        bound=bound,
        further_subjects=further_subjects,
    )


@dataclass(frozen=True, slots=True, eq=False)
class DyadDesign:
    """Who met whom in the non-mated trials, and how often: all that the variance asks of the design.

    Attributes:
        trials: N, the number of trials.
        subjects: number of subjects in these trials.
        per_subject: (S,) trials that each subject took part in; 0 for numbers that occur in none.
        pairs: trials of each pair, n_ij.
        pair_squares: sum over pairs of n_ij^2.
        most_disjoint: how many pairs can share nobody where that is not half of the subjects: the size of the smaller
            of two groups that are held against each other.
    """

    trials: int
    subjects: int
    per_subject: NDArray[np.int64] = field(repr=False)
    pairs: PairTrials = field(repr=False)
    pair_squares: float = field(repr=False)
    most_disjoint: int | None = None

    @classmethod
    def of(cls, *, subject_a: ArrayLike, subject_b: ArrayLike, trials: int) -> DyadDesign:
        """Count the pairs; `trials` is the number of scores that the subjects must fit.

        Raises:
            ScoreError: the wrong number of subjects, negative ones, or one subject on both sides.
        """
        a, b = checked_pairs(subject_a, subject_b, trials=trials)
        # dense numbers for the counter, so that numbers with gaps cost nothing
        present, dense = np.unique(np.concatenate([a, b]), return_inverse=True)
        pairs = PairCounter(present.size)
        pairs.add(dense[: a.size], dense[a.size :])
        number = np.zeros(int(present[-1]) + 1, dtype=np.int64)
        number[present] = np.arange(present.size)
        per_subject = np.bincount(a, minlength=number.size) + np.bincount(b, minlength=number.size)
        return cls.counted(
            trials=trials, per_subject=per_subject, pairs=RenumberedPairs(pairs, number, present)
        )

    @classmethod
    def counted(cls, *, trials: int, per_subject: NDArray[np.int64], pairs: PairTrials) -> DyadDesign:
        """Of trials that were counted elsewhere."""
        return cls(
            trials=trials,
            subjects=int(np.count_nonzero(per_subject)),
            per_subject=per_subject,
            pairs=pairs,
            pair_squares=float(pairs.sum_of_squares()),
        )

    @property
    def independent_pairs(self) -> int:
        """floor(S / 2): pairs that share nobody, the only trials that are surely independent."""
        half = self.subjects // 2
        return max(1, half if self.most_disjoint is None else min(half, self.most_disjoint))

    @property
    def disjoint(self) -> float:
        """N / (max N_i + max n_ij): how many pairs that share nobody the rate is a mean of, at the least."""
        return max(1.0, self.trials / (int(self.per_subject.max()) + self.pairs.largest()))

    def evidence(
        self, a: NDArray[np.integer], b: NDArray[np.integer], *, at: NDArray[np.integer] | None = None
    ) -> Evidence:
        """What the trials prove as the errors come in one at a time.

        Args:
            a: (E,) subjects of the trials in error, in the order of coming in (for thresholds:
                highest score first), E >= 1.
            b: (E,) the other subject of each.
            at: (C,) ascending places in 0..E-1; None for all of them.

        Returns:
            Evidence whose element c is for exactly the first at[c] + 1 trials in error.
        """
        wanted = np.arange(a.size) if at is None else at
        f = (wanted + 1) / self.trials
        s = self.subjects
        if s < _MIN_SUBJECTS:  # no variance can be told: count pairs that share nobody
            pairs = np.full(f.size, float(self.independent_pairs))
            return Evidence(f, pairs, np.full(f.size, np.inf), np.ones(f.size), s, self.trials, self.disjoint)
        sums = running_sums(a, b, at=wanted, per_subject=self.per_subject, pairs=self.pairs)
        squares, fourths = subject_spread(sums, f, per_subject=self.per_subject)
        pairs = sums.pair_k2 - 2 * f * sums.pair_kn + f**2 * self.pair_squares
        # by chance the subjects' terms may cancel the pairs': never claim less spread than independent pairs have
        spread = np.maximum(squares - pairs, pairs)
        with np.errstate(divide="ignore", invalid="ignore"):
            # no spread at all is no evidence for more than the trials themselves
            n_eff = f * (1 - f) * float(self.trials) ** 2 / (spread * (s * (s - 1) / ((s - 2) * (s - 3))))
            n_eff = np.clip(np.where(spread > 0, n_eff, float(self.trials)), 1.0, float(self.trials))
            share = np.where(spread > 0, subject_share(total=spread, pairs=pairs, subjects=s), 1.0)
        freedom = np.clip(effective_number(squares, fourths) - 1, 1.0, s - 1.0)
        return Evidence(f, n_eff, freedom, share, s, self.trials, self.disjoint)

    def rate(
        self,
        a: NDArray[np.integer],
        b: NDArray[np.integer],
        *,
        confidence: float = 0.95,
        bound: Bound = "population",
        further_subjects: int | None = None,
    ) -> Rate:
        """The rate with its bounds when exactly the trials of subjects `a` and `b` (E,) are in error."""
        if a.size == 0:
            return self.no_errors(confidence=confidence, bound=bound, further_subjects=further_subjects)
        evidence = self.evidence(a, b, at=np.array([a.size - 1]))
        return evidence.rates(confidence=confidence, bound=bound, further_subjects=further_subjects)[0]

    def no_errors(
        self, *, confidence: float = 0.95, bound: Bound = "population", further_subjects: int | None = None
    ) -> Rate:
        """The rate when no trial is in error: floor(S / 2) independent trials without one."""
        pairs = self.independent_pairs
        further = pairs if further_subjects is None else max(1, further_subjects // 2)
        return Rate(
            errors=0,
            trials=self.trials,
            upper=upper_without_errors(pairs, confidence=confidence, bound=bound, further_units=further),
            bound=labelled("zero-errors-dyadic", bound=bound),
            n_eff=float(pairs),
        )
