"""Speech features to embeddings, and the embeddings of a recording's chunks to one."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any

import numpy as np

from verify.errors import ModelError, UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from verify.models import ModelBundle

MAX_BATCH = 16
# CAM++ on 45 s: one LibriSpeech speaker 0.88 to 0.96, two halves by two speakers 0.61 to 0.80 (10 recordings each)
DOUBTFUL_AGREEMENT = 0.84
# CAM++ on pieces of 2 s out of 4 to 8 s of speech: one speaker 0.39 to 0.9 (LibriSpeech, 90 recordings) and 0.32 to 0.9
# (Arabic words, 212); two speakers, half each, at most 0.31 (124) and for nine in ten at most 0.35 (180)
SEVERAL_SPEAKERS_BELOW = 0.32


class VoiceEmbedder:
    """A speaker encoder: features in, unit-L2 embeddings out. Safe across threads.

    Args:
        bundle: an embedder bundle of the voice modality.
        threads: of the ONNX session.
    """

    def __init__(self, bundle: ModelBundle, *, threads: int = 1) -> None:
        self._session = bundle.session(threads=threads)
        self._input = self._session.get_inputs()[0]
        self._name = bundle.name
        self._model_id = bundle.model_id
        self._dim = bundle.card.dim

    @property
    def model_id(self) -> str:
        """sha256 over weights, preprocessing and post-processing."""
        return self._model_id

    @property
    def dim(self) -> int:
        """Embedding size D."""
        return self._dim

    def embed(self, batch: Sequence[NDArray[Any]]) -> NDArray[np.float32]:
        """Embed features of any lengths; those of equal length run together.

        Args:
            batch: B arrays (T_i, F) float32, as `verify.voice.normalise.chunks` gives them.

        Returns:
            (B, D) float32 of unit L2 norm, in the order of `batch`.

        Raises:
            UsageError: features of the wrong shape.
            ModelError: the model gave no finite unit vector.
        """
        rows = np.empty((len(batch), self._dim), np.float32)
        by_length: dict[int, list[int]] = defaultdict(list)
        bins = self._input.shape[-1]
        for index, features in enumerate(batch):
            if features.ndim != 2 or features.shape[1] != bins or not len(features):  # noqa: PLR2004 (time, bins)
                msg = f"{self._name} takes features (T, {bins}) with T >= 1, not {features.shape}"
                raise UsageError(msg)
            by_length[len(features)].append(index)
        for indices in by_length.values():
            count = -(-len(indices) // MAX_BATCH)
            for part in np.array_split(indices, count):  # evenly: a batch of one is slow
                stacked = np.stack([np.asarray(batch[index], np.float32) for index in part])
                rows[part] = self._session.run(None, {self._input.name: stacked})[0]
        norms = np.linalg.norm(rows, axis=1)
        if not np.allclose(norms, 1.0, atol=1e-3):
            msg = f"{self._name} gave norms of {norms.min():.4g} to {norms.max():.4g}, not 1: pull it again"
            raise ModelError(msg)
        return rows


def average(vectors: NDArray[np.float32], weights: Sequence[float] | NDArray[Any]) -> NDArray[np.float32]:
    """One embedding for a recording: the weighted mean of its chunks', brought back to unit norm.

    Args:
        vectors: (K, D) float32 of unit L2 norm, K >= 1.
        weights: K positive weights: the chunks' net speech in seconds.

    Returns:
        (D,) float32 of unit L2 norm.

    Raises:
        UsageError: no vectors, weights that are not positive, or vectors that cancel each other.
    """
    share = np.asarray(weights, np.float64)
    if vectors.ndim != 2 or not len(vectors) or share.shape != (len(vectors),) or not (share > 0).all():  # noqa: PLR2004
        msg = f"an average needs vectors (K, D) and K positive weights, not {vectors.shape} and {share.shape}"
        raise UsageError(msg)
    mean = share @ vectors.astype(np.float64)
    norm = float(np.linalg.norm(mean))
    if norm <= 1e-6 * float(share.sum()):
        msg = f"the embeddings of {len(vectors)} chunks cancel each other: they are of no one speaker"
        raise UsageError(msg)
    return np.asarray(mean / norm, np.float32)


def agreement(vectors: NDArray[np.float32], mean: NDArray[np.float32]) -> float:
    """The measure `chunk_agreement`: lowest cosine of a chunk to the average; 1.0 for a single chunk.

    A recording with two speakers, or music in half of it, averages to nobody's voice; below
    `DOUBTFUL_AGREEMENT` that is likely, and the caller should say so.
    """
    return min(1.0, float((vectors @ mean).min()))


def lowest_pair(vectors: NDArray[np.float32]) -> float:
    """The measure `piece_agreement`: lowest cosine between two pieces (N, D) of a recording; 1.0 for one piece.

    Below `SEVERAL_SPEAKERS_BELOW` the recording very likely holds two speakers. The lowest of many
    pairs is low by chance alone: for more than about ten pieces use `agreement`.
    """
    if len(vectors) < 2:  # noqa: PLR2004  a pair
        return 1.0
    first, second = np.triu_indices(len(vectors), 1)
    return min(1.0, float((vectors @ vectors.T)[first, second].min()))
