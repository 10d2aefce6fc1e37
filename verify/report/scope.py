"""What the numbers hold for, who took part, which captures failed, how to repeat it, and what the words mean."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from verify.report.facts import facts_sha256
from verify.report.parts import bullets, facts_list, grid, note, rate_cell, section
from verify.report.wording import DASH, FOREIGN, code, count, number, percent, text

if TYPE_CHECKING:
    from verify.facts import CalibrationFacts, SetFacts, SideFacts

_ODD = 12  # odd things shown of one data set
_BOUNDS = {
    "population": "population: the rate over all people like these",
    "prediction": "prediction: what the next group of as many people will show",
}
_GLOSSARY = (
    ("Subject", "A person, known by an id."),
    ("Score", "How alike two samples are to the model; higher is more alike. It is no percentage."),
    ("Threshold", "A comparison is accepted if its score is at or above it."),
    ("Mated, non-mated", "A comparison of one person's own samples, and of two strangers."),
    ("FMR", "False match rate: the share of comparisons of strangers that are accepted."),
    ("FNMR", "False non-match rate: the share of comparisons of one person that are rejected."),
    ("FTA, FTE", "Failure to acquire, failure to enrol: no usable sample, so no comparison at all."),
    (
        "FAR, FRR",
        "FMR and FNMR with failures to acquire counted: FAR = FMR (1 &minus; FTA), FRR = FTA + FNMR (1 &minus; FTA).",
    ),
    ("FPIR, FNIR", "The same two errors of a search among many people (1:N)."),
    ("Bound", "The rate is not above it with the stated confidence; it allows for people who err together."),
    ("Operating point", "A threshold with its target, its measured rates and what they hold for."),
    ("Extrapolated", "Taken from a fitted curve beyond the data: a forecast."),
    ("Calibration, test", "The people who chose the threshold, and the others, who only measured it."),
    ("Effective trials", "How many independent comparisons would say as much as these, which share people."),
)


def holds_for(facts: CalibrationFacts) -> str:
    """Model, score space, data and split hashes, seed, disjointness."""
    model = facts["model"]
    pairs = [
        (text(name.replace("_", " ")), _value(value)) for name, value in sorted(model.items(), key=_first)
    ][:12]
    if not model:
        pairs = [("model", "none: scores of another matcher, taken as they are")]
    pairs += [
        ("score space", score_space(facts)),
        (
            "mode",
            text(facts["mode"])
            + (f" among {count(facts['gallery_size'])}" if facts["mode"] == "1:N" else ""),
        ),
        ("attempts", count(facts["attempts"]) + (" a transaction" if facts["attempts"] > 1 else "")),
        ("confidence", f"{percent(facts['confidence'])}, one-sided"),
        ("bound", _BOUNDS.get(facts["bound"], text(facts["bound"]))),
        ("seed", str(int(facts["seed"]))),
    ]
    if facts["norm"]:
        pairs.append(("normalisation", _value(facts["norm"])))
    hashes = [
        [
            text(one["name"]),
            text(one["kind"]),
            code(one["data_sha256"]),
            code(one["split_sha256"]) if one["split_sha256"] else DASH,
            _apart(one, facts) if one["disjoint"] else '<b class="bad">NO: a person is on both sides</b>',
        ]
        for one in facts["sets"]
    ]
    columns = ["data", "kind", "SHA-256 of the data", "SHA-256 of the split", "nobody on both sides"]
    lead = (
        "The verdict is about this model, these scores and people like these. With another model, "
        "another camera or other people it says nothing."
    )
    return section("scope", "What it holds for", lead, facts_list(pairs), grid("Data", columns, hashes))


def _apart(one: SetFacts, facts: CalibrationFacts) -> str:
    """An evaluation has no split, and does not know who chose its thresholds."""
    return (
        "no split: nothing was chosen here"
        if facts["kind"] == "evaluation" and not one["split_sha256"]
        else "yes"
    )


def score_space(facts: CalibrationFacts) -> str:
    """The score space; scores of another matcher have one wording, whichever command took them in."""
    return "scores of another matcher" if facts["score_space"] in FOREIGN else text(facts["score_space"])


def _first(item: tuple[str, Any]) -> tuple[int, str]:
    order = ("name", "modality", "model_id")
    return (order.index(item[0]) if item[0] in order else len(order), item[0])


def _value(value: Any) -> str:
    if isinstance(value, float):
        return number(value, digits=4)
    if isinstance(value, dict):
        return "<br>".join(
            f'<span class="soft">{text(name, limit=60)}</span> {_value(item)}'
            for name, item in sorted(value.items())[:12]
        )
    if isinstance(value, list):
        return text(json.dumps(value, ensure_ascii=False, sort_keys=True).strip("[]"))
    plain = "not known" if value is None else str(value)
    return code(plain) if len(plain) == 64 else text(plain)  # noqa: PLR2004


def counts(facts: CalibrationFacts) -> str:
    """People, samples and trials on both sides of each set, and what was odd about the data."""
    rows = []
    for one in facts["sets"]:
        for who, half in _sides(one, facts):
            dropped = half["possible_non_mated_trials"] - half["non_mated_trials"]
            sampled = (
                f'<br><span class="soft">of {count(half["possible_non_mated_trials"])}</span>'
                if dropped > 0
                else ""
            )
            rows.append([
                text(one["name"]), who, count(half["subjects"]), count(half["samples"]) if half["samples"] else DASH,
                count(half["mated_trials"]), count(half["non_mated_trials"]) + sampled,
            ])  # fmt: skip
    columns = ["data", "side", "people", "samples", "same-person trials", "stranger trials"]
    return section(
        "counts",
        "Who took part",
        "",
        grid("Counts", columns, rows),
        *(_oddities(one) for one in facts["sets"][:_ODD]),
    )


def _sides(one: SetFacts, facts: CalibrationFacts) -> list[tuple[str, SideFacts]]:
    """The two sides of a split; an evaluation has only those measured."""
    if facts["kind"] == "evaluation":
        return [("measured", one["test"])]
    return [("calibration", one["calibration"]), ("test", one["test"])]


def _oddities(one: SetFacts) -> str:
    found = []
    if one["copies_left_out"]:
        found.append(
            f"{count(one['copies_left_out'])} files are byte for byte copies of others and were left out"
        )
    if one["cross_trials_dropped"]:
        found.append(f"{count(one['cross_trials_dropped'])} trials between the two sides were dropped")
    found += [
        f"the same file under several people: {', '.join(code(name, limit=120) for name in names[:4])}"
        for names in one["conflicts"][:_ODD]
    ]
    found += [text(words) for words in one["warnings"][:_ODD]]
    hidden = max(0, len(one["conflicts"]) - _ODD) + max(0, len(one["warnings"]) - _ODD)
    if hidden:
        found.append(f"and {hidden:,} more in the JSON")
    return f"<h3>Seen in {text(one['name'])}</h3>{bullets(found)}" if found else ""


def failures(facts: CalibrationFacts) -> str:
    """Failures to acquire and to enrol, by reason."""
    rows = []
    for one in facts["sets"]:
        for who, half in _sides(one, facts):
            if half["fta"] is None and half["fte"] is None and not half["failures_to_acquire"]:
                continue
            rows.append(
                [text(one["name"]), who, rate_cell(half["fta"]), rate_cell(half["fte"]), _reasons(half)]
            )
    lead = (
        "A photo without a face or a recording without speech is never compared. It counts "
        "against the rightful person, never for a stranger."
    )
    if not rows:
        return section(
            "failures",
            "Captures that failed",
            "",
            '<p class="soft">not measured: there were no captures, only scores</p>',
        )
    columns = ["data", "side", "FTA: no usable sample", "FTE: could not be enrolled", "reasons"]
    return section(
        "failures", "Captures that failed", lead, grid("Failures to acquire and to enrol", columns, rows)
    )


def _reasons(half: SideFacts) -> str:
    found = sorted(half["failures_to_acquire"].items(), key=_most)
    return (
        ", ".join(f"{text(reason.replace('_', ' '))} {count(times)}" for reason, times in found[:20])
        or "none"
    )


def _most(item: tuple[str, int]) -> tuple[int, str]:
    return (-item[1], item[0])


def attacks(facts: CalibrationFacts) -> str:
    """Presentation attacks: what was measured, or that nothing was."""
    words = facts["presentation_attacks"] or "not measured: matching alone is no defence"
    lead = "A photo held to the camera, a mask, a replayed recording: none of the rates above says anything about them."
    return section("attacks", "Presentation attacks", lead, note(text(words, limit=2000), css="warn"))


def reproduce(facts: CalibrationFacts) -> str:
    """The command, the versions and the hash of the facts; remarks."""
    remarks = bullets([text(words, limit=600) for words in facts["notes"]])
    remarks = f"<h3>Remarks</h3>{remarks}" if remarks else ""
    pairs = [
        ("made by", f"verify {text(facts['verify_version'])}"),
        ("at", text(facts["created_at"])),
        ("SHA-256 of these facts", code(facts_sha256(facts))),
    ]
    command = f'<pre tabindex="0">{text(facts["command"], limit=4000)}</pre>' if facts["command"] else ""
    lead = "The same data, model and seed give the same numbers."
    return section("repeat", "Repeat it", lead, command, facts_list(pairs), remarks)


def glossary() -> str:
    """The dozen words."""
    body = "".join(f"<div><dt>{word}</dt><dd>{meaning}</dd></div>" for word, meaning in _GLOSSARY)
    return section("words", "The words", "", f'<dl class="glossary">{body}</dl>')
