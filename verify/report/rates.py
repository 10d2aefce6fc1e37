"""Error rates at thresholds: the ladder of targets, and what became of each on people who took no part."""

from __future__ import annotations

from typing import TYPE_CHECKING

from verify.report.parts import EXTRAPOLATED, Scale, grid, rate_cell, section
from verify.report.wording import DASH, bound_kind, percent_up, target, text, threshold

if TYPE_CHECKING:
    from verify.facts import CalibrationFacts, RateFacts, Rung, Transfer


_LADDER = ("at most", "", "threshold", "FMR on new people", "FNMR on new people")
_TRANSFER = ("target and threshold", "people", "FMR", "FNMR")


def ladder(facts: CalibrationFacts) -> str:
    """One row for each power of ten."""
    rungs = facts["ladder"]
    fmr, fnmr = Scale.of([one["fmr"] for one in rungs]), Scale.of([one["fnmr"] for one in rungs])
    rows = []
    for one in rungs:
        row = [
            target(one["target_fmr"]),
            _support(one),
            threshold(one["threshold"]) if one["threshold"] is not None else DASH,
        ]
        if one["fmr"] or one["fnmr"]:
            row += [
                rate_cell(one["fmr"]) + fmr.draw(one["fmr"], target=one["target_fmr"]) + _remark(one),
                rate_cell(one["fnmr"]) + fnmr.draw(one["fnmr"], css="b"),
            ]
        else:
            row.append(_remark(one))
        rows.append(row)
    columns = [
        "strangers, at most",
        "",
        "threshold",
        fmr.head("FMR on new people"),
        fnmr.head("FNMR on new people"),
    ]
    lead = (
        "Each step lets in ten times fewer strangers, and turns away more rightful people. A step is proven only where "
        "the bound on the calibration people, not the measured rate, meets it, and new people did not exceed it. The "
        "line shows the bounds, the dashed mark the target."
    )
    return section(
        "ladder",
        "The ladder of thresholds",
        lead,
        grid("Ladder of thresholds", columns, rows, labels=_LADDER),
    )


def exceeded(rung: Rung) -> bool:
    """Whether new people showed more than the step promises."""
    return rung["fmr"] is not None and rung["fmr"]["value"] > rung["target_fmr"]


def _support(rung: Rung) -> str:
    """The step's badge: green only where the promise was made and new people kept it."""
    if rung["support"] == "extrapolated":
        return EXTRAPOLATED
    if rung["support"] != "supported":
        return '<span class="badge">not enough data</span>'
    if exceeded(rung):
        return '<span class="badge fail">not kept</span>'
    return '<span class="badge pass">proven</span>'


def _remark(rung: Rung) -> str:
    """What there is to say about a step, under its rate."""
    words = text(rung["message"], limit=450)
    found = '<b class="bad wrap">above the target on new people</b>' if exceeded(rung) else ""
    return found + (f'<span class="soft wrap">{words}</span>' if words else "")


def transfer(facts: CalibrationFacts) -> str:
    """The same threshold on the subjects who chose it and on those who did not."""
    found = facts["transfer"]
    sides: list[RateFacts | None] = [r for one in found for r in (one["calibration_fmr"], one["test_fmr"])]
    misses = [r for one in found for r in (one["calibration_fnmr"], one["test_fnmr"])]
    fmr, fnmr = Scale.of(sides), Scale.of(misses)
    promised = {f"{one['target_fmr']:.6g}": one for one in facts["ladder"]}
    rows = []
    for one in found:
        goal = one["target_fmr"]
        head = f"{target(goal)}<span class='soft'>, from {threshold(one['threshold'])}</span>"
        rung = promised.get(f"{goal:.6g}")
        if rung and rung["support"] == "extrapolated":
            head += f"<br>{EXTRAPOLATED}"
        hit, miss = one["calibration_fmr"], one["calibration_fnmr"]
        said = rate_cell(hit, kind=True) + _promise(rung, one)
        rows.append(
            [head, "chose it", said + fmr.draw(hit, target=goal), rate_cell(miss) + fnmr.draw(miss, css="b")]
        )
        hit, miss = one["test_fmr"], one["test_fnmr"]
        said = rate_cell(hit, kind=True) + fmr.draw(hit, target=goal)
        same = "<span class='soft'>the same</span>"
        rows.append([same, "never seen", said, rate_cell(miss) + fnmr.draw(miss, css="b")])
    columns = ["target and threshold", "people", fmr.head("FMR"), fnmr.head("FNMR")]
    lead = (
        "Does the threshold carry over from the people who chose it to people who took no part? The two rows of a "
        "target should tell the same story. Both have the population bound here, so that they compare; a promise to "
        "a further group (prediction bound) is the wider one, and stands beside it."
    )
    return section(
        "transfer", "From calibration to new people", lead, grid("Transfer", columns, rows, labels=_TRANSFER)
    )


def _promise(rung: Rung | None, one: Transfer) -> str:
    """The bound that the threshold was chosen by, where it is another one than the table's."""
    rate = rung["calibration"] if rung else None
    if rate is None or bound_kind(rate) == bound_kind(one["calibration_fmr"]) or rate["upper"] >= 1:
        return ""
    return f'<br><span class="soft">at most {percent_up(rate["upper"])}, {bound_kind(rate)}</span>'
