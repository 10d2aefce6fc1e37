"""The calibration report: one HTML file that says first whether the promise is kept, and then why."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from verify.report.explorer import explorer
from verify.report.page import asset, page
from verify.report.parts import EXTRAPOLATED
from verify.report.people import enrolment, groups, planning, search, strata
from verify.report.protocol import protocol
from verify.report.rates import ladder, transfer
from verify.report.scope import attacks, counts, failures, glossary, holds_for, reproduce
from verify.report.stamps import word_of, worst
from verify.report.strength import dependence, evidence
from verify.report.verdict import verdicts
from verify.report.wording import text

if TYPE_CHECKING:
    from collections.abc import Mapping

    from verify.facts import CalibrationFacts

MAX_PAGE_BYTES = 1_000_000
_HEADING = re.compile(r'<section id="([a-z]+)"[^>]*><h2[^>]*>([^<]*)</h2>')


def calibration_page(facts: CalibrationFacts, *, thumbnails: Mapping[str, bytes] | None = None) -> str:
    """Draw a calibration or an evaluation as one self-contained HTML page.

    Args:
        facts: as `verify.report.facts.read_facts` gives them; every string in them is escaped.
        thumbnails: sample name -> JPEG, shown beside the suspects of that name; None shows no faces.

    Returns:
        HTML that makes no network request, at most 1 MB with the thumbnails of `verify.report.thumbnails`.
    """
    pictures = thumbnails or {}
    sections = (
        holds_for(facts), protocol(facts), counts(facts), failures(facts), ladder(facts), explorer(facts),
        transfer(facts), evidence(facts), dependence(facts, pictures), groups(facts), strata(facts), enrolment(facts),
        search(facts), planning(facts), attacks(facts), reproduce(facts), glossary(),
    )  # fmt: skip
    body = "".join(sections)
    top = _head(facts) + verdicts(facts) + contents(body)
    return page(_title(facts), top + body, style=asset("report.css"), script=asset("report.js"))


def _title(facts: CalibrationFacts) -> str:
    word = f"{word_of(worst(facts['verdicts']))}: " if facts["verdicts"] else ""
    return f"{word}{facts['title'][:200]}"


def _head(facts: CalibrationFacts) -> str:
    model = facts["model"].get("name") or "scores of another matcher"
    guess = f" {EXTRAPOLATED}" if any(one["extrapolated"] for one in facts["verdicts"]) else ""
    day = text(facts["created_at"][:10])
    what = "Evaluation" if facts["kind"] == "evaluation" else "Calibration report"
    return (
        f'<header class="top"><p class="soft">{what} &middot; {text(facts["mode"])} &middot; '
        f"{text(model, limit=80)} &middot; {day}{guess}</p>"
        f"<h1>{text(facts['title'], limit=200)}</h1></header>\n"
    )


def contents(body: str) -> str:
    """Links to the sections that are there."""
    links = "".join(f'<li><a href="#{name}">{title}</a></li>' for name, title in _HEADING.findall(body))
    return f'<nav class="contents" aria-label="Contents"><ul>{links}</ul></nav>\n'
