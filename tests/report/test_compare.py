"""Two reports side by side: differences with honest bounds, and a warning where like is not held against like."""

from __future__ import annotations

import random
import re
from typing import Any

import pytest

from tests.report import made
from tests.report.test_page import words
from verify.report.compare import compare_page
from verify.report.likeness import Difference, like_with_like, names_of


def other() -> Any:
    facts: Any = made.full()
    facts["model"] = facts["model"] | {"name": "dlib-resnet"}
    return facts


def test_like_with_like_has_no_warning() -> None:
    assert like_with_like(made.full(), other()) == []
    assert "Not like with like" not in compare_page(made.full(), other())


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"score_space": "llr"}, "score spaces differ (cosine and llr)"),
        ({"mode": "1:N", "gallery_size": 40}, "modes differ (1:1 and 1:N among 40)"),
        ({"attempts": 3}, "attempts differ"),
        ({"bound": "prediction"}, "prediction bound is wider"),
        ({"confidence": 0.9}, "confidences differ"),
        ({"kind": "evaluation"}, "kinds of report differ"),
    ],
)
def test_unlike_settings_are_warned_of(change, named) -> None:
    facts = other() | change
    assert any(named in one for one in like_with_like(made.full(), facts))
    read = words(compare_page(made.full(), facts))
    assert "Not like with like" in read
    assert named in read


@pytest.mark.parametrize(
    ("field", "named"), [("data_sha256", "The data differ"), ("split_sha256", "The splits differ")]
)
def test_other_people_are_warned_of(field, named) -> None:
    facts = other()
    facts["sets"][0][field] = "ff" * 32
    assert named in words(compare_page(made.full(), facts))


def test_differences_name_the_better_and_admit_a_draw() -> None:
    facts = other()
    for rung in facts["ladder"]:
        if rung["fnmr"]:
            rung["fnmr"] = made.rate(rung["fnmr"]["errors"] // 4, made.MATED_TRIALS, n_eff=2_000)
    read = words(compare_page(made.full(), facts))
    assert "dlib-resnet turns away fewer" in read
    assert "dlib-resnet turns away fewer" in words(compare_page(facts, made.full()))
    assert (
        "turns away fewer"
        not in words(compare_page(made.full(), other())).split("difference is", maxsplit=1)[1]
    )


def test_difference_is_antisymmetric_and_holds_its_value() -> None:
    a, b = made.rate(40, 1000), made.rate(25, 900)
    one, back = Difference.of(a, b), Difference.of(b, a)
    assert (one.value, one.lower, one.upper) == pytest.approx((-back.value, -back.upper, -back.lower))
    assert one.lower < one.value < one.upper


def test_bounds_of_a_difference_cover_the_truth() -> None:
    rng, low_held, high_held, rounds = random.Random(1), 0, 0, 400
    p, q, n = 0.10, 0.06, 400
    for _ in range(rounds):
        a = made.rate(sum(rng.random() < p for _ in range(n)), n, n_eff=n)
        b = made.rate(sum(rng.random() < q for _ in range(n)), n, n_eff=n)
        found = Difference.of(a, b)
        low_held += found.lower <= q - p
        high_held += found.upper >= q - p
    assert low_held / rounds > 0.92
    assert high_held / rounds > 0.92


def test_ladders_that_share_no_step_and_empty_curves_are_drawn() -> None:
    read = words(compare_page(made.full(), made.insufficient()))
    assert "not enough data" in read
    a, b = other(), other()
    a["ladder"], b["ladder"] = a["ladder"][:1], b["ladder"][1:]
    assert "no step of the ladder was measured on both" in words(compare_page(a, b))


def test_extrapolated_steps_say_so() -> None:
    assert "EXTRAPOLATED" in words(compare_page(made.extrapolated(), made.extrapolated()))


def test_cards_take_the_worst_verdict() -> None:
    facts = other()
    facts["verdicts"].append(made.verdict(1e-4, word="FAIL"))
    html = compare_page(made.full(), facts)
    assert re.findall(r'<section class="verdict (\w+)">', html) == ["pass", "fail"]


def test_cards_show_no_figures_where_there_are_none() -> None:
    html = compare_page(made.insufficient(), other())
    card = re.search(r'<section class="verdict open">.*?</section>', html, re.DOTALL).group()
    assert "FMR at most 0.001" in words(card)
    assert "not measured" not in card


def test_steps_that_new_people_exceed_are_marked() -> None:
    facts = other()
    assert "not kept on new people" not in compare_page(made.full(), facts)
    facts["ladder"][2]["fmr"] = made.rate(900, made.TRIALS)
    assert "not kept on new people" in compare_page(made.full(), facts)


def test_names_tell_the_two_apart() -> None:
    assert names_of(made.full(), other()) == ("sface", "dlib-resnet")
    later = made.full() | {"created_at": "2027-01-01T08:00:00+00:00"}
    assert names_of(made.full(), later) == ("2026-11-22 09:41", "2027-01-01 08:00")
    assert names_of(made.full(), made.full())[0].endswith("(A)")


def test_hostile_names_are_escaped() -> None:
    html = compare_page(made.hostile(), made.hostile(), names=(made.HOSTILE, made.HOSTILE))
    assert "<script>alert" not in html
    assert "<img" not in html
