"""Numbers in the words of people who do not read tables of error rates; all results are HTML."""

from __future__ import annotations

import math
from html import escape
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from verify.facts import RateFacts

_MANY, _TEXT, _HASH = 1_000_000, 300, 64
_UNIT = "\u00a0%"  # the number and its unit stay on one line
# these turn the direction of writing, and with it the meaning of a line
_UNSEEN = dict.fromkeys((*range(0x200B, 0x2010), *range(0x202A, 0x202F), *range(0x2066, 0x206A)), "\ufffd")
FOREIGN = (
    "score",
    "foreign",
)  # score spaces of another matcher's scores, as evaluate and calibrate name them
DASH = "\u2013"  # nothing to show here
MISSING = '<span class="soft">not measured</span>'


def text(value: object, *, limit: int = _TEXT) -> str:
    """Any string as HTML: escaped, without characters that turn the writing, cut at `limit`."""
    return escape(seen(value, limit=limit))


def seen(value: object, *, limit: int = _TEXT) -> str:
    """Any string without characters that turn the writing, cut at `limit`; for scripts, which escape nothing."""
    plain = str(value).translate(_UNSEEN)
    return plain if len(plain) <= limit else f"{plain[: limit - 1]}…"


def code(value: object, *, limit: int = _TEXT) -> str:
    """A string to be read letter by letter."""
    css = ' class="hash"' if len(str(value)) == _HASH else ""
    return f"<code{css}>{text(value, limit=limit)}</code>"


def count(value: float) -> str:
    """A whole number with thousands separated."""
    return f"{round(value):,}"


def percent(value: float | None) -> str:
    """A rate as percentage of two or three digits: 11.2 %, 0.029 %, 0.00012 %."""
    if value is None:
        return MISSING
    if value <= 0:
        return f"0{_UNIT}"
    share = 100 * value
    digits = max(0, 1 - math.floor(math.log10(share))) if share < 10 else 1  # noqa: PLR2004
    return _bare(f"{share:.{digits}f}") + _UNIT


def _bare(digits: str) -> str:
    """A decimal without zeros behind its last digit."""
    return digits.rstrip("0").rstrip(".") if "." in digits else digits


def one_in(value: float | None) -> str:
    """A rate as a chance: 1 in 3,400; two digits."""
    if value is None:
        return MISSING
    if value <= 0:
        return "none seen"
    return f"1 in {two_digits(1 / value)}"


def two_digits(value: float) -> str:
    """A count that is only worth two digits: 3,448 is 3,400."""
    if value < 10:  # noqa: PLR2004
        return f"{value:.1f}".removesuffix(".0")
    step = 10 ** (math.floor(math.log10(value)) - 1)
    return f"{round(value / step) * step:,}"


def percent_up(value: float | None) -> str:
    """An upper bound as percentage, of the digits that `percent` shows and never rounded down."""
    return percent(value) if value is None else percent(rounded_up(value))


def rounded_up(value: float) -> float:
    """A rate rounded up to the digits that `percent` shows: two below a tenth, three above it."""
    if value <= 0:
        return 0.0
    step = 10.0 ** (math.floor(math.log10(value)) - (1 if value < 0.1 else 2))  # noqa: PLR2004
    return min(1.0, math.ceil(value / step - 1e-9) * step)


def _rounded(value: float) -> float:
    """A rate rounded to the digits that `percent` shows, so that both forms say one number."""
    step = 10.0 ** (math.floor(math.log10(value)) - (1 if value < 0.1 else 2))  # noqa: PLR2004
    return round(value / step) * step


def of_a_million(value: float) -> str:
    """How many of a million strangers: ``about 290``, ``none``, ``fewer than one``."""
    number = value * _MANY
    if number <= 0:
        return "none"
    return "fewer than one" if number < 1 else f"about {_plain(_rounded(value) * _MANY)}"


def at_most(value: float, *, of: int = _MANY) -> str:
    """How many of a million, or of so many, at most; the digits of `percent_up`."""
    number = rounded_up(value) * of
    return "one" if value * of < 1 else _plain(number)


def about(value: float, *, of: int) -> str:
    """How many of so many; the digits of `percent`."""
    return _plain(_rounded(value) * of) if value > 0 else "none"


def _plain(value: float) -> str:
    """A number without the dust of binary fractions."""
    return _bare(f"{value:,.6f}")


def counted(rate: RateFacts | None) -> str:
    """Errors of trials: ``89 of 307,578``."""
    return MISSING if rate is None else f"{count(rate['errors'])} of {count(rate['trials'])}"


def bound_kind(rate: RateFacts) -> str:
    """What a bound speaks about: ``prediction bound`` or ``population bound``."""
    return "prediction bound" if rate["bound"].endswith("-prediction") else "population bound"


def bounded(rate: RateFacts | None, *, kind: bool = False) -> str:
    """A rate with its upper bound: ``0.029 % (at most 0.046 %)``, and which kind of bound it is."""
    if rate is None:
        return MISSING
    most = f"at most {percent_up(rate['upper'])}" if rate["upper"] < 1 else "too few people for a bound"
    most += f", {bound_kind(rate)}" if kind else ""
    return f'{percent(rate["value"])} <span class="soft">({most})</span>'


def number(value: float | None, *, digits: int = 3) -> str:
    """A plain figure, with a true minus sign."""
    return MISSING if value is None else f"{value:.{digits}f}".replace("-", "\u2212")


def threshold(value: float | None) -> str:
    """A threshold to four digits behind the point."""
    return MISSING if value is None else number(value, digits=4)


def target(value: float | None) -> str:
    """A target rate: ``0.1 % · 1 in 1,000``."""
    if value is None:
        return MISSING
    return f'{percent(value)}<br><span class="soft">{one_in(value)}</span>' if value > 0 else percent(value)
