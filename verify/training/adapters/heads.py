"""Linear heads on frozen embeddings, trained by gradient: ArcFace or SupCon, tied to the map they start from.

The head is ``x (I + Delta) + offset``, and ``ridge`` times the square of Delta and of the offset is part
of the loss: with no gain to be had from the people at hand, training gives back the encoder as it was. Without
that tie a hundred people ruin an encoder of thousands (measured: FNMR at FMR 1e-3 up by a half).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from verify.errors import InsufficientTrialsError, MissingExtraError
from verify.training.adapters.samples import Affine

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from verify.training.adapters.samples import People

BATCH = 512
STEPS = 80
_LR = 2e-3
_LEAST_PEOPLE = 2
# the scale of either loss is low: a head of one matrix is to move many pairs a little, not a few far
OBJECTIVES: Mapping[str, Mapping[str, Any]] = {
    "supcon": {"temperature": 0.1},
    "arcface": {"margin_rad": 0.1, "scale": 16.0},
}


def linear_head(people: People, *, objective: str, ridge: float, seed: int = 0, steps: int = STEPS) -> Affine:
    """Train a square linear map.

    Args:
        people: to learn from; single samples serve as strangers to SupCon and teach ArcFace nothing.
        objective: a key of `OBJECTIVES`; see `verify.training.objectives`.
        ridge: how firmly the map is tied to its start, above 0.
        seed: of the batches.
        steps: of Adam, with a cosine schedule.

    Raises:
        InsufficientTrialsError: fewer than two people have two samples.
        MissingExtraError: torch is not installed.
    """
    if people.repeated() < _LEAST_PEOPLE:
        msg = f"a linear head needs at least {_LEAST_PEOPLE} people with two samples each, not {people.repeated()}"
        raise InsufficientTrialsError(msg)
    delta, offset = _train(people, objective=objective, ridge=ridge, seed=seed, steps=steps)
    return Affine(np.eye(len(offset)) + delta, offset)


def _train(
    people: People, *, objective: str, ridge: float, seed: int, steps: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Delta (D, D) and the offset (D,)."""
    torch = _torch()
    from verify.training.objectives import make_objective

    if objective == "arcface":
        people = _without_singles(people)
    vectors = torch.from_numpy(people.vectors.astype(np.float32))  # (N, D)
    _, places = np.unique(people.owner, return_inverse=True)
    labels = torch.from_numpy(places.astype(np.int64))  # (N,)
    count, dim = int(labels.max()) + 1, vectors.shape[1]
    loss_of = make_objective(objective, dim=dim, identities=count, **OBJECTIVES[objective])
    delta = torch.zeros(dim, dim, requires_grad=True)
    offset = torch.zeros(dim, requires_grad=True)
    groups = [{"params": [delta, offset]}]
    if objective == "arcface":  # centres begin where their people are, not at random
        _start_at_means(loss_of.centres, vectors, labels)
        groups.append({"params": list(loss_of.parameters())})
    optimiser = torch.optim.Adam(groups, lr=_LR)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    rng = np.random.default_rng(seed)
    for _ in range(steps):
        rows = torch.from_numpy(_batch(places, rng))
        x = vectors[rows]  # (B, D)
        raw = x + x @ delta + offset
        tie = ridge * (delta.square().sum() / dim + offset.square().sum())
        optimiser.zero_grad(set_to_none=True)
        (loss_of(raw, labels[rows]) + tie).backward()
        optimiser.step()
        schedule.step()
    return delta.detach().double().numpy(), offset.detach().double().numpy()


def _start_at_means(centres: Any, vectors: Any, labels: Any) -> None:
    torch = _torch()
    with torch.no_grad():
        unit = torch.nn.functional.normalize(vectors, dim=1)
        centres.zero_()
        centres.index_add_(0, labels, unit)


def _batch(places: NDArray[np.intp], rng: np.random.Generator) -> NDArray[np.int64]:
    """Whole people in random order, until the batch is full."""
    order = rng.permutation(int(places.max()) + 1)
    rank = np.argsort(order)[places]
    rows = np.argsort(rank, kind="stable")
    return rows[:BATCH].astype(np.int64)


def _without_singles(people: People) -> People:
    subjects, counts = np.unique(people.owner, return_counts=True)
    return people.among(subjects[counts > 1])


def _torch() -> Any:
    try:
        import torch
    except ModuleNotFoundError as error:
        msg = (
            "the adapters arcface and supcon are trained by torch, which is not installed: pip install '.[train]' in "
            "verify's source folder (wccn, lda and plda need no torch)"
        )
        raise MissingExtraError(msg) from error
    return torch
