"""Who may be who: planted duplicates and planted double lives are found, strangers are left alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from verify.data.manifest import Entry
from verify.errors import UsageError
from verify.evaluation import audit as auditing
from verify.evaluation.audit import BINS, Audited, audit, person_limit
from verify.evaluation.embeddings import EmbeddedSet

DIM = 64


def unit(rows):
    return (rows / np.linalg.norm(rows, axis=-1, keepdims=True)).astype(np.float32)


def people(count, samples=3, *, seed=0, name="made", noise=0.9):
    """Each person a direction, each sample that direction in noise; everyone in the part train."""
    rng = np.random.default_rng(seed)
    persons = rng.standard_normal((count, 1, DIM))
    vectors = unit(persons + noise * rng.standard_normal((count, samples, DIM))).reshape(-1, DIM)
    entries = [Entry(f"p{n // samples:04d}", Path(f"{n}.jpg")) for n in range(count * samples)]
    return make(entries, vectors, name=name)


def make(entries, vectors, *, name="made", parts=None):
    embedded = EmbeddedSet(
        name=name, entries=tuple(entries), vectors=vectors, failures=(None,) * len(entries)
    )
    return Audited(embedded, parts or {entry.subject_id: "train" for entry in entries})


@pytest.mark.parametrize("seed", range(3))
def test_strangers_are_left_alone(seed) -> None:
    found = audit([people(300, seed=seed)])
    assert (found.identities, found.samples, found.failed) == (300, 900, 0)
    assert len(found.suspects) <= 4  # one is expected by chance
    assert all(one.expected <= 1.01 for one in found.suspects)


def test_one_person_under_two_ids_stands_first_when_in_two_parts() -> None:
    one = people(200)
    vectors = one.embedded.vectors.copy()
    noise = np.random.default_rng(9).standard_normal((2, 3, DIM))
    for (a, b), extra in zip(((10, 50), (20, 60)), noise, strict=True):
        centre = vectors[3 * a : 3 * a + 3].mean(axis=0)
        vectors[3 * b : 3 * b + 3] = unit(centre + 0.06 * extra)
    parts = dict(one.parts) | {"p0060": "test"}
    found = audit([make(one.embedded.entries, vectors, parts=parts)]).suspects
    first, second = found[:2]
    assert (first.one, first.other, first.parts) == ("made/p0020", "made/p0060", ("train", "test"))
    assert (second.one, second.other) == ("made/p0010", "made/p0050")
    assert first.across
    assert not second.across
    assert first.kind == "same person"
    assert first.pairs == 9
    assert first.expected < 0.01


def test_a_photo_encoded_anew_under_another_name_over_two_sets() -> None:
    a, b = people(40, name="a"), people(40, name="b", seed=5)
    vectors = b.embedded.vectors.copy()
    vectors[7] = unit(a.embedded.vectors[100] + 0.01 * np.random.default_rng(1).standard_normal(DIM))
    suspects = audit([a, make(b.embedded.entries, vectors, name="b")]).suspects
    (one,) = [suspect for suspect in suspects if suspect.kind == "near-duplicate"]
    assert {one.one, one.other} == {"a/p0033", "b/p0002"}
    assert set(one.files) == {"100.jpg", "7.jpg"}
    assert one.cosine > 0.99


def test_samples_of_one_subject_may_be_alike() -> None:
    one = people(50, noise=0.01)
    assert not [s for s in audit([one]).suspects if s.kind == "near-duplicate"]


def test_blocks_change_nothing(monkeypatch) -> None:
    one = people(120)
    vectors = one.embedded.vectors.copy()
    vectors[200] = vectors[30]
    data = make(one.embedded.entries, vectors)
    whole = audit([data])
    monkeypatch.setattr(auditing, "ROWS", 7)
    parts = audit([data])
    assert [(s.one, s.other, s.kind) for s in parts.suspects] == [
        (s.one, s.other, s.kind) for s in whole.suspects
    ]
    assert parts.person_cosine == pytest.approx(whole.person_cosine, abs=2 / BINS)


def test_failed_captures_are_counted_and_not_looked_at() -> None:
    one = people(60)
    vectors = one.embedded.vectors.copy()
    vectors[:4] = np.nan
    found = audit([make(one.embedded.entries, vectors)])
    assert (found.samples, found.failed, found.identities) == (176, 4, 59)


def test_too_few_people_tell_no_tail() -> None:
    found = audit([people(10)])
    assert np.isnan(found.person_cosine)
    assert not found.suspects


def test_the_limit_lets_about_one_stranger_pair_through() -> None:
    rng = np.random.default_rng(4)
    cosines = rng.normal(0.05, 0.1, 2_000_000)
    cosines[:20] = 0.8  # a few double lives do not move it
    counts = np.histogram(cosines, bins=BINS, range=(-1, 1))[0]
    limit, expected = person_limit(counts)
    assert limit == pytest.approx(0.05 + 0.1 * 4.89, abs=0.01)
    assert expected(limit) == pytest.approx(1.0, rel=0.05)
    assert person_limit(counts, chance=100)[0] < limit


@pytest.mark.parametrize("wrong", [{"duplicate_cosine": 0}, {"duplicate_cosine": 1.5}, {"chance": 0}])
def test_limits_that_cannot_be(wrong) -> None:
    with pytest.raises(UsageError, match="must be"):
        audit([people(3)], **wrong)
