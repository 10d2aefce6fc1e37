"""The map of embeddings: what it says, what it survives, and how it behaves in a browser."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest

from verify.evaluation.probes import Probe
from verify.evaluation.projection import without_subjects
from verify.report.embeddings import EmbeddingMap, Panel, embeddings_page

LOUD = Probe(
    "camera", ("phone", "webcam"), 60, 12, 3, 0.91, 0.5, 0.56, 0.005, "within subjects", 0.04, 0.031
)  # fmt: skip
QUIET = replace(LOUD, name="session", accuracy=0.52, p_value=0.3)
AT_THE_EDGE = replace(LOUD, name="lens", accuracy=0.57, p_value=0.0547)
FAINT = replace(LOUD, name="microphone", accuracy=0.54, chance_upper=0.53)
WHO = Probe("identity", tuple(f"person {k}" for k in range(12)), 60, 12, 1, 0.94, 1 / 12)


def drawn(**changes: object) -> EmbeddingMap:
    rng = np.random.default_rng(0)
    owner = np.append(np.repeat(np.arange(12), 5), 12)
    vectors = rng.normal(size=(13, 8))[owner] + 0.2 * rng.normal(size=(61, 8))
    subjects = [f"person {k}" for k in owner]
    camera = ["phone" if k % 2 else "webcam" for k in range(60)] + [""]
    panels = (
        Panel("identity", tuple(subjects), tuple(dict.fromkeys(subjects)), WHO, telling=True),
        Panel("camera", tuple(camera), ("phone", "webcam"), LOUD),
        Panel("session", tuple(camera), ("phone", "webcam"), QUIET, ordered=True),
        Panel("room", ("",) * 61, (), None, why="room: no value is shared by two subjects"),
    )
    made = EmbeddingMap(
        title="sface on people", model=("sface", "ab" * 32), method="t-SNE",
        places=[(float(x), float(y)) for x, y in vectors[:, :2]],
        subjects=subjects, samples=[f"{k}.jpg" for k in range(61)], panels=panels, shown="61 of 61 are drawn",
        within=without_subjects(vectors, owner), figures=[("Recall@1", 0.97, "at least 0.96"), ("queries", 60, "")],
        created_at="2026-01-02T00:00:00+00:00", command="verify evaluate people/",
    )  # fmt: skip
    return replace(made, **changes)


def test_the_number_stands_beside_its_map() -> None:
    html = embeddings_page(drawn())
    camera = html[html.index('id="all-1"') : html.index('id="all-2"')]
    assert "91\u00a0%" in camera
    assert "by chance 50\u00a0%, at most 56\u00a0%" in camera
    assert '<span class="bad">it shows</span>' in camera
    assert '<span class="good">no trace</span>' in html[html.index('id="all-2"') :]
    assert "The embeddings give away: camera. No trace of: session." in html
    assert "room: no value is shared by two subjects" in html
    assert "+0.0310" in html


def test_a_faint_trace_is_called_faint() -> None:
    given = drawn()
    html = embeddings_page(replace(given, panels=(*given.panels[:2], replace(given.panels[2], probe=FAINT))))
    assert "Faint traces of: microphone" not in html  # it is called by its panel's name
    assert "Faint traces of: session." in html
    assert '<span class="open">a faint trace</span>' in html


def test_every_point_is_drawn_once_in_each_map() -> None:
    html = embeddings_page(drawn())
    maps = re.findall(r'<svg class="map".*?</svg>', html, re.DOTALL)
    assert len(maps) == 4 + 2  # two conditions change within subjects
    assert [one.count("h0") - one.count('class="p h0"') for one in maps] == [61] * 4 + [60] * 2
    for x, y in re.findall(r"M([\d.]+) ([\d.]+)h0", html):
        assert 6 <= float(x) <= 454
        assert 6 <= float(y) <= 454


def test_colours_run_out_into_grey() -> None:
    given = drawn()
    labels = tuple(f"room {k % 11:02d}" for k in range(61))
    html = embeddings_page(
        replace(given, panels=(Panel("room", labels, tuple(sorted(set(labels))), None, why="-"),))
    )
    assert "others (3 values)" in html
    assert html.count('class="p rest"') == 2


def test_without_conditions_within_subjects_there_is_one_row_of_maps() -> None:
    given = drawn()
    assert "Without the person" not in embeddings_page(replace(given, panels=given.panels[:1]))
    alone = [None] * 61
    assert "Without the person" not in embeddings_page(replace(given, within=alone))


def test_points_on_one_place_break_nothing() -> None:
    html = embeddings_page(drawn(places=[(0.0, 0.0)] * 61, within=[(0.0, 0.0)] * 61))
    assert not re.search(r'd="[^"]*nan', html)


HOSTILE = '</script><script>alert(1)</script><img src=x onerror=alert(2)>"\u202e'


def hostile() -> EmbeddingMap:
    given = drawn()
    bad = Panel(HOSTILE, (HOSTILE,) * 61, (HOSTILE,), replace(LOUD, name=HOSTILE))
    return replace(
        given, title=HOSTILE, samples=[HOSTILE] * 61, subjects=[HOSTILE] * 61, panels=(*given.panels, bad),
        command=HOSTILE, figures=[(HOSTILE, 1.0, HOSTILE)], model=(HOSTILE, HOSTILE),
    )  # fmt: skip


def test_hostile_names_stay_words() -> None:
    html = embeddings_page(hostile())
    assert "<script>alert" not in html
    assert "<img" not in html
    assert "\u202e" not in html
    assert "\\u202e" not in html


@pytest.mark.parametrize(("make", "dark"), [(drawn, False), (drawn, True), (hostile, False)])
def test_page_is_silent_and_for_everybody(make, dark, show) -> None:
    opened = show(embeddings_page(make()), dark=dark)
    assert opened.complaints == []
    assert len(opened.requests) == 1
    if make is hostile:
        return
    axe = pytest.importorskip("axe_core_python.sync_playwright", reason="axe-core-python is not installed")
    found = axe.Axe().run(opened.page, options={"resultTypes": ["violations"]})
    assert not [(one["id"], [node["html"][:160] for node in one["nodes"][:3]]) for one in found["violations"]]


def test_nothing_hangs_over_the_edge(show) -> None:
    page = show(embeddings_page(drawn()), width=360).page
    assert page.evaluate("document.documentElement.scrollWidth") <= 360


def test_a_subject_is_ringed_in_every_map(show) -> None:
    page = show(embeddings_page(drawn())).page
    page.select_option("#who", label="person 3")
    rings = page.eval_on_selector_all(".map", "all => all.map(one => one.querySelectorAll('circle').length)")
    assert rings == [5] * 6
    assert page.inner_text("#spot") == "person 3: 5 samples"
    page.select_option("#who", label="person 12")  # of one sample: on no map without the person
    rings = page.eval_on_selector_all(".map", "all => all.map(one => one.querySelectorAll('circle').length)")
    assert rings == [1] * 4 + [0] * 2
    page.select_option("#who", label="everybody")
    assert page.locator(".map circle").count() == 0


def test_pointing_at_a_sample_says_whose_it_is(show) -> None:
    page = show(embeddings_page(drawn())).page
    spot = re.search(r'data-of="all">.*?d="M([\d.]+) ([\d.]+)h0', page.content(), re.DOTALL)
    page.locator(".map").first.scroll_into_view_if_needed()
    box = page.locator(".map").first.bounding_box()
    page.mouse.move(
        box["x"] + float(spot[1]) / 460 * box["width"], box["y"] + float(spot[2]) / 460 * box["height"]
    )
    assert re.fullmatch(r"person \d+ · \d+\.jpg · camera: \w+ · .*", page.inner_text("#spot"))
    assert page.locator(".map").first.locator("circle.at").count() == 1
    page.mouse.move(box["x"] - 5, box["y"] - 5)
    assert page.locator(".map circle").count() == 0


def test_without_a_script_the_maps_and_numbers_are_there(show) -> None:
    page = show(embeddings_page(drawn()), script=False).page
    assert page.locator(".map").count() == 6
    assert not page.locator(".finder").is_visible()


def test_what_more_than_one_in_twenty_shufflings_match_is_no_trace() -> None:
    assert AT_THE_EDGE.says == "no trace"  # above the 95 % quantile, yet p is 0.0547
    assert FAINT.says == "a faint trace"
