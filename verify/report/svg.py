"""Charts as inline SVG, drawn when the page is made: axes, ticks, lines, bands, bars; linear, log and probit.

Colours and dashes come from the page's style sheet by class, so that one drawing serves light, dark and paper.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from html import escape
from statistics import NormalDist
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_NORMAL = NormalDist()
_DECADES = range(-12, 10)
_GAP = 46  # between the middles of two labels


def _bend(value: float, kind: str) -> float:
    if kind == "log":
        return math.log10(value)
    return _NORMAL.inv_cdf(value) if kind == "probit" else value


@dataclass(frozen=True, slots=True)
class Axis:
    """One axis: what it shows, from where to where, bent how.

    Attributes:
        low: left or bottom end; > 0 for log, in (0, 1) for probit. Values beyond the ends are drawn at the ends.
        kind: ``linear``, ``log`` or ``probit`` (the normal quantile of a rate: error curves become straight lines).
        ticks: (value, label) in the axis' own unit.
    """

    label: str
    low: float
    high: float
    kind: str = "linear"
    ticks: tuple[tuple[float, str], ...] = ()

    def at(self, value: float) -> float:
        """Place of a value, 0 at the low end and 1 at the high end."""
        low, high = _bend(self.low, self.kind), _bend(self.high, self.kind)
        return (_bend(min(max(value, self.low), self.high), self.kind) - low) / (high - low)


def score_axis(low: float, high: float, label: str = "comparison score") -> Axis:
    """A linear axis with ticks at round numbers."""
    if not high > low:
        low, high = low - 0.5, low + 0.5
    raw = (high - low) / 6
    power = 10 ** math.floor(math.log10(raw))
    step = next(power * nice for nice in (1, 2, 2.5, 5, 10) if power * nice >= raw)
    digits = max(0, -math.floor(math.log10(step) + 1e-9) + (1 if step / power == 2.5 else 0))  # noqa: PLR2004
    first = math.ceil(low / step - 1e-9)
    ticks = []
    for k in range(first, math.floor(high / step + 1e-9) + 1):
        value = k * step
        ticks.append((value, f"{value:.{digits}f}".replace("-", "\u2212")))
    return Axis(label, low, high, ticks=tuple(ticks))


def log_axis(low: float, high: float, label: str, *, as_share: bool = True) -> Axis:
    """A log axis with a tick at each power of ten."""
    ticks = [10.0**k for k in _DECADES if low * 0.999 <= 10.0**k <= high * 1.001]
    return Axis(label, low, high, "log", tuple((v, share(v) if as_share else f"{v:,.0f}") for v in ticks))


def probit_axis(low: float, high: float, label: str) -> Axis:
    """A probit axis for rates in (0, 1)."""
    at = (*(10.0**k for k in range(-9, -2)), 0.01, 0.05, 0.2, 0.4, 0.6, 0.8, 0.95)
    return Axis(label, low, high, "probit", tuple((v, share(v)) for v in at if low * 0.999 <= v <= high))


def share(value: float) -> str:
    """A rate as a tick label."""
    return f"{100 * value:.10f}".rstrip("0").rstrip(".") + "%"


@dataclass(slots=True)
class Plot:
    """A chart under construction: add lines, bands and marks, then take `svg`.

    The size is in units of the view box; 460 wide is one column of the page, 1:1 on a desk, 0.7:1 on a phone.
    """

    x: Axis
    y: Axis
    width: int = 460
    height: int = 320
    left: int = 78
    right: int = 24
    top: int = 16
    bottom: int = 46
    parts: list[str] = field(default_factory=list)

    def px(self, value: float) -> float:
        """Horizontal place of a value."""
        return self.left + self.x.at(value) * (self.width - self.left - self.right)

    def py(self, value: float) -> float:
        """Vertical place of a value."""
        return self.height - self.bottom - self.y.at(value) * (self.height - self.top - self.bottom)

    def line(self, xs: Sequence[float], ys: Sequence[float], css: str) -> None:
        """A line through the points."""
        points = list(zip(xs, ys, strict=True))
        if points:
            self.parts.append(f'<path class="line {css}" d="M{self._path(points)}"/>')

    def band(
        self, lower: Iterable[tuple[float, float]], upper: Iterable[tuple[float, float]], css: str
    ) -> None:
        """The area between two lines."""
        points = [*lower, *reversed(list(upper))]
        if points:
            self.parts.append(f'<path class="band {css}" d="M{self._path(points)}Z"/>')

    def whisker(self, x: float, low: float, high: float, css: str) -> None:
        """A bound as a vertical stroke."""
        self.parts.append(
            f'<path class="whisker {css}" d="M{self.px(x):.1f} {self.py(low):.1f}V{self.py(high):.1f}"/>'
        )

    def dot(
        self, x: float, y: float, css: str, *, radius: float = 4.5, title: str = "", extra: str = ""
    ) -> None:
        """A mark with a hint for the pointer."""
        hint = f"<title>{escape(title)}</title>" if title else ""
        self.parts.append(
            f'<circle class="dot {css}" cx="{self.px(x):.1f}" cy="{self.py(y):.1f}" r="{radius:.1f}" '
            f"{extra}>{hint}</circle>"
        )

    def upright(self, x: float, css: str, *, extra: str = "") -> None:
        """A vertical line across the chart."""
        at, foot = f"{self.px(x):.1f}", self.height - self.bottom
        self.parts.append(f'<line class="{css}" x1="{at}" x2="{at}" y1="{self.top}" y2="{foot}" {extra}/>')

    def words(self, x: float, y: float, words: str, *, anchor: str = "start", css: str = "") -> None:
        """A text at a place of the view box."""
        self.parts.append(
            f'<text class="{css}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(words)}</text>'
        )

    def svg(self, label: str, *, extra: str = "") -> str:
        """The drawing; `label` says in one sentence what it shows to whom cannot see it."""
        return (
            f'<svg class="chart" viewBox="0 0 {self.width} {self.height}" role="img" aria-label="{escape(label)}" '
            f'data-left="{self.left}" data-right="{self.width - self.right}" {extra}>{self._axes()}'
            f"{''.join(self.parts)}</svg>"
        )

    def _axes(self) -> str:
        foot, end = self.height - self.bottom, self.width - self.right
        found = []
        for value, word in self.y.ticks:
            at = self.py(value)
            found.append(f'<path class="grid" d="M{self.left} {at:.1f}H{end}"/>')
            found.append(f'<text x="{self.left - 7}" y="{at + 4:.1f}" text-anchor="end">{word}</text>')
        last = -1.0 * _GAP
        for value, word in self.x.ticks:
            at = self.px(value)
            found.append(f'<path class="grid" d="M{at:.1f} {self.top}V{foot}"/>')
            if at - last < _GAP:
                continue  # labels never touch
            last = at
            found.append(f'<text x="{at:.1f}" y="{foot + 17}" text-anchor="middle">{word}</text>')
        middle = (self.left + end) / 2
        found.append(f'<path class="axis" d="M{self.left} {self.top}V{foot}H{end}"/>')
        found.append(
            f'<text class="name" x="{middle}" y="{self.height - 8}" text-anchor="middle">{escape(self.x.label)}</text>'
        )
        high = (self.top + foot) / 2
        found.append(
            f'<text class="name" transform="translate(12 {high}) rotate(-90)" '
            f'text-anchor="middle">{escape(self.y.label)}</text>'
        )
        return "".join(found)

    def _path(self, points: Sequence[tuple[float, float]]) -> str:
        placed = [f"{self.px(x):.1f} {self.py(y):.1f}" for x, y in points]
        return "L".join(one for k, one in enumerate(placed) if not k or one != placed[k - 1])
