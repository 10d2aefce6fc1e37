"""Classes split over processes, and a drawn part of them a step: Partial-FC.

An et al., "Partial FC: Training 10 Million Identities on a Single Machine", ICCVW 2021,
https://arxiv.org/abs/2010.05222, and "Killing Two Birds with One Stone", CVPR 2022, https://arxiv.org/abs/2203.15565.
Each process holds the centres of a contiguous part of the classes, sees the embeddings of all processes, and
exchanges sums of the softmax only. With a sample rate below 1 a step takes the classes that occur in the batch and
fills up with others drawn anew each time. Classes that are not drawn have a gradient of zero: momentum and weight decay
go on for them as for all, where insightface's code lets them rest.
"""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

from verify.errors import UsageError
from verify.training import distributed


class Drawing(Protocol):
    """What of the options concerns the drawing of classes."""

    @property
    def sample_rate(self) -> float: ...  # noqa: D102

    @property
    def seed(self) -> int: ...  # noqa: D102


class Shard:
    """This process's part of the classes.

    Args:
        identities: classes of all processes together.
        drawing: sample rate and seed.

    Attributes:
        classes: the range of this process's classes.
        drawn: steps that have drawn classes so far: with seed and rank all that the next drawing depends on.
    """

    def __init__(self, identities: int, drawing: Drawing) -> None:
        size = distributed.size()
        if identities < size:
            msg = f"{identities} identities cannot be split over {size} processes; set sharded = false"
            raise UsageError(msg)
        self.classes = part(identities, rank=distributed.rank(), size=size)
        self.sample_rate, self.seed = drawing.sample_rate, drawing.seed
        self.drawn = 0

    def select(self, labels: Tensor, *, train: bool) -> tuple[Tensor, Tensor | None]:
        """Choose this step's classes.

        Args:
            labels: (N,) int64 of all processes.
            train: draw; else all classes take part.

        Returns:
            (N,) labels among the chosen classes, -1 for those of other processes; and the chosen classes as rows of
            this shard, ascending, or None for all.
        """
        local = labels - self.classes.start
        own = (local >= 0) & (local < len(self.classes))
        local = torch.where(own, local, -1)
        if not train or self.sample_rate >= 1.0:
            return local, None
        chosen = self._draw(local[own].unique())
        place = torch.full((len(self.classes),), -1, dtype=torch.int64, device=labels.device)
        place[chosen] = torch.arange(len(chosen), device=labels.device)
        return torch.where(own, place[local.clamp_min(0)], -1), chosen

    def _draw(self, present: Tensor) -> Tensor:
        generator = torch.Generator(device=present.device)
        generator.manual_seed((self.seed * 1_000_003 + self.drawn) * 65_537 + distributed.rank())
        self.drawn += 1
        urn = torch.rand(len(self.classes), generator=generator, device=present.device)
        urn[present] = 2.0  # the batch's own classes come first
        count = max(len(present), round(self.sample_rate * len(self.classes)), 1)
        return urn.topk(count).indices.sort().values


def part(total: int, *, rank: int, size: int) -> range:
    """The classes of one process: contiguous, sizes differ by one at most."""
    least, more = divmod(total, size)
    first = rank * least + min(rank, more)
    return range(first, first + least + (rank < more))
