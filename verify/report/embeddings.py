"""Embeddings as a map in the plane, once for each way of colouring it, with what a classifier reads out of them.

A map is only a picture: what lies together on it may be pressed together. So beside each there is the number that needs
no picture, how well a linear classifier tells the colours of people it has not met, next to the level of chance.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from verify.report.embedding_maps import inner_spots, panel_figure, spots_of
from verify.report.page import asset, page
from verify.report.parts import grid, note, section
from verify.report.wording import DASH, code, count, number, percent, seen, text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from verify.evaluation.probes import Probe

_NAME = 120  # letters of a name in a hint


@dataclass(frozen=True, slots=True)
class Panel:
    """One way of colouring the map.

    Attributes:
        name: ``identity``, or the condition.
        labels: (n,) value of each point; ``""`` where it is not known.
        values: in the order to show them.
        probe: what a classifier reads; None with `why`.
        why: no probe was made, in words.
        ordered: the values go from less to more, and the colours from light to dark.
        telling: colours are one a subject, too many for a legend.
    """

    name: str
    labels: tuple[str, ...] = field(repr=False)
    values: tuple[str, ...] = field(repr=False)
    probe: Probe | None
    why: str = ""
    ordered: bool = False
    telling: bool = False


@dataclass(frozen=True, slots=True)
class EmbeddingMap:
    """Everything that the page shows.

    Attributes:
        title: of the page.
        model: name of the model, and its id.
        method: of the projection: ``t-SNE``, ``UMAP``, ``PCA``.
        places: (n, 2) points, any scale.
        subjects: (n,) subject of each point.
        samples: (n,) what each sample is called: its file's name.
        panels: the first is the identity's.
        within: (n,) places of what is left of each sample without its subject's mean; None for a subject's only one.
        shown: words on which samples are drawn and which are not.
        figures: (name, value, note) of retrieval and the like.
        created_at: ISO 8601.
        command: that draws it again.
    """

    title: str
    model: tuple[str, str]
    method: str
    places: Sequence[tuple[float, float]] = field(repr=False)
    subjects: Sequence[str] = field(repr=False)
    samples: Sequence[str] = field(repr=False)
    panels: Sequence[Panel] = field(repr=False)
    shown: str
    within: Sequence[tuple[float, float] | None] = field(default=(), repr=False)
    figures: Sequence[tuple[str, float, str]] = ()
    created_at: str = ""
    command: str = ""


def embeddings_page(drawn: EmbeddingMap) -> str:
    """One self-contained HTML page that makes no network request; every string in it is escaped."""
    spots = spots_of(drawn.places)
    head = (
        f'<header class="top"><p class="soft">Embeddings &middot; {text(drawn.model[0], limit=80)} &middot; '
        f"{text(drawn.created_at[:10])}</p><h1>{text(drawn.title, limit=200)}</h1>"
        f"<p>{text(drawn.shown)}</p></header>\n"
    )
    finder = (
        '<form class="finder" hidden><label for="who">Show one subject</label> '
        '<select id="who"><option value="">everybody</option></select>'
        '<output for="who" id="spot" aria-live="polite">Point at a sample to see whose it is.</output></form>'
    )
    lead = (
        f"Every point is a sample, at the same place in every map ({text(drawn.method)}). Near means alike; distances "
        "between groups mean nothing. People should form groups, conditions should not."
    )
    maps = "".join(panel_figure(one, spots, number=k, of="all") for k, one in enumerate(drawn.panels))
    body = head + _read(drawn) + section("maps", "Maps", lead, finder, f'<div class="maps">{maps}</div>')
    inner = inner_spots(drawn.within)
    body += _without_people(drawn, inner) + _figures(drawn) + _about(drawn) + _data(drawn, spots, inner)
    style = asset("report.css") + asset("embeddings.css")
    return page(drawn.title[:200], body, style=style, script=asset("embeddings.js"))


def _without_people(drawn: EmbeddingMap, spots: Sequence[tuple[int, int] | None]) -> str:
    """Maps of what is left of each sample without its subject's mean, for conditions that change within subjects."""
    fit = [
        (k, one)
        for k, one in enumerate(drawn.panels)
        if one.probe is not None and one.probe.shuffled == "within subjects"
    ]
    if not fit or not spots:
        return ""
    lead = (
        "Each sample less the mean of its subject, along the two directions in which samples of one person differ "
        "most. Nobody looks like anybody here: whatever groups there are, the captures made."
    )
    maps = "".join(panel_figure(one, spots, number=k, of="within") for k, one in fit)
    return section("within", "Without the person", lead, f'<div class="maps">{maps}</div>')


def _read(drawn: EmbeddingMap) -> str:
    """All probes as a table, and in one sentence which conditions show."""
    rows = []
    for panel in drawn.panels:
        probe = panel.probe
        if probe is None:
            rows.append([text(panel.name, limit=80), f'<span class="soft">{text(panel.why)}</span>'])
            continue
        upper = "" if probe.chance_upper is None else f" (at most {percent(probe.chance_upper)})"
        p = "" if probe.p_value is None else f"{probe.p_value:.3g}"
        rows.append(
            [
                text(panel.name, limit=80),
                f"<b>{percent(probe.accuracy)}</b>",
                f"{percent(probe.chance)}{upper}",
                p,
                _shift(probe.non_mated_shift),
                _shift(probe.mated_shift),
                _who(probe),
            ]
        )
    columns = ["told", "rightly", "by chance", "p", "two people, one condition", "one person", "what to know"]
    labels = [
        "",
        "told rightly",
        "by chance",
        "p",
        "score of two people under one condition",
        "of one person",
        "",
    ]
    found = {
        says: [panel.name for panel in drawn.panels if _says(panel) == says]
        for says in ("it shows", "a faint trace", "no trace")
    }
    words = {
        "it shows": "The embeddings give away",
        "a faint trace": "Faint traces of",
        "no trace": "No trace of",
    }
    said = " ".join(f"{words[says]}: {', '.join(names)}." for says, names in found.items() if names)
    lead = (
        "A linear classifier learns on some people and is asked about others (identity: about other samples of the "
        "same people); classes count alike. The level of chance is that of shuffled labels. The last columns say "
        "how much higher the mean score of two samples is if they share the condition: between two people that is "
        "likeness that is none."
    )
    remark = note(text(said or "No condition could be judged."), css="warn" if found["it shows"] else "")
    return section(
        "conditions",
        "What can be read out of them",
        lead,
        remark,
        grid("Probes", columns, rows, labels=labels),
    )


def _says(panel: Panel) -> str:
    return "" if panel.probe is None or panel.probe.chance_upper is None else panel.probe.says


def _shift(value: float | None) -> str:
    if value is None:
        return f'<span class="soft">{DASH}</span>'
    return ("+" if value >= 0 else "") + number(value, digits=4)


def _who(probe: Probe) -> str:
    words = f"{count(len(probe.classes))} classes, {count(probe.samples)} samples of {count(probe.subjects)} subjects"
    if probe.left_out:
        words += f"; {count(probe.left_out)} left out"
    if probe.shuffled == "between subjects":
        words += "; one condition a subject: a tie may be one with the people who have it"
    elif probe.shuffled:
        words += "; what goes with the person is in the level of chance"
    return f'<span class="soft">{words}</span>'


def _figures(drawn: EmbeddingMap) -> str:
    rows = [
        [text(name), f"<b>{value:,}</b>" if isinstance(value, int) else f"<b>{value:.4g}</b>", text(words)]
        for name, value, words in drawn.figures
    ]
    lead = "Of the evaluation that drew this page, over all of its samples."
    table = grid("Figures", ["figure", "value", "what to know"], rows, labels=["", "", ""])
    return section("figures", "Figures", lead, table)


def _about(drawn: EmbeddingMap) -> str:
    lines = f"<p>Model {text(drawn.model[0])}, model_id {code(drawn.model[1])}.</p>"
    return section("again", "Draw it again", "", lines, f"<pre>{text(drawn.command, limit=2000)}</pre>")


def _data(
    drawn: EmbeddingMap, spots: Sequence[tuple[int, int]], inner: Sequence[tuple[int, int] | None]
) -> str:
    """The points for the script: no more than the maps and the hints need."""
    subjects = list(dict.fromkeys(drawn.subjects))
    place = {subject: k for k, subject in enumerate(subjects)}
    points = {
        "subjects": [seen(one, limit=_NAME) for one in subjects],
        "of": [place[subject] for subject in drawn.subjects],
        "all": [value for spot in spots for value in spot],
        "within": [value for spot in inner for value in spot or (None, None)],
        "names": [seen(one, limit=_NAME) for one in drawn.samples],
        "labels": {
            seen(panel.name, limit=_NAME): [seen(one, limit=_NAME) for one in panel.labels]
            for panel in drawn.panels
            if not panel.telling
        },
    }
    told = json.dumps(points, ensure_ascii=True, separators=(",", ":")).replace("<", "\\u003c")
    return f'<script type="application/json" id="points">{told}</script>'
