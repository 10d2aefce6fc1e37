"""The words and signs of verdicts: one stamp for each, and the worst of several."""

from __future__ import annotations

from typing import TYPE_CHECKING

from verify.report.parts import EXTRAPOLATED
from verify.report.wording import percent, text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from verify.facts import Verdict

GUESS = "EXTRAPOLATED, not proven"
# word -> (style, sign), the worst first
_MARKS = {
    "FAIL": ("fail", '<path d="M7 7l10 10M17 7L7 17"/>'),
    "INSUFFICIENT DATA": ("open", '<path d="M12 6.5v7M12 17v.5"/>'),
    GUESS: ("open", '<path d="M6 13.5c2-4 4-4 6-1.5s4 2.5 6-1.5"/>'),
    "PASS": ("pass", '<path d="M6 12.5l4 4 8-9"/>'),
}


def word_of(verdict: Verdict) -> str:
    """PASS, FAIL, INSUFFICIENT DATA, or that it is a forecast: no forecast passes."""
    return GUESS if verdict["extrapolated"] and verdict["verdict"] == "PASS" else verdict["verdict"]


def style_of(verdict: Verdict) -> str:
    """Its colour: ``pass``, ``fail`` or ``open``."""
    return _MARKS[word_of(verdict)][0]


def stamp(verdict: Verdict) -> str:
    """A colour, a sign and the words."""
    word = word_of(verdict)
    css, mark = _MARKS[word]
    sign = f'<svg viewBox="0 0 24 24" aria-hidden="true"><circle cx="12" cy="12" r="11"/>{mark}</svg>'
    guess = f" {EXTRAPOLATED}" if verdict["extrapolated"] and word != GUESS else ""
    return f'<span class="stamp {css}">{sign}{word}</span>{guess}'


def worst(verdicts: Sequence[Verdict]) -> Verdict:
    """The worst of one or more verdicts; of equal ones the strictest."""
    order = list(_MARKS)

    def rank(verdict: Verdict) -> tuple[int, float]:
        return order.index(word_of(verdict)), verdict["asked_rate"]

    return min(verdicts, key=rank)


def asked(verdict: Verdict) -> str:
    """The target in words: ``FMR at most 0.1 %``."""
    return f"{text(verdict['asked_kind'].upper(), limit=60)} at most {percent(verdict['asked_rate'])}"
