"""How unequal a matcher is between groups of people (ISO/IEC 19795-10; Howard et al., 2022).

Groups are labels that the user gave; nothing is inferred from a face or a voice.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from verify.errors import ScoreError

if TYPE_CHECKING:
    from collections.abc import Sequence


def gini(rates: Sequence[float]) -> float | None:
    """Gini coefficient of n groups' rates: n / (n - 1) * sum_ij |x_i - x_j| / (2 n^2 mean).

    0 if all are equal, 1 if one group has all errors. The factor n / (n - 1) makes 1 the maximum for any n.

    Args:
        rates: (n,) one a group, in [0, 1].

    Returns:
        None with fewer than two groups, or if a group has no errors at all: then the data tell a bound
        and no ratio.

    Raises:
        ScoreError: a rate is not in [0, 1].
    """
    x = _usable(rates)
    if x is None:
        return None
    n = len(x)
    apart = float(np.abs(np.subtract.outer(x, x)).sum())
    return n / (n - 1) * apart / (2 * n**2 * (math.fsum(x) / n))


def max_over_geometric_mean(rates: Sequence[float]) -> float | None:
    """Largest rate over the geometric mean of all (NIST FRTE part 8): 1 if all are equal.

    Args:
        rates: (n,) one a group, in [0, 1].

    Returns:
        None with fewer than two groups, or if a group has no errors at all.

    Raises:
        ScoreError: a rate is not in [0, 1].
    """
    x = _usable(rates)
    if x is None:
        return None
    return max(x) / math.exp(math.fsum(math.log(rate) for rate in x) / len(x))


def _usable(rates: Sequence[float]) -> list[float] | None:
    values = [float(rate) for rate in rates]
    for place, rate in enumerate(values):
        if not 0.0 <= rate <= 1.0:  # false for NaN too
            msg = f"rates: the rate of group {place} must lie in [0, 1], not {rate}"
            raise ScoreError(msg)
    return values if len(values) > 1 and min(values) > 0 else None
