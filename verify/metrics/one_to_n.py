"""What a 1:1 rate comes to in a search, if comparisons were independent."""

from __future__ import annotations

import math

from verify.errors import ScoreError
from verify.metrics.scores import checked_rate


def fpir_if_independent(*, fmr: float, gallery_size: int) -> float:
    """Estimated false-positive identification rate: FPIR = 1 - (1 - FMR)^G.

    An estimate only: the comparisons of one probe with G subjects share the probe, so measured
    rates differ. It is printed beside a measurement, never in place of one.

    Raises:
        ScoreError: a rate outside [0, 1], or a gallery of no subjects.
    """
    if gallery_size < 1:
        msg = f"gallery_size must be at least 1, not {gallery_size}"
        raise ScoreError(msg)
    rate = checked_rate(fmr, name="fmr")
    return 1.0 if rate == 1.0 else -math.expm1(gallery_size * math.log1p(-rate))
