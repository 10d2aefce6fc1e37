"""Batches and objectives that the tests of this room share."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from verify.training.objectives import make_objective

DIM, CLASSES, ROWS = 8, 6, 24

# every built-in at its defaults, and the variants whose code differs
VARIANTS: dict[str, tuple[str, dict[str, object]]] = {
    "arcface": ("arcface", {}),
    "arcface_sharded": ("arcface", {"sharded": True}),
    "subcenter_arcface": ("subcenter_arcface", {"centres": 2}),
    "subcenter_arcface_sharded": ("subcenter_arcface", {"centres": 2, "sharded": True}),
    "cosface": ("cosface", {}),
    "adaface": ("adaface", {}),
    "adaface_sharded": ("adaface", {"sharded": True}),
    "triplet_batch_hard": ("triplet", {}),
    "triplet_euclidean_soft": ("triplet", {"distance": "euclidean", "margin_distance": 0.2, "soft": True}),
    "triplet_semi_hard": ("triplet", {"mining": "semi_hard"}),
    "triplet_curriculum": ("triplet", {"mining": "curriculum"}),
    "triplet_memory": ("triplet", {"memory": 40}),
    "supcon": ("supcon", {}),
    "supcon_memory": ("supcon", {"memory": 40}),
    "infonce": ("infonce", {}),
    "infonce_memory": ("infonce", {"memory": 40}),
    "simclr": ("infonce", {"views": 2}),
    "siamese": ("siamese", {}),
    "multi_similarity_memory": ("multi_similarity", {"memory": 40}),
    "multi_similarity": ("multi_similarity", {}),
    "circle": ("circle", {}),
    "moco": ("moco", {"memory": 40}),
    "moco_v3": ("moco", {"memory": 0}),
    "byol": ("byol", {}),
    "simsiam": ("simsiam", {}),
    "vicreg": ("vicreg", {}),
    "vicreg_expanded": ("vicreg", {"expander": 12}),
    "clip": ("clip", {}),
}


def make(variant: str, *, seed: int = 0) -> nn.Module:
    name, options = VARIANTS[variant]
    torch.manual_seed(seed)
    return make_objective(name, dim=DIM, identities=CLASSES, **options)


def batch(objective: nn.Module, *, step: int = 0, rows: int = ROWS) -> tuple[Tensor, Tensor]:
    """Inputs (N, DIM) and labels: identities, or numbers of samples whose two views stand apart."""
    generator = torch.Generator().manual_seed(100 + step)
    inputs = torch.randn(rows, DIM, generator=generator)
    count = rows // 2 if objective.views == 2 else CLASSES
    labels = torch.arange(rows) % count
    if objective.views == 2:
        inputs[count:] = inputs[:count] + 0.3 * inputs[count:]
    return inputs, labels


def target_of(objective: nn.Module, inputs: Tensor) -> dict[str, Tensor]:
    """What an averaged network would say, if the objective wants to know."""
    return {"target": inputs.flip(1) + 0.1} if objective.uses_target else {}


class Sizes(TorchDispatchMode):
    """The largest tensor that any operation inside gives."""

    def __init__(self) -> None:
        super().__init__()
        self.largest = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None) -> object:
        out = func(*args, **(kwargs or {}))
        for one in out if isinstance(out, (tuple, list)) else (out,):
            if isinstance(one, Tensor):
                self.largest = max(self.largest, one.numel())
        return out
