"""Softmax over the batch: supervised contrastive loss and InfoNCE."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

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
        super(SupConOptions, self).__post_init__()
        within("temperature", self.temperature, least=COLDEST, most=10.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class TemperatureOptions:
    """What all objectives with a learnt temperature take.

    Attributes:
        temperature: divides cosines; where it starts if it is learnt.
        learn_temperature: whether it is a parameter; it never falls below 0.01.
    """

    temperature: float = 0.1
    learn_temperature: bool = True

    def __post_init__(self) -> None:
        within("temperature", self.temperature, least=COLDEST, most=10.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class InfoNCEOptions(TemperatureOptions):
    """InfoNCE.

    Attributes:
        memory: past embeddings that a batch is held against, too (cross-batch memory); 0: none.
        views: 2: positives are two augmentations of one sample (SimCLR); 1: samples of one identity.
    """

    memory: int = 0
    views: int = 1

    def __post_init__(self) -> None:
        super(InfoNCEOptions, self).__post_init__()
        within("memory", self.memory, least=0)
        within("views", self.views, least=1, most=2)


class SupCon(PairObjective):
    """L_out of Khosla et al., "Supervised Contrastive Learning", NeurIPS 2020, https://arxiv.org/abs/2004.11362.

    Mean over anchors with a positive of the mean over positives of -log softmax, against all others.
    """

    def __init__(self, options: SupConOptions, *, dim: int) -> None:
        super().__init__(memory=options.memory, dim=dim)
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


class Temperature(nn.Module):
    """A temperature that is learnt, by its logarithm, as in CLIP (Radford et al., ICML 2021)."""

    def __init__(self, options: TemperatureOptions) -> None:
        super().__init__()
        start = torch.tensor(-math.log(options.temperature))
        self.log_scale = nn.Parameter(start, requires_grad=options.learn_temperature)

    def forward(self, cosines: Tensor) -> Tensor:
        """Cosines divided by the temperature; at its bound the parameter still hears which way is back."""
        beyond = (self.log_scale.detach() + math.log(COLDEST)).clamp_min(0.0)
        return cosines * (self.log_scale - beyond).exp()

    def __float__(self) -> float:
        """The temperature as it is now."""
        return 1.0 / float(self(torch.ones(())).detach())


class InfoNCE(PairObjective):
    """Each mated pair against the anchor's negatives.

    van den Oord, Li, Vinyals, 2018, https://arxiv.org/abs/1807.03748; with two views the NT-Xent loss of SimCLR, Chen
    et al., ICML 2020, https://arxiv.org/abs/2002.05709.
    """

    def __init__(self, options: InfoNCEOptions, *, dim: int) -> None:
        super().__init__(memory=options.memory, dim=dim)
        self.views = options.views
        self.temperature = Temperature(options)

    def loss_of(self, pairs: Pairs) -> Tensor:
        """The loss of the joint batch, a scalar."""
        return info_nce(
            self.temperature(pairs.rows @ pairs.columns.t()),
            positive=pairs.mated & ~pairs.self_mated,
            negative=~pairs.mated,
        )


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
    losses = functional.softplus(mass - logits)
    return (losses * positive).sum() / positive.sum().clamp_min(1)
