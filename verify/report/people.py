"""For whom it holds: groups, quality strata, enrolment counts, larger galleries, and what more people would buy."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from verify.report.parts import Scale, facts_list, figure, grid, more, note, rate_cell, section
from verify.report.svg import Plot, log_axis
from verify.report.wording import DASH, count, number, percent, percent_up, target, text, threshold

if TYPE_CHECKING:
    from verify.facts import CalibrationFacts, EnrolmentCount, GroupFacts, OneToN, Planning, StrataFacts

_MOST_COLUMNS, _MOST_GROUPS = 8, 24


def groups(facts: CalibrationFacts) -> str:
    """Rates for each group that the user's manifest names."""
    found = facts["groups"]
    if not found:
        return section(
            "groups", "Groups of people", "", '<p class="soft">not measured: the data names no groups</p>'
        )
    lead = (
        "One threshold for all, the errors counted for each group. Labels are the ones in your data: "
        "nothing is guessed from a face "
        "or a voice. Intervals that overlap show no difference."
    )
    return section("groups", "Groups of people", lead, *(_group(one) for one in found[:_MOST_COLUMNS]))


def _group(one: GroupFacts) -> str:
    fmr, fnmr = Scale.of([g["fmr"] for g in one["groups"]]), Scale.of([g["fnmr"] for g in one["groups"]])
    rows = [
        [
            text(g["name"], limit=60),
            count(g["subjects"]),
            rate_cell(g["fmr"]) + _worst(g["name"] == one["worst_fmr"]),
            fmr.draw(g["fmr"]),
            rate_cell(g["fnmr"]) + _worst(g["name"] == one["worst_fnmr"]),
            fnmr.draw(g["fnmr"], css="b"),
        ]
        for g in one["groups"][:_MOST_GROUPS]
    ]
    columns = [text(one["column"]), "people", "FMR within", fmr.head(""), "FNMR", fnmr.head("")]
    pairs = [
        (name, number(value, digits=2))
        for name, value in (
            ("FMR, worst to geometric mean", one["fmr_max_over_geometric_mean"]),
            ("FNMR, worst to geometric mean", one["fnmr_max_over_geometric_mean"]),
            ("FMR, Gini (0 is equal)", one["fmr_gini"]),
            ("FNMR, Gini (0 is equal)", one["fnmr_gini"]),
        )
        if value is not None
    ]
    if one["worst_threshold"] is not None:
        pairs.append(("Threshold that holds for the worst group", threshold(one["worst_threshold"])))
    name = text(one["column"], limit=60)
    rates = grid(f"Rates by {one['column'][:60]}", columns, rows) + more(len(one["groups"]), _MOST_GROUPS)
    return f"<h3>By {name}</h3>{rates}{_across(one)}{facts_list(pairs)}{note(text(one['note']))}"


def _worst(here: bool) -> str:  # noqa: FBT001
    return ' <span class="badge">highest</span>' if here else ""


def _across(one: GroupFacts) -> str:
    scale = Scale.of([pair["fmr"] for pair in one["across"]])
    rows = [
        [f"{text(p['a'], limit=60)} and {text(p['b'], limit=60)}", rate_cell(p["fmr"]), scale.draw(p["fmr"])]
        for p in one["across"][:_MOST_GROUPS]
    ]
    columns = ["strangers of two groups", "FMR", scale.head("")]
    table = grid(f"Strangers of two groups, by {one['column'][:60]}", columns, rows)
    return table + more(len(one["across"]), _MOST_GROUPS)


def strata(facts: CalibrationFacts) -> str:
    """Rates by quality or duration."""
    found = facts["strata"]
    lead = "The same threshold, counted apart by the poorer of the two captures."
    return section(
        "quality", "Quality of the captures", lead, *(_strata(one) for one in found[:_MOST_COLUMNS])
    )


def _strata(one: StrataFacts) -> str:
    rates = one["strata"]
    fmr, fnmr = Scale.of([s["fmr"] for s in rates]), Scale.of([s["fnmr"] for s in rates])
    constant = any(s["fnmr_constant"] is not None for s in rates)
    rows = [
        [
            f"{s['low']:.4g} to {s['high']:.4g}",
            rate_cell(s["fmr"]),
            fmr.draw(s["fmr"]),
            rate_cell(s["fnmr"]),
            fnmr.draw(s["fnmr"], css="b"),
            rate_cell(s["fnmr_constant"]),
        ][: 6 if constant else 5]
        for s in rates
    ]
    name = text(one["measure"].replace("_", " "), limit=60)
    columns = [name, "FMR", fmr.head(""), "FNMR", fnmr.head(""), "FNMR with one constant threshold"][
        : 6 if constant else 5
    ]
    rates_table = grid(f"Rates by {one['measure'][:60]}", columns, rows)
    return f"<h3>By {name}</h3>{rates_table}"


def enrolment(facts: CalibrationFacts) -> str:
    """Rates with several enrolled samples a subject."""
    found = facts["enrolment"]
    fmr, fnmr = Scale.of([one["fmr"] for one in found]), Scale.of([one["fnmr"] for one in found])
    rows = [
        [
            count(one["templates"]),
            rate_cell(one["fmr"]),
            fmr.draw(one["fmr"]),
            rate_cell(one["fnmr"]),
            fnmr.draw(one["fnmr"], css="b"),
        ]
        for one in found
    ]
    columns = ["samples enrolled", "FMR", fmr.head(""), "FNMR", fnmr.head("")]
    lead = (
        "With more samples of a person on file, and the mean of their scores, both errors may "
        "fall at the same threshold."
    )
    return section(
        "enrolment",
        "How many samples to enrol",
        lead,
        grid("Rates by enrolled samples", columns, rows),
        _enrolment_chart(found),
    )


def _enrolment_chart(found: list[EnrolmentCount]) -> str:
    if len({one["templates"] for one in found}) < 3:  # noqa: PLR2004
        return ""
    found = sorted({one["templates"]: one for one in found}.values(), key=lambda one: one["templates"])
    rates = [r for one in found for r in (one["fmr"], one["fnmr"])]
    scale = Scale.of(rates).axis
    ticks = tuple((float(one["templates"]), str(one["templates"])) for one in found[:_MOST_COLUMNS])
    axis = log_axis(
        found[0]["templates"] * 0.85, found[-1]["templates"] * 1.15, "samples enrolled", as_share=False
    )
    axis = type(axis)(axis.label, axis.low, axis.high, axis.kind, ticks)
    plot = Plot(axis, type(scale)("share of trials", scale.low, scale.high, "log", scale.ticks))
    for css, pick in (("a", [one["fmr"] for one in found]), ("b", [one["fnmr"] for one in found])):
        xs = [float(one["templates"]) for one in found]
        seen = [(x, r["value"]) for x, r in zip(xs, pick, strict=True) if r["errors"]]
        plot.line([x for x, _ in seen], [v for _, v in seen], css)
        for x, rate in zip(xs, pick, strict=True):
            plot.whisker(x, rate["lower"], rate["upper"], css)
            plot.dot(x, rate["value"], css if rate["errors"] else f"open {css}")
    legend = (("a", "FMR: strangers let in"), ("b", "FNMR: rightful people turned away"))
    drawing = plot.svg("FMR and FNMR over the number of enrolled samples, with bounds.")
    return f'<div class="charts">{figure("Rates over enrolled samples.", drawing, "With bounds.", legend=legend)}</div>'


def search(facts: CalibrationFacts) -> str:
    """1:N rates over the size of the gallery."""
    found = facts["one_to_n"]
    fpir, fnir = Scale.of([one["fpir"] for one in found]), Scale.of([one["fnir"] for one in found])
    rows = [
        [
            count(one["gallery_size"]),
            "measured" if one["measured"] else '<span class="badge">projected</span>',
            rate_cell(one["fpir"]) + fpir.draw(one["fpir"]),
            percent(one["fpir_independent"]) + _union(one),
            rate_cell(one["fnir"]) + fnir.draw(one["fnir"], css="b"),
            percent(one["rank_1"]) if one["rank_1"] is not None else DASH,
        ]
        for one in found
    ]
    columns = [
        "people searched", "", fpir.head("FPIR: a stranger finds somebody"), "FPIR if independent",
        fnir.head("FNIR: a known person is not found"), "found first",
    ]  # fmt: skip
    at = f" At threshold {threshold(found[0]['threshold'])}." if found else ""
    lead = f"A search compares with everybody enrolled, so a stranger has as many chances as there are people.{at}"
    return section(
        "search",
        "Searching among many (1:N)",
        lead,
        grid("Rates by gallery size", columns, rows),
        _search_chart(found),
    )


def _union(one: OneToN) -> str:
    """The bound that holds whatever the dependence, where it was worked out."""
    upper = one.get("fpir_union_upper")
    return "" if upper is None else f'<br><span class="soft">at most {percent_up(upper)}</span>'


def _search_chart(found: list[OneToN]) -> str:
    found = sorted(found, key=lambda one: one["gallery_size"])
    sizes = [float(one["gallery_size"]) for one in found]
    if len(set(sizes)) < 3:  # noqa: PLR2004
        return ""
    low = min([one["fpir_independent"] for one in found if one["fpir_independent"] > 1e-7] or [0.01])  # noqa: PLR2004
    floor = next(10.0**-k for k in range(12) if 10.0**-k <= low)
    plot = Plot(
        log_axis(sizes[0], sizes[-1], "people searched", as_share=False), log_axis(floor, 1.0, "FPIR")
    )
    steps = [sizes[0] * (sizes[-1] / sizes[0]) ** (k / 80) for k in range(81)]
    single = -math.expm1(math.log1p(-min(found[0]["fpir_independent"], 1 - 1e-12)) / sizes[0])
    plot.line(steps, [max(-math.expm1(g * math.log1p(-single)), floor) for g in steps], "chosen")
    measured = [(one["gallery_size"], one["fpir"]) for one in found if one["fpir"] is not None]
    plot.line([g for g, _ in measured], [max(r["value"], floor) for _, r in measured], "a")
    for size, rate in measured:
        plot.whisker(size, max(rate["lower"], floor), max(rate["upper"], floor), "a")
        plot.dot(size, max(rate["value"], floor), "a" if rate["errors"] else "open a")
    legend = (("a", "measured, with bounds"), ("chosen", "if comparisons were independent"))
    drawing = plot.svg(
        "FPIR over the number of people searched: measured, and if comparisons were independent."
    )
    chart = figure("Strangers who find somebody.", drawing, "It grows with the gallery.", legend=legend)
    return f'<div class="charts">{chart}</div>'


def planning(facts: CalibrationFacts) -> str:
    """What more subjects would buy, by both ways to prove a target."""
    rows = [
        [target(one["target_fmr"]), _expected(one), count(one["subjects_zero_errors"]), text(one["note"])]
        for one in facts["planning"]
    ]
    columns = [
        "to prove at most", "people, if errors are as frequent and as clustered as here",
        "people, if nothing is known of the errors and not one is seen", "",
    ]  # fmt: skip
    lead = (
        "There are two ways to a proof, each with its own number of calibration people. The first counts the errors: "
        "what they show of how often and in whom they come says how the bound shrinks. The second claims nothing but "
        "that no error was seen, and then only pairs that share nobody count: about six people divided by the target. "
        "The smaller number is the way to take; bring as many people again for the test."
    )
    return section("planning", "What more people would buy", lead, grid("People needed", columns, rows))


def _expected(one: Planning) -> str:
    people = one["subjects_expected"]
    if people is None:
        return "not known"
    return f"<b>{count(people)}</b>" if people < one["subjects_zero_errors"] else count(people)
