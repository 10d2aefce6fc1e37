"""Which threshold may judge a score, and the refusal when none may.

1:1: the ladder of operating points is searched for the loosest rung whose target is at or below the
asked rate, in whatever score space (`verify.engine.ladder` says which goes first).

1:N: a point measured by searches over at least as many subjects goes first. Else the union bound,
which needs no independence: a search over n subjects is n comparisons, or so many searches over a
measured gallery as cover them, and raises a false alarm at most that many times as often as one. A
growing gallery thereby moves up the ladder by itself, and past its end there is no decision. Searches
are judged in raw cosines only, because that is what the gallery's index ranks by: the best subject
in another space might not be among those found.

Extrapolated rungs are passed over unless they are asked for, points that failed on their own test
subjects unless they are named. Where nobody asked for a rate, only points that were chosen to limit false
matches may decide, and none whose FMR is above `LOOSEST_DEFAULT_FMR`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from verify.engine.ladder import at_most, claim, far_claim, in_order, in_words, rungs
from verify.errors import ModelMismatchError, UsageError
from verify.score_space import ScoreSpace

if TYPE_CHECKING:
    from collections.abc import Sequence

    from verify.types import OperatingPoint

DEFAULT_TARGET_FMR = 1e-3
DEFAULT_TARGET_FPIR = 1e-2
LOOSEST_DEFAULT_FMR = 5e-2  # who wants strangers let in more often than this has to say so
_NO_POINTS = (
    "no operating point for this model: run `verify calibrate` on your own data, or give a threshold by "
    "hand with --uncalibrated"
)


@dataclass(frozen=True, slots=True)
class Ruling:
    """A threshold and where it comes from; `threshold` is None when none may judge.

    Attributes:
        threshold: accept if and only if score >= threshold, the score being in `score_space`.
        point: the operating point; None for an uncalibrated threshold or none at all.
        message: what stands behind the threshold, or why there is none and what to do.
        calibrated: False if the threshold was given by hand.
    """

    threshold: float | None
    point: OperatingPoint | None
    message: str
    calibrated: bool

    @property
    def score_space(self) -> str:
        """Of the threshold."""
        return ScoreSpace.COSINE.value if self.point is None else self.point.score_space


class Judge:
    """Picks thresholds for one model from its operating points.

    Args:
        model_id: the model whose scores are judged; a point of another model is refused.
        points: the ladder, in any order.
        target_fmr: the FMR that a 1:1 decision must hold, in (0, 1). None takes the ladder's loosest
            rung that holds `DEFAULT_TARGET_FMR`, or, if none does, its strictest, but none
            looser than `LOOSEST_DEFAULT_FMR` and none that was chosen for a limit on rejections; every
            decision says which. A rate that no rung holds is not refused here but by every ruling:
            ask `one_to_one` first where a program must know at its start.
        target_far: the FAR that a 1:1 transaction must hold, in (0, 1), in place of `target_fmr`: who
            cannot be captured cannot be accepted, so FAR = FMR (1 - FTA) <= FMR.
        target_fpir: the FPIR that a 1:N decision must hold, in (0, 1). None takes `DEFAULT_TARGET_FPIR`,
            or a 1:N point's own rate where one is given by name.
        uncalibrated: a raw cosine threshold in [-1, 1] given by hand, in place of any point.
        point: name of the one point to use, whatever its target, in place of a target.
        attempts: how many attempts your application grants before it turns somebody away, all of which
            count as one transaction; rates are then per transaction.
        allow_extrapolated: use rungs that a fitted tail supports as if trials did.

    Raises:
        UsageError: a rate, threshold or count is out of range, two things are given where one rules the
            other out, or no point has that name.
        ModelMismatchError: a point belongs to another model.
    """

    def __init__(
        self,
        model_id: str,
        points: Sequence[OperatingPoint],
        *,
        target_fmr: float | None = None,
        target_far: float | None = None,
        target_fpir: float | None = None,
        uncalibrated: float | None = None,
        point: str | None = None,
        attempts: int = 1,
        allow_extrapolated: bool = False,
    ) -> None:
        for name, rate in (
            ("target FMR", target_fmr),
            ("target FAR", target_far),
            ("target FPIR", target_fpir),
        ):
            _check_rate(name, rate)
        if uncalibrated is not None and not -1.0 <= uncalibrated <= 1.0:
            msg = f"an uncalibrated threshold is a raw cosine in [-1, 1], not {uncalibrated!r}"
            raise UsageError(msg)
        if isinstance(attempts, bool) or not isinstance(attempts, int) or attempts < 1:
            msg = f"attempts is how many a transaction allows, 1 or more, not {attempts!r}"
            raise UsageError(msg)
        given = {
            "a target FMR": target_fmr,
            "a target FAR": target_far,
            "a point by name": point,
            "an uncalibrated threshold": uncalibrated,
        }
        several = [name for name, value in given.items() if value is not None]
        if len(several) > 1:
            msg = (
                f"{' and '.join(several)} exclude each other: each decides by itself which threshold is used"
            )
            raise UsageError(msg)
        _check_models(model_id, points)
        self._points = in_order(points, attempts=attempts)
        self._named = None if point is None else _by_name(point, self._points)
        self._usable = tuple(
            p
            for p in self._points
            if p.score_space != ScoreSpace.FOREIGN
            and (allow_extrapolated or not p.extrapolated)
            and not p.failed_its_test
        )
        self._unasked = tuple(p for p in self._usable if p.limits_false_matches)
        self._uncalibrated = uncalibrated
        self._attempts = attempts
        self.target_far = target_far
        self._own_fmr = target_fmr is None and target_far is None
        self.target_fmr = self._default_target() if target_fmr is None else target_fmr
        self.target_fpir = DEFAULT_TARGET_FPIR if target_fpir is None else target_fpir
        self._own_fpir = target_fpir is None

    def one_to_one(self) -> Ruling:
        """The threshold for a 1:1 comparison at the target FMR or FAR, in any score space."""
        if self._uncalibrated is not None:
            return self._by_hand(self._uncalibrated)
        if self._named is not None:
            return self._by_its_name(self._named)
        asked, limit, held = f"supports FMR {self.target_fmr:g}", self.target_fmr, claim
        if self.target_far is not None:
            asked, limit, held = f"supports FAR {self.target_far:g}", self.target_far, far_claim
        for point in self._unasked if self._own_fmr else self._usable:
            if point.mode == "1:1" and at_most(held(point, attempts=self._attempts), limit):
                return self._ruled(point)
        if self._own_fmr:
            asked = f"decides unasked, which takes one chosen to hold FMR <= {LOOSEST_DEFAULT_FMR:g}"
        way_out = "ask for a rate of the ladder (--fmr, --far), or for a point by name (--point)"
        others = sorted({p.attempts for p in self._usable} - {1, self._attempts})
        if others:
            way_out += (
                f" for as many attempts (--attempts {' or '.join(map(str, others))}, if you grant them)"
            )
        return self._unsupported(asked + self._per_transaction(), way_out=way_out)

    def in_cosine(self) -> Ruling:
        """The raw cosine threshold by which enrolment checks templates against each other, one by one."""
        if self._uncalibrated is not None:
            return self._by_hand(self._uncalibrated)
        named = self._named
        limit = self.target_fmr if self.target_far is None else self.target_far
        if named is not None and named.mode == "1:1":
            limit = named.target_fmr
        others = self._unasked if self._own_fmr else self._usable
        for point in others if named is None else (named, *others):
            single = point.mode == "1:1" and point.attempts == 1 and _is_cosine(point)
            if single and at_most(point.target_fmr, limit):
                return Ruling(point.threshold, point, in_words(point, attempts=1), calibrated=True)
        return self._unsupported(
            f"supports FMR {limit:g} in raw cosines", way_out="calibrate in the cosine space, too"
        )

    def one_to_many(self, gallery_size: int) -> Ruling:
        """The raw cosine threshold for a search over `gallery_size` subjects at the target FPIR."""
        if self._uncalibrated is not None:
            return self._by_hand(self._uncalibrated)
        size = max(1, gallery_size)
        among = self._unasked if self._own_fpir else self._usable
        if self._named is not None:
            among = (self._named,)
        cosine = [point for point in among if _is_cosine(point)]
        for point in sorted(cosine, key=lambda p: self._search_order(p, size)):
            times = _searches(point, size)
            bound = times * claim(point, attempts=self._attempts)
            named = point is self._named and point.mode == "1:N" and times == 1 and bound < math.inf
            if (named and self._own_fpir) or at_most(bound, self.target_fpir):
                return self._ruled_search(point, size, bound)
        many = f"{size} subjects{self._per_transaction()} (FMR {self.target_fpir / size:.2g} each)"
        asked = f"supports FPIR {self.target_fpir:g} over {many}"
        way_out = "search a smaller gallery, or ask for a higher --fpir"
        if len(cosine) < len(among):
            way_out += (
                "; searches are judged in raw cosines, which the index ranks by: other spaces do not serve"
            )
        return self._unsupported(asked, way_out=way_out)

    def _search_order(self, point: OperatingPoint, size: int) -> tuple[bool, float, int, float]:
        """Measured at this size first, then the loosest bound, then the smallest gallery that suffices."""
        times = _searches(point, size)
        bound = times * claim(point, attempts=self._attempts)
        return point.mode != "1:N" or times > 1, -bound, point.gallery_size, -point.threshold

    def _ruled_search(self, point: OperatingPoint, size: int, bound: float) -> Ruling:
        ruling = self._ruled(point)
        if point.mode == "1:N" and _searches(point, size) == 1:
            return ruling
        over = f"; FPIR <= {bound:.2g} over {size} subjects by the union bound"
        return replace(ruling, message=ruling.message + over)

    def _default_target(self) -> float:
        claims = [claim(p, attempts=self._attempts) for p in self._unasked if p.mode == "1:1"]
        claims = [rate for rate in claims if at_most(rate, LOOSEST_DEFAULT_FMR)]
        # the loosest that holds the default rate; where none does, the strictest there is
        return max(
            (rate for rate in claims if at_most(rate, DEFAULT_TARGET_FMR)),
            default=min(claims, default=DEFAULT_TARGET_FMR),
        )

    def _ruled(self, point: OperatingPoint) -> Ruling:
        return Ruling(point.threshold, point, in_words(point, attempts=self._attempts), calibrated=True)

    def _by_its_name(self, point: OperatingPoint) -> Ruling:
        if point.mode != "1:1":
            message = f"{point.name} was measured for searches (1:N): it decides no 1:1 claim"
        elif point.score_space == ScoreSpace.FOREIGN:
            message = f"{point.name} judges the scores of another matcher, not of this model"
        elif claim(point, attempts=self._attempts) == math.inf:
            message = (
                f"{point.name} holds for transactions of {point.attempts} attempts, not of {self._attempts}: "
                f"say --attempts {point.attempts} if you grant that many"
            )
        else:
            return self._ruled(point)
        return Ruling(None, None, message, calibrated=True)

    def _by_hand(self, threshold: float) -> Ruling:
        message = f"UNCALIBRATED threshold {threshold:g} given by hand: it proves no error rate"
        return Ruling(threshold, None, message, calibrated=False)

    def _per_transaction(self) -> str:
        return "" if self._attempts == 1 else f" in a transaction of {self._attempts} attempts"

    def _unsupported(self, asked: str, *, way_out: str) -> Ruling:
        if not self._points:
            return Ruling(None, None, _NO_POINTS, calibrated=True)
        message = (
            f"no operating point {asked}: the ladder has {rungs(self._points)}; {way_out}, or calibrate with more "
            "subjects"
        )
        return Ruling(None, None, message, calibrated=True)


def _searches(point: OperatingPoint, size: int) -> int:
    """How many comparisons (1:1) or searches of the measured size (1:N) cover a gallery of `size`."""
    return size if point.mode == "1:1" else -(-size // point.gallery_size)


def _is_cosine(point: OperatingPoint) -> bool:
    return point.score_space == ScoreSpace.COSINE


def _check_rate(name: str, rate: object) -> None:
    if rate is not None and not (isinstance(rate, int | float) and 0.0 < rate < 1.0):
        msg = f"{name} must lie between 0 and 1, not {rate!r}"
        raise UsageError(msg)


def _check_models(model_id: str, points: Sequence[OperatingPoint]) -> None:
    for point in points:
        if point.model_id != model_id:
            msg = (
                f"operating point {point.name!r} holds for model {point.model_id[:12]}, not for the model in use "
                f"({model_id[:12]}): run `verify calibrate` with the model in use"
            )
            raise ModelMismatchError(msg)


def _by_name(name: str, points: Sequence[OperatingPoint]) -> OperatingPoint:
    for point in points:
        if point.name == name:
            return point
    known = ", ".join(point.name for point in points) or "none: run `verify calibrate`"
    msg = f"no operating point is called {name!r}; there are: {known}"
    raise UsageError(msg)
