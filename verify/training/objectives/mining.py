"""Which positive and which negative an anchor is held against.

Everything here looks at cosines (N, M) without gradient and gives indices; never a tensor of (N, N, D) or of all
triplets. Deterministic: all processes choose the same from the same joint batch.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

BUFFER = 2**24  # cosines held at once by semi-hard mining


@dataclass(frozen=True, slots=True, kw_only=True)
class Triplets:
    """What was chosen.

    Attributes:
        anchors: (T,) int64 rows.
        positives: (T,) int64 columns.
        negatives: (T,) int64 columns.
        valid: (T,) bool: there is such a triplet; an anchor without a positive or a negative has none. (A mask, as
            picking the valid ones would wait for the GPU.)
    """

    anchors: Tensor
    positives: Tensor
    negatives: Tensor
    valid: Tensor


def batch_hard(cosines: Tensor, *, mated: Tensor, self_mated: Tensor) -> Triplets:
    """For each anchor its least alike positive and its most alike negative.

    Hermans, Beyer, Leibe, "In Defense of the Triplet Loss for Person Re-Identification", 2017,
    https://arxiv.org/abs/1703.07737.

    Args:
        cosines: (N, M) of anchors with candidates.
        mated: (N, M) bool: of the same identity.
        self_mated: (N, M) bool: the anchor itself; no positive.
    """
    positive, negative = mated & ~self_mated, ~mated
    farthest = cosines.masked_fill(~positive, torch.inf).argmin(dim=1)
    nearest = cosines.masked_fill(mated, -torch.inf).argmax(dim=1)
    return _of_anchors(positive, negative, farthest, nearest)


def curriculum(cosines: Tensor, *, mated: Tensor, self_mated: Tensor, fraction: float) -> Triplets:
    """From middling to hardest: at fraction 0 the median positive and negative, at 1 those of `batch_hard`.

    In between, the candidate at the quantile ``(1 + fraction) / 2`` of hardness, so that a network that tells nobody
    apart yet is not pulled by its outliers, which is how batch-hard training collapses.
    """
    positive, negative = mated & ~self_mated, ~mated
    quantile = (1.0 + fraction) / 2.0
    farthest = _at(-cosines, positive, quantile=quantile)
    nearest = _at(cosines, negative, quantile=quantile)
    return _of_anchors(positive, negative, farthest, nearest)


def semi_hard(cosines: Tensor, *, mated: Tensor, self_mated: Tensor) -> Triplets:
    """For each mated pair the most alike negative that is less alike than the positive; if none, the least alike.

    Schroff, Kalenichenko, Philbin, "FaceNet", CVPR 2015, https://arxiv.org/abs/1503.03832; the fallback as in
    TensorFlow's and in pytorch-metric-learning's.
    """
    positive, negative = mated & ~self_mated, ~mated
    positive = positive & negative.any(dim=1, keepdim=True)
    anchors, positives = positive.nonzero(as_tuple=True)  # (T,)
    others = cosines.masked_fill(mated, -torch.inf)
    least = cosines.masked_fill(mated, torch.inf).argmin(dim=1)  # (N,)
    negatives = torch.empty_like(anchors)
    height = max(1, BUFFER // max(1, cosines.shape[1]))
    for first in range(0, len(anchors), height):
        block = slice(first, first + height)
        anchor = anchors[block]
        bound = cosines[anchor, positives[block]]
        below = others[anchor]
        below = below.masked_fill_(below >= bound[:, None], -torch.inf)
        value, column = below.max(dim=1)
        negatives[block] = torch.where(value > -torch.inf, column, least[anchor])
    valid = torch.ones_like(anchors, dtype=torch.bool)
    return Triplets(anchors=anchors, positives=positives, negatives=negatives, valid=valid)


def _at(hardness: Tensor, candidates: Tensor, *, quantile: float) -> Tensor:
    """(N,) column of the candidate at a quantile of hardness; any column where there is no candidate."""
    order = hardness.masked_fill(~candidates, -torch.inf).argsort(dim=1, descending=True, stable=True)
    count = candidates.sum(dim=1)
    place = ((1.0 - quantile) * (count - 1).clamp_min(0)).round().long()  # 0: the hardest
    return order.gather(1, place[:, None])[:, 0]


def _of_anchors(positive: Tensor, negative: Tensor, farthest: Tensor, nearest: Tensor) -> Triplets:
    valid = positive.any(dim=1) & negative.any(dim=1)
    anchors = torch.arange(len(valid), device=valid.device)
    return Triplets(anchors=anchors, positives=farthest, negatives=nearest, valid=valid)
