"""Softmax over the batch: supervised contrastive loss and InfoNCE."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from verify.training.objectives.base import within
from verify.training.objectives.pairs import PairObjective, PairOptions, Pairs

COLDEST = 0.01  # CLIP's bound: logits stay below 100


@dataclass(frozen=True, slots=True, kw_only=True)
class SupConOptions(PairOptions):
    """Supervised contrastive loss.

    Attributes:
        temperature: divides cosines.
    """

    temperature: float = 0.1

    def __post_init__(self) -> None:
        super(SupConOptions, self).__post_init__()  # noqa: UP008  a slotted dataclass is another class than here
        within("temperature", self.temperature, least=COLDEST, most=10.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class InfoNCEOptions(PairOptions):
    """InfoNCE.

    Attributes:
        temperature: divides cosines; where it starts if it is learnt.
        learn_temperature: whether it is a parameter, never below 0.01.
        views: 2: positives are two augmentations of one sample (SimCLR); 1: samples of one identity.
    """

    temperature: float = 0.1
    learn_temperature: bool = True
    views: int = 1

    def __post_init__(self) -> None:
        super(InfoNCEOptions, self).__post_init__()  # noqa: UP008
        within("temperature", self.temperature, least=COLDEST, most=10.0)
        within("views", self.views, least=1, most=2)


class SupCon(PairObjective):
    """L_out of Khosla et al., "Supervised Contrastive Learning", NeurIPS 2020, https://arxiv.org/abs/2004.11362.

    Mean over anchors with a positive of the mean over positives of -log softmax, against all others.
    """

    def __init__(self, options: SupConOptions, *, dim: int) -> None:
        super().__init__(options, dim=dim)
        self.options = options

    def loss_of(self, pairs: Pairs) -> Tensor:
        """The loss of the joint batch, a scalar."""
        own = pairs.self_mated
        positive = pairs.mated & ~own
        logits = (pairs.rows @ pairs.columns.t()) / self.options.temperature
        mass = logits.masked_fill(own, -torch.inf).logsumexp(dim=1)  # (N,)
        count = positive.sum(dim=1)
        drawn = (logits * positive).sum(dim=1) / count.clamp_min(1)
        return ((mass - drawn) * (count > 0)).sum() / (count > 0).sum().clamp_min(1)


class InfoNCE(PairObjective):
    """Each mated pair against the anchor's negatives; a temperature that is learnt.

    van den Oord, Li, Vinyals, 2018, https://arxiv.org/abs/1807.03748; with two views the NT-Xent loss of SimCLR, Chen
    et al., ICML 2020, https://arxiv.org/abs/2002.05709; the learnt temperature as in CLIP, Radford et al., ICML 2021,
    https://arxiv.org/abs/2103.00020.
    """

    def __init__(self, options: InfoNCEOptions, *, dim: int) -> None:
        super().__init__(options, dim=dim)
        self.views = options.views
        self.log_scale = nn.Parameter(
            torch.tensor(-math.log(options.temperature)), requires_grad=options.learn_temperature
        )

    @property
    def temperature(self) -> float:
        """The temperature as it is now."""
        return math.exp(-float(self.log_scale.detach()))

    def loss_of(self, pairs: Pairs) -> Tensor:
        """The loss of the joint batch, a scalar."""
        return info_nce(
            pairs.rows @ pairs.columns.t() * scale_of(self.log_scale),
            positive=pairs.mated & ~pairs.self_mated,
            negative=~pairs.mated,
        )


def scale_of(log_scale: Tensor) -> Tensor:
    """The factor 1 / temperature, bounded; at the bound the parameter still hears which way is back."""
    most = -math.log(COLDEST)
    return (log_scale - (log_scale.detach() - most).clamp_min(0.0)).exp()


def info_nce(logits: Tensor, *, positive: Tensor, negative: Tensor) -> Tensor:
    """Mean over positives of -log(exp(positive) / (exp(positive) + sum of exp(negatives of its row))).

    Args:
        logits: (N, M).
        positive: (N, M) bool.
        negative: (N, M) bool.
    """
    mass = logits.masked_fill(~negative, -torch.inf).logsumexp(
        dim=1, keepdim=True
    )  # (N, 1); -inf without any
    losses = torch.nn.functional.softplus(mass - logits)
    return (losses * positive).sum() / positive.sum().clamp_min(1)
