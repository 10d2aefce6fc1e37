"""Class-centre objectives: ArcFace, sub-center ArcFace, CosFace, AdaFace; whole or split over processes."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from verify.errors import UsageError
from verify.training import distributed
from verify.training.objectives import margins
from verify.training.objectives.base import Objective, angle, unit, within
from verify.training.objectives.shards import Shard
from verify.training.objectives.softmax import BUFFER, Margin, Softmax, margin_softmax


@dataclass(frozen=True, slots=True, kw_only=True)
class CentreOptions:
    """What all class-centre objectives take.

    (Subclasses name themselves in ``super``: a dataclass with slots is another class than the one its methods saw.)

    Attributes:
        scale: factor s from cosine to logit.
        sharded: split the classes over the processes; see `verify.training.objectives.shards`.
        sample_rate: share of the classes that a step holds its samples against, those of the batch always among them;
            below 1 only when sharded (a single process is one shard).
        seed: of the drawing of classes.
    """

    scale: float = 64.0
    sharded: bool = False
    sample_rate: float = 1.0
    seed: int = 0

    def __post_init__(self) -> None:
        within("scale", self.scale, least=1.0, most=1000.0)
        within("sample_rate", self.sample_rate, least=1e-4, most=1.0)
        if self.sample_rate < 1.0 and not self.sharded:
            msg = f"sample_rate = {self.sample_rate:g}: only a sharded head draws classes; set sharded = true"
            raise UsageError(msg)


@dataclass(frozen=True, slots=True, kw_only=True)
class ArcFaceOptions(CentreOptions):
    """ArcFace.

    Attributes:
        margin_rad: added to the angle between sample and own centre.
    """

    margin_rad: float = 0.5

    def __post_init__(self) -> None:
        super(ArcFaceOptions, self).__post_init__()
        angle("margin_rad", self.margin_rad)


@dataclass(frozen=True, slots=True, kw_only=True)
class SubcenterOptions(ArcFaceOptions):
    """Sub-center ArcFace.

    Attributes:
        centres: centres of a class, the nearest of which counts: wrong labels gather at the others.
    """

    centres: int = 3

    def __post_init__(self) -> None:
        super(SubcenterOptions, self).__post_init__()
        within("centres", self.centres, least=1, most=64)


@dataclass(frozen=True, slots=True, kw_only=True)
class CosFaceOptions(CentreOptions):
    """CosFace.

    Attributes:
        margin_cosine: subtracted from the cosine; no angle.
    """

    margin_cosine: float = 0.35

    def __post_init__(self) -> None:
        super(CosFaceOptions, self).__post_init__()
        within("margin_cosine", self.margin_cosine, least=0.0, most=1.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class AdaFaceOptions(CentreOptions):
    """AdaFace.

    Attributes:
        margin_rad: m, of the angle and of the cosine alike.
        concentration: h: how much of the norms' spread the margin's range covers.
        momentum: weight of a new batch in the running statistics of the norms.
    """

    margin_rad: float = 0.4
    concentration: float = 0.333
    momentum: float = 0.01

    def __post_init__(self) -> None:
        super(AdaFaceOptions, self).__post_init__()
        angle("margin_rad", self.margin_rad)
        within("concentration", self.concentration, least=0.0, most=10.0)
        within("momentum", self.momentum, least=0.0, most=1.0)


class CentreObjective(Objective):
    """Cross-entropy over cosines to one centre a class, or several; subclasses give the margin.

    Memory and time: `verify.training.objectives.softmax`. Under several processes each takes its own rows (or,
    sharded, its own classes for all rows); the mean over ranks is the mean over the joint batch, ragged or not.
    """

    def __init__(self, options: CentreOptions, *, dim: int, identities: int, sub: int = 1) -> None:
        super().__init__()
        if identities < 2:  # noqa: PLR2004
            msg = f"identities = {identities}: telling apart takes at least two"
            raise UsageError(msg)
        self.options, self.sub, self.identities = options, sub, identities
        self.gathers = options.sharded
        self.shard = Shard(identities, options) if options.sharded else None
        count = identities if self.shard is None else len(self.shard.classes)
        generator = None
        if self.shard is not None:  # the same seed everywhere must not give every process the same centres
            generator = torch.Generator().manual_seed(torch.initial_seed() % 2**40 + self.shard.classes.start)
        self.centres = nn.Parameter(torch.randn(count * sub, dim, generator=generator) * 0.01)
        self._seen = False

    def margin(self, raw: Tensor) -> Margin:
        """The margin for the rows `raw` (B, D), before normalisation."""
        raise NotImplementedError

    def sharded_parameters(self) -> tuple[nn.Parameter, ...]:
        """Parameters of which each process has its own: not for DDP, not for `average_gradients`."""
        return () if self.shard is None else (self.centres,)

    def working_bytes(self, rows: int) -> int:
        """What a step of so many rows takes on a GPU beside centres and their gradient: one block of logits."""
        blocks = 1 if self.sub == 1 else 2
        return 4 * blocks * min(rows * len(self.centres), BUFFER["cuda"])

    def loss(self, raw: Tensor, labels: Tensor, target: Tensor | None) -> Tensor:
        """Mean cross-entropy; see `verify.protocols.Objective`."""
        del target
        self._check(labels)
        if self.shard is not None:
            return self._sharded_loss(raw, labels, self.shard)
        softmax = Softmax(
            scale=self.options.scale,
            margin=self.margin(raw),
            weight=distributed.share(len(raw)),
            sub=self.sub,
        )
        return margin_softmax(unit(raw), self.centres, labels, softmax=softmax)

    def _sharded_loss(self, raw: Tensor, labels: Tensor, shard: Shard) -> Tensor:
        rows = distributed.counts(len(raw))
        raw = distributed.gather(raw, rows=rows)  # (N, D)
        labels = distributed.gather_labels(labels, rows=rows)
        own, chosen = shard.select(labels, train=self.training)
        centres = self.centres if chosen is None else _rows_of(self.centres, chosen, sub=self.sub)
        softmax = Softmax(
            scale=self.options.scale,
            margin=self.margin(raw),
            weight=1.0 / max(1, len(raw)),
            sub=self.sub,
            sharded=True,
        )
        return margin_softmax(unit(raw), centres, own, softmax=softmax)

    def _check(self, labels: Tensor) -> None:
        """Refuse labels that are no class: each time on the host, once on a GPU, whose answer has to be waited for."""
        if self._seen and labels.device.type != "cpu":
            return
        self._seen = True
        if len(labels) and not 0 <= int(labels.min()) <= int(labels.max()) < self.identities:
            msg = f"labels from {int(labels.min())} to {int(labels.max())}: must be from 0 to {self.identities - 1}"
            raise UsageError(msg)

    def whole_state(self) -> dict[str, Tensor]:
        """State with the centres of all processes, the same on each; a collective call."""
        state: dict[str, Tensor] = self.state_dict()
        return state | {"centres": distributed.gather_labels(self.centres)} if self.shard else state

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *rest: Any) -> None:
        """Take whole states, too, whatever the number of processes was that wrote them."""
        key = f"{prefix}centres"
        if self.shard is not None and len(state_dict.get(key, ())) == self.identities * self.sub:
            first, stop = self.shard.classes.start * self.sub, self.shard.classes.stop * self.sub
            state_dict[key] = state_dict[key][first:stop]
        super()._load_from_state_dict(state_dict, prefix, *rest)

    def get_extra_state(self) -> Tensor:
        """How many steps have drawn classes: resuming goes on with the same ones."""
        return torch.tensor([0 if self.shard is None else self.shard.drawn])

    def set_extra_state(self, state: Any) -> None:
        """Take what `get_extra_state` gave."""
        if self.shard is not None:
            self.shard.drawn = int(state[0])


class AngularObjective(CentreObjective):
    """A head whose margin is an angle: the large-margin stage may replace it."""

    options: ArcFaceOptions | AdaFaceOptions

    @property
    def margin_rad(self) -> float:
        """The whole margin in radians; `advance` trains with a share of it."""
        return self.options.margin_rad

    @margin_rad.setter
    def margin_rad(self, value: float) -> None:
        self.options = dataclasses.replace(self.options, margin_rad=value)


class ArcFace(AngularObjective):
    """ArcFace, and with several centres a class sub-center ArcFace.

    Deng et al., CVPR 2019, https://arxiv.org/abs/1801.07698; Deng et al., ECCV 2020.
    """

    def __init__(self, options: ArcFaceOptions, *, dim: int, identities: int) -> None:
        sub = options.centres if isinstance(options, SubcenterOptions) else 1
        super().__init__(options, dim=dim, identities=identities, sub=sub)

    def margin(self, raw: Tensor) -> Margin:
        """An angle added, the same for all rows."""
        del raw
        margin_rad = self.fraction * self.margin_rad
        return lambda cosine, _: margins.add_angle(cosine, margin_rad=margin_rad)


class CosFace(CentreObjective):
    """CosFace. Wang et al., CVPR 2018, https://arxiv.org/abs/1801.09414."""

    options: CosFaceOptions

    def __init__(self, options: CosFaceOptions, *, dim: int, identities: int) -> None:
        super().__init__(options, dim=dim, identities=identities)

    def margin(self, raw: Tensor) -> Margin:
        """A cosine subtracted, the same for all rows."""
        del raw
        margin_cosine = self.fraction * self.options.margin_cosine
        return lambda cosine, _: margins.subtract(cosine, margin_cosine=margin_cosine)


class AdaFace(AngularObjective):
    """AdaFace: the norm of an embedding stands for the sample's quality.

    Kim, Jain, Liu, CVPR 2022, https://arxiv.org/abs/2204.00964. Running mean and spread of the norms are those of
    the joint batch and part of the state.
    """

    options: AdaFaceOptions
    norm_mean: Tensor
    norm_std: Tensor

    def __init__(self, options: AdaFaceOptions, *, dim: int, identities: int) -> None:
        super().__init__(options, dim=dim, identities=identities)
        self.register_buffer("norm_mean", torch.tensor(20.0))
        self.register_buffer("norm_std", torch.tensor(100.0))

    def margin(self, raw: Tensor) -> Margin:
        """More angle for small norms, more cosine for large ones."""
        norms = raw.detach().norm(dim=1).clamp(1e-3, 100.0)  # (B,)
        if self.training and torch.is_grad_enabled():
            self._follow(norms if self.shard is not None else distributed.gather_labels(norms))
        quality = (norms - self.norm_mean) / (self.norm_std + 1e-3) * self.options.concentration
        quality = quality.clamp(-1.0, 1.0)
        margin_rad = self.fraction * self.margin_rad
        return lambda cosine, rows: margins.adapt(cosine, quality=quality[rows], margin_rad=margin_rad)

    def _follow(self, norms: Tensor) -> None:
        if len(norms) < 2:  # noqa: PLR2004  one norm has no spread
            return
        self.norm_mean.lerp_(norms.mean(), self.options.momentum)
        self.norm_std.lerp_(norms.std(), self.options.momentum)


def _rows_of(centres: Tensor, classes: Tensor, *, sub: int) -> Tensor:
    """The centres of some classes, (len(classes) * sub, D)."""
    if sub == 1:
        return centres[classes]
    return centres.view(-1, sub, centres.shape[1])[classes].flatten(0, 1)
