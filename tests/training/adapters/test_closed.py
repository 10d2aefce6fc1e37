from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import multivariate_normal

from tests.training.adapters.people import drawn, side_by_side
from verify.errors import InsufficientTrialsError, ScoreError
from verify.training.adapters import Affine, People, joined_people
from verify.training.adapters.closed import lda, plda, wccn
from verify.training.adapters.placing import Placement, turns
from verify.training.adapters.scatter import between, centre_of, shrunk, within


def gaussian(subjects: int, samples: int, *, inside: np.ndarray, across: np.ndarray, seed: int = 0) -> People:
    rng = np.random.default_rng(seed)
    who = np.repeat(np.arange(subjects), samples)
    dim = len(inside)
    means = rng.multivariate_normal(np.zeros(dim), across, subjects)
    x = means[who] + rng.multivariate_normal(np.zeros(dim), inside, len(who))
    return People(x, who, np.zeros(len(who), np.int64), (dim,))


def test_the_covariances_are_those_that_the_people_were_drawn_with() -> None:
    inside, across = np.diag([1.0, 0.2]), np.array([[2.0, 0.5], [0.5, 0.3]])
    people = gaussian(20_000, 3, inside=inside, across=across)
    assert within(people) == pytest.approx(inside, abs=0.03)
    assert between(people, noise=within(people)) == pytest.approx(across, abs=0.07)


def test_sets_of_other_means_do_not_pass_for_people_who_differ() -> None:
    one = gaussian(3000, 2, inside=np.eye(2) * 0.1, across=np.eye(2))
    far = People(one.vectors + np.array([50.0, 0.0]), one.owner, one.source, one.dims)
    both = joined_people([one, far])
    assert len(both.subjects) == 6000
    assert between(both, noise=within(both)) == pytest.approx(between(one, noise=within(one)), abs=1e-6)
    assert centre_of(both)[0] == pytest.approx(25.0, abs=0.1)


def test_whitened_people_vary_alike_in_every_direction() -> None:
    people = drawn(60)
    mapped = people.mapped(wccn(people, shrink=0.0))
    spread = within(mapped)
    assert spread / spread[0, 0] == pytest.approx(np.eye(12), abs=1e-9)


def test_all_shrunk_leaves_every_direction_alone() -> None:
    people = drawn(30)
    for affine in (
        wccn(people, shrink=1.0),
        lda(people, shrink=1.0, dim=12),
        plda(people, shrink_within=1.0, shrink_between=1.0),
    ):
        mapped = affine.apply(people.vectors)
        assert mapped @ mapped.T == pytest.approx(people.vectors @ people.vectors.T, abs=1e-9)


def test_the_first_discriminant_direction_is_fishers() -> None:
    people = gaussian(4000, 4, inside=np.diag([4.0, 0.1, 1.0]), across=np.diag([1.0, 1.0, 1.0]))
    direction = lda(people, shrink=0.0, dim=1).matrix[:, 0]
    assert abs(direction[1]) / np.linalg.norm(direction) > 0.99


def test_the_inner_product_is_pldas_cross_term() -> None:
    """llr(x, y) - llr(x, -y) is twice the cross term: what concerns one sample alone cancels."""
    rng = np.random.default_rng(3)
    people = gaussian(400, 4, inside=np.diag([0.5, 0.1, 0.3]), across=np.diag([1.0, 0.4, 0.2]), seed=3)
    noise = within(people)
    psi = between(people, noise=noise)
    total, zero = noise + psi, np.zeros((3, 3))
    same = multivariate_normal(np.zeros(6), np.block([[total, psi], [psi, total]]))
    other = multivariate_normal(np.zeros(6), np.block([[total, zero], [zero, total]]))

    def llr(x: np.ndarray, y: np.ndarray) -> float:
        pair = np.concatenate([x, y])
        return float(same.logpdf(pair) - other.logpdf(pair))

    matrix = plda(people, shrink_within=0.0, shrink_between=0.0).matrix
    pairs = [(rng.normal(size=3), rng.normal(size=3)) for _ in range(20)]
    crosses = np.array([(llr(x, y) - llr(x, -y)) / 2 for x, y in pairs])
    products = np.array([(x @ matrix) @ (y @ matrix) for x, y in pairs])
    assert crosses == pytest.approx(products * (crosses[0] / products[0]), rel=1e-6)


@given(share=st.floats(0, 1), scale=st.floats(1e-3, 1e3))
@settings(max_examples=25)
def test_shrinking_keeps_the_trace(share: float, scale: float) -> None:
    covariance = np.diag([1.0, 2.0, 6.0]) * scale
    drawn_in = shrunk(covariance, share)
    assert np.trace(drawn_in) == pytest.approx(9.0 * scale)
    assert np.linalg.eigvalsh(drawn_in)[0] >= scale * (1 - 1e-9)


def test_more_values_than_samples_still_gives_finite_directions() -> None:
    few = drawn(4, samples=2, dim=40)
    for affine in (wccn(few, shrink=0.0), plda(few, shrink_within=0.0, shrink_between=0.0)):
        assert np.isfinite(affine.apply(few.vectors)).all()


def test_single_samples_show_nothing_within() -> None:
    with pytest.raises(InsufficientTrialsError, match="two samples"):
        within(drawn(10, samples=1))


def test_one_person_shows_nothing_between() -> None:
    alone = drawn(1, samples=8)
    with pytest.raises(InsufficientTrialsError, match="one person"):
        between(alone, noise=within(alone))


def test_nobody_at_all_is_refused() -> None:
    with pytest.raises(InsufficientTrialsError, match="at least one set"):
        joined_people([])


def test_people_with_a_failed_capture_are_refused() -> None:
    people = drawn(3)
    vectors = people.vectors.copy()
    vectors[0] = np.nan
    with pytest.raises(ScoreError, match="finite"):
        People(vectors, people.owner, people.source, people.dims)


def test_a_placement_moves_only_its_own_block() -> None:
    people = side_by_side(drawn(20, mean=2.0), drawn(20, seed=1, mean=2.0))
    moved = people.mapped(Placement((1.0, 0.0), (1.0, 0.5)).fitted(people)).vectors
    assert centre_of(People(moved, people.owner, people.source, people.dims))[:12] == pytest.approx(
        0, abs=1e-12
    )
    assert moved[:, 12:] == pytest.approx(people.vectors[:, 12:] * 0.5)
    assert list(turns(1)) == [(0, "centres")]


def test_two_maps_behind_each_other_are_one() -> None:
    rng = np.random.default_rng(0)
    one, two = (Affine(rng.normal(size=(4, 4)), rng.normal(size=4)) for _ in range(2))
    x = rng.normal(size=(6, 4))
    assert one.then(two).apply(x) == pytest.approx(two.apply(x @ one.matrix + one.offset))
