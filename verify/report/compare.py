"""Two calibrations side by side: another model, another date, other settings, on the same people or not."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from verify.report.calibration import contents
from verify.report.explorer import draw_det, trials_of
from verify.report.likeness import Difference, like_with_like, mode_of, names_of
from verify.report.page import asset, page
from verify.report.parts import EXTRAPOLATED, bullets, figure, grid, more, rate_cell, section
from verify.report.rates import exceeded
from verify.report.scope import glossary, score_space
from verify.report.stamps import asked, stamp, style_of, worst
from verify.report.svg import Plot, probit_axis
from verify.report.wording import DASH, code, number, percent, target, text, threshold

if TYPE_CHECKING:
    from collections.abc import Sequence

    from verify.facts import CalibrationFacts, Evidence, Rung, Verdict

_MOST_LINES = 12  # targets in a card


def compare_page(
    facts_a: CalibrationFacts, facts_b: CalibrationFacts, *, names: tuple[str, str] | None = None
) -> str:
    """Draw two reports side by side: verdicts, ladder, DET overlay, differences with bounds.

    Args:
        facts_a: the one to compare with, for example today's model.
        facts_b: the one that is compared, for example its successor.
        names: what to call them; None takes model names, titles or dates, whichever differ.

    Returns:
        One self-contained HTML page. It warns where the comparison is not like with like.
    """
    plain = names or names_of(facts_a, facts_b)
    called = (text(plain[0], limit=60), text(plain[1], limit=60))
    both = (facts_a, facts_b)
    warned = like_with_like(*both)
    warning = ""
    if warned:
        items = bullets([text(words) for words in warned])
        warning = (
            '<section id="warning" class="verdict open" aria-labelledby="warning-h"><h2 '
            f'id="warning-h">Not like with like</h2>{items}</section>\n'
        )
    body = "".join((
        _differences(facts_a, facts_b, called), _det(both, called), _ladder(both, called), _evidence(both, called),
        _scope(both, called), glossary(),
    ))  # fmt: skip
    head = (
        f'<header class="top"><p class="soft">Comparison of two reports</p><h1>{called[0]} and '
        f"{called[1]}</h1></header>\n"
    )
    top = head + warning + _verdicts(both, called) + contents(body)
    return page(f"{plain[0]} and {plain[1]}", top + body, style=asset("report.css"))


def _verdicts(both: Sequence[CalibrationFacts], called: Sequence[str]) -> str:
    cards = ""
    for facts, name in zip(both, called, strict=True):
        found = facts["verdicts"]
        css = style_of(worst(found)) if found else "open"
        head = f"<p>{stamp(worst(found))}</p>" if found else ""
        lines = "".join(_card_line(one) for one in found[:_MOST_LINES]) + more(len(found), _MOST_LINES)
        cards += (
            f'<section class="verdict {css}">{head}<h2>{name}</h2><p '
            f'class="soft">{text(facts["title"])}, {text(facts["created_at"][:10])}</p>{lines}</section>'
        )
    return f'<div class="two-up">{cards}</div>\n'


def _card_line(one: Verdict) -> str:
    if one["threshold"] is None:
        return f"<p>{stamp(one)} {asked(one)}</p>"
    return (
        f"<p>{stamp(one)} {asked(one)}<small>threshold {threshold(one['threshold'])}</small><small>FMR "
        f"{rate_cell(one['fmr'])}</small><small>FNMR {rate_cell(one['fnmr'])}</small></p>"
    )


def _paired(a: CalibrationFacts, b: CalibrationFacts) -> list[tuple[float, Rung | None, Rung | None]]:
    """Rungs of both ladders by target, from loose to strict."""
    left = {f"{one['target_fmr']:.6g}": one for one in a["ladder"]}
    right = {f"{one['target_fmr']:.6g}": one for one in b["ladder"]}
    keys = sorted({*left, *right}, key=float, reverse=True)
    return [(float(key), left.get(key), right.get(key)) for key in keys]


def _differences(a: CalibrationFacts, b: CalibrationFacts, called: Sequence[str]) -> str:
    rows = []
    for goal, one, other in _paired(a, b):
        if one is None or other is None or one["fnmr"] is None or other["fnmr"] is None:
            continue
        found = Difference.of(one["fnmr"], other["fnmr"])
        guess = f" {EXTRAPOLATED}" if "extrapolated" in (one["support"], other["support"]) else ""
        rows.append([
            target(goal) + guess, rate_cell(one["fnmr"]), rate_cell(other["fnmr"]), _points(found.value),
            f"{_points(found.lower)} to {_points(found.upper)}", _winner(found, called),
        ])  # fmt: skip
    columns = ["strangers, at most", f"FNMR, {called[0]}", f"FNMR, {called[1]}", "difference", "bounds", ""]
    confidence = percent(min(a["confidence"], b["confidence"]))
    lead = (
        "At the same promise against strangers, who turns away fewer rightful people? The difference "
        f"is {called[1]} minus {called[0]}; "
        f"each end of its bounds holds with {confidence} confidence. Where they take in zero, no difference is shown."
    )
    body = grid("Differences", columns, rows)
    return section(
        "difference",
        "The difference",
        lead,
        body or '<p class="soft">no step of the ladder was measured on both</p>',
    )


def _points(value: float) -> str:
    sign = "\u2212" if value < 0 else "+" if value > 0 else ""
    return sign + percent(abs(value))


def _winner(found: Difference, called: Sequence[str]) -> str:
    if found.upper < 0:
        return f"<b>{called[1]}</b> turns away fewer"
    if found.lower > 0:
        return f"<b>{called[0]}</b> turns away fewer"
    return "no difference shown"


def _det(both: Sequence[CalibrationFacts], called: Sequence[str]) -> str:
    curves = [facts["curve"] for facts in both]
    if any(len(curve["thresholds"]) < 2 for curve in curves):  # noqa: PLR2004
        return ""
    trials = max(1, *(trials_of(facts)[0] for facts in both))
    low = max(1e-7, 10.0 ** math.floor(math.log10(1 / trials)))
    misses = [v for curve in curves for v in curve["fnmr"] if v > 0]
    foot = max(1e-4, 10.0 ** math.floor(math.log10(min([*misses, 0.1]))))
    plot = Plot(
        probit_axis(low, 0.5, "FMR: strangers let in"),
        probit_axis(foot, 0.6, "FNMR: rightful people turned away"),
    )
    for curve, css in zip(curves, "ab", strict=True):
        draw_det(plot, curve, css)
    drawing = plot.svg("DET curves of both, on normal-deviate axes.")
    chart = figure(
        "Detection error trade-off.",
        drawing,
        "Nearer to the lower left corner is better.",
        legend=tuple(zip("ab", called, strict=True)),
    )
    return section("det", "Both errors against each other", "", f'<div class="charts">{chart}</div>')


def _ladder(both: tuple[CalibrationFacts, CalibrationFacts], called: Sequence[str]) -> str:
    rows = []
    for goal, *pair in _paired(*both):
        row = [target(goal)]
        for rung in pair:
            row += [DASH, DASH] if rung is None else [_support(rung), rate_cell(rung["fmr"])]
        rows.append(row)
    columns = ["strangers, at most", called[0], "FMR measured", called[1], "FMR measured"]
    return section("ladder", "Both ladders", "", grid("Both ladders", columns, rows))


def _support(rung: Rung) -> str:
    if rung["support"] == "insufficient":
        return '<span class="badge">not enough data</span>'
    said = f" {EXTRAPOLATED}" if rung["support"] == "extrapolated" else ""
    if exceeded(rung):
        said += ' <span class="badge fail">not kept on new people</span>'
    return threshold(rung["threshold"]) + said


def _evidence(both: Sequence[CalibrationFacts], called: Sequence[str]) -> str:
    found: list[Evidence] = [facts["evidence"] for facts in both if facts["evidence"] is not None]
    if len(found) != len(both):
        return ""
    rows = [
        ["Cllr, bits", *(number(one["cllr"]) for one in found)],
        ["min Cllr, bits", *(number(one["min_cllr"]) for one in found)],
        [
            "EER",
            *(
                f"{percent(one['eer'])}<br><span class='soft'>{text(one['eer_method'])}</span>"
                for one in found
            ),
        ],
        ["AUC", *(number(one["auc"], digits=4) for one in found)],
        ["d&prime;", *(number(one["d_prime"], digits=2) for one in found)],
    ]
    return section("evidence", "Scores as evidence", "", grid("Scores as evidence", ["", *called], rows))


def _scope(both: Sequence[CalibrationFacts], called: Sequence[str]) -> str:
    rows = [
        ["model_id", *(code(facts["model"].get("model_id") or "none") for facts in both)],
        ["score space", *(score_space(facts) for facts in both)],
        ["mode", *(text(mode_of(facts)) for facts in both)],
        ["bound", *(f"{text(facts['bound'])}, {percent(facts['confidence'])}" for facts in both)],
        [
            "data",
            *(
                "<br>".join(
                    f"{text(one['name'])} {code(one['data_sha256'][:16])}" for one in facts["sets"][:6]
                )
                for facts in both
            ),
        ],
        [
            "split",
            *("<br>".join(code(one["split_sha256"][:16]) for one in facts["sets"][:6]) for facts in both),
        ],
        ["made at", *(text(facts["created_at"]) for facts in both)],
        ["command", *(code(facts["command"], limit=600) for facts in both)],
    ]
    return section("scope", "What they hold for", "", grid("What they hold for", ["", *called], rows))
