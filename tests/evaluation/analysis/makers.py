"""Sides made of embeddings, without media or models."""

from __future__ import annotations

import numpy as np

from verify.evaluation.side import Side
from verify.evaluation.sources import Attempt, TrialBlock
from verify.metrics.non_mated import NonMatedScores


def people(subjects=60, samples=4, *, noise=0.5, dim=48, seed=0):
    """(n, D) unit vectors and (n,) owners."""
    rng = np.random.default_rng(seed)
    owner = np.repeat(np.arange(subjects), samples)
    means = rng.standard_normal((subjects, dim))
    vectors = means[owner] + noise * rng.standard_normal((owner.size, dim))
    return unit(vectors), owner


def unit(vectors):
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def pairs_of(vectors, owner):
    """Every pair once: scores, mated, subjects and attempts of both."""
    usable = np.flatnonzero(np.isfinite(vectors).all(axis=1))
    x, y = (usable[ends] for ends in np.triu_indices(usable.size, 1))
    scores = np.clip(np.einsum("nd,nd->n", vectors[x], vectors[y]), -1, 1)
    return scores.astype(np.float64), owner[x] == owner[y], owner[x], owner[y], x, y


def side_of(vectors, owner, *, groups=None, failures=None, subjects=None, name="made"):
    """All pairs as a side; every subject takes part."""
    subjects = int(owner.max()) + 1 if subjects is None else subjects
    scores, mated, a, b, x, y = pairs_of(vectors, owner)
    failures = failures or [None] * len(owner)
    return Side(
        name=name,
        subjects=tuple(f"s{number}" for number in range(subjects)),
        mated=scores[mated],
        mated_subject=a[mated].astype(np.int32),
        mated_attempts=np.stack([x[mated], y[mated]], axis=1).astype(np.int32),
        mated_quality={},
        non_mated=NonMatedScores.of(
            scores[~mated],
            subject_a=a[~mated],
            subject_b=b[~mated],
            payload=(x[~mated].astype(np.int64) << 32) | y[~mated],
        ),
        attempts=tuple(
            Attempt(int(who), f"s{who}/{place}.jpg", failure)
            for place, (who, failure) in enumerate(zip(owner, failures, strict=True))
        ),
        groups=groups or {},
        among=np.ones(subjects, dtype=bool),
        subjects_seen=int(np.unique(owner).size),
        samples_seen=len(owner),
    )


def of_scores(mated, non_mated, *, subject_a, subject_b, mated_subject=None):
    """A side as a score file gives it: no samples."""
    mated = np.asarray(mated, dtype=np.float64)
    subjects = int(max(np.max(subject_a), np.max(subject_b))) + 1
    whose = np.arange(mated.size) % subjects if mated_subject is None else np.asarray(mated_subject)
    return Side(
        name="scores",
        subjects=tuple(str(number) for number in range(subjects)),
        mated=mated,
        mated_subject=whose.astype(np.int32),
        mated_attempts=np.full((mated.size, 2), -1, dtype=np.int32),
        mated_quality={},
        non_mated=NonMatedScores.of(
            non_mated, subject_a=subject_a, subject_b=subject_b, payload=np.full(len(non_mated), -1)
        ),
        attempts=(),
        groups={},
        among=np.ones(subjects, dtype=bool),
        subjects_seen=subjects,
        samples_seen=0,
    )


class Pairs:
    """A source of all pairs of some embeddings, with one quality measure, in blocks of any size."""

    measures = ("size_px",)

    def __init__(self, vectors, owner, quality, *, block=500, to_score=None) -> None:
        self.columns = pairs_of(vectors, owner)
        self.quality, self.block, self.to_score = quality, block, to_score

    def blocks(self, among, *, measures=(), mated_only=False):
        scores, mated, a, b, x, y = self.columns
        keep = np.flatnonzero(among[a] & among[b] & (mated | (not mated_only)))
        for start in range(0, keep.size, self.block):
            at = keep[start : start + self.block]
            low = np.minimum(self.quality[x[at]], self.quality[y[at]])
            yield TrialBlock(
                score=scores[at] if self.to_score is None else self.to_score(scores[at], low),
                mated=mated[at],
                subject_a=a[at].astype(np.int32),
                subject_b=b[at].astype(np.int32),
                attempt_a=x[at].astype(np.int32),
                attempt_b=y[at].astype(np.int32),
                quality=dict.fromkeys(measures, (self.quality[x[at]], self.quality[y[at]])),
            )
