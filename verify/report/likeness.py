"""Whether two reports may be held against each other, what to call them, and how far two rates are apart."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from verify.report.wording import FOREIGN

if TYPE_CHECKING:
    from collections.abc import Callable

    from verify.facts import CalibrationFacts, RateFacts


@dataclass(frozen=True, slots=True)
class Difference:
    """Rate b minus rate a with its bounds, each one-sided at the confidence of the two rates.

    The bounds are put together from the rates' own by the method of variance estimates recovery (Zou and Donner,
    2008; Newcombe's for proportions), which takes the two for independent. Measured on the same people they rise
    and fall together, and the true interval is the narrower one: then these bounds err on the safe side.
    """

    value: float
    lower: float
    upper: float

    @classmethod
    def of(cls, a: RateFacts, b: RateFacts) -> Difference:
        """Difference of two rates with bounds."""
        value = b["value"] - a["value"]
        below = math.hypot(b["value"] - b["lower"], a["upper"] - a["value"])
        above = math.hypot(b["upper"] - b["value"], a["value"] - a["lower"])
        return cls(value, max(-1.0, value - below), min(1.0, value + above))


def like_with_like(a: CalibrationFacts, b: CalibrationFacts) -> list[str]:
    """Why the two may not be compared number by number; empty if nothing speaks against it. Plain text."""
    found = []
    if _hashes(a, "data_sha256") != _hashes(b, "data_sha256"):
        found.append(
            "The data differ: other people or other samples, so a difference may be theirs and not the model's."
        )
    if _hashes(a, "split_sha256") != _hashes(b, "split_sha256"):
        found.append("The splits differ: not the same people chose and tested the thresholds.")
    checks: tuple[tuple[str, Callable[[CalibrationFacts], object], str], ...] = (
        ("score spaces", _space, "thresholds mean different things; compare rates at the same target only."),
        ("modes", mode_of, "a comparison (1:1) and a search (1:N) err differently."),
        ("attempts", _attempts, "a rate per transaction grows with the attempts allowed."),
        ("kinds of bound", _bound, "a prediction bound is wider than a population bound."),
        ("confidences", _confidence, "the bounds are not of the same confidence."),
        ("kinds of report", _kind, "a calibration and an evaluation count different trials."),
    )
    for name, of, why in checks:
        if of(a) != of(b):
            found.append(f"The {name} differ ({of(a)} and {of(b)}): {why}")
    return found


def _hashes(facts: CalibrationFacts, name: str) -> list[str]:
    return sorted(str(one[name]) for one in facts["sets"])  # type: ignore[literal-required]


def _space(facts: CalibrationFacts) -> str:
    return "another matcher's" if facts["score_space"] in FOREIGN else facts["score_space"]


def mode_of(facts: CalibrationFacts) -> str:
    """The mode, and a search's gallery."""
    return facts["mode"] + (f" among {facts['gallery_size']}" if facts["mode"] == "1:N" else "")


def _attempts(facts: CalibrationFacts) -> int:
    return facts["attempts"]


def _bound(facts: CalibrationFacts) -> str:
    return facts["bound"]


def _confidence(facts: CalibrationFacts) -> float:
    return facts["confidence"]


def _kind(facts: CalibrationFacts) -> str:
    return facts["kind"]


def names_of(a: CalibrationFacts, b: CalibrationFacts) -> tuple[str, str]:
    """Short names that tell the two apart: models, else titles, else dates; at last A and B."""
    for pick in (_model_name, _title, _day):
        if pick(a) and pick(b) and pick(a) != pick(b):
            return pick(a), pick(b)
    return f"{_title(a)} (A)", f"{_title(b)} (B)"


def _model_name(facts: CalibrationFacts) -> str:
    return str(facts["model"].get("name", ""))[:40]


def _title(facts: CalibrationFacts) -> str:
    return facts["title"][:40]


def _day(facts: CalibrationFacts) -> str:
    return facts["created_at"][:16].replace("T", " ")
