"""The demonstration as a page: every score on one axis beside the threshold, and the table of steps."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING

from verify.report.page import page, table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from verify.types import OperatingPoint

_WIDTH, _HEIGHT, _LEFT, _RIGHT = 900, 120, 80, 20


@dataclass(frozen=True, slots=True)
class DemoRow:
    """One decision of the demonstration, in words and numbers.

    Attributes:
        task: ``1:1`` or ``1:N``.
        mated: whether the probe's subject is the claimed one, or is enrolled.
        verdict: ``right``, ``false reject``, ``FALSE ACCEPT`` or ``no decision``.
    """

    task: str
    truth: str
    claim: str
    file: str
    outcome: str
    score: float | None
    mated: bool
    verdict: str


@dataclass(frozen=True, slots=True)
class DemoPart:
    """One modality's part of the demonstration."""

    modality: str
    media: str
    model: str
    model_id: str
    enrolled: int
    templates: int
    left_out: Sequence[str]
    point: OperatingPoint | None
    threshold: float | None
    note: str
    rows: Sequence[DemoRow]


def demo_page(parts: Sequence[DemoPart]) -> str:
    """The whole page as HTML."""
    tally = Counter(row.verdict for part in parts for row in part.rows)
    counts = ", ".join(f"{count} {verdict}" for verdict, count in tally.most_common())
    head = (
        f"<h1>verify demo: {tally.total()} decisions: {counts}</h1>"
        '<p class="soft">A handful of people shows how verify behaves; it proves no error rate. '
        "The proof is the operating point's own data, stated below.</p>"
    )
    return page("verify demo", head + "\n".join(_part(part) for part in parts))


def _part(part: DemoPart) -> str:
    facts = (
        f"<p>{part.enrolled} subjects enrolled with {part.templates} templates from {escape(part.media)}. "
        f"Model {escape(part.model)}, model_id <code>{part.model_id[:16]}</code>. {escape(part.note)}</p>"
    )
    facts += _proof(part.point)
    left_out = "".join(f"<li>{escape(text)}</li>" for text in part.left_out)
    left_out = f"<p>Left out at enrolment:</p><ul>{left_out}</ul>" if left_out else ""
    cells = [
        [
            row.task,
            escape(row.truth),
            escape(row.claim or "(who is it?)"),
            f"<code>{escape(row.file)}</code>",
            "" if row.score is None else f"{row.score:+.3f}",
            escape(row.outcome),
            _mark(row.verdict),
        ]
        for row in part.rows
    ]
    columns = ["task", "probe shows", "claims to be", "file", "score", "decision", "verdict"]
    return (
        f"<h2>{escape(part.modality.capitalize())}</h2>{facts}{left_out}{_strip(part)}{table(columns, cells)}"
    )


def _proof(point: OperatingPoint | None) -> str:
    if point is None:
        return ""
    sets = ", ".join(
        f"{one['set']} ({one['calibration']['subjects']} subjects to choose on, {one['test']['subjects']} to test on)"
        for one in point.data.get("sets", ())
    )
    governed_by = str(point.data.get("governed_by", "the data"))
    return (
        f"<p>Operating point {escape(point.name)}: on subjects of {escape(governed_by)} "
        "who took no part in choosing it, "
        f"FMR {point.fmr.errors:,}/{point.fmr.trials:,} = {point.fmr.value:.2e} "
        f"(at most {point.fmr.upper:.2e} at {point.confidence:.0%} confidence), "
        f"FNMR {point.fnmr.errors:,}/{point.fnmr.trials:,} = {point.fnmr.value:.2%} "
        f"(at most {point.fnmr.upper:.2%}). Data: {escape(sets)}.</p>"
    )


def _mark(verdict: str) -> str:
    colour = {"right": "good", "FALSE ACCEPT": "bad"}.get(verdict, "open")
    return f'<span class="{colour}">{escape(verdict)}</span>'


def _strip(part: DemoPart) -> str:
    """Scores of the 1:1 claims on one axis, mated above non-mated, with the threshold."""

    def x(score: float) -> float:
        return _LEFT + (max(-0.4, min(1.0, score)) + 0.4) / 1.4 * (_WIDTH - _LEFT - _RIGHT)

    dots = []
    for row in part.rows:
        if row.score is None or row.task != "1:1":
            continue
        y, colour = (35, "var(--a)") if row.mated else (70, "var(--b)")
        label = escape(f"{row.truth} as {row.claim}: {row.score:+.3f} {row.outcome}")
        dots.append(
            f'<circle cx="{x(row.score):.1f}" cy="{y}" r="5" fill="{colour}" fill-opacity=".6">'
            f"<title>{label}</title></circle>"
        )
    ticks = "".join(
        f'<text x="{x(t / 5):.0f}" y="108" text-anchor="middle">{t / 5:+.1f}</text>' for t in range(-2, 6)
    )
    line = ""
    if part.threshold is not None:
        at = x(part.threshold)
        line = (
            f'<line x1="{at:.1f}" x2="{at:.1f}" y1="14" y2="92" stroke="var(--ink)" stroke-dasharray="4 3"/>'
            f'<text x="{at + 4:.1f}" y="12">threshold {part.threshold:.3f}</text>'
        )
    return (
        '<div class="wide" tabindex="0">'
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="Scores of the 1:1 claims beside the threshold">'
        f'<text x="0" y="39">mated</text><text x="0" y="74">non-mated</text>'
        f'<line x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="92" y2="92" stroke="var(--line)"/>'
        f"{ticks}{line}{''.join(dots)}</svg></div>"
    )
