from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from verify.errors import ModelError, NoDecisionError, UsageError
from verify.face.boxes import prominence, suppress_doubles, to_regions
from verify.face.locate import choose, open_locator
from verify.types import FaceRegion, Reason


def region(left, top, side, score=0.9):
    points = np.array([[0.3, 0.4], [0.7, 0.4], [0.5, 0.6], [0.35, 0.8], [0.65, 0.8]], np.float32) * side + (
        left,
        top,
    )
    return FaceRegion(box_px=(left, top, left + side, top + side), score=score, landmarks_px=points)


def overlap(a, b) -> float:
    width = max(0.0, min(a[2], b[2]) - max(a[0], b[0]))
    height = max(0.0, min(a[3], b[3]) - max(a[1], b[1]))
    both = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1])
    return width * height / max(both - width * height, 1e-9)


@given(
    hnp.arrays(np.float32, st.tuples(st.integers(0, 25), st.just(4)), elements=st.integers(0, 50).map(float)),
    st.integers(0, 2**31),
)
def test_doubles_go_and_only_doubles(corners, seed):
    boxes = np.concatenate([corners[:, :2], corners[:, :2] + corners[:, 2:] + 1], axis=1)
    scores = np.random.default_rng(seed).permutation(len(boxes)).astype(np.float32)
    kept = suppress_doubles(boxes, scores, iou=0.3)
    assert list(scores[kept]) == sorted(scores[kept], reverse=True)
    for i, a in enumerate(kept):
        assert all(overlap(boxes[a], boxes[b]) <= 0.3 + 1e-6 for b in kept[:i])
    for gone in set(range(len(boxes))) - set(kept.tolist()):
        assert any(overlap(boxes[gone], boxes[k]) > 0.3 - 1e-6 and scores[k] > scores[gone] for k in kept)


def test_a_box_within_another_is_its_double_only_of_the_smaller():
    boxes = np.array([[0, 0, 100, 100], [40, 40, 60, 60]], np.float32)
    scores = np.array([0.9, 0.8], np.float32)
    assert suppress_doubles(boxes, scores, iou=0.5).tolist() == [0, 1]
    assert suppress_doubles(boxes, scores, iou=0.5, of_smaller=True).tolist() == [0]


def test_regions_that_are_not_finite_or_empty_are_dropped():
    boxes = np.array([[0, 0, 10, 10], [np.nan, 0, 1, 1], [5, 5, 5, 9], [0, 0, np.inf, 3]], np.float32)
    found = to_regions(boxes, np.full(4, 1.5, np.float32), np.zeros((4, 5, 2), np.float32), frame=(20, 20))
    assert [r.box_px for r in found] == [(0, 0, 10, 10)]
    assert found[0].score == 1.0


def test_the_subject_is_the_larger_face_but_not_one_that_is_cut_off_at_the_side():
    frame = (250, 250)
    subject = region(70, 70, 110)
    neighbour = region(190, 70, 118)
    larger = region(10, 60, 150)
    assert prominence(subject, frame=frame) > prominence(neighbour, frame=frame)
    assert prominence(larger, frame=frame) > prominence(subject, frame=frame)


def test_choose_takes_the_first_and_refuses_rivals_but_no_bystanders():
    subject, rival, bystander = region(50, 50, 100), region(160, 50, 45), region(200, 10, 39)
    assert choose([subject, rival]) is subject
    assert choose([subject, bystander], policy="refuse") is subject
    with pytest.raises(NoDecisionError, match="2 faces") as caught:
        choose([subject, rival, bystander], policy="refuse")
    assert caught.value.reason is Reason.SEVERAL_FACES
    for policy in ("largest", "refuse"):
        with pytest.raises(NoDecisionError) as caught:
            choose([], policy=policy)
        assert caught.value.reason is Reason.NO_FACE
    with pytest.raises(UsageError, match="smallest"):
        choose([subject], policy="smallest")


def test_a_bundle_that_no_locator_runs_is_named():
    class Stranger:
        name = "retina-face"

    with pytest.raises(ModelError, match=r"retina-face.*yunet, mtcnn"):
        open_locator(Stranger())
