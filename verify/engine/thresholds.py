"""Which threshold may judge a score, and the refusal when none may.

1:1: the ladder of operating points is searched for the loosest rung whose target FMR is at or
below the asked one. 1:N: a search over G subjects raises a false alarm with probability at most
G times the FMR of one comparison (the union bound, which needs no independence), so the rung must
hold for FMR <= FPIR / G. A growing gallery thereby moves up the ladder by itself, and past its
end there is no decision.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from verify.errors import ModelMismatchError, UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from verify.types import OperatingPoint

DEFAULT_TARGET_FMR = 1e-3
DEFAULT_TARGET_FPIR = 1e-2


@dataclass(frozen=True, slots=True)
class Ruling:
    """A threshold and where it comes from; `threshold` is None when none may judge.

    Attributes:
        threshold: accept if and only if score >= threshold.
        point: the operating point; None for an uncalibrated threshold or none at all.
        message: what stands behind the threshold, or why there is none and what to do.
        calibrated: False if the threshold was given by hand.
    """

    threshold: float | None
    point: OperatingPoint | None
    message: str
    calibrated: bool


def _default_target(points: Sequence[OperatingPoint]) -> float:
    targets = [point.target_fmr for point in points]
    return min(
        (t for t in targets if t >= DEFAULT_TARGET_FMR), default=max(targets, default=DEFAULT_TARGET_FMR)
    )


class Judge:
    """Picks thresholds for one model from its operating points.

    Args:
        model_id: the model whose scores are judged; a point of another model is refused.
        points: the ladder, in any order.
        target_fmr: the FMR that a 1:1 decision must hold, in (0, 1). None takes the ladder's strictest
            rung that is no stricter than `DEFAULT_TARGET_FMR` (or its loosest, if all are stricter);
            every decision says which.
        target_fpir: the FPIR that a 1:N decision must hold, in (0, 1).
        uncalibrated: a raw cosine threshold in [-1, 1] given by hand, in place of any point.

    Raises:
        UsageError: a rate or threshold is out of range.
        ModelMismatchError: a point belongs to another model.
    """

    def __init__(
        self,
        model_id: str,
        points: Sequence[OperatingPoint],
        *,
        target_fmr: float | None = None,
        target_fpir: float = DEFAULT_TARGET_FPIR,
        uncalibrated: float | None = None,
    ) -> None:
        for name, rate in (("target FMR", target_fmr), ("target FPIR", target_fpir)):
            if rate is not None and not (isinstance(rate, int | float) and 0.0 < rate < 1.0):
                msg = f"{name} must lie between 0 and 1, not {rate!r}"
                raise UsageError(msg)
        if uncalibrated is not None and not -1.0 <= uncalibrated <= 1.0:
            msg = f"an uncalibrated threshold is a raw cosine in [-1, 1], not {uncalibrated!r}"
            raise UsageError(msg)
        for point in points:
            if point.model_id != model_id:
                msg = (
                    f"operating point {point.name!r} holds for model {point.model_id[:12]}, not for the model in use "
                    f"({model_id[:12]}): run `verify calibrate` with the model in use"
                )
                raise ModelMismatchError(msg)
        self._points = tuple(sorted(points, key=lambda point: -point.target_fmr))
        self._uncalibrated = uncalibrated
        self.target_fmr = _default_target(self._points) if target_fmr is None else target_fmr
        self.target_fpir = target_fpir

    def one_to_one(self) -> Ruling:
        """The threshold for a 1:1 comparison at the target FMR."""
        return self._rule(
            self.target_fmr, asked=f"FMR {self.target_fmr:g}", way_out="ask for a rate of the ladder (--fmr)"
        )

    def one_to_many(self, gallery_size: int) -> Ruling:
        """The threshold for a search over `gallery_size` subjects at the target FPIR."""
        size = max(1, gallery_size)
        asked = f"FPIR {self.target_fpir:g} over {size} subjects (FMR {self.target_fpir / size:.2g} each)"
        return self._rule(
            self.target_fpir / size,
            asked=asked,
            way_out="search a smaller gallery, or ask for a higher --fpir",
        )

    def _rule(self, max_fmr: float, *, asked: str, way_out: str) -> Ruling:
        if self._uncalibrated is not None:
            message = f"UNCALIBRATED threshold {self._uncalibrated:g} given by hand: it proves no error rate"
            return Ruling(self._uncalibrated, None, message, calibrated=False)
        for point in self._points:
            if point.mode != "1:1" or point.score_space != "cosine":
                continue
            if point.target_fmr <= max_fmr or math.isclose(point.target_fmr, max_fmr, rel_tol=1e-9):
                message = (
                    f"{point.name}: threshold {point.threshold:.4f}, chosen so that the {point.confidence:.0%} bound "
                    f"on the calibration subjects meets FMR <= {point.target_fmr:g}"
                )
                return Ruling(point.threshold, point, message, calibrated=True)
        if not self._points:
            message = (
                "no operating point for this model: run `verify calibrate` on your own data, or give a threshold by "
                "hand with --uncalibrated"
            )
        else:
            rungs = ", ".join(f"{point.target_fmr:g}" for point in self._points)
            message = (
                f"no operating point supports {asked}: the ladder has FMR {rungs}; {way_out}, or calibrate with "
                "more subjects"
            )
        return Ruling(None, None, message, calibrated=True)
