"""How each sample was captured: by the manifest's columns, or by what the capture measured, in quarters."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from verify.config import unknown
from verify.errors import UsageError
from verify.evaluation.focus import SHOWN_MEASURES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from verify.evaluation.embeddings import EmbeddedSet

SESSION = "session"


@dataclass(frozen=True, slots=True)
class Condition:
    """One way of colouring samples.

    Attributes:
        name: column or measure.
        labels: (n,) its value of each sample, ``""`` where there is none.
        values: the values in the order to show them: by name, or from the lowest quarter up.
        ordered: whether that order means more and less.
    """

    name: str
    labels: tuple[str, ...] = field(repr=False)
    values: tuple[str, ...]
    ordered: bool = False


def conditions_of(embedded: EmbeddedSet, names: Sequence[str] = ()) -> tuple[Condition, ...]:
    """The conditions of a set's captures.

    Args:
        embedded: the captures.
        names: columns of the manifest (``session`` among them) or measures of quality; () takes every column with two
            values or more and, where there is no such column, the usual measures.

    Raises:
        UsageError: an unknown name; the message has the nearest.
    """
    columns = _columns(embedded)
    if not names:
        found = [_column(name, labels) for name, labels in columns.items()]
        several = tuple(one for one in found if len(one.values) > 1)
        if several:
            return several
        names = [name for name in SHOWN_MEASURES if name in embedded.quality]
    made = []
    for name in dict.fromkeys(names):
        if name in columns:
            made.append(_column(name, columns[name]))
        elif name in embedded.quality:
            made.append(_quarters(name, embedded.quality[name]))
        else:
            sentence = unknown(name, (*columns, *embedded.quality), what="column or measure")
            msg = f"{embedded.name}: {sentence}"
            raise UsageError(msg)
    return tuple(made)


def _columns(embedded: EmbeddedSet) -> dict[str, tuple[str, ...]]:
    """Column -> (n,) value of each sample; empty columns are none."""
    names = dict.fromkeys(name for entry in embedded.entries for name in entry.labels)
    columns = {SESSION: tuple(entry.session.strip() for entry in embedded.entries)}
    columns |= {
        name: tuple(entry.labels.get(name, "").strip() for entry in embedded.entries) for name in names
    }
    return {name: labels for name, labels in columns.items() if any(labels)}


def _column(name: str, labels: tuple[str, ...]) -> Condition:
    return Condition(name, labels, tuple(sorted(set(labels) - {""})))


def _quarters(name: str, measured: NDArray[np.float64]) -> Condition:
    """A measure as four classes of about equal size; fewer where many samples have one value."""
    known = np.isfinite(measured)
    if not known.any():
        return Condition(name, ("",) * measured.size, (), ordered=True)
    cuts = np.unique(np.quantile(measured[known], [0.25, 0.5, 0.75]))
    place = np.searchsorted(cuts, measured, side="right")
    edges = [f"{cut:.3g}" for cut in cuts]
    words = [
        f"below {edges[0]}",
        *(f"{a} to {b}" for a, b in pairwise(edges)),
        f"from {edges[-1]}",
    ]
    labels = tuple(words[k] if there else "" for k, there in zip(place.tolist(), known.tolist(), strict=True))
    return Condition(name, labels, tuple(word for word in words if word in set(labels)), ordered=True)
