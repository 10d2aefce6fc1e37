"""Maps of embeddings that keep neighbours together: t-SNE by scikit-learn, UMAP where that is installed.

Distances between clusters mean nothing on either; what counts is which samples lie together.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from verify.config import unknown
from verify.errors import DataError, MissingExtraError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

FEWEST = 4
PERPLEXITY = 30.0  # van der Maaten and Hinton, 2008: typical values are between 5 and 50


def tsne(vectors: NDArray[np.floating], *, seed: int = 0) -> NDArray[np.float64]:
    """(n, 2) float64: t-SNE by cosine distance (van der Maaten and Hinton, 2008), begun at the principal components.

    Args:
        vectors: (n, D) float, unit L2.
        seed: of the optimisation; the same seed, machine and scikit-learn give the same map.

    Raises:
        MissingExtraError: scikit-learn is not installed.
        DataError: fewer than 4 samples.
    """
    _check(vectors)
    perplexity = min(PERPLEXITY, (len(vectors) - 1) / 3)
    mapping = _tsne()(metric="cosine", init="pca", perplexity=perplexity, random_state=seed)
    return np.asarray(mapping.fit_transform(np.asarray(vectors, dtype=np.float32)), dtype=np.float64)


def umap(vectors: NDArray[np.floating], *, seed: int = 0) -> NDArray[np.float64]:
    """(n, 2) float64: UMAP by cosine distance (McInnes, Healy and Melville, 2018).

    Raises:
        MissingExtraError: umap-learn is not installed.
        DataError: fewer than 4 samples.
    """
    _check(vectors)
    # a seed needs one thread; said, it is not warned about
    mapping = _umap()(metric="cosine", n_neighbors=min(15, len(vectors) - 1), random_state=seed, n_jobs=1)
    return np.asarray(mapping.fit_transform(np.asarray(vectors, dtype=np.float32)), dtype=np.float64)


PROJECTIONS = {"t-sne": tsne, "umap": umap}


def projection(name: str) -> Callable[..., NDArray[np.float64]]:
    """The projection of this name, its library imported.

    Raises:
        UsageError: an unknown name; the message has the nearest.
        MissingExtraError: the library is not installed.
    """
    if name not in PROJECTIONS:
        raise UsageError(unknown(name, PROJECTIONS, what="projection"))
    (_tsne if name == "t-sne" else _umap)()
    return PROJECTIONS[name]


def _tsne() -> Any:
    try:
        from sklearn.manifold import TSNE
    except ModuleNotFoundError as error:
        msg = (
            "the t-SNE map needs scikit-learn: pip install '.[train]' in verify's source folder, or take --projection "
            "pca, which needs nothing more"
        )
        raise MissingExtraError(msg) from error
    return TSNE


def _umap() -> Any:
    try:
        from umap import UMAP
    except ModuleNotFoundError as error:
        msg = "the UMAP map needs umap-learn: pip install umap-learn, or take --projection t-sne or pca"
        raise MissingExtraError(msg) from error
    return UMAP


def _check(vectors: NDArray[np.floating]) -> None:
    if len(vectors) < FEWEST:
        msg = f"{len(vectors)} embeddings make no map of neighbours: bring at least {FEWEST}, or take --projection pca"
        raise DataError(msg)
