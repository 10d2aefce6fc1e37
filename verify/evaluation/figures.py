"""Lines of a protocol's result."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Figure:
    """One line of a protocol's result: what it is, its value, and what to know about it."""

    name: str
    value: float
    note: str = ""
