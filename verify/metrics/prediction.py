"""What a further group of people will show: bounds on a rate that is yet to be measured.

A population bound is about the rate f over all people like those who were measured. The rate that the
next S' people show differs from f by chance of its own, so a promise to them needs more room: the
variance of the difference between the two groups' rates is the sum of both variances.

**Mated trials.** The rate of S subjects is a mean of clusters, Var = V. A further S' subjects with as
many trials each have V' = V S / S'. So the variance of the difference is V (1 + S / S').

**Non-mated trials.** Write the error of a trial between i and j as f + u_i + u_j + w_ij + noise, with
var(u) = s_u, and let s_p be the variance of w_ij plus that of the noise averaged over the trials of the
pair. With P = S (S - 1) / 2 pairs,

    V = 4 s_u / S + s_p / P,     Q = sum_{i<j} r_ij^2 / N^2 = (2 s_u + s_p) / P  (expected),

where V is the dyadic variance of `verify.metrics.dyadic`. Hence V - Q = s_u (4 / S) (S - 2) / (S - 1),
and the part of V that subjects drive is

    4 s_u / S = (V - Q) (S - 1) / (S - 2)      (at least 0, at most V);

the rest, s_p / P, is driven by pairs, finite numbers of trials included. A further group of S' subjects
with as many samples each has

    V' = (subjects' part) S / S' + (pairs' part) S (S - 1) / (S' (S' - 1)).

With S' = S this is V' = V whatever the parts are, and designs that are not balanced change nothing about
that: the further group is one of the same make. The effective number of trials behind the difference is
f (1 - f) / (V + V'), and that goes into the Wilson bound with Student's quantile as before, since V' is
a multiple of the same estimate. Theory for S' = S: a population bound at 95 % is kept by a further group
with probability Phi(1.645 / sqrt 2) = 87.8 %, the prediction bound with 95 %.

**No errors.** Of u independent units (subjects, or floor(S / 2) pairs that share nobody) none erred. If of
u + u' exchangeable units K err, they all lie in the further u' with probability C(u', K) / C(u + u', K). The largest
K for which that is not yet less than 1 - confidence is what the next group may show (Thatcher, 1964): 4 errors
at 95 % for u' = u, so 4 / u where the population bound says 3 / u. As u' grows it becomes that bound.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np

from verify.errors import ScoreError, UsageError
from verify.metrics.intervals import zero_error_bound
from verify.metrics.scores import checked_confidence

if TYPE_CHECKING:
    from numpy.typing import NDArray

Bound = Literal["population", "prediction"]
BOUNDS: tuple[Bound, ...] = ("population", "prediction")


def checked_bound(bound: str) -> Bound:
    """Return `bound` if there is such a bound; raise `UsageError` listing them otherwise."""
    for known in BOUNDS:
        if bound == known:
            return known
    msg = f"bound must be one of {', '.join(BOUNDS)}, not {bound!r}"
    raise UsageError(msg)


def labelled(name: str, *, bound: Bound) -> str:
    """What `Rate.bound` says: ``-prediction`` is added to the bounds for a further group."""
    return f"{name}-prediction" if checked_bound(bound) == "prediction" else name


def subject_share(
    *, total: NDArray[np.float64], pairs: NDArray[np.float64], subjects: int
) -> NDArray[np.float64]:
    """Share of a dyadic variance that falls with the number of subjects, not of pairs.

    Args:
        total: (E,) V, or any multiple of it.
        pairs: (E,) Q, in the same multiple.
        subjects: S, at least 3.
    """
    share: NDArray[np.float64] = np.clip(
        (total - pairs) / total * ((subjects - 1) / (subjects - 2)), 0.0, 1.0
    )
    return share


def cluster_growth(*, subjects: int, further_subjects: int | None) -> float:
    """V' / V of mated rates; None stands for as many subjects as seen."""
    return subjects / _checked_further(further_subjects, subjects=subjects, least=1)


def dyadic_growth(
    *, subject_share: NDArray[np.float64], subjects: int, further_subjects: int | None
) -> NDArray[np.float64]:
    """(E,) V' / V of non-mated rates; None stands for as many subjects as seen."""
    s = subjects
    further = _checked_further(further_subjects, subjects=s, least=2)
    pairs = s * (s - 1) / (further * (further - 1))
    return subject_share * (s / further) + (1 - subject_share) * pairs


def upper_without_errors(units: int, *, confidence: float, bound: Bound, further_units: int) -> float:
    """Upper bound after no error in `units` independent units, for everybody or for `further_units` more."""
    if checked_bound(bound) == "population":
        return zero_error_bound(units, confidence=confidence)
    from scipy.special import gammaln

    # log C(u', K) / C(u + u', K), for all K at once
    k = np.arange(further_units + 1.0)
    together = units + further_units
    chance = (
        gammaln(further_units + 1)
        - gammaln(further_units - k + 1)
        - gammaln(together + 1)
        + gammaln(together - k + 1)
    )
    possible = np.flatnonzero(chance >= np.log1p(-checked_confidence(confidence)))
    return float(k[possible[-1]]) / further_units


def _checked_further(further: int | None, *, subjects: int, least: int) -> int:
    if further is None:
        return max(subjects, least)
    if further < least:
        msg = f"further_subjects must be at least {least}, not {further}"
        raise ScoreError(msg)
    return further
