from __future__ import annotations

import hashlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from verify.errors import ScoreError
from verify.metrics import CohortStats, auc, cohort_sha256, cohort_stats, norm_scores, stats_of_scores
from verify.score_space import ScoreSpace

NORMS = (ScoreSpace.Z_NORM, ScoreSpace.T_NORM, ScoreSpace.S_NORM, ScoreSpace.AS_NORM)


def units(n: int, *, seed: int, dim: int = 16):
    vectors = np.random.default_rng(seed).normal(size=(n, dim)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


COHORT = units(40, seed=1)


def stats_for(vectors, method: ScoreSpace, *, top_k: int = 0) -> CohortStats:
    return cohort_stats(vectors, COHORT, method=method, top_k=top_k)


@pytest.mark.parametrize("n", [1, 5, 1025, 2500])
def test_statistics_are_those_of_the_whole_score_matrix_whatever_the_block(n):
    vectors = units(n, seed=2)
    scores = vectors.astype(float) @ COHORT.T.astype(float)
    found = stats_for(vectors, ScoreSpace.S_NORM)
    assert found.mean == pytest.approx(scores.mean(axis=1), abs=1e-12)
    assert found.std == pytest.approx(scores.std(axis=1), abs=1e-12)
    top = np.sort(scores, axis=1)[:, -7:]
    found = stats_for(vectors, ScoreSpace.AS_NORM, top_k=7)
    assert found.mean == pytest.approx(top.mean(axis=1), abs=1e-12)
    assert found.std == pytest.approx(top.std(axis=1), abs=1e-12)


def test_one_capture_alone_scores_as_among_many():
    many = stats_for(units(50, seed=3), ScoreSpace.S_NORM)
    alone = stats_for(units(50, seed=3)[17:18], ScoreSpace.S_NORM)
    assert alone.mean[0] == pytest.approx(many.mean[17], abs=1e-13)


def test_norms_by_hand():
    enrol = CohortStats(mean=np.array([0.1]), std=np.array([0.2]))
    probe = CohortStats(mean=np.array([0.3]), std=np.array([0.1]))
    expected = {
        ScoreSpace.Z_NORM: 2.0,
        ScoreSpace.T_NORM: 2.0,
        ScoreSpace.S_NORM: 2.0,
        ScoreSpace.AS_NORM: 2.0,
    }
    for method, value in expected.items():
        assert norm_scores([0.5], method=method, enrol=enrol, probe=probe) == pytest.approx(value)
    assert norm_scores([0.7], method=ScoreSpace.Z_NORM, enrol=enrol, probe=probe) == pytest.approx(3)
    assert norm_scores([0.7], method=ScoreSpace.T_NORM, enrol=enrol, probe=probe) == pytest.approx(4)
    assert norm_scores([0.7], method=ScoreSpace.S_NORM, enrol=enrol, probe=probe) == pytest.approx(3.5)


@given(seed=st.integers(0, 10**6), top_k=st.integers(2, 40))
def test_symmetric_norms_do_not_mind_who_is_enrolled(seed, top_k):
    a, b = units(6, seed=seed), units(6, seed=seed + 1)
    scores = np.einsum("nd,nd->n", a, b)
    for method, k in ((ScoreSpace.S_NORM, 0), (ScoreSpace.AS_NORM, top_k)):
        of_a, of_b = stats_for(a, method, top_k=k), stats_for(b, method, top_k=k)
        here = norm_scores(scores, method=method, enrol=of_a, probe=of_b)
        there = norm_scores(scores, method=method, enrol=of_b, probe=of_a)
        assert here == pytest.approx(there, abs=1e-12)
        # Z of one order is T of the other
        z = norm_scores(scores, method=ScoreSpace.Z_NORM, enrol=of_a, probe=of_b)
        t = norm_scores(scores, method=ScoreSpace.T_NORM, enrol=of_b, probe=of_a)
        assert z.tolist() == t.tolist()
        assert here == pytest.approx(
            (z + norm_scores(scores, method=ScoreSpace.Z_NORM, enrol=of_b, probe=of_a)) / 2
        )


def test_adaptive_norm_over_the_whole_cohort_is_s_norm():
    a, b = units(9, seed=5), units(9, seed=6)
    scores = np.einsum("nd,nd->n", a, b)
    whole = [stats_for(v, ScoreSpace.AS_NORM, top_k=len(COHORT)) for v in (a, b)]
    plain = [stats_for(v, ScoreSpace.S_NORM) for v in (a, b)]
    assert norm_scores(scores, method=ScoreSpace.AS_NORM, enrol=whole[0], probe=whole[1]) == pytest.approx(
        norm_scores(scores, method=ScoreSpace.S_NORM, enrol=plain[0], probe=plain[1]), abs=1e-12
    )


@given(scale=st.floats(0.1, 10), shift=st.floats(-5, 5))
def test_a_matchers_scale_and_offset_drop_out(scale, shift):
    rng = np.random.default_rng(7)
    raw, enrol, probe = rng.normal(size=8), rng.normal(size=(8, 30)), rng.normal(size=(8, 30))
    here = norm_scores(
        raw, method=ScoreSpace.S_NORM, enrol=stats_of_scores(enrol), probe=stats_of_scores(probe)
    )
    there = norm_scores(
        raw * scale + shift,
        method=ScoreSpace.S_NORM,
        enrol=stats_of_scores(enrol * scale + shift),
        probe=stats_of_scores(probe * scale + shift),
    )
    assert there == pytest.approx(here, abs=1e-8)


def test_no_captures_have_no_statistics():
    assert stats_for(np.empty((0, 16), np.float32), ScoreSpace.Z_NORM).mean.size == 0


def test_cohort_hash_is_that_of_its_bytes_and_of_their_order():
    assert cohort_sha256(COHORT) == hashlib.sha256(COHORT.astype("<f4").tobytes()).hexdigest()
    assert cohort_sha256(COHORT.astype(np.float64)) == cohort_sha256(COHORT)
    assert cohort_sha256(np.asfortranarray(COHORT)) == cohort_sha256(COHORT)
    assert cohort_sha256(COHORT[::-1]) != cohort_sha256(COHORT)


@pytest.mark.parametrize(
    ("cohort", "method", "top_k", "says"),
    [
        (COHORT, ScoreSpace.AS_NORM, 0, "top_k=0"),
        (COHORT, ScoreSpace.AS_NORM, 1, "top_k=1"),
        (COHORT, ScoreSpace.AS_NORM, 41, "top_k=41"),
        (COHORT, ScoreSpace.S_NORM, 5, "top_k=5"),
        (COHORT, ScoreSpace.COSINE, 0, "cosine"),
        (COHORT[:1], ScoreSpace.Z_NORM, 0, "1 subjects"),
        (COHORT[:, :8], ScoreSpace.Z_NORM, 0, "8: not of one model"),
        (np.repeat(COHORT[:1], 9, axis=0), ScoreSpace.Z_NORM, 0, "distinct subjects"),
        (COHORT * np.nan, ScoreSpace.Z_NORM, 0, "^cohort: row 0"),
        (COHORT[0], ScoreSpace.Z_NORM, 0, "^cohort"),
        ("strangers", ScoreSpace.Z_NORM, 0, "^cohort"),
    ],
)
def test_bad_cohorts_are_named(cohort, method, top_k, says):
    with pytest.raises(ScoreError, match=says):
        cohort_stats(units(3, seed=8), cohort, method=method, top_k=top_k)


def test_bad_vectors_and_scores_are_named():
    with pytest.raises(ScoreError, match="vectors: row 1"):
        cohort_stats(units(3, seed=9) * [[1], [np.inf], [1]], COHORT, method=ScoreSpace.Z_NORM)
    with pytest.raises(ScoreError, match="cohort_scores"):
        stats_of_scores([[0.1]])
    sides = {
        "enrol": stats_for(units(2, seed=1), ScoreSpace.Z_NORM),
        "probe": stats_for(units(2, seed=2), ScoreSpace.Z_NORM),
    }
    for scores, method, says in (
        ([0.1, np.nan], ScoreSpace.Z_NORM, "^scores"),
        ([0.1, 0.2, 0.3], ScoreSpace.Z_NORM, "^enrol"),
        ([0.1, 0.2], ScoreSpace.LLR, "llr"),
    ):
        with pytest.raises(ScoreError, match=says):
            norm_scores(scores, method=method, **sides)


def test_one_probe_meets_a_whole_gallery():
    gallery, probe = units(30, seed=10), units(1, seed=11)
    scores = gallery @ probe[0]
    enrol, of_probe = stats_for(gallery, ScoreSpace.S_NORM), stats_for(probe, ScoreSpace.S_NORM)
    wide = CohortStats(mean=np.repeat(of_probe.mean, 30), std=np.repeat(of_probe.std, 30))
    found = norm_scores(scores, method=ScoreSpace.S_NORM, enrol=enrol, probe=of_probe)
    assert found.tolist() == norm_scores(scores, method=ScoreSpace.S_NORM, enrol=enrol, probe=wide).tolist()


def test_it_takes_out_what_makes_one_capture_look_like_everybody():
    """Each capture lifts all of its scores by an amount of its own: one raw threshold misjudges them."""
    rng = np.random.default_rng(12)
    n = 4000
    lift = rng.normal(0, 2, (2, n))
    sides = [stats_of_scores(own[:, None] + rng.normal(0, 1, (n, 100))) for own in lift]
    mated = rng.integers(0, 2, n).astype(bool)
    raw = 3 * mated + lift[0] + lift[1] + rng.normal(0, 1, n)
    normed = norm_scores(raw, method=ScoreSpace.S_NORM, enrol=sides[0], probe=sides[1])
    before = auc(mated=raw[mated], non_mated=raw[~mated])
    after = auc(mated=normed[mated], non_mated=normed[~mated])
    assert before < 0.78
    assert after > 0.87  # each side takes out half of its own
