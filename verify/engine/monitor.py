"""Is the engine still living in the world that it was calibrated in?

The drift log is cut into windows of decisions of one kind, model and score space. Each window is held
against a baseline: the mated scores of the calibration report for 1:1 claims, else the log's own first
window. Three alarms:

- *scores moved*: the population stability index of the window is past the rule of thumb and past chance.
- *rejects*: of the decided 1:1 claims more were rejected than the operating point's FNMR bound allows,
  beyond chance. Captures got worse, people changed, or strangers try: a log cannot tell which.
- *captures fail*: a larger share of captures fails than in the baseline, beyond chance.

An alarm says look, and calibrate again on fresh data of the same kind; it proves nothing by itself.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from verify.engine.drift_log import LoggedDecision, read_drift_log
from verify.errors import DataError, UsageError
from verify.metrics.intervals import clopper_pearson
from verify.metrics.stability import Stability, bin_counts, population_stability, quantile_edges

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from datetime import datetime
    from pathlib import Path

    from numpy.typing import NDArray

DEFAULT_WINDOW = 500
MIN_WINDOW = 50  # fewer decisions tell nothing but noise
_CLAIM = "match"
_BINS = 10


@dataclass(frozen=True, slots=True)
class Baseline:
    """What is held to be normal.

    Attributes:
        name: where it comes from, in words.
        edges: (E,) inner bin edges, ascending.
        counts: (E + 1,) scores in the bins.
        fta_upper: upper bound of the failure-to-acquire rate; None if not known.
    """

    name: str
    edges: NDArray[np.float64] = field(repr=False)
    counts: NDArray[np.int64] = field(repr=False)
    fta_upper: float | None = None


@dataclass(frozen=True, slots=True)
class Window:
    """One window of decisions, and what is wrong with it.

    Attributes:
        stability: of the scores; None where there is nothing to hold them against.
        rejects: rejected among `decided`.
        rejects_at_least: one-sided lower bound of the reject rate.
        expected_fnmr: the largest FNMR bound that an operating point in the window states.
        capture_failures: decisions that failed for want of a template.
        alarms: in words; empty if all is well.
    """

    kind: str
    modality: str
    model_id: str
    score_space: str
    start: datetime
    end: datetime
    decisions: int
    decided: int
    rejects: int
    rejects_at_least: float
    expected_fnmr: float | None
    capture_failures: int
    stability: Stability | None
    alarms: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class DriftReport:
    """What a log came to, window by window.

    Attributes:
        windows: in order of time within each stream of one kind, model and score space.
        too_few: streams with fewer than `MIN_WINDOW` decisions -> how many.
        advice: what to do, in a sentence.
    """

    windows: tuple[Window, ...]
    too_few: Mapping[str, int]
    advice: str

    @property
    def alarmed(self) -> bool:
        """Whether any window has an alarm."""
        return any(window.alarms for window in self.windows)


def baseline_from_histogram(
    *, name: str, edges: Sequence[float], mated: Sequence[int], fta_upper: float | None = None
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
    places = np.unique(np.searchsorted(share, np.arange(1, _BINS) / _BINS))
    places = places[(places + 1 < borders.size - 1)]
    inner = borders[places + 1]
    merged = np.add.reduceat(counts, np.append(0, places + 1)) if places.size else np.array([counts.sum()])
    return Baseline(name=name, edges=inner, counts=merged, fta_upper=fta_upper)


def monitor(
    path: Path | str,
    *,
    baseline: Baseline | None = None,
    window: int = DEFAULT_WINDOW,
    confidence: float = 0.999,
) -> DriftReport:
    """Read a drift log and judge its windows.

    Args:
        path: the log.
        baseline: for the scores of 1:1 claims; None takes each stream's first window.
        window: decisions a window, at least `MIN_WINDOW`.
        confidence: of each alarm; high, because many windows are looked at.

    Raises:
        UsageError: a window below `MIN_WINDOW`, or a confidence outside (0.5, 1).
        DataError: the log cannot be read.
    """
    if window < MIN_WINDOW:
        msg = f"window must be at least {MIN_WINDOW} decisions, not {window}: fewer tell nothing but noise"
        raise UsageError(msg)
    if not 0.5 < confidence < 1.0:  # noqa: PLR2004
        msg = f"confidence must lie inside (0.5, 1), for example 0.999, not {confidence}"
        raise UsageError(msg)
    streams: defaultdict[tuple[str, str, str, str], list[LoggedDecision]] = defaultdict(list)
    for one in read_drift_log(path):
        streams[one.kind, one.modality, one.model_id, one.score_space].append(one)
    windows: list[Window] = []
    too_few: dict[str, int] = {}
    for (kind, modality, model_id, space), decisions in streams.items():
        if len(decisions) < MIN_WINDOW:
            too_few[f"{kind}, {modality} {model_id[:12]}, {space}"] = len(decisions)
            continue
        own = baseline if kind == _CLAIM else None
        windows += _stream(decisions, baseline=own, size=window, confidence=confidence)
    return DriftReport(tuple(windows), too_few, _advice(windows))


def _stream(
    decisions: Sequence[LoggedDecision], *, baseline: Baseline | None, size: int, confidence: float
) -> Iterator[Window]:
    parts = list(_cut(decisions, size))
    reference = baseline or _own_baseline(parts[0], confidence=confidence)
    for place, part in enumerate(parts):
        itself = baseline is None and place == 0
        yield _window(part, reference=None if itself else reference, confidence=confidence)


def _cut(decisions: Sequence[LoggedDecision], size: int) -> Iterator[Sequence[LoggedDecision]]:
    """Windows of `size`; a short rest joins the window before it unless it can stand alone."""
    starts = list(range(0, len(decisions), size))
    if len(starts) > 1 and len(decisions) - starts[-1] < MIN_WINDOW:
        starts.pop()
    for start, end in zip(starts, [*starts[1:], len(decisions)], strict=True):
        yield decisions[start:end]


def _own_baseline(part: Sequence[LoggedDecision], *, confidence: float) -> Baseline | None:
    scores = _scores(part)
    if len(scores) < MIN_WINDOW:
        return None
    edges = quantile_edges(scores, bins=_BINS)
    failures = sum(one.capture_failed for one in part)
    upper = clopper_pearson(failures, trials=len(part), confidence=confidence)[1]
    return Baseline("the log's first window", edges, bin_counts(scores, edges=edges), fta_upper=upper)


def _scores(part: Iterable[LoggedDecision]) -> list[float]:
    return [one.score for one in part if one.score is not None]


def _window(part: Sequence[LoggedDecision], *, reference: Baseline | None, confidence: float) -> Window:
    scores = _scores(part)
    decided = [one for one in part if one.outcome in ("accept", "reject")]
    rejects = sum(one.outcome == "reject" for one in decided)
    expected = max((one.expected_fnmr for one in decided if one.expected_fnmr is not None), default=None)
    at_least = clopper_pearson(rejects, trials=len(decided), confidence=confidence)[0] if decided else 0.0
    failures = sum(one.capture_failed for one in part)
    failing = clopper_pearson(failures, trials=len(part), confidence=confidence)[0]
    stability = None
    if reference is not None and reference.edges.size and len(scores) >= MIN_WINDOW:
        stability = population_stability(
            then=reference.counts, now=bin_counts(scores, edges=reference.edges), confidence=confidence
        )
    alarms = []
    if stability is not None and reference is not None and stability.level != "stable":
        alarms.append(
            f"scores moved: stability index {stability.psi:.2f} ({stability.level}; chance alone stays below "
            f"{stability.by_chance:.2f}) against {reference.name}"
        )
    first = part[0]
    if first.kind == _CLAIM and expected is not None and at_least > expected:
        alarms.append(
            f"rejects: {rejects} of {len(decided)} claims, surely more than {at_least:.1%}, where the operating "
            f"point allows for an FNMR of {expected:.1%}: captures got worse, or strangers try"
        )
    allowed = None if reference is None else reference.fta_upper
    if allowed is not None and failing > allowed:
        alarms.append(
            f"captures fail: {failures} of {len(part)}, surely more than {failing:.1%}, where {allowed:.1%} was normal"
        )
    return Window(
        kind=first.kind,
        modality=first.modality,
        model_id=first.model_id,
        score_space=first.score_space,
        start=first.at,
        end=part[-1].at,
        decisions=len(part),
        decided=len(decided),
        rejects=rejects,
        rejects_at_least=at_least,
        expected_fnmr=expected,
        capture_failures=failures,
        stability=stability,
        alarms=tuple(alarms),
    )


def _advice(windows: Sequence[Window]) -> str:
    if not windows:
        return f"too few decisions to judge: {MIN_WINDOW} of one kind and model are needed"
    latest: dict[tuple[str, str, str], Window] = {}
    for window in windows:
        latest[window.kind, window.model_id, window.score_space] = window
    if any(window.alarms for window in latest.values()):
        return (
            "recalibrate: collect fresh samples where the engine is used and run `verify calibrate` on them; until "
            "then the promised rates are those of another population"
        )
    if any(window.alarms for window in windows):
        return "the latest windows are quiet, earlier ones were not: look at what changed in between"
    return "no alarm: the scores look like those that the operating point was measured on"
