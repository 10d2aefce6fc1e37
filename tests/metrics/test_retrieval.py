from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from verify.errors import ScoreError
from verify.metrics import retrieval_measures
from verify.metrics.ranking import (
    MateLevels,
    average_precision_at_r,
    ndcg,
    r_precision,
    recall_at,
    reciprocal_rank,
)

RANKINGS = st.lists(st.tuples(st.integers(0, 2), st.booleans()), min_size=1, max_size=6).filter(
    lambda members: any(mate for _, mate in members)
)  # (score, is it a mate)


def levels_of(members):
    """The levels of one query, by counting."""
    scores = sorted({score for score, mate in members if mate}, reverse=True)
    above = [sum(other > score for other, _ in members) for score in scores]
    tied = [sum(other == score for other, _ in members) for score in scores]
    mates = [sum(other == score and mate for other, mate in members) for score in scores]
    return MateLevels(*map(np.array, (above, tied, mates, [0], [sum(mates)])))


def over_all_orders(members, measure):
    """The mean of a measure of (mate or not, best first) over every order of equal scores."""
    orders = [
        order for order in itertools.permutations(members)
        if all(a >= b for (a, _), (b, _) in itertools.pairwise(order))
    ]  # fmt: skip
    return np.mean([measure([mate for _, mate in order]) for order in orders])


def ap_at_r(hits):
    r = sum(hits)
    return sum(sum(hits[:i]) / i for i in range(1, r + 1) if hits[i - 1]) / r


def gain(hits, k=99):
    return sum(hit / math.log2(i + 1) for i, hit in enumerate(hits[:k], 1))


@settings(max_examples=60)
@given(RANKINGS)
def test_every_measure_is_its_mean_over_all_orders_of_equal_scores(members):
    levels, n = levels_of(members), len(members)
    measures = {
        lambda hits: 1 / (hits.index(True) + 1): reciprocal_rank(levels),
        ap_at_r: average_precision_at_r(levels),
        lambda hits: sum(hits[: sum(hits)]) / sum(hits): r_precision(levels),
        lambda hits: gain(hits) / gain(sorted(hits, reverse=True)): ndcg(levels, gallery=n),
        lambda hits: gain(hits, 2) / gain(sorted(hits, reverse=True), 2): ndcg(levels, gallery=n, k=2),
    }
    measures |= {(lambda hits, k=k: float(any(hits[:k]))): recall_at(levels, k) for k in (1, 2, 3, 9)}
    for by_hand, found in measures.items():
        assert found == pytest.approx([over_all_orders(members, by_hand)])


def people(seed, *, subjects=40, samples=5, dim=16, noise=1.5):
    rng = np.random.default_rng(seed)
    owner = np.repeat(np.arange(subjects), samples)
    vectors = rng.normal(size=(subjects, dim))[owner] + noise * rng.normal(size=(owner.size, dim))
    return unit(vectors), owner


def unit(vectors):
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def test_by_hand():
    vectors = unit(np.array([[1, 0], [1, 0.1], [1, 0.3], [0, 1], [0.1, 1]]))
    found = retrieval_measures(vectors, subjects=[7, 3, 7, 3, 5], at=(1, 2, 3), neighbours=(1, 3))
    # 7: mates at ranks 2 and 2; 3: at ranks 4 and 3; 5 has one sample only
    assert found.queries == 4
    assert found.without_mate == 1
    assert found.gallery == 4
    assert found.query.tolist() == [0, 1, 2, 3]
    assert found.subject.tolist() == [7, 3, 7, 3]
    assert found.recall_at == {1: 0.0, 2: 0.5, 3: 0.75}
    assert found.mrr == pytest.approx((1 / 2 + 1 / 4 + 1 / 2 + 1 / 3) / 4)
    assert found.map_at_r == 0.0
    assert found.ndcg == pytest.approx(np.mean(1 / np.log2([3, 5, 3, 4])))


def test_a_gallery_apart_counts_who_is_not_in_it():
    vectors, owner = people(1)
    found = retrieval_measures(
        vectors[::5], subjects=owner[::5], gallery=vectors[1:100], gallery_subjects=owner[1:100]
    )
    assert (found.queries, found.without_mate, found.gallery) == (20, 20, 99)
    assert found.mates.tolist() == [4] + [5] * 19  # the gallery has the query itself, too


@pytest.mark.parametrize("cells", [1, 1000, 1 << 20])
def test_blocks_change_nothing(cells):
    vectors, owner = people(2)
    order = np.random.default_rng(0).permutation(owner.size)
    whole = retrieval_measures(vectors, subjects=owner).values
    parts = retrieval_measures(vectors[order], subjects=owner[order], cells=cells).values
    assert parts == pytest.approx(whole, abs=1e-12)


def test_long_rows_and_many_mates_take_other_ways_to_the_same_ranks():
    vectors, owner = people(3, subjects=30, samples=50, noise=3)
    found = retrieval_measures(vectors, subjects=owner, neighbours=(3,))
    scores = vectors @ vectors.T
    np.fill_diagonal(scores, -9)
    order = np.argsort(-scores, axis=1)
    hits = owner[order] == owner[:, None]
    assert found.mrr == pytest.approx(np.mean(1 / (1 + hits.argmax(axis=1))))
    assert found.recall_at[5] == np.mean(hits[:, :5].any(axis=1))
    assert found.per_query["R-precision"] == pytest.approx(hits[:, :49].mean(axis=1))
    nearest = owner[order[:, :3]]
    two_of_three = [max(set(row), key=row.count) if len(set(row)) < 3 else row[0] for row in nearest.tolist()]
    assert found.knn_accuracy[3] == np.mean(two_of_three == owner)


def test_a_collapsed_network_gets_what_guessing_gets():
    """Whatever the order of the files, and although BLAS does not score equal columns equally."""
    owner = np.repeat(np.arange(10), 7)
    vectors = np.tile(unit(np.random.default_rng(5).normal(size=(1, 33))), (70, 1))
    found = retrieval_measures(vectors, subjects=owner, neighbours=(1, 5))
    assert found.recall_at[1] == pytest.approx(6 / 69)
    assert found.map_at_r == pytest.approx(
        np.mean([(1 + (i - 1) * 5 / 68) / i for i in range(1, 7)]) * 6 / 69
    )
    assert found.knn_accuracy == {1: pytest.approx(6 / 69), 5: 0.0}  # 6 votes against 7 of each other


def test_one_vector_under_two_subjects_is_a_draw():
    vectors = unit(np.array([[1, 0, 0], [1, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]], dtype=float))
    found = retrieval_measures(vectors, subjects=[0, 0, 1, 1, 0], neighbours=(1, 2))
    assert found.per_query["Recall@1"][0] == pytest.approx(0.5)
    assert found.per_query["1-NN accuracy"][0] == pytest.approx(0.5)
    assert found.per_query["2-NN accuracy"][0] == pytest.approx(0.5)


def test_votes_that_are_equal_go_to_the_nearer():
    angles = np.radians([0, 10, 20, -30, -31])
    vectors = unit(np.stack([np.cos(angles), np.sin(angles)], axis=1))
    gallery, owner = vectors[1:], np.array([1, 1, 2, 2])
    found = retrieval_measures(
        vectors[:1], subjects=[1], gallery=gallery, gallery_subjects=owner, neighbours=(4, 400)
    )
    assert found.knn_accuracy == {4: 1.0, 400: 1.0}


def test_ndcg_agrees_with_sklearn_ties_too():
    metrics = pytest.importorskip("sklearn.metrics")
    vectors, owner = people(6, subjects=12, samples=3, dim=4, noise=2)
    vectors[5] = vectors[20]
    vectors[21] = vectors[20]
    found = retrieval_measures(vectors, subjects=owner, at=(1, 4))
    scores = vectors.astype(np.float64) @ vectors.T.astype(np.float64)
    for k, name in ((None, "nDCG"), (4, "nDCG@4")):
        for query in range(owner.size):
            others = np.arange(owner.size) != query
            relevant = (owner[others] == owner[query]).astype(float)
            theirs = metrics.ndcg_score([relevant], [scores[query, others].round(12)], k=k)
            assert found.per_query[name][query] == pytest.approx(theirs)


@pytest.mark.train
def test_agrees_with_pytorch_metric_learning():
    torch = pytest.importorskip("torch")
    calculator = pytest.importorskip("pytorch_metric_learning.utils.accuracy_calculator").AccuracyCalculator
    from pytorch_metric_learning.distances import CosineSimilarity
    from pytorch_metric_learning.utils.inference import CustomKNN

    vectors, owner = people(7, subjects=60)
    owner[:3] = [100, 101, 102]  # alone: left out by both
    measures = ("precision_at_1", "r_precision", "mean_average_precision_at_r", "mean_reciprocal_rank")
    theirs = calculator(
        include=measures, k=owner.size - 1, knn_func=CustomKNN(CosineSimilarity())
    ).get_accuracy(torch.tensor(vectors), torch.tensor(owner))
    ours = retrieval_measures(vectors, subjects=owner).values
    assert ours["Recall@1"] == pytest.approx(theirs["precision_at_1"], abs=1e-6)
    assert ours["R-precision"] == pytest.approx(theirs["r_precision"], abs=1e-6)
    assert ours["mAP@R"] == pytest.approx(theirs["mean_average_precision_at_r"], abs=1e-6)
    assert ours["MRR"] == pytest.approx(theirs["mean_reciprocal_rank"], abs=1e-6)


GOOD, WHOSE = np.eye(3, dtype=np.float32), np.array([0, 0, 1])


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"vectors": GOOD * 2}, "vectors: row 0 has norm 2, not 1"),
        ({"vectors": np.where(np.eye(3) == 1, np.nan, 0)}, "row 0 has norm nan"),
        ({"vectors": GOOD[0]}, r"must be \(n, D\)"),
        ({"vectors": GOOD[:0]}, r"must be \(n, D\)"),
        ({"vectors": [["a"]]}, "must be numbers"),
        ({"subjects": [0, 1, 2]}, "none of 3 queries has a mate"),
        ({"subjects": [0, 0]}, "subjects must be 3 whole numbers"),
        ({"subjects": [0.0, 0.0, 1.0]}, "whole numbers"),
        ({"at": ()}, "at must be"),
        ({"neighbours": (0,)}, "neighbours must be"),
        ({"gallery": GOOD}, "belong together"),
        ({"gallery": np.eye(2), "gallery_subjects": [0, 1]}, "2 dimensions, vectors 3: they are of two models"),
        ({"gallery": GOOD, "gallery_subjects": [5, 6, 7]}, "none of 3 queries"),
    ],
)  # fmt: skip
def test_bad_input_is_named(arguments, words):
    given_ = {"vectors": GOOD, "subjects": WHOSE} | arguments
    vectors = given_.pop("vectors")
    with pytest.raises(ScoreError, match=words):
        retrieval_measures(vectors, **given_)


def test_an_untrained_network_on_more_people_is_no_better_than_chance():
    rng = np.random.default_rng(9)
    vectors, owner = unit(rng.normal(size=(300, 64))), np.repeat(np.arange(60), 5)
    found = retrieval_measures(vectors, subjects=owner)
    assert found.recall_at[1] < 0.06
    assert found.map_at_r < 0.05
