"""What live scores are held against: the mated scores of a report, or of a log's own beginning."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from verify.errors import DataError, ModelMismatchError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from verify.facts import CalibrationFacts

BINS = 10


@dataclass(frozen=True, slots=True)
class Baseline:
    """What is held to be normal.

    Attributes:
        name: where it comes from, in words.
        edges: (E,) inner bin edges, ascending.
        counts: (E + 1,) scores in the bins.
        fta_upper: upper bound of the failure-to-acquire rate; None if not known.
        model_id: whose scores they are; None if not known: then nothing is checked.
        score_space: of the scores, see `verify.score_space`; None if not known.
    """

    name: str
    edges: NDArray[np.float64] = field(repr=False)
    counts: NDArray[np.int64] = field(repr=False)
    fta_upper: float | None = None
    model_id: str | None = None
    score_space: str | None = None

    def speaks_for(self, *, model_id: str, score_space: str) -> bool:
        """Whether scores of this model in this space may be held against it."""
        return self.model_id in {None, model_id} and self.score_space in {None, score_space}

    @property
    def kind(self) -> str:
        """Whose scores in which space, in words."""
        return f"model {(self.model_id or 'unknown')[:12]}, {self.score_space or 'unknown space'}"


def baseline_from_facts(facts: CalibrationFacts, *, name: str) -> Baseline:
    """The baseline that a report of `verify calibrate` or `verify evaluate` holds.

    Args:
        facts: the report's JSON, read by `verify.report.facts.read_facts`.
        name: of the report, for messages.

    Raises:
        ModelMismatchError: the report is of another matcher's scores, or of searches.
        DataError: its histogram holds no mated scores.
    """
    model_id = facts["model"].get("model_id")
    if not model_id:
        msg = f"{name}: is a report on scores of no known model, so no model's live scores can be held against it"
        raise ModelMismatchError(msg)
    if facts["mode"] != "1:1":
        msg = f"{name}: is a report on searches ({facts['mode']}); the scores of 1:1 claims need one on comparisons"
        raise ModelMismatchError(msg)
    uppers = [fta["upper"] for one in facts["sets"] if (fta := one["test"]["fta"]) is not None]
    return baseline_from_histogram(
        name=name,
        edges=facts["histogram"]["edges"],
        mated=facts["histogram"]["mated"],
        fta_upper=max(uppers, default=None),
        model_id=str(model_id),
        score_space=facts["score_space"],
    )


def baseline_from_histogram(
    *,
    name: str,
    edges: Sequence[float],
    mated: Sequence[int],
    fta_upper: float | None = None,
    model_id: str | None = None,
    score_space: str | None = None,
) -> Baseline:
    """A baseline out of a report's histogram of mated scores, merged into about ten equal shares.

    Raises:
        DataError: edges and counts that do not fit, or no mated scores.
    """
    borders, counts = np.asarray(edges, dtype=np.float64), np.asarray(mated, dtype=np.int64)
    if borders.ndim != 1 or counts.shape != (borders.size - 1,) or counts.sum() == 0 or (counts < 0).any():
        msg = f"{name}: holds no histogram of mated scores (edges {borders.shape}, counts {counts.shape})"
        raise DataError(msg)
    share = np.cumsum(counts) / counts.sum()
    places = np.unique(np.searchsorted(share, np.arange(1, BINS) / BINS))
    places = places[(places + 1 < borders.size - 1)]
    inner = borders[places + 1]
    merged = np.add.reduceat(counts, np.append(0, places + 1)) if places.size else np.array([counts.sum()])
    return Baseline(name, inner, merged, fta_upper, model_id, score_space)
