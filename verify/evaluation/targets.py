"""What a user may ask an operating point to hold, and what that asks of the comparison."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from verify.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable


class Kind(StrEnum):
    """Which rate is to be held; ISO/IEC 19795-1 terms."""

    FMR = "fmr"
    FAR = "far"
    FNMR = "fnmr"
    FRR = "frr"
    FPIR = "fpir"
    FNIR = "fnir"


FALSE_MATCH_KINDS = frozenset({Kind.FMR, Kind.FAR, Kind.FPIR})
_SEARCH_KINDS = frozenset({Kind.FPIR, Kind.FNIR})


@dataclass(frozen=True, slots=True, order=True)
class Target:
    """A rate and the most it may be.

    Attributes:
        kind: which rate.
        rate: in (0, 1).
    """

    kind: Kind
    rate: float

    @property
    def name(self) -> str:
        """As it stands in the names of operating points: ``fmr-1e-3``."""
        return f"{self.kind}-{short(self.rate)}"

    @property
    def words(self) -> str:
        """As it stands in sentences: ``FMR 0.001``."""
        return f"{self.kind.upper()} {self.rate:g}"

    @property
    def limits_false_matches(self) -> bool:
        """Whether it asks for a threshold that is high enough, not for one that is low enough."""
        return self.kind in FALSE_MATCH_KINDS


def checked_targets(targets: Iterable[Target | float], *, mode: str) -> tuple[Target, ...]:
    """Each target once: those that limit false matches first, loosest first.

    Args:
        targets: plain numbers are FMRs (mode ``1:N``: FPIRs).
        mode: ``1:1`` or ``1:N``.

    Raises:
        UsageError: none at all, a rate outside (0, 1), or a rate of the other mode.
    """
    default = Kind.FPIR if mode == "1:N" else Kind.FMR
    asked = {one if isinstance(one, Target) else Target(default, one) for one in targets}
    if not asked:
        msg = "there is no target: ask for one, for example --target-fmr 1e-3"
        raise UsageError(msg)
    for one in asked:
        if not 0.0 < one.rate < 1.0:
            msg = f"target {one.kind.upper()}s must lie inside (0, 1), for example 1e-3, not {one.rate:g}"
            raise UsageError(msg)
        if (one.kind in _SEARCH_KINDS) != (mode == "1:N"):
            other = "1:1" if mode == "1:N" else "1:N"
            msg = f"a target {one.kind.upper()} needs --mode {other}; mode {mode} knows " + (
                "FPIR and FNIR" if mode == "1:N" else "FMR, FAR, FNMR and FRR"
            )
            raise UsageError(msg)
    return tuple(sorted(asked, key=lambda one: (not one.limits_false_matches, -one.rate, one.kind)))


def short(rate: float) -> str:
    """A rate as it stands in names: ``1e-3``, ``2.5e-4``."""
    mantissa, exponent = f"{rate:.6e}".split("e")
    return f"{float(mantissa):g}e{int(exponent)}"
