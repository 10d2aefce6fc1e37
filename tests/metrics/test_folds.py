from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from verify.errors import ScoreError
from verify.metrics.folds import fold_accuracy


def test_each_fold_is_judged_by_the_others():
    # on its own, fold 1 would choose 0.25 and be perfect; the other fold puts the threshold at 0.6
    scores = np.array([0.6, 0.7, 0.1, 0.2, 0.3, 0.25, 0.1, 0.05])
    mated = np.array([True, True, False, False] * 2)
    folds = np.array([0] * 4 + [1] * 4)
    found = fold_accuracy(scores, mated=mated, folds=folds)
    assert found.thresholds.tolist() == [0.25, 0.6]
    assert found.accuracy.tolist() == [1.0, 0.5]
    assert found.mean == 0.75
    assert found.standard_error == pytest.approx(0.25)


def test_a_failed_capture_is_a_reject_wrong_when_mated_right_when_not():
    scores = np.array([0.9, -np.inf, 0.1, -np.inf] * 2)
    mated = np.array([True, True, False, False] * 2)
    found = fold_accuracy(scores, mated=mated, folds=np.repeat([0, 1], 4))
    assert found.accuracy.tolist() == [0.75, 0.75]


@given(st.integers(0, 2**32 - 1))
def test_strictly_increasing_maps_change_nothing(seed: int):
    rng = np.random.default_rng(seed)
    mated = rng.random(60) < 0.5
    mated[:4] = mated[30:34] = [True, False, True, False]
    scores, folds = rng.normal(mated * 1.0, 1.0).round(1), np.repeat([0, 1], 30)
    one = fold_accuracy(scores, mated=mated, folds=folds)
    other = fold_accuracy(np.exp(scores), mated=mated, folds=folds)
    assert one.accuracy.tolist() == other.accuracy.tolist()


@pytest.mark.parametrize(
    ("scores", "mated", "folds"),
    [
        ([np.nan, 1.0], [True, False], [0, 1]),
        ([np.inf, 1.0], [True, False], [0, 1]),
        ([0.0, 1.0], [True, False], [0, 0]),
        ([0.0, 1.0], [True, True], [0, 1]),
        ([0.0, 1.0], [1, 0], [0, 1]),
        ([0.0], [True, False], [0, 1]),
        ([-np.inf] * 4, [True, False] * 2, [0, 0, 1, 1]),
    ],
)
def test_what_cannot_be_judged_is_refused(scores, mated, folds):
    with pytest.raises(ScoreError):
        fold_accuracy(scores, mated=np.array(mated), folds=folds)
