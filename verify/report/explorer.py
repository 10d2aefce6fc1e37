"""The movable threshold with its charts: rates and scores over the threshold, and both errors over each other."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

from verify.report.parts import figure, section
from verify.report.rates import exceeded
from verify.report.stamps import asked
from verify.report.svg import Axis, Plot, log_axis, probit_axis, score_axis
from verify.report.wording import FOREIGN, count

if TYPE_CHECKING:
    from collections.abc import Sequence

    from verify.facts import CalibrationFacts, Curve, Rung

_FLOOR = 1e-8
_HOW = (
    '<div class="how"><h3>How to read them</h3><ul class="plain">'
    "<li>Further right, the door is stricter: fewer strangers get in, more rightful people are turned away.</li>"
    "<li>Where the two heaps of scores overlap, no threshold can tell the two apart.</li>"
    "<li>A line is what was counted; the shade around it is what the truth may be. Where a line "
    "ends, no error was seen "
    "any more and only the shade is known.</li>"
    "<li>Each step of the scales of rates is ten times rarer, not one less.</li></ul></div>"
)


def explorer(facts: CalibrationFacts) -> str:
    """The movable threshold with its two charts, and the DET curve."""
    curve = facts["curve"]
    bars = histogram(facts)
    if len(curve["thresholds"]) < 2:  # noqa: PLR2004
        body = (
            f'<div class="charts">{bars}</div>'
            if bars
            else '<p class="soft">not measured: there is no curve over thresholds</p>'
        )
        return section("threshold", "Scores", "", body)
    chosen = operating_threshold(facts)
    axis = score_axis(curve["thresholds"][0], curve["thresholds"][-1], score_name(facts))
    det, where = det_chart(curve, trials=trials_of(facts)[0])
    given = next((one for one in facts["verdicts"] if one["threshold"] is not None), None)
    at = "" if given is None else f" It starts at the operating point for {asked(given)}."
    lead = f"Move the threshold and read what it would cost; moving it here changes nothing else.{at}"
    charts = "".join((_rates_chart(facts, axis, chosen), bars, det, _HOW))
    return section(
        "threshold",
        "Move the threshold",
        lead,
        _controls(axis, chosen),
        f'<div class="charts">{charts}</div>',
        _embedded(facts, chosen, where),
    )


def score_name(facts: CalibrationFacts) -> str:
    """What the score axis shows."""
    named = {"llr": "log-likelihood ratio (nats)", "fused-llr": "fused log-likelihood ratio (nats)"}
    named |= dict.fromkeys(FOREIGN, "comparison score of another matcher")
    return named.get(facts["score_space"], f"comparison score ({facts['score_space'][:40]})")


def operating_threshold(facts: CalibrationFacts) -> float | None:
    """The threshold of the first verdict that has one."""
    return next((one["threshold"] for one in facts["verdicts"] if one["threshold"] is not None), None)


def trials_of(facts: CalibrationFacts) -> tuple[int, int]:
    """Non-mated and mated trials behind the curve."""
    found: Sequence[Any] = (*facts["verdicts"], *facts["ladder"])
    non_mated = next((one["fmr"]["trials"] for one in found if one["fmr"]), 0)
    mated = next((one["fnmr"]["trials"] for one in found if one["fnmr"]), 0)
    return (
        non_mated or sum(one["test"]["non_mated_trials"] for one in facts["sets"]),
        mated or sum(one["test"]["mated_trials"] for one in facts["sets"]),
    )


def _floor(rates: Sequence[float], trials: int) -> float:
    """The lowest rate worth drawing, a power of ten."""
    seen = [one for one in rates if one > _FLOOR]
    low = min([*seen, 0.1]) if seen else 0.01
    if trials:
        low = min(low, 1 / trials)
    return float(10.0 ** math.floor(math.log10(max(low, _FLOOR)) + 1e-9))


def _rates_chart(facts: CalibrationFacts, axis: Axis, chosen: float | None) -> str:
    curve = facts["curve"]
    low = _floor((*curve["fmr"], *curve["fnmr"]), trials_of(facts)[0])
    plot = Plot(axis, log_axis(low, 1.0, "share of trials"))
    for rate, css in (("fmr", "a"), ("fnmr", "b")):
        values: dict[str, list[float]] = dict(curve)  # type: ignore[arg-type]
        under = zip(curve["thresholds"], values[f"{rate}_lower"], strict=True)
        over = zip(curve["thresholds"], values[f"{rate}_upper"], strict=True)
        plot.band(under, over, css)
    for values_of, css in ((curve["fmr"], "a"), (curve["fnmr"], "b")):
        seen = [(t, v) for t, v in zip(curve["thresholds"], values_of, strict=True) if v > 0]
        plot.line([t for t, _ in seen], [v for _, v in seen], css)
    _marks(plot, chosen)
    drawing = plot.svg(
        "FMR falls and FNMR rises with the threshold, on a logarithmic scale.", extra=_score_span(axis)
    )
    note = "Strangers let in and rightful people turned away, with two-sided bounds for the plot."
    legend = (
        ("a", "FMR: strangers let in"),
        ("b", "FNMR: rightful people turned away"),
        ("chosen", "operating point"),
    )
    return figure("Rates over the threshold.", drawing, note, legend=legend)


def _marks(plot: Plot, chosen: float | None) -> None:
    if chosen is not None and plot.x.low <= chosen <= plot.x.high:
        plot.upright(chosen, "line chosen")
    plot.upright(plot.x.low if chosen is None else chosen, "live", extra='data-live="x" hidden')


def _score_span(axis: Axis) -> str:
    return f'data-low="{axis.low!r}" data-high="{axis.high!r}"'


def histogram(facts: CalibrationFacts) -> str:
    """Scores of the same person upwards, of strangers downwards, each as share of its own kind."""
    bins = facts["histogram"]
    mated, strangers = sum(bins["mated"]), sum(bins["non_mated"])
    if not mated and not strangers:
        return ""
    curve, edges = facts["curve"]["thresholds"], bins["edges"]
    low, high = (curve[0], curve[-1]) if len(curve) > 1 else (edges[0], edges[-1])
    up = [number / max(1, mated) for number in bins["mated"]]
    down = [-number / max(1, strangers) for number in bins["non_mated"]]
    top, foot = max(*up, 1e-9) * 1.15, min(*down, -1e-9) * 1.15
    axis = score_axis(min(low, edges[0]), max(high, edges[-1]), score_name(facts))
    plot = Plot(axis, Axis("share of trials", foot, top))
    for values, css in ((up, "b"), (down, "a")):
        steps = [(x, v) for k, v in enumerate(values) for x in (edges[k], edges[k + 1])]
        plot.band(
            [(edges[0], 0.0), (edges[-1], 0.0)], [(edges[0], 0.0), *steps, (edges[-1], 0.0)], f"fill {css}"
        )
        plot.line(
            [edges[0], *(x for x, _ in steps), edges[-1]], [0, *(v for _, v in steps), 0], f"thin {css}"
        )
    plot.words(plot.left + 8, plot.top + 14, f"same person ({count(mated)})", css="b strong")
    plot.words(
        plot.left + 8, plot.height - plot.bottom - 8, f"strangers ({count(strangers)})", css="a strong"
    )
    _marks(plot, operating_threshold(facts))
    drawing = plot.svg(
        "Histogram of scores: the same person above the line, strangers below it.", extra=_score_span(axis)
    )
    return figure(
        "Scores.", drawing, "Same person upwards, strangers downwards; the further apart, the better."
    )


def det_chart(curve: Curve, *, trials: int) -> tuple[str, list[list[float]]]:
    """FNMR over FMR on probit axes with both bounds, and the curve's places for the moving mark."""
    low = max(1e-7, _floor(curve["fmr"], trials))
    foot = max(1e-4, _floor([v for v in curve["fnmr"] if v > 0][:1], 0))
    plot = Plot(
        probit_axis(low, 0.5, "FMR: strangers let in"),
        probit_axis(foot, 0.6, "FNMR: rightful people turned away"),
    )
    draw_det(plot, curve, "a")
    at_low = plot.x.low
    plot.dot(at_low, plot.y.low, "live", extra='data-live="det" hidden')
    places = [
        [round(plot.px(max(x, at_low)), 1) for x in curve["fmr"]],
        [round(plot.py(max(y, plot.y.low)), 1) for y in curve["fnmr"]],
    ]
    note = (
        "The two errors against each other; nearer to the lower left corner is better. The band "
        "has both rates at their bounds."
    )
    drawing = plot.svg("DET curve: FNMR over FMR on normal-deviate axes.")
    return figure("Detection error trade-off.", drawing, note, legend=(("a", "test subjects"),)), places


def draw_det(plot: Plot, curve: Curve, css: str) -> None:
    """The line and its band, where errors of both kinds were seen."""
    pairs = zip(curve["fmr"], curve["fnmr"], strict=True)
    seen = [k for k, (x, y) in enumerate(pairs) if 0 < x <= plot.x.high and 0 < y <= plot.y.high]
    # a rate that falls with the threshold is bounded by every bound at a lower one: rising bounds are left out
    over, best = [], math.inf
    for k in seen:
        if curve["fmr_upper"][k] <= best:
            best = curve["fmr_upper"][k]
            over.append((best, curve["fnmr_upper"][k]))
    plot.band([(curve["fmr_lower"][k], curve["fnmr_lower"][k]) for k in seen], over, css)
    plot.line([curve["fmr"][k] for k in seen], [curve["fnmr"][k] for k in seen], css)


def _controls(axis: Axis, chosen: float | None) -> str:
    start = min(max((axis.low + axis.high) / 2 if chosen is None else chosen, axis.low), axis.high)
    step = float(f"{(axis.high - axis.low) / 1000:.0e}")
    return (
        '<form class="mover" id="mover" hidden><div class="knob">'
        f'<label for="t-range">Threshold</label><input type="range" id="t-range" min="{axis.low:.6g}" '
        f'max="{axis.high:.6g}" '
        f'step="{step:.6g}" value="{start:.6g}">'
        f'<input type="number" id="t-number" aria-label="Threshold as a number" min="{axis.low:.6g}" '
        f'max="{axis.high:.6g}" '
        f'step="any" value="{start:.6g}"><button type="reset">Back to the operating point</button></div>'
        '<div role="status" aria-live="polite" aria-atomic="true"><dl class="tiles live">'
        '<div><dt>FMR</dt><dd><span id="t-fmr"></span><small id="t-fmr-more"></small></dd></div>'
        '<div><dt>FNMR</dt><dd><span id="t-fnmr"></span><small id="t-fnmr-more"></small></dd></div>'
        '<div class="two"><dt>What it is proven for</dt><dd><span id="t-rung"></span><small '
        'id="t-rung-more"></small></dd></div>'
        "</dl></div></form>"
    )


def _embedded(facts: CalibrationFacts, chosen: float | None, det: list[list[float]]) -> str:
    curve = {name: [float(f"{v:.6g}") for v in values] for name, values in facts["curve"].items()}  # type: ignore[attr-defined]
    rungs = [
        {"target": one["target_fmr"], "threshold": one["threshold"], "support": _support(one)}
        for one in sorted(facts["ladder"], key=_target_of)[:50]
        if one["threshold"] is not None
    ]
    non_mated, mated = trials_of(facts)
    exact = next(
        (
            [one["fmr"]["errors"], one["fnmr"]["errors"]]
            for one in facts["verdicts"]
            if one["fmr"] and one["fnmr"]
        ),
        None,
    )
    payload = {
        "curve": curve,
        "chosen": chosen,
        "exact": exact,
        "rungs": rungs,
        "trials": [non_mated, mated],
        "det": det,
    }
    body = json.dumps(payload, sort_keys=True, separators=(",", ":")).replace("<", "\\u003c")
    return f'<script type="application/json" id="curve">{body}</script>'


def _support(rung: Rung) -> str:
    """A step that new people exceeded is proven for nothing."""
    return "exceeded" if rung["support"] == "supported" and exceeded(rung) else rung["support"]


def _target_of(rung: Rung) -> float:
    return rung["target_fmr"]
