"""Embeddings of people drawn by formula: what differs between them, what varies within, and a common mean."""

from __future__ import annotations

import numpy as np

from verify.training.adapters import People


def drawn(
    subjects: int,
    *,
    samples: int = 5,
    dim: int = 12,
    nuisance: float = 1.5,
    mean: float = 0.0,
    seed: int = 0,
    source: int = 0,
) -> People:
    """People who differ alike in all directions, and vary strongly in the first three."""
    rng = np.random.default_rng(seed)
    who = np.repeat(np.arange(subjects), samples)
    spread = np.full(dim, 0.35)
    spread[:3] = nuisance
    x = rng.normal(size=(subjects, dim))[who] + rng.normal(size=(len(who), dim)) * spread
    x[:, -1] += mean
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    return People(x, who, np.full(len(who), source), (dim,))


def side_by_side(*blocks: People) -> People:
    """Several encoders' embeddings of the same samples."""
    first = blocks[0]
    vectors = np.hstack([block.vectors for block in blocks])
    return People(vectors, first.owner, first.source, tuple(block.dims[0] for block in blocks))
