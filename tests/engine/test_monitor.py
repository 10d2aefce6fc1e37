from __future__ import annotations

import dataclasses
import json
import multiprocessing
import types
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from verify.engine.baseline import Baseline, baseline_from_facts, baseline_from_histogram
from verify.engine.drift_log import DriftLog, read_drift_log
from verify.engine.drift_monitor import monitor
from verify.errors import DataError, ModelMismatchError, StorageError, UsageError
from verify.types import (
    Candidate,
    Capture,
    Decision,
    Identification,
    IdentifyOutcome,
    Modality,
    OperatingPoint,
    Outcome,
    Rate,
    Reason,
    Template,
)

MODEL = "a" * 64
POINT = OperatingPoint(
    name="face-fmr-1e-3",
    model_id=MODEL,
    modality=Modality.FACE,
    threshold=0.4,
    target_fmr=1e-3,
    fmr=Rate(1, 1000, 0.004),
    fnmr=Rate(20, 1000, 0.03),
)


def decision(score: float | None, *, subject: str | None = "alice") -> Decision:
    template = Template(np.full(4, 0.5, dtype=np.float32), MODEL, Modality.FACE)
    if score is None:
        failed = Capture("secret.jpg", "ab", Modality.FACE, failure=Reason.NO_FACE, message="no face")
        return Decision(
            Outcome.NO_DECISION,
            Reason.NO_FACE,
            "no face",
            Modality.FACE,
            MODEL,
            subject_id=subject,
            probe=failed,
        )
    accepted = score >= POINT.threshold
    return Decision(
        Outcome.ACCEPT if accepted else Outcome.REJECT,
        Reason.SCORE_AT_OR_ABOVE_THRESHOLD if accepted else Reason.SCORE_BELOW_THRESHOLD,
        "",
        Modality.FACE,
        MODEL,
        score=score,
        threshold=POINT.threshold,
        operating_point=POINT,
        subject_id=subject,
        probe=Capture("secret.jpg", "ab", Modality.FACE, template=template),
    )


def ticking():
    now = datetime(2026, 1, 1, tzinfo=UTC)
    while True:
        now += timedelta(minutes=1)
        yield now


def write(path, scores):
    clock = ticking()
    log = DriftLog(path, clock=lambda: next(clock))
    for score in scores:
        log.record(decision(score))


def test_nothing_personal_is_written(tmp_path):
    path = tmp_path / "door.jsonl"
    log = DriftLog(path)
    log.record(decision(0.7, subject="Alice Example"))
    log.record(
        Identification(
            IdentifyOutcome.MATCH, Reason.SCORE_AT_OR_ABOVE_THRESHOLD, "", Modality.FACE, MODEL, 3,
            candidates=(Candidate("Bob Example", 0.8),), threshold=0.4, operating_point=POINT,
        )
    )  # fmt: skip
    text = path.read_text()
    assert "Example" not in text
    assert "secret" not in text
    assert "0.5" not in text  # the template's numbers
    assert path.stat().st_mode & 0o077 == 0
    first, second = read_drift_log(path)
    assert (first.kind, first.score, first.threshold, first.outcome) == ("match", 0.7, 0.4, "accept")
    assert (second.kind, second.score, second.expected_fnmr) == ("identify", 0.8, 0.03)


def test_a_half_last_line_is_passed_over_a_broken_one_inside_is_named(tmp_path):
    path = tmp_path / "door.jsonl"
    write(path, [0.7, 0.6])
    whole = path.read_text()
    path.write_text(whole + whole[: len(whole) // 3])
    assert len(list(read_drift_log(path))) == 2
    path.write_text("{}\n" + whole)
    with pytest.raises(DataError, match="line 1"):
        list(read_drift_log(path))
    path.write_text(whole.replace('"version": 1', '"version": 9'))
    with pytest.raises(DataError, match="version 9"):
        list(read_drift_log(path))
    path.write_text(whole.replace("0.7", "NaN"))
    with pytest.raises(DataError, match="line 1"):
        list(read_drift_log(path))


def _hammer(path):
    write(path, [0.123456789] * 300)


def test_processes_that_share_a_log_do_not_mix_lines(tmp_path):
    path = tmp_path / "door.jsonl"
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=_hammer, args=(path,)) for _ in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert len(list(read_drift_log(path))) == 900


def test_an_unwritable_log_is_a_storage_error(tmp_path):
    with pytest.raises(StorageError, match="drift log"):
        DriftLog(tmp_path).record(decision(0.7))
    with pytest.raises(DataError, match="drift log"):
        monitor(tmp_path / "absent.jsonl")


def test_a_steady_engine_raises_no_alarm(tmp_path):
    rng = np.random.default_rng(1)
    write(tmp_path / "log", rng.normal(0.7, 0.1, 3000))
    report = monitor(tmp_path / "log", window=500)
    assert len(report.windows) == 6
    assert not report.alarmed
    assert "no alarm" in report.advice


def test_scores_that_sink_raise_alarms_and_ask_for_recalibration(tmp_path):
    rng = np.random.default_rng(2)
    write(tmp_path / "log", [*rng.normal(0.7, 0.1, 1000), *rng.normal(0.5, 0.1, 500)])
    report = monitor(tmp_path / "log", window=500)
    assert [bool(window.alarms) for window in report.windows] == [False, False, True]
    alarms = " ".join(report.windows[-1].alarms)
    assert "scores moved" in alarms
    assert "rejects" in alarms
    assert "recalibrate" in report.advice


def test_an_alarm_of_the_past_is_told_apart_from_one_of_now(tmp_path):
    rng = np.random.default_rng(3)
    write(
        tmp_path / "log", [*rng.normal(0.7, 0.1, 500), *rng.normal(0.5, 0.1, 500), *rng.normal(0.7, 0.1, 500)]
    )
    assert "earlier ones were not" in monitor(tmp_path / "log", window=500).advice


def test_failing_captures_raise_an_alarm(tmp_path):
    rng = np.random.default_rng(4)
    normal = list(rng.normal(0.7, 0.1, 500))
    failing = [None if i % 4 == 0 else s for i, s in enumerate(rng.normal(0.7, 0.1, 500))]
    write(tmp_path / "log", [*normal, *failing])
    report = monitor(tmp_path / "log", window=500)
    assert report.windows[1].capture_failures == 125
    assert any("captures fail: 125 of 500" in alarm for alarm in report.windows[1].alarms)


def test_the_reports_mated_scores_are_a_baseline_even_for_the_first_window(tmp_path):
    rng = np.random.default_rng(5)
    edges = np.linspace(-1, 1, 201)
    counts = np.histogram(rng.normal(0.7, 0.1, 5000).clip(-1, 1), edges)[0]
    baseline = baseline_from_histogram(name="report.json", edges=edges, mated=counts, fta_upper=0.01)
    assert baseline.counts.sum() == 5000
    assert 8 <= baseline.counts.size <= 10
    write(tmp_path / "log", rng.normal(0.7, 0.1, 400))
    assert not monitor(tmp_path / "log", baseline=baseline).alarmed
    write(tmp_path / "moved", rng.normal(0.55, 0.1, 400))
    assert "report.json" in " ".join(monitor(tmp_path / "moved", baseline=baseline).windows[0].alarms)


def test_a_baseline_in_one_bin_and_none_at_all(tmp_path):
    lone = baseline_from_histogram(name="x", edges=[0, 0.5, 1], mated=[0, 10])
    assert lone.counts.sum() == 10
    write(tmp_path / "log", np.full(60, 0.7))
    assert not monitor(tmp_path / "log", baseline=lone, window=50).alarmed
    for edges, mated in (([0, 1], [0]), ([0, 1], [1, 2]), ([0, 1], [-1])):
        with pytest.raises(DataError, match="histogram"):
            baseline_from_histogram(name="x", edges=edges, mated=mated)


def test_too_few_decisions_are_counted_not_judged(tmp_path):
    write(tmp_path / "log", [0.1] * 20)
    report = monitor(tmp_path / "log")
    assert report.windows == ()
    assert list(report.too_few.values()) == [20]
    assert not report.alarmed
    assert "too few" in report.advice


@pytest.mark.parametrize("wrong", [{"window": 10}, {"confidence": 1.0}, {"confidence": 0.2}])
def test_settings_that_cannot_be_are_refused(tmp_path, wrong):
    write(tmp_path / "log", [0.7])
    with pytest.raises(UsageError):
        monitor(tmp_path / "log", **wrong)


def test_a_short_rest_joins_the_window_before_it(tmp_path):
    write(tmp_path / "log", np.full(130, 0.7))
    assert [window.decisions for window in monitor(tmp_path / "log", window=100).windows] == [130]
    write(tmp_path / "longer", np.full(160, 0.7))
    assert [window.decisions for window in monitor(tmp_path / "longer", window=100).windows] == [100, 60]


def test_streams_are_judged_apart(tmp_path):
    rng = np.random.default_rng(8)
    clock = ticking()
    log = DriftLog(tmp_path / "log", clock=lambda: next(clock))
    for score in rng.normal(0.7, 0.1, 100):
        log.record(decision(score))
        log.record(decision(score - 0.6, subject=None))
    report = monitor(tmp_path / "log", window=50)
    assert {(w.kind, w.decisions) for w in report.windows} == {("match", 50), ("compare", 50)}
    assert not any("rejects" in alarm for w in report.windows if w.kind == "compare" for alarm in w.alarms)
    assert json.loads((tmp_path / "log").read_text().splitlines()[1])["kind"] == "compare"
    assert isinstance(baseline_from_histogram(name="x", edges=[0, 1], mated=[3]), Baseline)


def facts_of(**changes: object):
    """As much of a report as a baseline needs."""
    rng = np.random.default_rng(6)
    edges = np.linspace(-1, 1, 201)
    mated = np.histogram(rng.normal(0.7, 0.1, 5000).clip(-1, 1), edges)[0].tolist()
    return {
        "model": {"model_id": MODEL},
        "score_space": "cosine",
        "mode": "1:1",
        "sets": [{"test": {"fta": {"upper": 0.02}}}, {"test": {"fta": None}}],
        "histogram": {"edges": edges.tolist(), "mated": mated},
        **changes,
    }


def test_a_report_of_another_model_or_space_is_no_baseline(tmp_path):
    rng = np.random.default_rng(7)
    write(tmp_path / "log", rng.normal(0.7, 0.1, 400))
    own = baseline_from_facts(facts_of(), name="report.json")
    assert own.fta_upper == 0.02
    assert not monitor(tmp_path / "log", baseline=own).alarmed
    for strange in ({"model": {"model_id": "b" * 64}}, {"score_space": "llr"}):
        other = baseline_from_facts(facts_of(**strange), name="report.json")
        with pytest.raises(ModelMismatchError, match=f"(bbbbbbbbbbbb|llr).*{MODEL[:12]}, cosine"):
            monitor(tmp_path / "log", baseline=other)


@pytest.mark.parametrize(
    ("changes", "told"), [({"model": {}}, "no known model"), ({"mode": "1:N"}, "searches")]
)
def test_a_report_that_tells_nothing_of_claims_is_no_baseline(changes, told):
    with pytest.raises(ModelMismatchError, match=told):
        baseline_from_facts(facts_of(**changes), name="report.json")


def test_of_several_models_a_baseline_judges_its_own(tmp_path):
    rng = np.random.default_rng(9)
    clock = ticking()
    log = DriftLog(tmp_path / "log", clock=lambda: next(clock))
    for score in rng.normal(0.7, 0.1, 100):
        log(decision(score))
        log(dataclasses.replace(decision(score - 0.5), model_id="b" * 64))
    report = monitor(tmp_path / "log", baseline=baseline_from_facts(facts_of(), name="report.json"))
    stability = {window.model_id[:1]: window.stability for window in report.windows}
    assert stability["a"] is not None
    assert stability["b"] is None
    assert len(report.notes) == 1
    assert "bbbbbbbbbbbb" in report.notes[0]


def test_a_log_without_claims_is_not_judged_by_a_report_and_says_so(tmp_path):
    log = DriftLog(tmp_path / "log")
    for score in np.random.default_rng(10).normal(0.2, 0.1, 100):
        log(decision(score, subject=None))
    report = monitor(tmp_path / "log", baseline=baseline_from_facts(facts_of(), name="report.json"))
    assert "no 1:1 claim" in report.notes[0]
    assert not report.judged
    assert "nothing was judged" in report.advice


def test_an_empty_log_judges_nothing(tmp_path):
    (tmp_path / "log").touch()
    report = monitor(tmp_path / "log")
    assert not report.judged
    assert not report.alarmed
    assert "too few decisions" in report.advice


def test_the_python_way_is_on_the_front(tmp_path):
    import verify.engine as front

    assert front.DriftLog is DriftLog
    assert callable(front.monitor)
    for name in front.__all__:
        assert not isinstance(getattr(front, name), types.ModuleType)
    with pytest.raises(AttributeError, match="drift_logs"):
        front.drift_logs  # noqa: B018
    log = front.DriftLog(tmp_path / "log")
    log(decision(0.7))
    log.record(decision(0.6))
    assert [one.score for one in front.read_drift_log(tmp_path / "log")] == [0.7, 0.6]
