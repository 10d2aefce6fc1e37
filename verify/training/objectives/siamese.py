"""The contrastive loss of a siamese network, over all pairs of the joint batch."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from verify.training.objectives.base import angle
from verify.training.objectives.pairs import PairObjective, PairOptions, Pairs

NEARLY = 1.0 - 1e-6  # the arc cosine has no slope at 1


@dataclass(frozen=True, slots=True, kw_only=True)
class SiameseOptions(PairOptions):
    """Contrastive loss.

    Attributes:
        margin_rad: angle beyond which a non-mated pair is done with.
    """

    margin_rad: float = 1.2

    def __post_init__(self) -> None:
        super(SiameseOptions, self).__post_init__()
        angle("margin_rad", self.margin_rad, most=torch.pi)


class Siamese(PairObjective):
    """Mean squared angle of mated pairs, plus mean squared shortfall of non-mated ones below the margin.

    Hadsell, Chopra, LeCun, "Dimensionality Reduction by Learning an Invariant Mapping", CVPR 2006, with angles for
    distances. The two means weigh alike, however many non-mated pairs there are.
    """

    def __init__(self, options: SiameseOptions, *, dim: int) -> None:
        super().__init__(memory=options.memory, dim=dim)
        self._options = options

    def loss_of(self, pairs: Pairs) -> Tensor:
        """The loss of the joint batch, a scalar."""
        cosines = pairs.rows @ pairs.columns.t()
        angles = cosines.clamp(-NEARLY, NEARLY).acos()
        positive, negative = pairs.mated & ~pairs.self_mated, ~pairs.mated
        short = (self.fraction * self._options.margin_rad - angles).relu()
        near = (angles.square() * positive).sum() / positive.sum().clamp_min(1)
        far = (short.square() * negative).sum() / negative.sum().clamp_min(1)
        return near + far
