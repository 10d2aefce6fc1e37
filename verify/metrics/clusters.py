"""Bounds on the FNMR: a subject's mated trials are one cluster.

The variance of the rate is that of a mean of clusters, with the usual S / (S - 1); `verify.metrics.dyadic` says
what becomes of it, for both kinds of trials.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from verify.metrics.intervals import effective_number, hoeffding_upper, quantile, stretched, wilson_bounds
from verify.metrics.prediction import (
    Bound,
    checked_bound,
    cluster_growth,
    labelled,
    upper_without_errors,
)
from verify.metrics.scores import kept_scores, threshold_in
from verify.metrics.subjects import checked_subjects
from verify.types import Rate

if TYPE_CHECKING:
    from numpy.typing import ArrayLike


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
        Rate with bound ``wilson-cluster``, ``hoeffding-cluster`` where that is smaller, or ``zero-errors-cluster`` when
        there was no error.

    Raises:
        ScoreError: bad scores, or subjects that do not fit them.
    """
    scores = kept_scores(mated, name="mated")
    _, cluster = np.unique(checked_subjects(subject, trials=scores.size, name="subject"), return_inverse=True)
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
    sizes = np.bincount(cluster)
    residual = np.bincount(cluster, weights=wrong) - f * sizes
    spread = float(np.sum(residual**2))
    n_eff = float(clusters)
    if clusters > 1 and spread > 0:
        n_eff = f * (1 - f) * trials**2 / (spread * clusters / (clusters - 1))
    n_eff = min(max(n_eff, 1.0), float(trials))
    freedom = max(float(effective_number(spread, np.sum(residual**4))) - 1, 1.0)
    both = 1.0
    if checked_bound(bound) == "prediction":
        both += cluster_growth(subjects=clusters, further_subjects=further_subjects)
    n, z = n_eff / both, quantile(confidence, freedom=freedom)
    low, high = wilson_bounds(f, n, z=z)
    upper = float(stretched(high, rate=f, n=n, trials=trials / both, z=z))
    worst = float(hoeffding_upper(f, trials / sizes.max() / both, confidence=confidence))
    label = labelled("hoeffding-cluster" if worst < upper else "wilson-cluster", bound=bound)
    return Rate(
        errors=errors, trials=trials, upper=min(upper, worst), lower=float(low), bound=label, n_eff=n_eff
    )
