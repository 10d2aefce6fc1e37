"""Objectives on two views of a sample, without negatives or with those of a momentum network: no labels needed.

Every sample comes twice, each time with its own augmentation; `labels` number the samples. The two rows of a sample
may stand anywhere in the joint batch; the one that comes first is view A.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from verify.errors import UsageError
from verify.training import distributed
from verify.training.objectives.base import Objective, joint, mated, unit, within
from verify.training.objectives.contrast import Temperature, TemperatureOptions, info_nce
from verify.training.objectives.memory import Memory


@dataclass(frozen=True, slots=True, kw_only=True)
class PredictorOptions:
    """BYOL and SimSiam.

    Attributes:
        hidden: units of the predictor's hidden layer; 0: four times the embedding (BYOL), a quarter (SimSiam).
    """

    hidden: int = 0

    def __post_init__(self) -> None:
        within("hidden", self.hidden, least=0)


@dataclass(frozen=True, slots=True, kw_only=True)
class VICRegOptions:
    """VICReg.

    Attributes:
        invariance: weight of the squared distance of the views.
        variance: weight of the hinge that keeps each dimension's deviation above 1.
        covariance: weight of the squared covariances between dimensions.
        expander: units of the three layers between embedding and loss; 0: the embedding itself.
    """

    invariance: float = 25.0
    variance: float = 25.0
    covariance: float = 1.0
    expander: int = 0

    def __post_init__(self) -> None:
        for name in ("invariance", "variance", "covariance"):
            within(name, getattr(self, name), least=0.0)
        within("expander", self.expander, least=0)


@dataclass(frozen=True, slots=True, kw_only=True)
class MoCoOptions(TemperatureOptions):
    """MoCo.

    Attributes:
        memory: keys of past batches in the queue; 0: those of the batch alone (version 3).
    """

    memory: int = 4096

    def __post_init__(self) -> None:
        super(MoCoOptions, self).__post_init__()
        within("memory", self.memory, least=0)


class TwoViews(Objective):
    """A loss of the pairs (view A, view B) of the joint batch; subclasses write `loss_of`."""

    gathers = True
    views = 2

    def __init__(self) -> None:
        super().__init__()
        self._seen = False

    def loss(self, raw: Tensor, labels: Tensor, target: Tensor | None) -> Tensor:
        """Gather, pair, and compare."""
        rows = distributed.counts(len(raw))
        labels = distributed.gather_labels(labels, rows=rows)
        order = self.pairing(labels)  # (N / 2, 2)
        raw = distributed.gather(raw, rows=rows)
        if target is not None:
            target = distributed.gather_labels(target, rows=rows)
        return self.loss_of(raw, order[:, 0], order[:, 1], target)

    def loss_of(self, raw: Tensor, one: Tensor, other: Tensor, target: Tensor | None) -> Tensor:
        """The loss, a scalar: raw (N, D), rows of views A and B (N / 2,) each, target (N, D)."""
        raise NotImplementedError

    def pairing(self, labels: Tensor) -> Tensor:
        """(N / 2, 2) int64: rows of the two views of each sample.

        Raises:
            UsageError: a sample of the first batch does not come in pairs.
        """
        order = labels.argsort(stable=True)
        if (
            not self._seen or labels.device.type == "cpu"
        ):  # on a GPU asked once: the answer has to be waited for
            self._seen = True
            found = labels[order]
            if len(labels) % 2 or not bool((found[::2] == found[1::2]).all()):
                msg = f"{type(self).__name__}: each sample must come twice in a batch; set sampler.views = 2"
                raise UsageError(msg)
        return order.view(-1, 2)


class BYOL(TwoViews):
    """Predict the averaged network's embedding of the other view.

    Grill et al., "Bootstrap Your Own Latent", NeurIPS 2020, https://arxiv.org/abs/2006.07733.
    """

    uses_target = True

    def __init__(self, options: PredictorOptions, *, dim: int) -> None:
        super().__init__()
        self.predictor = _layers(dim, options.hidden or 4 * dim, dim)

    def loss_of(self, raw: Tensor, one: Tensor, other: Tensor, target: Tensor | None) -> Tensor:
        """2 - 2 cosine, mean over both directions."""
        if target is None:  # `forward` has refused it already
            raise TypeError
        guess, truth = unit(self.predictor(raw)), unit(target)
        return 2.0 - (guess[one] * truth[other] + guess[other] * truth[one]).sum(dim=1).mean()


class SimSiam(TwoViews):
    """Predict the embedding of the other view, through which no gradient goes.

    Chen, He, "Exploring Simple Siamese Representation Learning", CVPR 2021, https://arxiv.org/abs/2011.10566.
    """

    def __init__(self, options: PredictorOptions, *, dim: int) -> None:
        super().__init__()
        self.predictor = _layers(dim, options.hidden or max(1, dim // 4), dim)

    def loss_of(self, raw: Tensor, one: Tensor, other: Tensor, target: Tensor | None) -> Tensor:
        """Minus the cosine, mean over both directions."""
        del target
        guess, truth = unit(self.predictor(raw)), unit(raw.detach())
        return -(guess[one] * truth[other] + guess[other] * truth[one]).sum(dim=1).mean() / 2.0


class VICReg(TwoViews):
    """Views alike, dimensions alive, dimensions uncorrelated.

    Bardes, Ponce, LeCun, ICLR 2022, https://arxiv.org/abs/2105.04906.
    """

    def __init__(self, options: VICRegOptions, *, dim: int) -> None:
        super().__init__()
        self.options = options
        wide = options.expander
        self.expander = _layers(dim, wide, wide, wide) if wide else nn.Identity()

    def loss_of(self, raw: Tensor, one: Tensor, other: Tensor, target: Tensor | None) -> Tensor:
        """The three terms, weighted."""
        del target
        wide = self.expander(raw)
        views = wide[one], wide[other]
        alike = functional.mse_loss(*views)
        alive = sum((1.0 - (view.var(dim=0) + 1e-4).sqrt()).relu().mean() for view in views) / 2.0
        tied = sum(_covariance(view) for view in views)
        options = self.options
        return options.invariance * alike + options.variance * alive + options.covariance * tied


class MoCo(TwoViews):
    """Recognise the other view among the averaged network's embeddings of this batch and of a queue of past ones.

    He et al., CVPR 2020, https://arxiv.org/abs/1911.05722; with ``memory = 0`` version 3, Chen, Xie, He, ICCV 2021,
    https://arxiv.org/abs/2104.02057.
    """

    uses_target = True

    def __init__(self, options: MoCoOptions, *, dim: int) -> None:
        super().__init__()
        self.temperature = Temperature(options)
        self.memory = Memory(options.memory, dim=dim) if options.memory else None

    def loss(self, raw: Tensor, labels: Tensor, target: Tensor | None) -> Tensor:
        """Queries of this batch against keys of this batch and of the queue."""
        if target is None:  # `forward` has refused it already
            raise TypeError
        queries, row_labels = joint(raw, labels)
        self.pairing(row_labels)
        keys = unit(joint(target, labels)[0].detach())
        own = torch.eye(len(queries), dtype=torch.bool, device=queries.device)
        same = mated(row_labels, row_labels)
        positive, negative, columns = same & ~own, ~same, keys
        if self.memory is not None:
            # Sample numbers of other batches say nothing about this one: all that is remembered is a negative.
            past, _ = self.memory.recall()
            columns = torch.cat([keys, past])
            positive = functional.pad(positive, (0, len(past)), value=False)
            negative = functional.pad(negative, (0, len(past)), value=True)
            if self.training and torch.is_grad_enabled():
                self.memory.remember(keys, row_labels)
        return info_nce(self.temperature(unit(queries) @ columns.t()), positive=positive, negative=negative)


class CLIP(TwoViews):
    """Two modalities of one subject: find the partner among all, in both directions.

    Radford et al., ICML 2021, https://arxiv.org/abs/2103.00020. View A and view B are the modalities (a face and a
    voice, each from its own network, as rows of one tensor); samples of one modality are never held against
    each other.
    """

    def __init__(self, options: TemperatureOptions, *, dim: int) -> None:
        del dim
        super().__init__()
        self.temperature = Temperature(options)

    def loss_of(self, raw: Tensor, one: Tensor, other: Tensor, target: Tensor | None) -> Tensor:
        """Cross-entropy, mean over both directions."""
        del target
        rows = unit(raw)
        logits = self.temperature(rows[one] @ rows[other].t())
        partner = torch.arange(len(one), device=raw.device)
        both = functional.cross_entropy(logits, partner) + functional.cross_entropy(logits.t(), partner)
        return both / 2.0


def _covariance(view: Tensor) -> Tensor:
    """Sum of the squared covariances between dimensions, by dimension: view (N, D)."""
    centred = view - view.mean(dim=0)
    matrix = centred.t() @ centred / max(1, len(view) - 1)
    return (matrix.square().sum() - matrix.diagonal().square().sum()) / view.shape[1]


def _layers(*widths: int) -> nn.Sequential:
    """Linear layers with batch normalisation between; they see the joint batch, so its statistics are joint, too."""
    layers: list[nn.Module] = []
    for before, after in itertools.pairwise(widths[:-1]):
        layers += [nn.Linear(before, after, bias=False), nn.BatchNorm1d(after), nn.ReLU(inplace=True)]
    return nn.Sequential(*layers, nn.Linear(widths[-2], widths[-1]))
