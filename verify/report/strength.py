"""How good the evidence is: costs and reliability of the scores, dependence of the trials, likely label errors."""

from __future__ import annotations

import base64
import math
from typing import TYPE_CHECKING

from verify.report.parts import facts_list, figure, grid, more, note, section
from verify.report.svg import Plot, score_axis
from verify.report.wording import DASH, code, count, number, percent, percent_up, text, threshold

if TYPE_CHECKING:
    from collections.abc import Mapping

    from verify.facts import CalibrationFacts, Dependence, Evidence, Suspect

MOST_SUSPECTS = 30
_KINDS = {"non_mated": "looks like somebody else", "mated": "unlike the rest of the same person"}
_JPEG = b"\xff\xd8\xff"


def evidence(facts: CalibrationFacts) -> str:
    """Cllr, EER, AUC, d', DCF and the reliability plot."""
    found = facts["evidence"]
    if found is None:
        return ""
    loss = found["cllr"] - found["min_cllr"]
    pairs = [
        ("Cllr", f"{number(found['cllr'])}<small>bits; 0 is perfect, 1 says nothing</small>"),
        ("min Cllr", f"{number(found['min_cllr'])}<small>{number(loss)} lost to calibration</small>"),
        (
            "EER",
            f"{percent(found['eer'])}<small>{text(found['eer_method'])}; a summary, not a setting</small>",
        ),
        ("AUC", f"{number(found['auc'], digits=4)}<small>1 is perfect</small>"),
        ("d&prime;", f"{number(found['d_prime'], digits=2)}<small>distance of the two heaps</small>"),
    ]
    rows = [
        [
            f"1 in {1 / one['prior']:,.0f}" if one.get("prior") else DASH,
            f"{one.get('cost_miss', 1.0):g} : {one.get('cost_false_accept', 1.0):g}",
            number(one.get("actual")),
            number(one.get("minimum")),
        ]
        for one in found["dcf"]
    ]
    columns = [
        "rightful people among those who come",
        "cost of a miss : of a false accept",
        "actual DCF",
        "minimum DCF",
    ]
    table = grid("Detection costs", columns, rows)
    lead = "Beyond one threshold: how much the scores tell, and whether they say what they mean."
    side = f'<div class="charts"><div>{table}</div>{_reliability(found)}</div>'
    return section("evidence", "Scores as evidence", lead, facts_list(pairs, css="tiles"), side)


def _reliability(found: Evidence) -> str:
    bins = found["reliability"]
    rows = zip(bins["llr_predicted"], bins["llr_seen"], bins["trials"], strict=True)
    seen = [(x, y, n) for x, y, n in rows if y is not None and math.isfinite(y)]
    if not seen:
        return ""
    ends = [v for x, y, _ in seen for v in (x, y)]
    low, high = max(-25.0, min(ends) - 0.5), min(25.0, max(ends) + 0.5)
    plot = Plot(score_axis(low, high, "log-likelihood ratio stated"), score_axis(low, high, "seen"))
    plot.line([low, high], [low, high], "chosen")
    plot.line([x for x, _, _ in seen], [y for _, y, _ in seen], "thin a")
    most = max(n for _, _, n in seen) or 1
    for x, y, n in seen:
        plot.dot(x, y, "a", radius=3 + 4 * math.sqrt(math.log1p(n) / math.log1p(most)), title=f"{n:,} trials")
    drawing = plot.svg(
        "Reliability: the log-likelihood ratio seen over the one stated; on the dashed diagonal both agree."
    )
    return figure(
        "Reliability.",
        drawing,
        "On the dashed line the scores mean what they say; larger marks hold more trials.",
    )


def dependence(facts: CalibrationFacts, thumbnails: Mapping[str, bytes]) -> str:
    """How far the trials are from independent, and who errs most."""
    found = facts["dependence"]
    if found is None:
        return ""
    factor = f"{found['design_effect']:,.1f}"
    pairs = [
        (
            "Effective trials",
            f"{count(found['n_eff'])}<small>at threshold {threshold(found['threshold'])}</small>",
        ),
        ("Design effect", f"{factor}<small>trials that weigh as much as one</small>"),
        (
            "Bound if independent",
            f"{percent_up(found['independent_upper'])}<small>too narrow: shown for comparison</small>",
        ),
        ("Bound over people", f"{percent_up(found['dyadic_upper'])}<small>the one that is used</small>"),
    ]
    if found["bootstrap_upper"] is not None:
        pairs.append(
            ("Bound by bootstrap", f"{percent_up(found['bootstrap_upper'])}<small>people drawn again</small>")
        )
    lead = (
        "Comparisons share people: somebody who looks like many others errs many times. "
        "Counting each comparison as new evidence would promise too much."
    )
    return section(
        "dependence",
        "How much the trials really say",
        lead,
        facts_list(pairs, css="tiles"),
        _suspects(found, thumbnails),
    )


def _suspects(found: Dependence, thumbnails: Mapping[str, bytes]) -> str:
    body = ""
    for name, items in (
        ("Pairs that look most like one person", found["pairs"]),
        ("Samples unlike their own person, and people with most false matches", found["subjects"]),
    ):
        rows = [_suspect(one, thumbnails) for one in items[:MOST_SUSPECTS]]
        shown = [True, bool(thumbnails), any("side" in one for one in items), True, True, True, True]
        columns = ["who", "samples", "half", "what", "errors", "score", "why"]
        columns, rows = _only(columns, shown), [_only(row, shown) for row in rows]
        body += (
            (f"<h3>{name}</h3>" + grid(name, columns, rows) + more(len(items), MOST_SUSPECTS)) if rows else ""
        )
    if not body:
        return ""
    faces = (
        note("This page holds photos of people: keep and share it as such.", css="warn") if thumbnails else ""
    )
    return (
        f"<p>Look here first for wrong labels: two ids of one person, or one id of two. {_covered(found)}</p>"
        f"{faces}{body}"
    )


def _only(cells: list[str], shown: list[bool]) -> list[str]:
    return [cell for cell, here in zip(cells, shown, strict=True) if here]


def _covered(found: Dependence) -> str:
    """Whom the search for wrong labels took in."""
    if any("side" in one for one in (*found["pairs"], *found["subjects"])):
        return (
            "The people of both halves were searched, those who set the threshold and those who tested it, each "
            "half within itself; the figures above are of the test half."
        )
    return "The people measured were searched."


def _suspect(one: Suspect, thumbnails: Mapping[str, bytes]) -> list[str]:
    names = " and ".join(f"<b>{text(who, limit=80)}</b>" for who in one["subjects"][:2])
    files = "<br>".join(code(name, limit=120) for name in one["samples"][:2])
    return [
        names + (f"<br>{files}" if files else ""),
        "".join(picture(thumbnails[name], name) for name in one["samples"][:2] if name in thumbnails),
        text(one.get("side", DASH), limit=40),
        _KINDS.get(one["kind"], text(one["kind"], limit=80)),
        f"{count(one['errors'])} of {count(one['trials'])}",
        DASH if one["score"] is None else number(one["score"]),
        f'<span class="wrap">{text(one["note"], limit=400)}</span>',
    ]


def picture(jpeg: bytes, name: str) -> str:
    """A thumbnail inside the page; anything but a JPEG is left out."""
    if not jpeg.startswith(_JPEG):
        return ""
    data = base64.b64encode(jpeg).decode("ascii")
    return f'<img class="thumb" src="data:image/jpeg;base64,{data}" alt="{text(name, limit=120)}">'


def suspect_samples(facts: CalibrationFacts) -> list[str]:
    """The files that thumbnails are wanted of, the most suspect first, each once."""
    found = facts["dependence"]
    if found is None:
        return []
    rows = (*found["pairs"][:MOST_SUSPECTS], *found["subjects"][:MOST_SUSPECTS])
    return list(dict.fromkeys(name for one in rows for name in one["samples"][:2]))
