"""Softmax over very many classes on the sphere, with a margin, in little memory.

What libraries do at C classes: normalise a copy of all centres, keep several (B, C) matrices (cosines, a one-hot mask,
logits with and without the margin, their softmax) and let autograd walk back through all of them. Here:

- the gradient is computed in the forward pass, a block of rows at a time, so that one (rows, C) buffer is all there
  ever is of the logits (as in Liger-Kernel's fused cross-entropy, Hsu et al. 2024, https://arxiv.org/abs/2410.10989);
- the margin touches the one target logit of a row, nothing else: no mask, no one-hot;
- centres are divided by their norms on the way: columns of logits are scaled, and the part of the gradient along each
  centre is taken out at the end. No normalised copy.

Three matrix products a batch, as many as there must be. Classes may be split over processes (`shard`): then sums of
the softmax are exchanged, never logits (An et al. 2021, https://arxiv.org/abs/2010.05222).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

import torch
import torch.distributed as dist
from torch import Tensor

from verify.training import distributed

BUFFER = {"cpu": 2**24, "cuda": 2**26}  # logits held at once, float32: 64 MiB, 256 MiB
COLUMNS = 2**14  # centres whose gradients are made tangential at once
TINY = 1e-12  # as in torch.nn.functional.normalize

Margin = Callable[[Tensor, Tensor], Tensor]
"""(cosines of the targets (b,), rows' numbers (b,)) -> cosines with the margin; differentiable in the first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Softmax:
    """How logits are made.

    Attributes:
        scale: factor s from cosine to logit.
        margin: what a target's cosine becomes.
        sub: centres of a class, the nearest of which counts.
        weight: factor on the sum of the rows' losses.
        sharded: the centres here are this process's share; rows are those of all processes.
    """

    scale: float
    margin: Margin
    weight: float
    sub: int = 1
    sharded: bool = False


def margin_softmax(rows: Tensor, centres: Tensor, labels: Tensor, *, softmax: Softmax) -> Tensor:
    """Weighted sum over rows of the cross-entropy of ``scale * cosine``, with the margin on the target.

    Args:
        rows: (B, D) float32 of unit norm.
        centres: (C * sub, D) float32 of any norm; the `sub` centres of a class follow each other.
        labels: (B,) int64: the row's class among the C; negative: the class is on another process.
        softmax: scale, margin and the rest.

    Returns:
        A scalar. Gradients are ready already and can be taken once.
    """
    return cast(Tensor, _MarginSoftmax.apply(rows, centres, labels, softmax))


class _MarginSoftmax(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, rows: Tensor, centres: Tensor, labels: Tensor, softmax: Softmax) -> Tensor:  # type: ignore[override, unused-ignore]
        rows_needed, centres_needed = ctx.needs_input_grad[:2]
        inverse = centres.norm(dim=1).clamp_min_(TINY).reciprocal_()  # (C,)
        grad_rows = torch.zeros_like(rows) if rows_needed else None
        grad_centres = torch.zeros_like(centres) if centres_needed else None
        total = rows.new_zeros(())
        height = max(1, BUFFER.get(rows.device.type, BUFFER["cpu"]) // max(1, len(centres)))
        height = -(-len(rows) // -(-len(rows) // height)) if len(rows) else 1  # blocks of equal height
        for first in range(0, len(rows), height):
            block = slice(first, first + height)
            number = torch.arange(first, min(first + height, len(rows)), device=rows.device)
            loss, slope = _block(rows[block], centres, inverse, labels[block], number, softmax=softmax)
            total += loss
            if grad_rows is not None:
                torch.mm(slope, centres, out=grad_rows[block])
            if grad_centres is not None:
                grad_centres.addmm_(slope.t(), rows[block])
            del slope
        if grad_centres is not None:
            _make_tangential(grad_centres, centres, inverse)
        if softmax.sharded and grad_rows is not None:
            grad_rows *= (
                distributed.size()
            )  # the mean over ranks is what is trained; see verify.training.distributed
        ctx.grads = (grad_rows, grad_centres)
        return total * softmax.weight

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None, None, None]:  # type: ignore[override, unused-ignore]
        if ctx.grads is None:
            msg = "the gradient of a margin softmax can be taken only once"
            raise RuntimeError(msg)
        (grad_rows, grad_centres), ctx.grads = ctx.grads, None  # given away: no second copy of (C, D)
        if grad_rows is not None:
            grad_rows *= grad
        if grad_centres is not None:
            grad_centres *= grad
        return grad_rows, grad_centres, None, None


def _block(
    rows: Tensor, centres: Tensor, inverse: Tensor, labels: Tensor, number: Tensor, *, softmax: Softmax
) -> tuple[Tensor, Tensor]:
    """Sum of the losses of a block of rows, and its slope (b, C * sub) by ``rows @ centres.T``."""
    cosines = torch.mm(rows, centres.t()).mul_(inverse)  # (b, C * sub)
    nearest = None
    logits = cosines
    if softmax.sub > 1:
        logits, nearest = cosines.view(len(rows), -1, softmax.sub).max(dim=2)
    own = labels >= 0
    index = labels.clamp_min(0)[:, None]
    with torch.enable_grad():
        cosine = logits.gather(1, index)[:, 0].detach().requires_grad_()  # (b,)
        moved = softmax.margin(cosine, number)
        (bend,) = torch.autograd.grad(moved.sum(), cosine)
    moved = moved.detach()
    logits.scatter_(1, index, torch.where(own, moved, cosine.detach())[:, None])
    logits *= softmax.scale
    top = _over_ranks(logits.amax(dim=1), dist.ReduceOp.MAX, softmax=softmax)
    logits.sub_(top[:, None]).exp_()
    mass = _over_ranks(logits.sum(dim=1), dist.ReduceOp.SUM, softmax=softmax)
    target = _over_ranks(torch.where(own, moved * softmax.scale, 0.0), dist.ReduceOp.SUM, softmax=softmax)
    loss = (mass.log() + top - target).sum()
    # d loss / d logit = softmax - one at the target; then the chain: margin, scale, norms
    slope = logits.mul_((softmax.scale * softmax.weight / mass)[:, None])
    at = slope.gather(1, index)[:, 0]
    full = softmax.scale * softmax.weight
    slope.scatter_(1, index, torch.where(own, (at - full) * bend.detach(), at)[:, None])
    if nearest is not None:
        cosines = cosines.zero_().view(len(rows), -1, softmax.sub)
        slope = cosines.scatter_(2, nearest[:, :, None], slope[:, :, None]).view(len(rows), -1)
    return loss, slope.mul_(inverse)


def _make_tangential(grad: Tensor, centres: Tensor, inverse: Tensor) -> None:
    """Take out of each centre's gradient what would only change its length, in place."""
    for first in range(0, len(centres), COLUMNS):
        part = slice(first, first + COLUMNS)
        along = (grad[part] * centres[part]).sum(dim=1) * inverse[part] ** 2
        grad[part].addcmul_(centres[part], along[:, None], value=-1.0)


def _over_ranks(values: Tensor, operation: Any, *, softmax: Softmax) -> Tensor:
    if softmax.sharded and distributed.size() > 1:
        dist.all_reduce(values, op=operation)
    return values
