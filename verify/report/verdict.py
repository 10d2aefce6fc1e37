"""The first thing on the page: is the promise kept, said so that a security officer can repeat it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from verify.report.parts import EXTRAPOLATED, facts_list, grid
from verify.report.wording import (
    DASH,
    at_most,
    count,
    counted,
    of_a_million,
    one_in,
    percent,
    text,
    threshold,
    two_digits,
)

if TYPE_CHECKING:
    from verify.facts import CalibrationFacts, RateFacts, Verdict

_MARKS = {
    "PASS": ("pass", '<path d="M6 12.5l4 4 8-9"/>'),
    "FAIL": ("fail", '<path d="M7 7l10 10M17 7L7 17"/>'),
    "INSUFFICIENT DATA": ("open", '<path d="M12 6.5v7M12 17v.5"/>'),
}
_NOTHING = (
    '<section id="verdict" class="verdict open"><h2>Nothing was asked for</h2>'
    "<p>No target rate was given, so there is no verdict: the rates below are for reading.</p></section>"
)
_MISSES = {"fnmr", "frr", "fnir"}


def verdicts(facts: CalibrationFacts) -> tuple[str, str]:
    """The verdict on the first target, large, and the table of the others."""
    found = facts["verdicts"]
    if not found:
        return _NOTHING, ""
    return _large(found[0], facts), _others(found[1:])


def stamp(verdict: Verdict) -> str:
    """PASS, FAIL or INSUFFICIENT DATA: a colour, a sign and the words, and EXTRAPOLATED where it is."""
    css, mark = _MARKS[verdict["verdict"]]
    sign = f'<svg viewBox="0 0 24 24" aria-hidden="true"><circle cx="12" cy="12" r="11"/>{mark}</svg>'
    guess = f" {EXTRAPOLATED}" if verdict["extrapolated"] else ""
    return f'<span class="stamp {css}">{sign}{verdict["verdict"]}</span>{guess}'


def asked(verdict: Verdict) -> str:
    """The target in a table cell: ``FMR at most 0.1 %``."""
    return f"{text(verdict['asked_kind'].upper(), limit=60)} at most {percent(verdict['asked_rate'])}"


def _large(verdict: Verdict, facts: CalibrationFacts) -> str:
    css, guess = _MARKS[verdict["verdict"]][0], ""
    if verdict["extrapolated"]:
        css = "open" if css == "pass" else css  # a forecast never stands in green
        guess = (
            '<p class="note guess"><b>EXTRAPOLATED.</b> No trials reach this far: the threshold '
            "comes from a curve fitted to the "
            "highest scores of strangers (a generalised Pareto tail). It is a forecast, not a measurement.</p>"
        )
    message = f'<p class="soft">{text(verdict["message"], limit=1000)}</p>' if verdict["message"] else ""
    return (
        f'<section id="verdict" class="verdict {css}" aria-labelledby="verdict-h"><p>{stamp(verdict)}</p>'
        f'<h2 id="verdict-h">{_headline(verdict, facts)}</h2>{guess}'
        f"{_strangers(verdict, facts)}{_rightful(verdict, facts)}{_doubt(verdict, facts)}"
        f"{message}{_tiles(verdict, facts)}</section>\n"
    )


def _headline(verdict: Verdict, facts: CalibrationFacts) -> str:
    rate, word = verdict["asked_rate"], verdict["verdict"]
    chance = one_in(rate) if rate > 0 else "none"
    if word == "INSUFFICIENT DATA":
        return f"These people are too few to prove {chance}"
    if verdict["asked_kind"] in _MISSES:
        kept = f"No more than {chance} rightful people is turned away"
    elif facts["mode"] == "1:N":
        kept = f"No more than {chance} strangers finds a match among {count(facts['gallery_size'])} people"
    else:
        kept = f"No more than {chance} strangers is let in"
    if verdict["extrapolated"]:
        kept += ", as far as can be foretold"
    return kept if word == "PASS" else f"Not kept on new people: &ldquo;{kept[0].lower()}{kept[1:]}&rdquo;"


def sure(rate: RateFacts, facts: CalibrationFacts) -> str:
    """How the bound begins in words."""
    if rate["bound"].endswith("-prediction"):
        return f"We are {percent(facts['confidence'])} sure that the next group of people like these will show at most"
    return f"We are {percent(facts['confidence'])} sure that it is at most"


def _strangers(verdict: Verdict, facts: CalibrationFacts) -> str:
    rate = verdict["fmr"]
    if rate is None:
        return ""
    who = "who claim to be somebody else"
    done = "would be let in"
    if facts["mode"] == "1:N":
        who, done = (
            f"who are searched for among {count(facts['gallery_size'])} people",
            "would be taken for one of them",
        )
    if facts["attempts"] > 1:
        who += f", with up to {facts['attempts']} attempts each"
    limit = ""
    if verdict["asked_kind"] not in _MISSES:
        limit = f" Asked for was at most {at_most(verdict['asked_rate'])}."
    if not rate["errors"]:
        found = f"Of {count(rate['trials'])} trials of strangers {who}, <b>not one</b> was a false match."
        bound = (
            f"Of a million that may be <b>{at_most(rate['upper'])}</b> at most, with "
            f"{percent(facts['confidence'])} confidence."
        )
        return f'<p class="say">{found} {bound}{limit}</p>'
    return (
        f'<p class="say">Of a million strangers {who}, <b>{of_a_million(rate["value"])}</b> {done}. '
        f"{sure(rate, facts)} <b>{at_most(rate['upper'])}</b>.{limit}</p>"
    )


def _rightful(verdict: Verdict, facts: CalibrationFacts) -> str:
    rate = verdict["fnmr"]
    if rate is None:
        return ""
    done = "would not be found" if facts["mode"] == "1:N" else "would be turned away"
    most = f"at most {two_digits(1000 * rate['upper'])}"
    if not rate["errors"]:
        return (
            f'<p class="say">Of {count(rate["trials"])} trials of rightful people <b>not one</b> '
            f"failed; of a thousand, {most} {done}.</p>"
        )
    return (
        '<p class="say">Of a thousand rightful people, <b>about '
        f'{two_digits(1000 * rate["value"])}</b> {done} <span class="soft">({most})</span>.</p>'
    )


def _doubt(verdict: Verdict, facts: CalibrationFacts) -> str:
    """What to say when the rate measured keeps the target but its own bound does not."""
    rate = verdict["fnmr"] if verdict["asked_kind"] in _MISSES else verdict["fmr"]
    if verdict["verdict"] != "PASS" or rate is None or rate["upper"] <= verdict["asked_rate"]:
        return ""
    chosen = verdict["calibration"]
    bound = ""
    if (
        chosen is not None
        and chosen["upper"] <= verdict["asked_rate"]
        and verdict["asked_kind"] not in _MISSES
    ):
        bound = f" The threshold was chosen on other people, where the bound is {percent(chosen['upper'])}."
    return (
        f'<p class="say soft">The rate that was measured keeps the target; {count(rate["trials"])} '
        "trials of these people alone "
        f"cannot show it at {percent(facts['confidence'])}.{bound}</p>"
    )


def _tiles(verdict: Verdict, facts: CalibrationFacts) -> str:
    names = ("FPIR", "FNIR") if facts["mode"] == "1:N" else ("FMR", "FNMR")
    pairs = [("Asked for", asked(verdict))]
    if verdict["threshold"] is not None:
        pairs.append(
            (
                "Threshold",
                f"{threshold(verdict['threshold'])}<small>accept at or above, {text(facts['score_space'])}</small>",
            )
        )
    for name, rate in zip(names, (verdict["fmr"], verdict["fnmr"]), strict=True):
        if rate is not None:
            pairs.append((f"{name} measured", f"{percent(rate['value'])}<small>{counted(rate)}</small>"))
            pairs.append(
                (
                    f"{name} bound",
                    f"{percent(rate['upper'])}<small>{percent(facts['confidence'])}, {text(rate['bound'])}</small>",
                )
            )
    if verdict["far"] is not None and verdict["frr"] is not None:
        words = "<small>failed captures counted</small>"
        pairs.append(
            ("FAR &middot; FRR", f"{percent(verdict['far'])} &middot; {percent(verdict['frr'])}{words}")
        )
    if verdict["governed_by"]:
        pairs.append(
            ("Decided by", f"{text(verdict['governed_by'])}<small>the most demanding data set</small>")
        )
    return facts_list(pairs, css="tiles")


def _others(found: list[Verdict]) -> str:
    if not found:
        return ""
    rows = [
        [
            asked(one),
            stamp(one),
            threshold(one["threshold"]) if one["threshold"] is not None else DASH,
            f"{percent(one['fmr']['value'])}, at most {percent(one['fmr']['upper'])}" if one["fmr"] else DASH,
            f"{percent(one['fnmr']['value'])}, at most {percent(one['fnmr']['upper'])}"
            if one["fnmr"]
            else DASH,
            text(one["message"], limit=450),
        ]
        for one in found
    ]
    columns = ["asked for", "verdict", "threshold", "FMR measured", "FNMR measured", ""]
    return (
        '<section id="others" aria-labelledby="others-h"><h2 id="others-h">Other '
        f"targets</h2>{grid('Other targets', columns, rows)}</section>\n"
    )
