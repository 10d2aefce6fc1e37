"""What the columns of a score file or trial list mean, told from their names and first cells."""

from __future__ import annotations

from dataclasses import dataclass, replace
from difflib import get_close_matches
from typing import TYPE_CHECKING

from verify.errors import ScoreError, UsageError
from verify.evaluation.score_rows import decimal

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

REQUIRED = ("score", "mated", "subject_a", "subject_b")
SAMPLES = ("sample_a", "sample_b")
MATED_WORDS: Mapping[str, bool] = {
    **dict.fromkeys(("1", "1.0", "true", "t", "yes", "y", "mated", "genuine", "target"), True),
    **dict.fromkeys(
        ("0", "0.0", "false", "f", "no", "n", "non-mated", "nonmated", "impostor", "nontarget", "non-target"),
        False,
    ),
}
# what other tools call these columns
_ALIASES: Mapping[str, tuple[str, ...]] = {
    "score": ("scores", "similarity", "cosine", "sim", "distance", "dist", "llr"),
    "mated": (
        "label",
        "labels",
        "target",
        "genuine",
        "is_same",
        "same",
        "match",
        "is_genuine",
        "y",
        "y_true",
    ),
    "subject_a": ("subject1", "subject_1", "id_a", "id1", "enrolled", "reference", "person_a", "speaker_a"),
    "subject_b": ("subject2", "subject_2", "id_b", "id2", "probe", "person_b", "speaker_b"),
}


@dataclass(frozen=True, slots=True)
class LabelColumns:
    """A group: the columns that label side a and side b; both the same where one column labels both."""

    name: str
    a: str | None
    b: str | None


@dataclass(frozen=True, slots=True)
class MeasureColumns:
    """A quality measure: the column of side a and that of side b."""

    name: str
    a: str
    b: str


@dataclass(frozen=True, slots=True)
class Plan:
    """What is read of each row.

    Attributes:
        samples: whether ``sample_a`` and ``sample_b`` name the samples.
        labels: groups.
        measures: quality measures.
        warnings: columns that are not used, each with the reason.
    """

    samples: bool
    labels: tuple[LabelColumns, ...]
    measures: tuple[MeasureColumns, ...]
    warnings: tuple[str, ...]

    @property
    def numbers(self) -> tuple[str, ...]:
        """The columns read as numbers."""
        return ("score", *(name for one in self.measures for name in (one.a, one.b)))

    @property
    def columns(self) -> tuple[str, ...]:
        """Every column that is read."""
        texts = [*REQUIRED[1:], *(SAMPLES if self.samples else ())]
        labels = [name for one in self.labels for name in (one.a, one.b) if name]
        return tuple(dict.fromkeys((*self.numbers, *texts, *labels)))

    def without_group(self, name: str, why: str) -> Plan:
        """The same without one group, and a warning instead."""
        left = tuple(one for one in self.labels if one.name != name)
        return replace(self, labels=left, warnings=(*self.warnings, why))


def numeric_columns(header: Sequence[str], sample: Sequence[Sequence[str]]) -> frozenset[str]:
    """The columns whose first cells are numbers or empty, and not all empty."""
    found = set()
    for place, name in enumerate(header):
        cells = [row[place] for row in sample if row[place].strip()]
        if cells and all(decimal(cell) is not None for cell in cells):
            found.add(name)
    return frozenset(found)


def plan_columns(
    header: Sequence[str],
    *,
    numeric: frozenset[str],
    path: Path,
    quality: Sequence[str] = (),
    groups: Sequence[str] = (),
    known: Sequence[str] = REQUIRED,
) -> Plan:
    """Give every column a meaning, or a warning that it has none.

    ``X_a`` and ``X_b`` belong together: quality measures where both hold numbers, else group labels of
    the two sides. A text column ``X`` labels both sides.

    Args:
        header: the column names.
        numeric: those that hold numbers.
        path: for messages.
        quality: keep these measures only, and insist on them.
        groups: take these as groups though they hold numbers.
        known: columns that must be there and are spoken for.

    Raises:
        ScoreError: a column is missing.
        UsageError: a measure or group was asked for that is not there.
    """
    for needed in known:
        if needed not in header:
            raise ScoreError(_missing(needed, header, path))
    present = [name for name in SAMPLES if name in header]
    if len(present) == 1:
        msg = f"{path}: column {present[0]!r} stands alone; name the samples of both sides: {', '.join(SAMPLES)}"
        raise ScoreError(msg)
    labels: list[LabelColumns] = []
    measures: list[MeasureColumns] = []
    warnings: list[str] = []
    rest = [name for name in header if name not in known and name not in SAMPLES]
    for stem, (a, b) in _paired(rest, path).items():
        numbers = [name for name in (a, b) if name in numeric]
        if not stem:
            warnings.append("a column without a name is not used")
        elif not numbers or stem in groups:
            labels.append(LabelColumns(stem, a, b))
        elif a == b:
            warnings.append(f"column {a!r} holds numbers, so it is no group and not used; see groups")
        elif a and b and len(numbers) == 2:  # noqa: PLR2004
            measures.append(MeasureColumns(stem, a, b))
        elif a and b:
            labels.append(LabelColumns(stem, a, b))
        else:
            warnings.append(f"column {a or b!r} holds numbers of one side only: not used without the other's")
    _asked_for(quality, [one.name for one in measures], what="quality measure", path=path)
    _asked_for(groups, [one.name for one in labels], what="group", path=path)
    if quality:
        measures = [one for one in measures if one.name in quality]
    return Plan(bool(present), tuple(labels), tuple(measures), tuple(warnings))


def _paired(columns: Sequence[str], path: Path) -> dict[str, tuple[str | None, str | None]]:
    """Stem -> its columns of side a and of side b."""
    pairs: dict[str, tuple[str | None, str | None]] = {}
    for name in columns:
        side = name[-2:] if len(name) > 2 else ""  # noqa: PLR2004
        stem = name[:-2] if side in ("_a", "_b") else name
        a, b = pairs.get(stem, (None, None))
        if (stem == name and (a or b)) or (a is not None and a == b):
            msg = f"{path}: columns {stem!r} and {a or b!r} and {name!r} say the same thing twice; keep one kind"
            raise ScoreError(msg)
        if stem == name:
            pairs[stem] = (name, name)
        else:
            pairs[stem] = (name, b) if side == "_a" else (a, name)
    return pairs


def _missing(needed: str, header: Sequence[str], path: Path) -> str:
    lowered = {name.lower().replace(" ", "_").replace("-", "_"): name for name in header if name}
    near = next((lowered[name] for name in (needed, *_ALIASES.get(needed, ())) if name in lowered), None)
    if near is None:
        near = next((lowered[name] for name in get_close_matches(needed, lowered, 1, 0.8)), None)
    hint = f"; is it {near!r}? rename it" if near and near not in REQUIRED else ""
    there = ", ".join(header) or "nothing"
    return f"{path}, line 1: no column {needed!r} among {there}{hint}"


def _asked_for(names: Sequence[str], there: Sequence[str], *, what: str, path: Path) -> None:
    for name in names:
        if name not in there:
            msg = f"{path}: no {what} {name!r} (there is: {', '.join(there) or 'none'})"
            raise UsageError(msg)
