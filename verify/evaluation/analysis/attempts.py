"""What happened before matching: captures that failed, subjects who could not be enrolled, several attempts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from verify.evaluation.analysis.rates import rate_facts
from verify.evaluation.prepare import failures
from verify.metrics.dyadic import mated_rate
from verify.metrics.far import far, frr

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from verify.evaluation.side import Side
    from verify.facts import SideFacts
    from verify.metrics.prediction import Bound
    from verify.types import Rate


def side_facts(side: Side, *, confidence: float = 0.95, possible: int | None = None) -> SideFacts:
    """Counts of one side, with its failures to acquire by reason, most frequent first.

    Args:
        side: calibration or test.
        confidence: of the one-sided bounds on FTA and FTE.
        possible: number of non-mated trials that there are, scored or not; None counts the pairs of
            usable samples.
    """
    here = [attempt for attempt in side.attempts if side.among[attempt.subject]]
    without = int(side.mated_left_out.size)
    return {
        "subjects": int(side.subjects_seen),
        "samples": int(side.samples_seen),
        "mated_trials": int(side.mated.size),
        "non_mated_trials": int(side.non_mated.trials),
        "possible_non_mated_trials": _possible(side) if possible is None else possible,
        "attempts": int(side.mated.size) + without if without else len(here),
        "failures_to_acquire": failures(side),
        "fta": rate_facts(fta_of(side, confidence=confidence)),
        "fte": rate_facts(fte_of(side, confidence=confidence)),
    }


def fta_of(side: Side, *, confidence: float = 0.95, bound: Bound = "population") -> Rate | None:
    """Failure-to-acquire rate over attempts, each subject's attempts one cluster; None without attempts.

    Of scores alone, no capture is known: there a mated trial without evidence is a failure among the mated trials.
    """
    failed, subject = _failed(side)
    if side.mated_left_out.size:
        failed = np.repeat([1.0, 0.0], [side.mated_left_out.size, side.mated.size])
        subject = np.concatenate([side.mated_left_out, side.mated_subject]).astype(np.int64)
    if not failed.size:
        return None
    return mated_rate(mated=1.0 - failed, subject=subject, threshold=0.5, confidence=confidence, bound=bound)


def fte_of(side: Side, *, confidence: float = 0.95) -> Rate | None:
    """Failure-to-enrol rate: subjects none of whose samples could be captured; None without attempts."""
    failed, subject = _failed(side)
    if not failed.size:
        return None
    subjects, number = np.unique(subject, return_inverse=True)
    captured = np.bincount(number, weights=1.0 - failed, minlength=subjects.size) > 0
    return mated_rate(
        mated=captured.astype(np.float64), subject=subjects, threshold=0.5, confidence=confidence
    )


def far_frr(fmr: float | None, fnmr: float | None, fta: float | None) -> tuple[float | None, float | None]:
    """(FAR, FRR) of a single attempt; None where the rate behind it is not known.

    Args:
        fmr: false-match rate.
        fnmr: false-non-match rate.
        fta: failure-to-acquire rate; None (score files) leaves both unknown.

    Raises:
        ScoreError: a rate outside [0, 1].
    """
    if fta is None:
        return None, None
    return (
        None if fmr is None else far(fmr=fmr, fta=fta),
        None if fnmr is None else frr(fnmr=fnmr, fta=fta),
    )


def _failed(side: Side) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """(n,) 1.0 where an attempt of this side failed, and (n,) whose it was."""
    here = [attempt for attempt in side.attempts if side.among[attempt.subject]]
    failed = np.array([attempt.failure is not None for attempt in here], dtype=np.float64)
    return failed, np.array([attempt.subject for attempt in here], dtype=np.int64)


def _possible(side: Side) -> int:
    """Pairs of usable samples of two subjects; the trials there are where no samples are known."""
    usable = [
        attempt.subject
        for attempt in side.attempts
        if side.among[attempt.subject] and attempt.failure is None
    ]
    if not usable:
        return int(side.non_mated.trials)
    counts = np.unique(np.array(usable), return_counts=True)[1].astype(np.int64)
    total = int(counts.sum())
    return max((total * total - int(np.sum(counts * counts))) // 2, int(side.non_mated.trials))
