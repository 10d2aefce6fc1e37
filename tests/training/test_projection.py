from __future__ import annotations

import sys

import numpy as np
import pytest

from verify.errors import DataError, MissingExtraError, UsageError
from verify.training.projection import projection, tsne, umap


def people(*, subjects=6, samples=8):
    rng = np.random.default_rng(0)
    owner = np.repeat(np.arange(subjects), samples)
    vectors = rng.normal(size=(subjects, 32))[owner] + 0.2 * rng.normal(size=(owner.size, 32))
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True), owner


@pytest.mark.train
def test_tsne_keeps_people_together_and_is_seeded():
    pytest.importorskip("sklearn")
    vectors, owner = people()
    places = tsne(vectors, seed=3)
    assert places.shape == (48, 2)
    far = np.linalg.norm(places[:, None] - places, axis=2)
    np.fill_diagonal(far, np.inf)
    assert np.mean(owner[far.argmin(axis=1)] == owner) == 1
    np.testing.assert_array_equal(tsne(vectors[:12], seed=3), tsne(vectors[:12], seed=3))


@pytest.mark.train
def test_few_samples_make_a_map_or_a_word():
    pytest.importorskip("sklearn")
    vectors, _ = people()
    assert np.isfinite(tsne(vectors[:4])).all()
    with pytest.raises(DataError, match="3 embeddings make no map"):
        tsne(vectors[:3])


@pytest.mark.parametrize(("name", "module", "words"), [
    ("t-sne", "sklearn.manifold", r"pip install '.\[train\]' in verify's source folder"),
    ("umap", "umap", "pip install umap-learn"),
])  # fmt: skip
def test_a_missing_library_is_named_with_the_way_out(name, module, words, monkeypatch):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingExtraError, match=words) as raised:
        projection(name)
    assert "--projection" in str(raised.value)


def test_umap_is_asked_for_cosines_and_a_seed(monkeypatch):
    """Against a stand-in: umap-learn is no dependency."""
    asked = {}

    class Umap:
        def __init__(self, **options: object) -> None:
            asked.update(options)

        def fit_transform(self, vectors):
            return vectors[:, :2]

    monkeypatch.setitem(sys.modules, "umap", type(sys)("umap"))
    sys.modules["umap"].UMAP = Umap
    vectors, _ = people()
    assert projection("umap") is umap
    assert umap(vectors, seed=7).shape == (48, 2)
    assert asked == {"metric": "cosine", "n_neighbors": 15, "random_state": 7, "n_jobs": 1}


def test_an_unknown_projection_names_the_nearest():
    with pytest.raises(UsageError, match="did you mean 't-sne'"):
        projection("tsne")
