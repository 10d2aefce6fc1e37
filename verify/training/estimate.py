"""What a run would be, without running it: shapes, parameters, steps, memory."""

from __future__ import annotations

import contextlib
import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from verify.training.distributed import World
from verify.training.failures import GIB
from verify.training.loader import Loader
from verify.training.objectives.heads import CentreObjective
from verify.training.parts import Parts, assemble

if TYPE_CHECKING:
    from torch import Tensor

    from verify.training.recipe import Recipe

PROBE = 4  # samples that are run to see what a step keeps in memory


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """See `estimate`.

    Attributes:
        media: shape of a batch as it is stored, of one process.
        inputs: shape of what the network takes.
        embeddings: shape of what it gives.
        identities: of the training part.
        samples: of the training part.
        unseen_identities: subjects of the validation part.
        unseen_samples: of these, as many as are verified.
        network_parameters: trained and frozen.
        frozen_parameters: of these.
        objective_parameters: class centres and the like.
        steps_per_epoch: updates.
        steps: of the whole run.
        weights_gib: weights, gradients, the optimiser's state and the average.
        activations_gib: what forward keeps for backward, measured on a few samples and scaled to what passes at once.
        objective_gib: what the loss keeps.
    """

    media: tuple[int, ...]
    inputs: tuple[int, ...]
    embeddings: tuple[int, ...]
    identities: int
    samples: int
    unseen_identities: int
    unseen_samples: int
    network_parameters: int
    frozen_parameters: int
    objective_parameters: int
    steps_per_epoch: int
    steps: int
    weights_gib: float
    activations_gib: float
    objective_gib: float

    @property
    def memory_gib(self) -> float:
        """All of it; libraries and the allocator take about one more on a GPU."""
        return self.weights_gib + self.activations_gib + self.objective_gib

    def rows(self) -> list[tuple[str, str]]:
        """For a table."""
        shapes = " -> ".join(str(shape) for shape in (self.media, self.inputs, self.embeddings))
        return [
            ("training", f"{self.identities} identities, {self.samples} samples"),
            ("validation", f"{self.unseen_identities} unseen identities, {self.unseen_samples} samples"),
            ("shapes of a batch", shapes),
            ("network", f"{self.network_parameters:,} parameters, {self.frozen_parameters:,} of them frozen"),
            ("objective", f"{self.objective_parameters:,} parameters"),
            ("steps", f"{self.steps_per_epoch} an epoch, {self.steps} in all"),
            (
                "memory, about",
                (
                    f"{self.memory_gib:.2f} GiB: weights, gradients and optimiser {self.weights_gib:.2f}, activations"
                    f" {self.activations_gib:.2f}, objective {self.objective_gib:.2f}"
                ),
            ),
        ]


def estimate(recipe: Recipe, *, processes: int = 1) -> Estimate:
    """Assemble a run on the CPU, pass a few samples, and say what the whole would take.

    Raises:
        VerifyError: whatever the run itself would refuse at its beginning.
    """
    world = World(rank=0, size=processes, local_rank=0, device=torch.device("cpu"))
    parts = assemble(recipe, world=World(rank=0, size=1, local_rank=0, device=world.device))
    rows = parts.sampler.batch_rows // processes
    at_once = min(rows, recipe.schedule.chunk or rows)
    probe = min(PROBE, rows)
    chosen = next(iter(parts.sampler.batches(0)))[:probe]
    inputs, media = _probe(parts, chosen)
    autocast: Any = contextlib.nullcontext
    if recipe.run.precision == "bf16":
        autocast = functools.partial(torch.autocast, "cpu", torch.bfloat16)
    parts.train_mode()
    kept = _Kept(parts)
    with kept, autocast():
        raw = parts.net.raw(inputs)
    dim = int(raw.shape[1])
    objective = _objective_bytes(parts, rows=rows, dim=dim)
    trained = [p for p in (*parts.net.parameters(), *parts.objectives.parameters()) if p.requires_grad]
    every = sum(p.numel() for p in (*parts.net.parameters(), *parts.objectives.parameters()))
    copies = 1 + (2 if recipe.optimiser.name == "adamw" else 1 if recipe.optimiser.momentum else 0)
    weights = 4 * (every + copies * sum(p.numel() for p in trained))
    network = sum(p.numel() for p in parts.net.parameters())
    return Estimate(
        media=(rows, *media),
        inputs=(rows, *(int(n) for n in inputs.shape[1:])),
        embeddings=(rows, dim),
        identities=len(parts.data.identities),
        samples=len(parts.data),
        unseen_identities=len(np.unique(parts.validation.labels)),
        unseen_samples=len(parts.validation.chosen),
        network_parameters=network,
        frozen_parameters=sum(p.numel() for p in parts.net.parameters() if not p.requires_grad),
        objective_parameters=sum(p.numel() for p in parts.objectives.parameters()),
        steps_per_epoch=parts.plan.steps_per_epoch,
        steps=parts.plan.steps,
        weights_gib=(weights + (4 * network if parts.average else 0)) / GIB,
        activations_gib=kept.bytes / probe * at_once / GIB,
        objective_gib=objective / GIB,
    )


def _probe(parts: Parts, chosen: list[int]) -> tuple[Tensor, tuple[int, ...]]:
    recipe, pipeline = parts.recipe, parts.pipelines["main"]
    crop = pipeline.samples_needed(round(recipe.data.crop_s * 16_000)) if recipe.modality == "voice" else None
    with Loader(parts.data, [chosen], crop_samples=crop, seed=recipe.seed) as loader:
        batch = next(iter(loader))
    inputs, _ = pipeline(batch, 0)
    return inputs, tuple(int(n) for n in batch.media.shape[1:])


def _objective_bytes(parts: Parts, *, rows: int, dim: int) -> int:
    """Bytes that the objectives keep for a whole batch of random embeddings, and heads' blocks of logits."""
    chosen = next(iter(parts.sampler.batches(0)))[:rows]
    labels = torch.from_numpy(np.asarray(parts.data.labels)[np.asarray(chosen)])
    raw = torch.randn(len(chosen), dim, requires_grad=True)
    kept = _Kept(parts)
    with kept:
        parts.objectives(raw, labels, torch.as_tensor(chosen), target=raw.detach())
    heads = (term for term in parts.objectives.terms if isinstance(term, CentreObjective))
    return kept.bytes + sum(head.working_bytes(rows) for head in heads)


class _Kept:
    """Counts what autograd saves for the backward pass, each storage once, weights not at all."""

    def __init__(self, parts: Parts) -> None:
        self._known = {
            p.untyped_storage().data_ptr() for p in (*parts.net.parameters(), *parts.objectives.parameters())
        }
        self._alive: list[Tensor] = []  # a freed storage's address may come again
        self.bytes = 0
        self._hooks = torch.autograd.graph.saved_tensors_hooks(self._count, lambda tensor: tensor)

    def _count(self, tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in self._known:
            self._known.add(storage.data_ptr())
            self._alive.append(tensor)
            self.bytes += storage.nbytes()
        return tensor

    def __enter__(self) -> None:
        self._hooks.__enter__()

    def __exit__(self, *error: object) -> None:
        self._hooks.__exit__(*error)
