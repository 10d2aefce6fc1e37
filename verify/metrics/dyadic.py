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

Nothing here makes an S x S matrix: only pairs that had trials are counted.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from verify.errors import ScoreError
from verify.metrics.intervals import quantile, stretched, wilson_bounds
from verify.metrics.pair_counts import PairCounter, PairTrials, RenumberedPairs
from verify.metrics.prediction import (
    Bound,
    checked_bound,
    cluster_growth,
    dyadic_growth,
    labelled,
    subject_share,
    upper_without_errors,
)
from verify.metrics.scores import kept_scores, threshold_in
from verify.types import Rate

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

# Fewer subjects than this leave the dyadic variance without a degree of freedom.
_MIN_SUBJECTS = 4
_CHUNK = 1 << 17  # errors taken at once


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
        Rate with bound ``wilson-dyadic``, or ``zero-errors-dyadic`` when there was no error.

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


def mated_rate(
    *,
    mated: ArrayLike,
    subject: ArrayLike,
    threshold: float,
    confidence: float = 0.95,
    bound: Bound = "population",
    further_subjects: int | None = None,
) -> Rate:
    """FNMR at `threshold` with bounds that treat each subject's trials as one cluster.

    Args:
        mated: (M,) scores.
        subject: (M,) subject numbers, integers >= 0.
        threshold: rejected is ``score < threshold``.
        confidence: of each one-sided bound.
        bound: ``population``, or ``prediction`` for what a further group will show.
        further_subjects: size of that group; None for as many as are in the trials.

    Returns:
        Rate with bound ``wilson-cluster``, or ``zero-errors-cluster`` when there was no error.

    Raises:
        ScoreError: bad scores, or subjects that do not fit them.
    """
    scores = kept_scores(mated, name="mated")
    _, cluster = np.unique(
        _checked_subjects(subject, trials=scores.size, name="subject"), return_inverse=True
    )
    clusters = int(cluster.max()) + 1
    wrong = scores < threshold_in(threshold, dtype=scores.dtype)
    errors, trials = int(np.count_nonzero(wrong)), scores.size
    if errors == 0:
        upper = upper_without_errors(
            clusters, confidence=confidence, bound=bound, further_units=further_subjects or clusters
        )
        label = labelled("zero-errors-cluster", bound=bound)
        return Rate(errors=0, trials=trials, upper=upper, bound=label, n_eff=float(clusters))
    f = errors / trials
    residual = np.bincount(cluster, weights=wrong) - f * np.bincount(cluster)
    spread = float(np.sum(residual**2))
    n_eff = float(clusters)
    if clusters > 1 and spread > 0:
        n_eff = f * (1 - f) * trials**2 / (spread * clusters / (clusters - 1))
    n_eff = min(max(n_eff, 1.0), float(trials))
    freedom = max(float(_effective_number(spread, np.sum(residual**4))) - 1, 1.0)
    both = 1.0
    if checked_bound(bound) == "prediction":
        both += cluster_growth(subjects=clusters, further_subjects=further_subjects)
    n, z = n_eff / both, quantile(confidence, freedom=freedom)
    low, high = wilson_bounds(f, n, z=z)
    high = stretched(high, rate=f, n=n, trials=trials / both, z=z)
    label = labelled("wilson-cluster", bound=bound)
    return Rate(errors=errors, trials=trials, upper=float(high), lower=float(low), bound=label, n_eff=n_eff)


@dataclass(frozen=True, slots=True, eq=False)
class DyadDesign:
    """Who met whom in the non-mated trials, and how often: all that the variance asks of the design.

    Attributes:
        trials: N, the number of trials.
        subjects: number of subjects in these trials.
        per_subject: (S,) trials that each subject took part in; 0 for numbers that occur in none.
        pairs: trials of each pair, n_ij.
        pair_squares: sum over pairs of n_ij^2.
    """

    trials: int
    subjects: int
    per_subject: NDArray[np.int64] = field(repr=False)
    pairs: PairTrials = field(repr=False)
    pair_squares: float = field(repr=False)

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
        return max(1, self.subjects // 2)

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
            return Evidence(f, pairs, np.full(f.size, np.inf), np.ones(f.size), s, self.trials)
        sums = self._running(a, b, wanted)
        squares, fourths = self._subject_spread(sums, f)
        pairs = sums.pair_k2 - 2 * f * sums.pair_kn + f**2 * self.pair_squares
        # by chance the subjects' terms may cancel the pairs': never claim less spread than independent pairs have
        spread = np.maximum(squares - pairs, pairs)
        with np.errstate(divide="ignore", invalid="ignore"):
            # no spread at all is no evidence for more than the trials themselves
            n_eff = f * (1 - f) * float(self.trials) ** 2 / (spread * (s * (s - 1) / ((s - 2) * (s - 3))))
            n_eff = np.clip(np.where(spread > 0, n_eff, float(self.trials)), 1.0, float(self.trials))
            share = np.where(spread > 0, subject_share(total=spread, pairs=pairs, subjects=s), 1.0)
        freedom = np.clip(_effective_number(squares, fourths) - 1, 1.0, s - 1.0)
        return Evidence(f, n_eff, freedom, share, s, self.trials)

    def _running(
        self, a: NDArray[np.integer], b: NDArray[np.integer], wanted: NDArray[np.integer]
    ) -> _RunningSums:
        """The sums over errors that the variance needs, at each wanted place, chunk by chunk."""
        seen = np.zeros(self.per_subject.size, dtype=np.int64)
        carry = np.zeros(8)
        out = np.empty((8, wanted.size))
        last = int(wanted[-1]) + 1 if wanted.size else 0
        earlier_pairs = _earlier_pairs(a[:last], b[:last])
        for start in range(0, last, _CHUNK):
            end = min(start + _CHUNK, last)
            sums = self._steps(a[start:end], b[start:end], earlier_pairs[start:end], seen)
            sums[:, 0] += carry
            np.cumsum(sums, axis=1, out=sums)
            carry = sums[:, -1].copy()
            low, high = np.searchsorted(wanted, [start, end])
            out[:, low:high] = sums[:, wanted[low:high] - start]
        return _RunningSums(*out)

    def _steps(
        self,
        a: NDArray[np.integer],
        b: NDArray[np.integer],
        earlier_pair: NDArray[np.integer],
        seen: NDArray[np.int64],
    ) -> NDArray[np.float64]:
        """(8, e) what each error adds to the running sums; `seen` (S,) is brought up to date."""
        # an error adds one to K of both of its subjects, who differ
        ends = np.stack([a, b], axis=1).ravel().astype(np.int64)
        k = (_earlier(ends) + seen[ends]).astype(np.float64)
        seen += np.bincount(ends, minlength=seen.size)
        n = self.per_subject[ends].astype(np.float64)
        step2, step3 = 2 * k + 1, 3 * k**2 + 3 * k + 1  # (k + 1)^2 - k^2, (k + 1)^3 - k^3
        step4 = 4 * k**3 + 6 * k**2 + 4 * k + 1
        terms = (n, n**3, step2, step2 * n**2, step3 * n, step4)
        both = [term[0::2] + term[1::2] for term in terms]
        return np.stack([*both, 2.0 * earlier_pair + 1.0, self.pairs.trials_of(a, b).astype(np.float64)])

    def _subject_spread(
        self, sums: _RunningSums, f: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """sum_i R_i^2 and sum_i R_i^4 with R_i = K_i - f N_i (errors and trials of subject i)."""
        # without the zeros: sums must not depend on how many numbers are unused
        all_n = self.per_subject[self.per_subject > 0].astype(np.float64)
        squares = sums.k2 - 2 * f * sums.k_n + f**2 * np.sum(all_n**2)
        fourths = (
            sums.k4 - 4 * f * sums.k3_n + 6 * f**2 * sums.k2_n2 - 4 * f**3 * sums.k_n3
        ) + f**4 * np.sum(all_n**4)
        return squares, fourths

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


@dataclass(frozen=True, slots=True)
class _RunningSums:
    """(C,) each: sums over subjects or pairs of powers of K (errors) and N (trials)."""

    k_n: NDArray[np.float64]
    k_n3: NDArray[np.float64]
    k2: NDArray[np.float64]
    k2_n2: NDArray[np.float64]
    k3_n: NDArray[np.float64]
    k4: NDArray[np.float64]
    pair_k2: NDArray[np.float64]
    pair_kn: NDArray[np.float64]


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
    """

    rate: NDArray[np.float64] = field(repr=False)
    n_eff: NDArray[np.float64] = field(repr=False)
    freedom: NDArray[np.float64] = field(repr=False)
    subject_share: NDArray[np.float64] = field(repr=False)
    subjects: int
    trials: int

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
        """(E,) lower and (E,) upper one-sided Wilson bounds."""
        both: NDArray[np.float64] | float = 1.0
        if checked_bound(bound) == "prediction":
            both = 1 + self.further_variance(further_subjects)
        n, z = self.n_eff / both, quantile(confidence, freedom=self.freedom)
        lower, upper = wilson_bounds(self.rate, n, z=z)
        return lower, stretched(upper, rate=self.rate, n=n, trials=self.trials / both, z=z)

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
        lower, upper = self.bounds(confidence=confidence, bound=bound, further_subjects=further_subjects)
        errors = np.rint(self.rate * self.trials).astype(np.int64)
        label = labelled("wilson-dyadic", bound=bound)
        return [
            Rate(errors=e, trials=self.trials, upper=u, lower=low, bound=label, n_eff=n)
            for e, u, low, n in zip(
                errors.tolist(), upper.tolist(), lower.tolist(), self.n_eff.tolist(), strict=True
            )
        ]


def _effective_number(squares: ArrayLike, fourths: ArrayLike) -> NDArray[np.float64]:
    """How many equal shares a sum of squares amounts to; 1 where there are none."""
    total, concentration = np.asarray(squares, dtype=np.float64), np.asarray(fourths, dtype=np.float64)
    usable = concentration > 0
    return np.where(usable, total**2 / np.where(usable, concentration, 1.0), 1.0)


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


def checked_pairs(
    subject_a: ArrayLike, subject_b: ArrayLike, *, trials: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The subjects of non-mated trials, (N,) each.

    Raises:
        ScoreError: not one whole number >= 0 a trial, or one subject on both sides.
    """
    left = _checked_subjects(subject_a, trials=trials, name="subject_a")
    right = _checked_subjects(subject_b, trials=trials, name="subject_b")
    if (left == right).any():
        at = int(np.argmax(left == right))
        msg = f"subject_a and subject_b: non-mated trial {at} has subject {left[at]} on both sides"
        raise ScoreError(msg)
    return left, right


def _checked_subjects(values: ArrayLike, *, trials: int, name: str) -> NDArray[np.int64]:
    subjects = np.asarray(values)
    if subjects.shape != (trials,) or subjects.dtype.kind not in "iu":
        msg = f"{name} must be {trials} whole numbers, one a score, not {subjects.dtype} {subjects.shape}"
        raise ScoreError(msg)
    if subjects.min() < 0:
        msg = f"{name}: subject numbers start at 0, not {subjects.min()}"
        raise ScoreError(msg)
    return subjects.astype(np.int64, copy=False)
