"""The pieces that report pages are built of: sections, figures, tables with intervals drawn in them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING

from verify.report.svg import log_axis, share
from verify.report.wording import DASH, bound_kind, bounded, counted, percent_up, text

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from verify.facts import RateFacts
    from verify.report.svg import Axis

# A page shows the first so many of a list and says how many more the JSON holds.
MOST_ROWS = 40
_WIDE, _HIGH, _EDGE = 148, 18, 6
EXTRAPOLATED = '<span class="badge guess">EXTRAPOLATED, not proven</span>'


def section(name: str, title: str, lead: str, *bodies: str) -> str:
    """A section with an anchor; empty when there is nothing to show."""
    body = "".join(bodies)
    if not body:
        return ""
    lead = f'<p class="lead">{lead}</p>' if lead else ""
    return (
        f'<section id="{name}" aria-labelledby="{name}-h"><h2 '
        f'id="{name}-h">{escape(title)}</h2>{lead}{body}</section>\n'
    )


def figure(title: str, drawing: str, note: str, *, legend: Sequence[tuple[str, str]] = ()) -> str:
    """A chart with its title, its legend (style class, words) and what to read off it."""
    keys = "".join(
        f'<li><svg class="key" viewBox="0 0 28 10" aria-hidden="true"><path class="line {css}" d="M1 '
        f'5H27"/></svg>{words}</li>'
        for css, words in legend
    )
    keys = f'<ul class="legend">{keys}</ul>' if keys else ""
    return f"<figure><figcaption><b>{title}</b> {note}</figcaption>{drawing}{keys}</figure>"


def facts_list(pairs: Iterable[tuple[str, str]], *, css: str = "facts") -> str:
    """Names and values; both HTML already."""
    rows = "".join(f"<div><dt>{name}</dt><dd>{value}</dd></div>" for name, value in pairs)
    return f'<dl class="{css}">{rows}</dl>' if rows else ""


def grid(
    name: str, columns: Sequence[str], rows: Sequence[Sequence[str]], *, labels: Sequence[str] = ()
) -> str:
    """A table that scrolls inside itself; columns and cells are HTML already, the first cell heads its row.

    With `labels`, plain words for each column, its cells stand below one another on a narrow screen.
    """
    if not rows:
        return ""
    head = "".join(f'<th scope="col">{column}</th>' for column in columns)
    lines = "".join(_row(row, len(columns), labels) for row in rows[:MOST_ROWS])
    label, css = text(f"{name}: table"), "wide stack" if labels else "wide"
    return (
        f'<div class="{css}" role="region" aria-label="{label}" tabindex="0"><table><caption>{text(name)}</caption>'
        f"<thead><tr>{head}</tr></thead><tbody>\n{lines}</tbody></table></div>{more(len(rows))}"
    )


def _row(row: Sequence[str], columns: int, labels: Sequence[str]) -> str:
    """One line of a table; a row of too few cells stretches its last one."""
    span = f' colspan="{columns - len(row) + 1}"' if len(row) < columns else ""
    named = [f' data-label="{escape(word)}"' if word else "" for word in labels] or [""] * columns
    if span:
        named[len(row) - 1] = ""  # it is not about that column only
    cells = "".join(f"<td{name}>{cell}</td>" for name, cell in zip(named[1:], row[1:-1], strict=False))
    last = f"<td{span}{named[len(row) - 1]}>{row[-1]}</td>"
    return f'<tr><th scope="row"{named[0]}>{row[0]}</th>{cells}{last}</tr>\n'


def more(found: int, shown: int = MOST_ROWS) -> str:
    """What to say when a list was cut."""
    return f'<p class="soft">and {found - shown:,} more in the JSON</p>' if found > shown else ""


def bullets(items: Sequence[str]) -> str:
    """A list of HTML items."""
    if not items:
        return ""
    lines = "".join(f"<li>{item}</li>" for item in items[:MOST_ROWS])
    return f'<ul class="plain">{lines}</ul>{more(len(items))}'


def note(words: str, *, css: str = "") -> str:
    """A remark set apart."""
    return f'<p class="note {css}">{words}</p>' if words else ""


@dataclass(frozen=True, slots=True)
class Scale:
    """One axis for all intervals of a table column."""

    axis: Axis

    @classmethod
    def of(cls, rates: Iterable[RateFacts | None], *, target: float | None = None) -> Scale:
        """A log scale that holds these rates and their bounds, in whole powers of ten."""
        seen = [rate for rate in rates if rate is not None]
        values = [v for rate in seen for v in (rate["value"], rate["upper"], rate["lower"] or rate["value"])]
        values = [v for v in (*values, target or 0.0) if v > 1e-9] or [0.1]  # noqa: PLR2004
        low, high = math.floor(math.log10(min(values))), math.ceil(math.log10(max(values)))
        return cls(log_axis(10.0**low, 10.0 ** max(high, low + 1), ""))

    def _x(self, value: float) -> float:
        return _EDGE + self.axis.at(value) * (_WIDE - 2 * _EDGE)

    def head(self, words: str) -> str:
        """The column's heading with the scale under it."""
        ticks = self.axis.ticks if len(self.axis.ticks) <= 3 else (self.axis.ticks[0], self.axis.ticks[-1])  # noqa: PLR2004
        last = len(ticks) - 1
        labels = "".join(
            f'<text x="{self._x(v):.1f}" y="11" '
            f'text-anchor="{"start" if not k else "end" if k == last else "middle"}">{share(v)}</text>'
            for k, (v, _) in enumerate(ticks)
        )
        return f'{words}<svg class="interval" viewBox="0 0 {_WIDE} 14" aria-hidden="true">{labels}</svg>'

    def draw(self, rate: RateFacts | None, *, css: str = "a", target: float | None = None) -> str:
        """Lower bound to upper bound with the measured rate on it; an open mark where no error was seen."""
        if rate is None:
            return ""
        marks = "".join(
            f'<path class="grid" d="M{self._x(v):.1f} 2V{_HIGH - 2}"/>' for v, _ in self.axis.ticks
        )
        low, high, middle = self._x(rate["lower"]), self._x(rate["upper"]), _HIGH / 2
        if target:
            marks += f'<path class="goal" d="M{self._x(target):.1f} 0V{_HIGH}"/>'
        mark = "dot" if rate["errors"] else "dot open"
        return (
            f'<svg class="interval" viewBox="0 0 {_WIDE} {_HIGH}" aria-hidden="true">{marks}'
            f'<path class="whisker {css}" d="M{low:.1f} {middle}H{high:.1f}"/>'
            f'<circle class="{mark} {css}" cx="{self._x(rate["value"]):.1f}" cy="{middle}" r="4"/></svg>'
        )


def rate_cell(rate: RateFacts | None, *, kind: bool = False) -> str:
    """A rate, its bound (with `kind`: and which) and its counts in one cell."""
    if rate is None:
        return f'<span class="soft">{DASH}</span>'
    if rate["errors"]:
        shown = bounded(rate, kind=kind)
    elif rate["upper"] < 1:
        shown = f"none seen, at most {percent_up(rate['upper'])}" + (f", {bound_kind(rate)}" if kind else "")
    else:
        shown = "none seen, too few people for a bound"
    return f'{shown}<br><span class="soft">{counted(rate)}</span>'
