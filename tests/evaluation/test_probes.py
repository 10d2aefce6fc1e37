from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from verify.errors import InsufficientTrialsError
from verify.evaluation.discriminant import Fold, ledoit_wolf
from verify.evaluation.probes import condition_probe, identity_probe

DIM = 24


def unit(vectors):
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def people(seed=0, *, subjects=30, samples=8, noise=0.6):
    rng = np.random.default_rng(seed)
    owner = np.repeat(np.arange(subjects), samples)
    centres = rng.normal(size=(subjects, DIM))
    return unit(centres[owner] + noise * rng.normal(size=(owner.size, DIM))), owner, rng


def tainted(vectors, there, *, strength, seed=1):
    """Captures under one condition all lean to one side."""
    side = unit(np.random.default_rng(seed).normal(size=(1, DIM)))
    return unit(vectors + strength * np.asarray(there)[:, None] * side)


def test_a_condition_that_leaves_no_trace_is_chance():
    vectors, owner, rng = people()
    probe = condition_probe(
        vectors, subjects=owner, labels=rng.choice(["a", "b"], owner.size).tolist(), name="camera"
    )
    assert not probe.visible
    assert probe.accuracy == pytest.approx(0.5, abs=0.12)
    assert probe.chance == pytest.approx(0.5, abs=0.03)
    assert probe.p_value > 0.02
    assert abs(probe.non_mated_shift) < 0.02
    assert probe.shuffled == "within subjects"


def test_a_condition_that_leaves_a_trace_shows():
    vectors, owner, rng = people()
    there = rng.random(owner.size) < 0.4
    found = [
        condition_probe(
            tainted(vectors, there, strength=strength),
            subjects=owner,
            labels=np.where(there, "webcam", "phone").tolist(),
            name="camera",
        )
        for strength in (0.3, 0.8)
    ]
    weak, strong = found
    assert weak.visible
    assert strong.accuracy > weak.accuracy > weak.chance_upper
    assert strong.accuracy > 0.9
    assert strong.p_value == pytest.approx(1 / 201)
    assert strong.non_mated_shift > weak.non_mated_shift > 0
    assert strong.classes == ("phone", "webcam")


def test_what_goes_with_the_person_is_in_the_level_of_chance():
    """Women mostly by camera A: the probe reads the women, not the camera, and must say nothing of the camera."""
    vectors, owner, rng = people(3, subjects=60)
    woman = np.arange(60) < 30
    vectors = tainted(vectors, woman[owner], strength=1.0)
    camera = rng.random(owner.size) < np.where(woman[owner], 0.85, 0.15)
    probe = condition_probe(
        vectors, subjects=owner, labels=np.where(camera, "A", "B").tolist(), name="camera"
    )
    assert probe.accuracy > 0.6
    assert probe.chance > 0.6
    assert not probe.visible


def test_one_condition_a_subject_is_shuffled_between_subjects():
    vectors, owner, rng = people(4, subjects=40)
    by_subject = rng.permutation(np.repeat(["lab", "home"], 20))[owner]
    silent = condition_probe(vectors, subjects=owner, labels=by_subject.tolist(), name="site")
    assert silent.shuffled == "between subjects"
    assert silent.mated_shift is None
    assert not silent.visible
    loud = condition_probe(
        tainted(vectors, by_subject == "lab", strength=1.0),
        subjects=owner, labels=by_subject.tolist(), name="site",
    )  # fmt: skip
    assert loud.visible


def test_memory_of_the_people_does_not_help():
    """Each subject has one condition and a place of its own: a probe that met the subject would know it."""
    vectors, owner, rng = people(5, subjects=40, noise=0.05)
    labels = rng.choice(["a", "b"], 40)[owner].tolist()
    assert identity_probe(vectors, subjects=owner).accuracy > 0.95
    assert not condition_probe(vectors, subjects=owner, labels=labels, name="site").visible


def test_shifts_are_the_means_over_all_pairs():
    vectors, owner, rng = people(6, subjects=6, samples=5)
    labels = rng.choice(["a", "b", "c"], owner.size)
    probe = condition_probe(vectors, subjects=owner, labels=labels.tolist(), name="x", permutations=1)
    scores = vectors.astype(float) @ vectors.T.astype(float)
    one = ~np.eye(owner.size, dtype=bool)
    mated, same = owner[:, None] == owner, labels[:, None] == labels
    assert probe.mated_shift == pytest.approx(
        scores[one & mated & same].mean() - scores[one & mated & ~same].mean()
    )
    assert probe.non_mated_shift == pytest.approx(
        scores[~mated & same].mean() - scores[~mated & ~same].mean()
    )


def test_rare_and_missing_classes_are_left_out_and_counted():
    vectors, owner, _ = people(7, subjects=10, samples=4)
    labels = np.array(["a", "b"] * 20, dtype="<U9")
    labels[:3] = ""
    labels[owner == 9] = "own"  # of one subject
    probe = condition_probe(vectors, subjects=owner, labels=labels.tolist(), name="room", permutations=2)
    assert probe.classes == ("a", "b")
    assert probe.left_out == 7
    assert probe.samples == 33
    assert probe.subjects == 9


@pytest.mark.parametrize("labels", [["", ""], ["a", "a"], ["x1", "x2"]])
def test_what_cannot_be_told_is_said(labels):
    vectors, owner, _ = people(8, subjects=2, samples=10)
    with pytest.raises(InsufficientTrialsError, match=r"^room: .*shared by two subjects"):
        condition_probe(vectors, subjects=owner, labels=[labels[k] for k in owner], name="room")


def test_identity_is_told_across_samples_and_singles_are_left_out():
    vectors, owner, rng = people(9, subjects=50, noise=0.4)
    probe = identity_probe(vectors, subjects=np.append(owner[:-8], [90] + [49] * 7))
    assert probe.subjects == 50
    assert probe.left_out == 1
    assert probe.accuracy > 0.9
    assert probe.chance == 1 / 50
    assert probe.chance_upper is None
    nothing = identity_probe(unit(rng.normal(size=(400, DIM))), subjects=owner)
    assert nothing.accuracy < 0.1
    with pytest.raises(InsufficientTrialsError, match="1 subjects have two samples"):
        identity_probe(vectors[:3], subjects=[1, 1, 2])


def test_two_samples_and_more_classes_than_dimensions():
    vectors, _, _ = people(10, subjects=100, samples=2, noise=0.2)
    assert identity_probe(vectors, subjects=np.repeat(np.arange(100), 2)).accuracy > 0.8


def test_seeded():
    vectors, owner, rng = people(11)
    labels = rng.choice(["a", "b"], owner.size).tolist()
    first = condition_probe(vectors, subjects=owner, labels=labels, name="x", permutations=20, seed=5)
    assert first == condition_probe(vectors, subjects=owner, labels=labels, name="x", permutations=20, seed=5)
    assert first != condition_probe(vectors, subjects=owner, labels=labels, name="x", permutations=20, seed=6)


def test_shrinkage_agrees_with_sklearn():
    covariance = pytest.importorskip("sklearn.covariance")
    rng = np.random.default_rng(12)
    for n, d in ((30, 50), (500, 20)):
        points = rng.normal(size=(n, d)) * rng.uniform(0.2, 3, d)
        points -= points.mean(axis=0)
        assert ledoit_wolf(points, points.T @ points / n) == pytest.approx(covariance.ledoit_wolf(points)[1])


@settings(max_examples=15)
@given(st.integers(2, 40), st.integers(0, 1000))
def test_the_discriminant_agrees_with_sklearn(classes, seed):
    """By means and covariance, fewer classes than dimensions or more."""
    analysis = pytest.importorskip("sklearn.discriminant_analysis")
    rng = np.random.default_rng(seed)
    labels = np.append(np.arange(classes), rng.integers(classes, size=120))
    known = rng.normal(size=(labels.size, 10)) + rng.normal(size=(classes, 10))[labels]
    asked = rng.normal(size=(50, 10))
    fold = Fold.of(known, asked)
    theirs = analysis.LinearDiscriminantAnalysis(solver="lsqr", priors=np.full(classes, 1 / classes))
    within = known - np.stack([known[labels == k].mean(axis=0) for k in range(classes)])[labels]
    covariance = fold.kept * within.T @ within / labels.size
    covariance += (1 - fold.kept) * np.trace(np.cov(known.T, bias=True)) / 10 * np.eye(10)
    theirs.covariance_estimator = type(
        "Known", (), {"fit": lambda self, _: setattr(self, "covariance_", covariance)}
    )()
    theirs.fit(known, labels)
    agree = np.mean(theirs.predict(asked) == fold.predict(labels, classes=classes))
    assert agree >= 0.98  # a sample may lie on the border


def test_a_class_that_is_not_there_is_never_predicted():
    vectors, owner, _ = people(13, subjects=3)
    told = Fold.of(vectors, vectors).predict(owner * 2, classes=7)
    assert set(told.tolist()) <= {0, 2, 4}


def test_equal_embeddings_break_nothing():
    vectors = np.tile(unit(np.ones((1, DIM))), (20, 1))
    probe = condition_probe(
        vectors, subjects=np.repeat(np.arange(4), 5), labels=["a", "b"] * 10, name="x", permutations=5
    )
    assert not probe.visible
    assert probe.accuracy <= 0.6
