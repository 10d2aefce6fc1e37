"""The first thing on the page: is what was asked for kept, said so that a security officer can repeat it.

The card takes the word and the colour of the worst verdict, and gives each target a line. Below that
it tells one target in sentences, and keeps apart what each rests on: what was promised (the bound on the people who
chose the threshold), what was measured (the rate of people who did not), and what these alone could show.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from verify.report.parts import facts_list, more
from verify.report.scope import score_space
from verify.report.stamps import GUESS, asked, stamp, style_of, word_of, worst
from verify.report.wording import (
    about,
    at_most,
    bound_kind,
    count,
    counted,
    of_a_million,
    one_in,
    percent,
    percent_up,
    text,
    threshold,
)

if TYPE_CHECKING:
    from verify.facts import CalibrationFacts, RateFacts, Verdict

_NOTHING = (
    '<section id="verdict" class="verdict open"><h2>Nothing was asked for</h2>'
    "<p>No target rate was given, so there is no verdict: the rates below are for reading.</p></section>"
)
_FORECAST = (
    '<p class="note guess"><b>EXTRAPOLATED, not proven.</b> No trials reach this far: the threshold comes from a '
    "curve fitted to the highest scores of strangers (a generalised Pareto tail). It is a forecast, and what was "
    "measured at it does not make it a promise.</p>"
)
_MISSES = {"fnmr", "frr", "fnir"}
_MOST_LINES = 24
_THRESHOLDS_FROM = "the thresholds were calibrated on"


def verdicts(facts: CalibrationFacts) -> str:
    """The card: the worst verdict large, a line for each target, and one target in sentences."""
    found = facts["verdicts"]
    if not found:
        return _NOTHING
    first = worst(found)
    told = _told(facts)
    named = f"<h3>{asked(told)}</h3>" if len(found) > 1 else ""
    message = f'<p class="soft">{text(first["message"], limit=1000)}</p>' if len(found) == 1 else ""
    body = "".join((
        _FORECAST if told["extrapolated"] else "", _promised(told, facts), _measured(told, facts),
        _alone(told, facts), _rightful(told, facts), message, _tiles(told, facts),
    ))  # fmt: skip
    named = named if body else ""
    return (
        f'<section id="verdict" class="verdict {style_of(first)}" aria-labelledby="verdict-h"><p>{stamp(first)}</p>'
        f'<h2 id="verdict-h">{_headline(first, facts)}</h2>{_lines(facts)}{named}{body}</section>\n'
    )


def _told(facts: CalibrationFacts) -> Verdict:
    """The verdict told in sentences: the worst if anything was measured, else the strictest that was."""
    found = facts["verdicts"]
    first = worst(found)
    if first["fmr"] or first["fnmr"]:
        return first
    return worst([one for one in found if one["fmr"] or one["fnmr"]] or [first])


def _headline(verdict: Verdict, facts: CalibrationFacts) -> str:
    """What became of the worst verdict, claiming no more than was measured."""
    rate, word, many = verdict["asked_rate"], word_of(verdict), len(facts["verdicts"])
    kept = sum(word_of(one) == "PASS" for one in facts["verdicts"])
    of = f" ({kept} of {many} targets kept)" if many > 1 and word != "PASS" else ""
    chance = one_in(rate) if rate > 0 else "none"
    if word == "INSUFFICIENT DATA":
        return f"These people are too few to prove {chance}{of}"
    if verdict["asked_kind"] in _MISSES:
        goal = f"no more than {chance} rightful people turned away"
    elif facts["mode"] == "1:N" or verdict["asked_kind"] == "fpir":
        size = f"{count(facts['gallery_size'])} people" if facts["gallery_size"] else "the people enrolled"
        goal = f"no more than {chance} strangers finding a match among {size}"
    else:
        goal = f"no more than {chance} strangers let in"
    if word == GUESS:
        return f"A forecast, not a proof: {goal}{of}"
    who = "these" if facts["kind"] == "evaluation" else "new"
    return f"{'Kept' if word == 'PASS' else 'Not kept'} on {who} people: {goal}{of}"


def _lines(facts: CalibrationFacts) -> str:
    """Each target with its stamp, threshold, measured rates and their bounds."""
    found = facts["verdicts"]
    if len(found) == 1:
        return ""
    rows = "".join(_line(one, facts) for one in found[:_MOST_LINES])
    return f'<ul class="targets" aria-label="Each target">{rows}</ul>{more(len(found), _MOST_LINES)}'


def _line(one: Verdict, facts: CalibrationFacts) -> str:
    said = []
    if one["threshold"] is not None:
        said.append(f"<span>threshold <b>{threshold(one['threshold'])}</b></span>")
    names = ("FPIR", "FNIR") if one["asked_kind"] in ("fpir", "fnir") else ("FMR", "FNMR")
    for name, rate in zip(names, (one["fmr"], one["fnmr"]), strict=True):
        if rate is not None:
            said.append(
                f"<span>{name} <b>{percent(rate['value'])}</b>, bound {percent_up(rate['upper'])}</span>"
            )
    figures = f"<div>{''.join(said)}</div>" if said else ""
    # what a kept promise has to say stands in the figures; an evaluation's line names the operating point
    told = one["message"] and (word_of(one) != "PASS" or facts["kind"] == "evaluation")
    message = f"<small>{text(one['message'], limit=450)}</small>" if told else ""
    return f"<li><p>{stamp(one)} <b>{asked(one)}</b></p>{figures}{message}</li>"


def _promised(verdict: Verdict, facts: CalibrationFacts) -> str:
    """What the people who chose the threshold showed, and whose it is."""
    rate, goal = verdict["calibration"], verdict["target_fmr"]
    if rate is None or goal is None or verdict["extrapolated"]:
        return ""
    who = "the people it was chosen on"
    if facts["kind"] == "evaluation":
        notes = [one for one in facts["notes"] if one.startswith(_THRESHOLDS_FROM)]
        whose = f" {text(notes[0][:1].upper() + notes[0][1:])}." if notes else ""
    else:
        whose = ""
        sides = [
            one["calibration"]["subjects"] for one in facts["sets"] if one["name"] == verdict["governed_by"]
        ]
        who = f"the {count(sides[0])} people it was chosen on" if sides else who
    about_whom = (
        "a further group of people will show"
        if bound_kind(rate) == "prediction bound"
        else "all people like them show"
    )
    meets = "which meets" if rate["upper"] <= goal * (1 + 1e-9) else "which does not meet"
    return (
        f'<p class="say"><b>Promised</b> from {who}: with {percent(facts["confidence"])} confidence {about_whom} '
        f"at most <b>{at_most(rate['upper'])}</b> false matches in a million ({percent_up(rate['upper'])}, "
        f"{bound_kind(rate)}), {meets} {percent(goal)}.{whose}</p>"
    )


def _measured(verdict: Verdict, facts: CalibrationFacts) -> str:
    """What was counted on the people whom the verdict is about."""
    rate = verdict["fmr"]
    if rate is None:
        return ""
    who, done = "who claim to be somebody else", "would be let in"
    if facts["mode"] == "1:N" or verdict["asked_kind"] in ("fpir", "fnir"):
        size = f"{count(facts['gallery_size'])} people" if facts["gallery_size"] else "the people enrolled"
        who, done = f"who are searched for among {size}", "would be taken for one of them"
    if facts["attempts"] > 1:
        who += f", with up to {facts['attempts']} attempts each"
    limit = ""
    if verdict["asked_kind"] not in _MISSES:
        limit = f" Asked for was at most {at_most(verdict['asked_rate'])}."
    where = "these people" if facts["kind"] == "evaluation" else "people who took no part in choosing"
    head = f'<p class="say"><b>Measured</b> on {where}:'
    if not rate["errors"]:
        seen = f"of {count(rate['trials'])} trials of strangers {who}, <b>not one</b> was a false match"
        return f"{head} {seen}.{limit}</p>"
    return f"{head} of a million strangers {who}, <b>{of_a_million(rate['value'])}</b> {done}.{limit}</p>"


def _alone(verdict: Verdict, facts: CalibrationFacts) -> str:
    """What the measured people alone can show, whose bound is wider for being few."""
    misses = verdict["asked_kind"] in _MISSES
    rate = verdict["fnmr"] if misses else verdict["fmr"]
    if rate is None:
        return ""
    goal, name = verdict["asked_rate"], "FNMR" if misses else "FMR"
    said = (
        f"By themselves they show at most {at_most(rate['upper'])} in a million ({percent_up(rate['upper'])}) with "
        f"{percent(facts['confidence'])} confidence"
    )
    if verdict["verdict"] == "FAIL":
        return f'<p class="say soft">{said}.</p>'
    if rate["upper"] <= goal:
        return f'<p class="say soft">{said}, which meets the target too.</p>'
    rests = ""
    chosen = verdict["calibration"]
    if (
        chosen is not None
        and verdict["target_fmr"] is not None
        and not misses
        and not verdict["extrapolated"]
    ):
        rests = " What is promised rests on the people it was chosen on." if chosen["upper"] <= goal else ""
    return (
        f'<p class="say soft">{said}, which is above the target: the {name} that was measured keeps it, but '
        f"{count(rate['trials'])} trials of people as few as these cannot prove it on their own.{rests}</p>"
    )


def _rightful(verdict: Verdict, facts: CalibrationFacts) -> str:
    rate = verdict["fnmr"]
    if rate is None:
        return ""
    done = "would not be found" if facts["mode"] == "1:N" else "would be turned away"
    most = f"at most {at_most(rate['upper'], of=1000)}"
    if not rate["errors"]:
        return (
            f'<p class="say">Of {count(rate["trials"])} trials of rightful people <b>not one</b> '
            f"failed; of a thousand, {most} {done}.</p>"
        )
    return (
        '<p class="say">Of a thousand rightful people, <b>about '
        f'{about(rate["value"], of=1000)}</b> {done} <span class="soft">({most})</span>.</p>'
    )


def _tiles(verdict: Verdict, facts: CalibrationFacts) -> str:
    names = ("FPIR", "FNIR") if facts["mode"] == "1:N" else ("FMR", "FNMR")
    pairs = [("Asked for", asked(verdict))]
    if verdict["threshold"] is not None:
        pairs.append((
            "Threshold",
            f"{threshold(verdict['threshold'])}<small>accept at or above, {score_space(facts)}</small>",
        ))  # fmt: skip
    for name, rate in zip(names, (verdict["fmr"], verdict["fnmr"]), strict=True):
        if rate is not None:
            pairs.append((f"{name} measured", f"{percent(rate['value'])}<small>{counted(rate)}</small>"))
            pairs.append((f"{name} bound", _bound(rate, facts)))
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


def _bound(rate: RateFacts, facts: CalibrationFacts) -> str:
    where = "these people" if facts["kind"] == "evaluation" else "new people"
    return f"{percent_up(rate['upper'])}<small>{percent(facts['confidence'])}, {bound_kind(rate)} on {where}</small>"
