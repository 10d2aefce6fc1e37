"""Is the engine still living in the world that it was calibrated in?

The drift log is cut into windows of decisions of one kind, model and score space. Each window is held
against a baseline: the mated scores of the calibration report for 1:1 claims of the same model in the same score
space, else the log's own first window. Three alarms:

- *scores moved*: the population stability index of the window is past the rule of thumb and past chance.
- *rejects*: of the decided 1:1 claims more were rejected than the operating point's FNMR bound allows,
  beyond chance. Captures got worse, people changed, or strangers try: a log cannot tell which.
- *captures fail*: a larger share of captures fails than in the baseline, beyond chance.

An alarm says look, and calibrate again on fresh data of the same kind; it proves nothing by itself.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from verify.engine.baseline import BINS, Baseline
from verify.engine.drift_log import LoggedDecision, read_drift_log
from verify.errors import ModelMismatchError, UsageError
from verify.metrics.intervals import clopper_pearson
from verify.metrics.stability import Stability, bin_counts, population_stability, quantile_edges

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from datetime import datetime
    from pathlib import Path

    Key = tuple[str, str, str, str]  # kind, modality, model_id, score space

DEFAULT_WINDOW = 500
MIN_WINDOW = 50  # fewer decisions tell nothing but noise
_CLAIM = "match"


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

    @property
    def judged(self) -> bool:
        """Whether it was held against anything: a first window without a report may only be a baseline."""
        return self.stability is not None or (
            self.kind == _CLAIM and self.decided > 0 and self.expected_fnmr is not None
        )


@dataclass(frozen=True, slots=True)
class DriftReport:
    """What a log came to, window by window.

    Attributes:
        windows: in order of time within each stream of one kind, model and score space.
        too_few: streams with fewer than `MIN_WINDOW` decisions -> how many.
        advice: what to do, in a sentence.
        notes: which decisions the baseline did not speak for.
    """

    windows: tuple[Window, ...]
    too_few: Mapping[str, int]
    advice: str
    notes: tuple[str, ...] = ()

    @property
    def judged(self) -> bool:
        """Whether any window was judged; if not, no alarm means nothing."""
        return any(window.judged for window in self.windows)

    @property
    def alarmed(self) -> bool:
        """Whether any window has an alarm."""
        return any(window.alarms for window in self.windows)


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
        baseline: for the scores of 1:1 claims of its model in its score space; other streams, and all
            without one, are held against their own first window.
        window: decisions a window, at least `MIN_WINDOW`.
        confidence: of each alarm; high, because many windows are looked at.

    Raises:
        UsageError: a window below `MIN_WINDOW`, or a confidence outside (0.5, 1).
        DataError: the log cannot be read.
        ModelMismatchError: the log has 1:1 claims, and the baseline speaks for none of them.
    """
    if window < MIN_WINDOW:
        msg = f"window must be at least {MIN_WINDOW} decisions, not {window}: fewer tell nothing but noise"
        raise UsageError(msg)
    if not 0.5 < confidence < 1.0:  # noqa: PLR2004
        msg = f"confidence must lie inside (0.5, 1), for example 0.999, not {confidence}"
        raise UsageError(msg)
    streams: defaultdict[Key, list[LoggedDecision]] = defaultdict(list)
    for one in read_drift_log(path):
        streams[one.kind, one.modality, one.model_id, one.score_space].append(one)
    notes = [] if baseline is None else _notes(baseline, streams)
    windows: list[Window] = []
    too_few: dict[str, int] = {}
    for (kind, modality, model_id, space), decisions in streams.items():
        if len(decisions) < MIN_WINDOW:
            too_few[_in_words((kind, modality, model_id, space))] = len(decisions)
            continue
        speaks = baseline is not None and baseline.speaks_for(model_id=model_id, score_space=space)
        own = baseline if kind == _CLAIM and speaks else None
        windows += _stream(decisions, baseline=own, size=window, confidence=confidence)
    return DriftReport(tuple(windows), too_few, _advice(windows), tuple(notes))


def _notes(baseline: Baseline, streams: Iterable[Key]) -> list[str]:
    """Which decisions the baseline does not speak for."""
    claims = [key for key in streams if key[0] == _CLAIM]
    strange = [key for key in claims if not baseline.speaks_for(model_id=key[2], score_space=key[3])]
    if not claims:
        return [f"no 1:1 claim is in the log: {baseline.name} says nothing about the rest"]
    if len(strange) == len(claims):
        msg = (
            f"{baseline.name}: is of {baseline.kind}, but the log's claims are of "
            f"{'; '.join(f'model {key[2][:12]}, {key[3]}' for key in strange)}: scores of two models or score spaces "
            "are never held against each other; give the report of the model in use, or leave the baseline out"
        )
        raise ModelMismatchError(msg)
    return [
        f"{_in_words(key)}: {baseline.name} is of {baseline.kind}, so its own first window is the baseline"
        for key in strange
    ]


def _in_words(key: Key) -> str:
    kind, modality, model_id, space = key
    return f"{kind}, {modality} {model_id[:12]}, {space}"


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
    edges = quantile_edges(scores, bins=BINS)
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
    if not any(window.judged or window.alarms for window in windows):
        return (
            "nothing was judged: the first window of a log is its own baseline; give the calibration report as one "
            "(--baseline), a smaller --window, or wait for more decisions"
        )
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
