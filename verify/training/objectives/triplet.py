"""Triplets, mined within the joint batch."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from verify.errors import UsageError
from verify.training.objectives import mining
from verify.training.objectives.base import angle, choice, within
from verify.training.objectives.pairs import PairObjective, PairOptions, Pairs

MINING = ("batch_hard", "semi_hard", "curriculum")
DISTANCES = ("angle", "euclidean")


@dataclass(frozen=True, slots=True, kw_only=True)
class TripletOptions(PairOptions):
    """Triplet loss.

    Attributes:
        mining: ``batch_hard``, ``semi_hard`` or ``curriculum`` (from middling to hardest as `advance` goes from 0 to
            1: needs schedule.margin_ramp_epochs).
        distance: ``angle`` between embeddings, or ``euclidean`` of the unit vectors, 2 sin(angle / 2), as in
            the literature.
        margin_rad: by how much the negative must be farther than the positive, as an angle; None: 0.3.
        margin_distance: the same for ``distance = "euclidean"``, as a length; None: 0.3.
        soft: log(1 + exp(x)) in place of max(0, x): no triplet is ever done with.
    """

    mining: str = "batch_hard"
    distance: str = "angle"
    margin_rad: float | None = None
    margin_distance: float | None = None
    soft: bool = False

    def __post_init__(self) -> None:
        super(TripletOptions, self).__post_init__()
        choice("mining", self.mining, MINING)
        choice("distance", self.distance, DISTANCES)
        if self.margin_rad is not None:
            angle("margin_rad", self.margin_rad)
        if self.margin_distance is not None:
            within("margin_distance", self.margin_distance, least=0.0, most=2.0)
        other = self.margin_distance if self.distance == "angle" else self.margin_rad
        if other is not None:
            right = "margin_rad" if self.distance == "angle" else "margin_distance"
            msg = f"distance = {self.distance!r} takes its margin as {right}"
            raise UsageError(msg)


class Triplet(PairObjective):
    """Mean over the triplets that are not done with of max(0, d(a, p) - d(a, n) + margin).

    `advance` scales the margin; with curriculum mining the hardness of what is chosen instead.

    Choosing looks at one matrix of cosines without gradient; distances of the chosen pairs alone are then taken anew,
    from differences, exact even between near-duplicates, where 1 - cosine has no digits left.
    """

    def __init__(self, options: TripletOptions, *, dim: int) -> None:
        super().__init__(memory=options.memory, dim=dim)
        self._options = options
        given = options.margin_rad if options.distance == "angle" else options.margin_distance
        self.margin = 0.3 if given is None else given

    def loss_of(self, pairs: Pairs) -> Tensor:
        """The loss of the joint batch, a scalar."""
        with torch.no_grad():
            chosen = self._mine(pairs)
        anchor = pairs.rows[chosen.anchors]
        positive, negative = pairs.columns[chosen.positives], pairs.columns[chosen.negatives]
        margin = self.margin if self._options.mining == "curriculum" else self.fraction * self.margin
        gap = self._distance(anchor, positive) - self._distance(anchor, negative) + margin  # (T,)
        losses = functional.softplus(gap) if self._options.soft else gap.relu()
        losses = losses * chosen.valid
        return losses.sum() / (losses > 0).sum().clamp_min(1)

    def _mine(self, pairs: Pairs) -> mining.Triplets:
        cosines, mated, self_mated = pairs.rows @ pairs.columns.t(), pairs.mated, pairs.self_mated
        match self._options.mining:
            case "batch_hard":
                return mining.batch_hard(cosines, mated=mated, self_mated=self_mated)
            case "semi_hard":
                return mining.semi_hard(cosines, mated=mated, self_mated=self_mated)
            case _:
                return mining.curriculum(cosines, mated=mated, self_mated=self_mated, fraction=self.fraction)

    def _distance(self, one: Tensor, other: Tensor) -> Tensor:
        chord = (one - other).norm(dim=1)
        if self._options.distance == "euclidean":
            return chord
        return 2.0 * torch.atan2(chord, (one + other).norm(dim=1))  # Kahan: exact at both ends
