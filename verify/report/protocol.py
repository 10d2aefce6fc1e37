"""What an evaluation ran, and its own figures."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from verify.report.parts import facts_list, grid, section
from verify.report.wording import percent, text

if TYPE_CHECKING:
    from collections.abc import Mapping

    from verify.facts import CalibrationFacts

# figures that are shares of trials or of searches; others (costs, AUC, counts) are plain numbers
_SHARES = ("EER", "FNMR", "FNIR", "FMR", "FPIR", "accuracy", "rank", "Recall", "5-NN", "linear probe")


def protocol(facts: CalibrationFacts) -> str:
    """The protocol's figures, each with what to know about it; empty for a calibration."""
    found = facts.get("protocol")
    if not found:
        return ""
    name = text(found.get("name", "not named"), limit=200)
    rows = [_row(one) for one in _figures(found)]
    others = [
        (text(key.replace("_", " "), limit=60), _plain(value))
        for key, value in sorted(found.items())
        if key not in ("name", "figures") and isinstance(value, str | int | float)
    ]
    lead = f"What was run: <b>{name}</b>. These are the protocol's own figures; the verdicts stand above."
    table = grid("Figures of the protocol", ["figure", "value", "what to know"], rows)
    return section("protocol", "Protocol", lead, facts_list(others[:20]), table or "<p></p>")


def _figures(found: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    figures = found.get("figures", [])
    return [one for one in figures if isinstance(one, dict)] if isinstance(figures, list) else []


def _row(one: Mapping[str, Any]) -> list[str]:
    name = str(one.get("name", ""))
    value = one.get("value")
    shown = percent(value) if isinstance(value, float) and name.startswith(_SHARES) else _plain(value)
    return [text(name, limit=120), f"<b>{shown}</b>", text(one.get("note", ""), limit=500)]


def _plain(value: object) -> str:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return text(value)
    return f"{value:,}" if isinstance(value, int) else f"{value:.4g}"
