"""The pages in a real browser: quiet, alone, reachable by keyboard and by everybody, whole on paper and on a phone."""

from __future__ import annotations

import json
import re

import pytest

from tests.report import made
from verify.report.calibration import calibration_page
from verify.report.compare import compare_page

KINDS = ("full", "failing", "insufficient", "extrapolated", "score_file", "hostile")
PAGES = {name: lambda name=name: calibration_page(getattr(made, name)()) for name in KINDS}
PAGES["compare"] = lambda: compare_page(made.full(), made.score_file())
every_page = pytest.mark.parametrize("name", PAGES)


def percentage(page, name: str) -> float:
    """A rate that the live figures show, as a share."""
    return float(page.inner_text(f"#{name}").replace("\u00a0%", "")) / 100


def threshold(page) -> float:
    return float(page.input_value("#t-range"))


@every_page
def test_page_is_silent_and_asks_for_nothing(name, show) -> None:
    opened = show(PAGES[name]())
    assert opened.complaints == []
    assert all(url.startswith(("file:", "data:")) for url in opened.requests)
    assert len([url for url in opened.requests if url.startswith("file:")]) == 1


@pytest.mark.parametrize(
    ("name", "dark"),
    [("full", False), ("full", True), ("insufficient", True), ("compare", False)],
)
def test_page_passes_axe(name, dark, show) -> None:
    axe = pytest.importorskip("axe_core_python.sync_playwright", reason="axe-core-python is not installed")
    # the intervals drawn in tables are hidden from screen readers, and most of the page's elements
    found = axe.Axe().run(
        show(PAGES[name](), dark=dark).page,
        context={"exclude": [[".interval"]]},
        options={"resultTypes": ["violations"]},
    )
    told = [(one["id"], [node["html"][:160] for node in one["nodes"][:3]]) for one in found["violations"]]
    assert not told
    assert len(found["passes"]) > 10


@every_page
def test_nothing_hangs_over_the_edge(name, show) -> None:
    page = show(PAGES[name](), width=360).page
    for width in (360, 320, 768):
        page.set_viewport_size({"width": width, "height": 800})
        assert page.evaluate("document.documentElement.scrollWidth") <= width


@pytest.mark.parametrize("name", ["full", "failing", "extrapolated"])
def test_tables_fit_a_desk_and_the_ladder_fits_a_phone(name, show) -> None:
    page = show(PAGES[name](), width=1200).page
    hidden = "all => all.filter(one => one.scrollWidth > one.clientWidth + 1).map(one => one.ariaLabel)"
    assert page.eval_on_selector_all(".wide", hidden) == []
    page.set_viewport_size({"width": 390, "height": 800})
    assert page.eval_on_selector_all(".stack", hidden) == []
    assert page.eval_on_selector_all(".stack", "all => all.length") == 2


def test_each_target_is_whole_on_a_phone(show) -> None:
    facts = made.full()
    facts["verdicts"] = [
        made.verdict(1e-2),
        made.verdict(1e-3, word="FAIL"),
        made.insufficient()["verdicts"][0],
    ]
    page = show(calibration_page(facts), width=390).page
    boxes = page.eval_on_selector_all(
        "#verdict .targets li, #verdict .targets li *",
        "all => all.map(one => one.getBoundingClientRect().right)",
    )
    assert len(boxes) > 9
    assert max(boxes) <= 390
    heights = page.eval_on_selector_all(".targets li", "all => all.map(one => one.offsetHeight)")
    assert max(heights) < 200


def test_slider_moves_both_rates_and_every_mark(show) -> None:
    page = show(PAGES["full"]()).page
    before = {name: percentage(page, name) for name in ("t-fmr", "t-fnmr")}
    places = page.eval_on_selector_all("line.live", "all => all.map(one => Number(one.getAttribute('x1')))")
    dot = float(page.get_attribute("circle.live", "cx"))
    page.fill("#t-range", "0.45")
    assert percentage(page, "t-fmr") < before["t-fmr"]
    assert percentage(page, "t-fnmr") > before["t-fnmr"]
    moved = page.eval_on_selector_all("line.live", "all => all.map(one => Number(one.getAttribute('x1')))")
    assert len(moved) == 2
    assert all(after > old for after, old in zip(moved, places, strict=True))
    assert float(page.get_attribute("circle.live", "cx")) < dot


def test_live_rates_are_those_of_the_curve(show) -> None:
    page = show(PAGES["full"]()).page
    for at in (0.1, 0.25, 0.333, 0.4, 0.47):
        page.fill("#t-number", str(at))
        assert percentage(page, "t-fmr") == pytest.approx(made.fmr_at(at)["value"], rel=0.06)
        assert percentage(page, "t-fnmr") == pytest.approx(made.fnmr_at(at)["value"], rel=0.06, abs=1 / 4077)


def test_live_rates_start_at_the_operating_point_and_come_back_to_it(show) -> None:
    facts = made.full()
    page = show(PAGES["full"]()).page
    measured = facts["verdicts"][0]["fmr"]["value"]
    assert percentage(page, "t-fmr") == pytest.approx(measured, rel=0.02)
    page.fill("#t-number", "0.1")
    assert percentage(page, "t-fmr") > 0.3
    page.click("button[type=reset]")
    assert percentage(page, "t-fmr") == pytest.approx(measured, rel=0.02)
    assert threshold(page) == pytest.approx(facts["verdicts"][0]["threshold"], abs=0.002)


def test_keyboard_alone_moves_the_threshold(show) -> None:
    page = show(PAGES["full"]()).page
    page.focus("#t-range")
    start = threshold(page)
    page.keyboard.press("ArrowRight")
    after_one = threshold(page)
    assert start < after_one < start + 0.01
    page.keyboard.press("PageUp")
    assert threshold(page) > after_one + 0.05
    page.keyboard.press("Home")
    assert percentage(page, "t-fmr") == pytest.approx(1.0, rel=0.01)
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.id") == "t-number"
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    assert threshold(page) == pytest.approx(start, abs=1e-6)


def test_every_scrolling_table_can_be_reached_by_keyboard(show) -> None:
    page = show(PAGES["full"](), width=360).page
    outside = page.eval_on_selector_all(
        ".wide", "all => all.filter(one => one.scrollWidth > one.clientWidth && one.tabIndex !== 0).length"
    )
    assert outside == 0


def test_slider_says_the_ladder_and_its_own_value_aloud(show) -> None:
    page = show(PAGES["extrapolated"]()).page
    page.fill("#t-number", "0.3991")
    assert "0.1\u00a0%" in page.inner_text("#t-rung")
    page.fill("#t-number", "0.9")
    assert "0.01\u00a0%" in page.inner_text("#t-rung")
    assert "EXTRAPOLATED" in page.inner_text("#t-rung-more")
    page.fill("#t-number", "-0.3")
    assert page.inner_text("#t-rung") == "no target"
    assert re.search(r"FMR .*FNMR", page.get_attribute("#t-range", "aria-valuetext"))
    assert page.get_attribute("#mover [role=status]", "aria-live") == "polite"


def test_slider_proves_nothing_by_a_step_that_new_people_exceeded(show) -> None:
    facts = made.full()
    facts["ladder"][2]["fmr"] = made.rate(900, made.TRIALS)
    page = show(calibration_page(facts)).page
    page.fill("#t-number", str(facts["ladder"][2]["threshold"] + 0.001))
    assert "FMR at most 1\u00a0%" in page.inner_text("#t-rung")


@pytest.mark.parametrize("typed", ["", "7", "-3"])
def test_a_number_beyond_the_scores_changes_nothing(typed, show) -> None:
    page = show(PAGES["full"]()).page
    before = page.inner_text("#mover dl")
    page.fill("#t-number", typed)
    assert page.inner_text("#mover dl") == before
    assert page.get_attribute("#t-number", "aria-invalid") == "true"


def test_without_scripts_the_page_is_whole_and_shows_no_dead_control(show) -> None:
    page = show(PAGES["full"](), script=False).page
    assert not page.is_visible("#mover")
    assert page.is_visible("text=no more than 1 in 1,000 strangers")
    assert page.is_visible("#ladder table")


def test_paper_has_no_slider_and_cuts_no_chart(show) -> None:
    page = show(PAGES["full"]()).page
    page.set_viewport_size({"width": 700, "height": 1000})
    page.emulate_media(media="print")
    assert not page.is_visible("#mover")
    assert not page.is_visible(".contents")
    assert page.evaluate("getComputedStyle(document.querySelector('figure')).breakInside") == "avoid"
    hidden = page.eval_on_selector_all(
        ".wide", "all => all.filter(one => getComputedStyle(one).overflowX !== 'visible').length"
    )
    assert hidden == 0
    wide = page.eval_on_selector_all(
        "table, svg.chart",
        "all => all.filter(one => one.getBoundingClientRect().right > 701).map(one => one.outerHTML.slice(0, 200))",
    )
    assert wide == []
    assert page.pdf(format="A4").startswith(b"%PDF")


def test_dark_is_dark_and_light_is_light(show) -> None:
    def brightness(*, dark: bool) -> int:
        page = show(PAGES["full"](), dark=dark).page
        colour = page.evaluate("getComputedStyle(document.body).backgroundColor")
        return sum(map(int, re.findall(r"\d+", colour)[:3]))

    assert brightness(dark=False) > 700
    assert brightness(dark=True) < 120


def test_lines_differ_without_colour_too(show) -> None:
    page = show(PAGES["full"]()).page
    read = "all => all.map(one => getComputedStyle(one).strokeDasharray)"
    dashes = page.eval_on_selector_all("#threshold figure:first-child .chart path.line", read)
    assert len(set(dashes)) == len(dashes) == 2


def test_hostile_strings_stay_strings(show) -> None:
    opened = show(PAGES["hostile"]())
    page = opened.page
    assert page.evaluate("document.querySelectorAll('img, iframe, object').length") == 0
    scripts = page.eval_on_selector_all("script", "all => all.length")
    assert scripts == 2
    assert "<script>alert(1)</script>" in page.inner_text("h1")
    assert opened.complaints == []


def test_policy_stops_what_would_get_through(show) -> None:
    html = PAGES["full"]().replace(
        "</main>", "<script>document.title='owned'</script><img src='http://127.0.0.1:9/x'></main>"
    )
    opened = show(html)
    assert opened.page.title() != "owned"
    assert any("Content Security Policy" in one for one in opened.complaints)


def test_embedded_curve_is_the_curve_of_the_facts(show) -> None:
    facts = made.full()
    data = json.loads(show(PAGES["full"]()).page.text_content("#curve"))
    assert data["curve"]["thresholds"] == pytest.approx(facts["curve"]["thresholds"], rel=1e-5, abs=1e-6)
    assert data["curve"]["fmr"] == pytest.approx(facts["curve"]["fmr"], rel=1e-5)
