"""Maps of embeddings as SVG: points by colour, one path a colour, and what a classifier makes of the colours."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from verify.report.wording import percent, text

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from verify.report.embeddings import Panel

MOST_COLOURS = 8  # that a reader can tell apart; further values share grey
_SIDE, _EDGE, _SCALE = 460, 14, 10_000
_MARKS = {"it shows": "bad", "a faint trace": "open", "no trace": "good"}
_OTHER, _NONE = "others", "not given"


def spots_of(places: Sequence[tuple[float, float]]) -> list[tuple[int, int]]:
    """Places in ten-thousandths of the map's side, y downwards; one scale for both axes."""
    xs, ys = [x for x, _ in places], [y for _, y in places]
    low_x, low_y = min(xs), min(ys)
    side = max(max(xs) - low_x, max(ys) - low_y) or 1.0
    left, top = (side - max(xs) + low_x) / 2, (side - max(ys) + low_y) / 2
    return [
        (round((x - low_x + left) / side * _SCALE), round(_SCALE - (y - low_y + top) / side * _SCALE))
        for x, y in places
    ]


def inner_spots(places: Sequence[tuple[float, float] | None]) -> list[tuple[int, int] | None]:
    """As `_spots`, to the scale of all but the outermost fiftieth, which is drawn at the edge."""
    there = [place for place in places if place is not None]
    if not there:
        return []
    reaches = sorted(max(abs(x), abs(y)) for x, y in there)
    reach = 1.1 * reaches[math.ceil(0.98 * len(there)) - 1] or 1.0
    held = [(min(max(x, -reach), reach), min(max(y, -reach), reach)) for x, y in there]
    found = iter(spots_of([*held, (-reach, -reach), (reach, reach)]))
    return [None if place is None else next(found) for place in places]


def panel_figure(panel: Panel, spots: Sequence[tuple[int, int] | None], *, number: int, of: str) -> str:
    """One map with its name, its number and its legend; `of` says which places the script is to take."""
    css = _colours(panel)
    groups: dict[str, list[tuple[int, int]]] = {}
    for label, spot in zip(panel.labels, spots, strict=True):
        if spot is not None:
            groups.setdefault(css[label], []).append(spot)
    # grey first: what has no colour must not hide what has one
    drawing = "".join(
        f'<path class="p {one}" d="{"".join(_mark(spot) for spot in groups[one])}"/>'
        for one in sorted(groups, key=lambda one: (one not in ("none", "rest"), one))
    )
    label = f"Map of {sum(map(len, groups.values())):,} samples coloured by {panel.name}. {_plain(panel)}"
    svg = (
        f'<svg class="map" viewBox="0 0 {_SIDE} {_SIDE}" role="img" aria-label="{text(label)}" data-of="{of}">'
        f'{drawing}<g class="found"></g></svg>'
    )
    return (
        f'<figure id="{of}-{number}"><figcaption><b>{text(panel.name, limit=80)}</b> '
        f"{_verdict(panel)}</figcaption>{svg}{_legend(panel, css)}</figure>"
    )


def _mark(spot: tuple[int, int]) -> str:
    """A point of a path: a line of no length with a round cap."""
    x, y = (_EDGE + value / _SCALE * (_SIDE - 2 * _EDGE) for value in spot)
    return f"M{x:.1f} {y:.1f}h0"


def _colours(panel: Panel) -> dict[str, str]:
    """Value -> style class."""
    if panel.telling:
        return {value: f"h{k % 12}" for k, value in enumerate(panel.values)}
    counts = {value: panel.labels.count(value) for value in panel.values}
    few = set(sorted(panel.values, key=lambda value: -counts[value])[:MOST_COLOURS])
    kind = "q" if panel.ordered else "c"
    css = {"": "none"} | dict.fromkeys(panel.values, "rest")
    shown = [value for value in panel.values if value in few]
    return css | {value: f"{kind}{k}" for k, value in enumerate(shown)}


def _legend(panel: Panel, css: Mapping[str, str]) -> str:
    if panel.telling:
        return f'<p class="soft">{len(panel.values):,} subjects in 12 colours: two of one colour far apart are two.</p>'
    named = [(css[value], value) for value in panel.values if css[value] != "rest"]
    if "rest" in css.values():
        named.append(("rest", f"{_OTHER} ({sum(one == 'rest' for one in css.values()):,} values)"))
    if "" in panel.labels:
        named.append(("none", _NONE))
    keys = "".join(
        f'<li><svg class="dotkey" viewBox="0 0 12 12" aria-hidden="true"><path class="p {one}" d="M6 6h0"/></svg>'
        f"{text(value, limit=60)}</li>"
        for one, value in named
    )
    return f'<ul class="legend">{keys}</ul>'


def _verdict(panel: Panel) -> str:
    """What the classifier reads, in one line beside the map's name."""
    if panel.probe is None:
        return f'<span class="soft">{text(panel.why)}</span>'
    probe = panel.probe
    told = f"<strong>{percent(probe.accuracy)}</strong> told rightly"
    if probe.chance_upper is None:
        return f"{told} by a linear classifier; by chance {percent(probe.chance)}"
    css = _MARKS[probe.says]
    level = f"by chance {percent(probe.chance)}, at most {percent(probe.chance_upper)}"
    return f'{told} of new people; {level}: <span class="{css}">{probe.says}</span>'


def _plain(panel: Panel) -> str:
    """The same for whom cannot see it."""
    probe = panel.probe
    if probe is None:
        return panel.why
    return f"A linear classifier tells {probe.accuracy:.1%} rightly, chance is {probe.chance:.1%}."
