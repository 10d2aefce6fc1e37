"""What the pages say: verdict first, in plain words; extrapolation everywhere; nothing empty, nothing unescaped."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.report import made
from verify.report import svg, wording
from verify.report.calibration import MAX_PAGE_BYTES, calibration_page
from verify.report.demo import demo_page

SECTIONS = (
    "scope", "counts", "failures", "ladder", "threshold", "transfer", "evidence", "dependence", "groups", "quality",
    "enrolment", "search", "planning", "attacks", "repeat", "words",
)  # fmt: skip


def words(html: str) -> str:
    """The text of a page, roughly as it is read."""
    html = re.sub(r"<(script|style)\b.*?</\1>", " ", html, flags=re.DOTALL)
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", html).replace("\u00a0", " "))


def ids(html: str) -> list[str]:
    return re.findall(r'<section id="([a-z]+)"', html)


def test_verdict_comes_first_and_in_words() -> None:
    facts: Any = made.full()
    facts["verdicts"][0]["fmr"] = made.rate(89, 307_578) | {"upper": 4.6e-4}
    html = calibration_page(facts)
    assert ids(html)[0] == "verdict"
    read = words(html)
    assert "about 290 would be let in" in read
    assert "By themselves they show at most 460 in a million (0.046 %) with 95 % confidence" in read
    assert "Asked for was at most 1,000" in read


def test_sections_stand_in_the_order_of_the_specification() -> None:
    found = [name for name in ids(calibration_page(made.full())) if name in SECTIONS]
    assert found == list(SECTIONS)


def test_prediction_bounds_speak_of_the_next_group() -> None:
    facts: Any = made.full()
    assert "all people like them show at most" in words(calibration_page(facts))
    facts["verdicts"][0]["calibration"] |= {"bound": "wilson-dyadic-prediction", "upper": 9.99e-4}
    read = words(calibration_page(facts))
    assert "a further group of people will show at most 1,000 false matches in a million" in read
    assert "(0.1 %, prediction bound), which meets 0.1 %" in read


def card(facts: Any) -> str:
    return re.search('<section id="verdict".*?</section>', calibration_page(facts), re.DOTALL).group()


INSUFFICIENT = made.insufficient()["verdicts"][0]


@pytest.mark.parametrize(
    ("found", "css", "word"),
    [
        ([made.verdict(1e-2), made.verdict(1e-3, word="FAIL"), INSUFFICIENT], "fail", "FAIL"),
        ([made.verdict(1e-2), INSUFFICIENT], "open", "INSUFFICIENT DATA"),
        ([made.verdict(1e-2), made.verdict(1e-4, extrapolated=True)], "open", "EXTRAPOLATED, not proven"),
        ([INSUFFICIENT, made.verdict(1e-4, extrapolated=True)], "open", "INSUFFICIENT DATA"),
        ([made.verdict(1e-2), made.verdict(1e-3)], "pass", "PASS"),
    ],
)
def test_the_card_is_the_worst_of_all_verdicts_and_has_a_line_for_each(found, css, word) -> None:
    facts: Any = made.full() | {"verdicts": found}
    html = card(facts)
    assert html.startswith(f'<section id="verdict" class="verdict {css}"')
    assert re.search(r'<p><span class="stamp \w+"><svg.*?</svg>([^<]*)</span>', html).group(1) == word
    lines = re.findall("<li>.*?</li>", html)
    assert len(lines) == len(found)
    for line, one in zip(lines, found, strict=True):
        read = words(line)
        assert f"FMR at most {wording.percent(one['asked_rate'])}".replace("\u00a0", " ") in read
        if one["fmr"]:
            assert f"threshold {wording.threshold(one['threshold'])}" in read
            assert f"bound {wording.percent_up(one['fmr']['upper'])}".replace("\u00a0", " ") in read
    title = re.search("<title>(.*?)</title>", calibration_page(facts)).group(1)
    assert title.startswith(f"{word}: ")


def test_a_card_that_is_not_kept_counts_what_is() -> None:
    facts: Any = made.full() | {
        "verdicts": [made.verdict(1e-2), made.verdict(1e-3, word="FAIL"), INSUFFICIENT]
    }
    assert "Not kept on new people: no more than 1 in 1,000 strangers let in (1 of 3 targets kept)" in words(
        card(facts)
    )


def test_the_headline_of_a_pass_says_measured_and_not_proven() -> None:
    facts: Any = made.full()
    read = words(card(facts))
    assert "Kept on new people: no more than 1 in 1,000 strangers let in" in read
    facts["verdicts"] = [facts["verdicts"][0] | {"fmr": made.rate(290, made.TRIALS) | {"upper": 1.2e-3}}]
    read = words(card(facts))
    assert "Promised from the 74 people it was chosen on" in read
    assert "Measured on people who took no part in choosing" in read
    assert "at most 1,200 in a million (0.12 %) with 95 % confidence, which is above the target" in read


def test_no_error_seen_is_not_called_a_rate_of_zero() -> None:
    read = words(calibration_page(made.extrapolated()))
    assert "not one was a false match" in read
    assert "none would be let in" not in read


def test_a_pass_whose_own_bound_is_above_the_target_says_so() -> None:
    facts: Any = made.full()
    facts["verdicts"][0]["fmr"]["upper"] = 1.1e-3
    assert "cannot prove it on their own" in words(calibration_page(facts))
    facts["verdicts"][0]["fmr"]["upper"] = 9e-4
    assert "cannot prove it on their own" not in words(calibration_page(facts))
    assert "which meets the target too" in words(calibration_page(facts))


@pytest.mark.parametrize(
    ("kind", "word"), [("full", "PASS"), ("failing", "FAIL"), ("insufficient", "INSUFFICIENT DATA")]
)
def test_each_verdict_has_its_word_and_its_mark(kind, word) -> None:
    html = calibration_page(getattr(made, kind)())
    assert re.search(rf'<span class="stamp \w+"><svg.*?</svg>{word}</span>', html)
    assert f"<title>{word}: " in html


def test_fail_does_not_claim_what_was_not_kept() -> None:
    assert "Not kept on new people" in words(calibration_page(made.failing()))


def test_extrapolated_is_said_wherever_the_number_stands() -> None:
    facts: Any = made.extrapolated()
    facts["transfer"].append(made.transfer(1e-5))
    html = calibration_page(facts)
    assert "<title>EXTRAPOLATED, " in html
    for part in (
        '<header class="top">.*?</header>',
        '<section id="verdict".*?</section>',
        '<section id="ladder".*?</section>',
        '<section id="transfer".*?</section>',
    ):
        assert "EXTRAPOLATED" in re.search(part, html, re.DOTALL).group()
    assert 'class="verdict pass"' not in html
    assert 'class="stamp pass"' not in html
    assert "EXTRAPOLATED, not proven" in words(html)
    assert "PASS" not in words(html.split("</title>")[1])
    assert '"support":"extrapolated"' in html
    assert "EXTRAPOLATED" not in words(calibration_page(made.full()))


def test_what_was_not_measured_has_no_empty_chart() -> None:
    html = calibration_page(made.insufficient())
    assert "<figure" not in html
    assert "not measured" in words(html)
    assert not {"transfer", "evidence", "dependence", "enrolment", "search", "planning", "quality"} & set(
        ids(html)
    )
    assert "<tbody>\n</tbody>" not in html


def test_score_files_have_no_model_and_no_captures() -> None:
    read = words(calibration_page(made.score_file()))
    assert "scores of another matcher" in read
    assert "there were no captures, only scores" in read


@pytest.mark.parametrize("kind", ["full", "hostile", "crowded"])
def test_pages_fit_a_megabyte(kind) -> None:
    assert len(calibration_page(getattr(made, kind)()).encode()) <= MAX_PAGE_BYTES


def test_cut_lists_say_how_much_more_there_is() -> None:
    assert "more in the JSON" in calibration_page(made.crowded())


@pytest.mark.parametrize("kind", ["full", "hostile", "extrapolated", "insufficient"])
def test_pages_hold_no_address_and_no_inline_style(kind) -> None:
    html = calibration_page(getattr(made, kind)())
    assert not re.search(r"(?:src|href)=[\"'](?!#|data:)", html)
    assert not re.search(r"https?://|url\(|@import", html)
    assert " style=" not in html
    assert " onclick=" not in html
    assert "default-src 'none'" in html


def test_hostile_strings_are_escaped() -> None:
    html = calibration_page(made.hostile())
    assert "<script>alert" not in html
    assert "<img" not in html
    assert "\u202e" not in html
    assert html.split("</head>")[0].count("</title>") == html.count("</style>") == 1
    assert html.count("<script") == 2


def test_thumbnails_only_where_given_and_only_jpegs() -> None:
    facts = made.full()
    name = facts["dependence"]["pairs"][0]["samples"][0]
    assert "<img" not in calibration_page(facts)
    html = calibration_page(facts, thumbnails={name: b"\xff\xd8\xff\xe0rest"})
    assert html.count("<img") == 1
    assert "This page holds photos of people" in html
    assert "<img" not in calibration_page(facts, thumbnails={name: b"<svg onload=alert(1)>"})


@pytest.mark.parametrize("kind", ["fnmr", "frr", "fnir"])
def test_targets_on_misses_are_told_as_such(kind) -> None:
    facts: Any = made.full()
    facts["verdicts"] = [facts["verdicts"][0] | {"asked_kind": kind, "asked_rate": 0.05}]
    read = words(calibration_page(facts))
    assert "no more than 1 in 20 rightful people turned away" in read


def test_searches_are_told_as_searches() -> None:
    facts: Any = made.full()
    facts |= {"mode": "1:N", "gallery_size": 500, "attempts": 3}
    read = words(calibration_page(facts))
    assert "finding a match among 500 people" in read
    assert "FPIR measured" in read
    assert "with up to 3 attempts each" in read


def test_a_broken_split_is_shouted() -> None:
    facts: Any = made.full()
    facts["sets"][0]["disjoint"] = False
    assert "NO: a person is on both sides" in words(calibration_page(facts))


def test_a_rung_that_new_people_exceed_is_not_green() -> None:
    facts: Any = made.full()
    assert "above the target on new people" not in calibration_page(facts)
    facts["ladder"][2]["fmr"] = made.rate(900, made.TRIALS)
    html = calibration_page(facts)
    row = next(one for one in re.findall("<tr>.*?</tr>", html) if "above the target on new people" in one)
    assert "proven" not in row
    assert '<span class="badge fail">not kept</span>' in row


def test_bounds_of_the_people_who_chose_name_their_kind() -> None:
    facts: Any = made.full()
    facts["ladder"][2]["calibration"] |= {"bound": "wilson-dyadic-prediction", "upper": 9.99e-4}
    html = re.search('<section id="transfer".*?</section>', calibration_page(facts), re.DOTALL).group()
    rows = [words(one) for one in re.findall("<tr>.*?</tr>", html) if "chose it" in one]
    assert all("population bound" in row for row in rows)
    assert ["at most 0.1 %, prediction bound" in row for row in rows] == [False, True, False]


def test_both_ways_to_a_proof_are_told_apart() -> None:
    facts: Any = made.full()
    facts["planning"] = [
        {"target_fmr": 1e-2, "subjects_zero_errors": 598, "subjects_expected": 192, "note": ""},
        {"target_fmr": 1e-3, "subjects_zero_errors": 100, "subjects_expected": 500, "note": ""},
    ]
    html = re.search('<section id="planning".*?</section>', calibration_page(facts), re.DOTALL).group()
    assert "at the very least" not in html
    assert "<b>192</b>" in html
    assert "<b>500</b>" not in html
    assert html.index("as frequent and as clustered as here") < html.index("not one is seen")


def test_suspects_of_both_halves_are_named_with_theirs() -> None:
    facts: Any = made.full()
    assert "The people measured were searched" in words(calibration_page(facts))
    for k, one in enumerate(facts["dependence"]["pairs"]):
        one["side"] = "test" if k % 2 else "calibration"
    read = words(calibration_page(facts))
    assert "The people of both halves were searched" in read
    assert "Pairs that look most like one person" in read
    assert "Pairs that err most" not in read


def test_no_bound_is_said_where_none_was_found_with_or_without_errors() -> None:
    facts: Any = made.full()
    facts["sets"][0]["test"] |= {
        "fta": made.rate(6, 800) | {"upper": 1.0}, "fte": made.rate(0, 76) | {"upper": 1.0},
    }  # fmt: skip
    html = re.search('<section id="failures".*?</section>', calibration_page(facts), re.DOTALL).group()
    assert words(html).count("too few people for a bound") == 2
    assert "100 %" not in words(html)


def test_page_without_any_target_is_drawn() -> None:
    facts: Any = made.full()
    facts["verdicts"] = []
    assert "Nothing was asked for" in calibration_page(facts)


def evaluation() -> Any:
    facts: Any = made.full()
    facts["sets"][0]["split_sha256"] = ""
    facts["notes"] = [
        "the thresholds were calibrated on celeba: the verdicts speak for people outside of these sets"
    ]
    figures = [
        {"name": "EER", "value": 0.0478, "note": "threshold set on these very trials"},
        {"name": "minDCF at prior 0.01", "value": 0.1526, "note": made.HOSTILE},
        {"name": "trials without a score", "value": 3, "note": ""},
    ]
    return facts | {"kind": "evaluation", "protocol": {"name": "listed pairs in folds", "figures": figures}}


def test_evaluations_show_their_protocol_as_a_table() -> None:
    html = calibration_page(evaluation())
    read = words(re.search('<section id="protocol".*?</section>', html, re.DOTALL).group())
    assert "listed pairs in folds" in read
    assert "EER 4.8 % threshold set on these very trials" in read
    assert "minDCF at prior 0.01 0.1526" in read
    assert "&quot;value&quot;" not in html
    assert "<script>alert" not in html
    assert 'id="protocol"' not in calibration_page(made.full())


@pytest.mark.parametrize("found", [{}, {"figures": None}, {"figures": [3, {}]}, {"name": 4, "more": [1]}])
def test_protocols_of_any_shape_are_drawn(found) -> None:
    calibration_page(evaluation() | {"protocol": found})


def test_evaluations_do_not_claim_that_others_chose() -> None:
    read = words(calibration_page(evaluation()))
    assert "Kept on these people" in read
    assert "took no part in choosing" not in read
    assert (
        "The thresholds were calibrated on celeba: the verdicts speak for people outside of these sets"
        in read
    )
    assert "no split: nothing was chosen here" in read


@pytest.mark.parametrize("space", ["score", "foreign"])
def test_another_matchers_scores_have_one_name(space) -> None:
    read = words(calibration_page(made.full() | {"score_space": space}))
    assert "accept at or above, scores of another matcher" in read


def test_constant_and_tiny_curves_are_drawn() -> None:
    facts: Any = made.full()
    flat = {"thresholds": [0.0, 1e-9], "fmr": [0, 0], "fnmr": [0, 0], "fmr_lower": [0, 0], "fmr_upper": [1, 1],
            "fnmr_lower": [0, 0], "fnmr_upper": [1, 1]}  # fmt: skip
    facts |= {"curve": flat, "histogram": {"edges": [0, 1], "mated": [0], "non_mated": [5]}}
    assert "nan" not in calibration_page(facts).lower().split("<style>")[1].split("</style>")[1]


def test_demo_page_keeps_working() -> None:
    html = demo_page([])
    assert "0 decisions" in html
    assert "default-src 'none'" in html


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (0, "0 %"),
        (1, "100 %"),
        (0.1, "10 %"),
        (0.112, "11.2 %"),
        (0.00029, "0.029 %"),
        (1e-6, "0.0001 %"),
        (0.05, "5 %"),
    ],
)
def test_percentages_read_as_people_write_them(value, shown) -> None:
    assert wording.percent(value) == shown.replace(" ", "\u00a0")


@given(st.floats(1e-9, 1))
def test_at_most_never_rounds_down(value) -> None:
    if value * 1e6 >= 1:
        assert float(wording.at_most(value).replace(",", "")) >= value * 1e6 * (1 - 1e-6)


@given(st.floats(1e-9, 1))
def test_bounds_are_rounded_up_and_say_one_number_in_both_forms(value) -> None:
    shown = float(wording.percent_up(value).replace("\u00a0%", "")) / 100
    assert value * (1 - 1e-6) <= shown <= value * 1.1 + 1e-12
    if value * 1e6 >= 1:
        assert float(wording.at_most(value).replace(",", "")) == pytest.approx(shown * 1e6, rel=1e-6)


@given(st.floats(1e-6, 1))
def test_rates_say_one_number_in_both_forms(value) -> None:
    shown = float(wording.percent(value).replace("\u00a0%", "")) / 100
    counted = float(wording.about(value, of=1_000_000).replace(",", ""))
    assert counted == pytest.approx(shown * 1e6, rel=1e-6)


@given(st.floats(1e-9, 1))
def test_percent_keeps_two_digits(value) -> None:
    shown = float(wording.percent(value).replace("\u00a0%", "")) / 100
    assert shown == pytest.approx(value, rel=0.051)


@given(st.lists(st.floats(1e-6, 0.999), min_size=2, max_size=6, unique=True))
def test_axes_keep_the_order_of_values(values) -> None:
    ordered = sorted(values)
    for axis in (svg.probit_axis(1e-6, 0.999, ""), svg.log_axis(1e-6, 1, ""), svg.score_axis(0, 1)):
        places = [axis.at(value) for value in ordered]
        assert places == sorted(places)
        assert all(0 <= place <= 1 for place in places)


@given(st.floats(-100, 100), st.floats(1e-3, 1e3))
def test_linear_ticks_lie_inside_and_are_few(low, span) -> None:
    axis = svg.score_axis(low, low + span)
    assert 2 <= len(axis.ticks) <= 8
    assert all(axis.low - 1e-6 * span <= value <= axis.high + 1e-6 * span for value, _ in axis.ticks)
    assert len({label for _, label in axis.ticks}) == len(axis.ticks)
