"""What a run is made of: data, network, objectives, optimiser, average, put together from a recipe."""

from __future__ import annotations

import dataclasses
import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor, nn

from verify.data.splits import TRAIN, VALIDATION
from verify.errors import DataError, UsageError
from verify.nets.registry import find_network, make_network
from verify.training import ancestry, distributed
from verify.training.averaging import Average
from verify.training.objectives import make_objective
from verify.training.optimisers import check_precision, freeze, make_optimiser, normalisations
from verify.training.pipeline import make_pipeline
from verify.training.samplers import make_sampler
from verify.training.schedule import LARGE_MARGIN, MAIN, Plan
from verify.training.training_set import open_training
from verify.training.validation import Validation

if TYPE_CHECKING:
    from collections.abc import Mapping

    from verify.training.ancestry import Ancestry
    from verify.training.distributed import World
    from verify.training.pipeline import Pipeline
    from verify.training.recipe import ObjectiveSection, Recipe
    from verify.training.samplers import Sampler
    from verify.training.training_set import TrainingSet

SAME_INPUT = ("kind", "alignment", "size_px", "features", "rate_hz", "bins", "level_dbfs")


class Objectives(nn.Module):
    """The weighted sum of a recipe's objectives: (B, D) raw embeddings -> one loss.

    Attributes:
        gathers: whether one of them holds samples of a batch against each other.
        uses_target: whether one of them wants the averaged network's embeddings.
        views: 2 if one of them needs every sample twice.
    """

    def __init__(
        self, sections: tuple[ObjectiveSection, ...], *, dim: int, identities: int, modality: str
    ) -> None:
        super().__init__()
        self.terms = nn.ModuleList(
            make_objective(section, dim=dim, identities=identities, modality=modality) for section in sections
        )
        self.weights = tuple(section.weight for section in sections)
        self.gathers = any(term.gathers for term in self.terms)
        self.uses_target = any(term.uses_target for term in self.terms)
        self.views = max(term.views for term in self.terms)

    def forward(
        self, raw: Tensor, labels: Tensor, samples: Tensor, *, target: Tensor | None = None
    ) -> Tensor:
        """The loss of (B, D) embeddings of (B,) identities; objectives of two views are told samples instead."""
        terms = (
            weight
            * term(raw, samples if term.views > 1 else labels, target=target if term.uses_target else None)
            for term, weight in zip(self.terms, self.weights, strict=True)
        )
        return cast(Tensor, sum(terms))

    def advance(self, fraction: float) -> None:
        """Ramp margins up, 0 to 1."""
        for term in self.terms:
            term.advance(fraction)

    def set_margin(self, margin_rad: float) -> None:
        """Replace the angular margin of every objective that has one (large-margin fine-tuning)."""
        for term in self.terms:
            if hasattr(getattr(term, "options", None), "margin_rad"):
                term.options = dataclasses.replace(term.options, margin_rad=margin_rad)

    def sharded(self) -> list[nn.Parameter]:
        """Parameters of which every process has its own."""
        return [p for term in self.terms for p in getattr(term, "sharded_parameters", tuple)()]

    def replicated(self) -> list[nn.Parameter]:
        """Parameters that all processes have alike."""
        own = {id(parameter) for parameter in self.sharded()}
        return [parameter for parameter in self.parameters() if id(parameter) not in own]


class Raw(nn.Module):
    """A network whose forward pass gives raw embeddings: what DistributedDataParallel and the compiler wrap."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, inputs: Tensor) -> Tensor:
        """(B, ...) -> (B, D)."""
        return cast(Tensor, self.net.raw(inputs))


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """A run's parts, on this process's device.

    Attributes:
        recipe: what they were made from.
        world: this process among all.
        data: the training part.
        sampler: this process's batches.
        plan: how long, and at which rates.
        pipelines: of the main stage (augmenting) and of the large-margin stage (not).
        validation: the unseen people.
        net: the network itself; `forward` is it, perhaps compiled and under DDP, giving raw embeddings.
        forward: see `net`.
        frozen: modules of `net` that stay in eval mode.
        objectives: the loss.
        average: the averaged network, if the recipe keeps one.
        optimiser: over network and objectives.
        initial: where the first weights came from, in words.
        history: licence and people of the weights before, and of these, as ``state.json`` keeps them.
    """

    recipe: Recipe
    world: World
    data: TrainingSet
    sampler: Sampler
    plan: Plan
    pipelines: Mapping[str, Pipeline]
    validation: Validation
    net: nn.Module
    forward: nn.Module
    frozen: tuple[nn.Module, ...]
    objectives: Objectives
    average: Average | None
    optimiser: torch.optim.Optimizer
    initial: str
    history: Mapping[str, Any]

    @property
    def best_net(self) -> nn.Module:
        """The network that is validated and exported: the average where there is one."""
        return self.net if self.average is None else self.average.net

    @property
    def names(self) -> dict[nn.Parameter, str]:
        """Every trained parameter's name in checkpoints."""
        named = itertools.chain(
            self.net.named_parameters(prefix="net"), self.objectives.named_parameters(prefix="objective")
        )
        return {parameter: name for name, parameter in named if parameter.requires_grad}

    @property
    def hashes(self) -> dict[str, str]:
        """Of data and split: what a checkpoint must agree with to be resumed."""
        return {"split_sha256": self.data.split_sha256, "data_sha256": self.data.data_sha256}

    def facts(self) -> dict[str, Any]:
        """What was trained on what, as a checkpoint and a card tell it."""
        return {
            **self.hashes,
            "modality": self.data.modality.value,
            "sets": [dataclasses.asdict(facts) for facts in self.data.sets],
            "contract": dict(self.data.contract),
            "locator": dict(self.data.locator),
            "identities": len(self.data.identities),
            "network": {
                "name": self.recipe.model.network,
                "dim": int(getattr(self.net, "dim", self.recipe.model.dim)),
                "options": dict(self.recipe.model.options),
                "parameters": sum(parameter.numel() for parameter in self.net.parameters()),
                "initial": self.initial,
            },
            **self.history,
            "weights": "model" if self.average is None else "ema",
        }

    def train_mode(self) -> None:
        """Training mode, but for what is frozen."""
        self.net.train()
        for module in self.frozen:
            module.eval()


def assemble(recipe: Recipe, *, world: World) -> Parts:
    """Make all parts of a run; whatever cannot work is refused here, before the first step.

    Raises:
        UsageError: a name, option or number that cannot be.
        DataError: data that cannot be read, or nothing to learn from.
        MissingExtraError: a package of the training extra is missing.
    """
    network = find_network(recipe.model.network)
    check_precision(recipe, world.device)
    data = open_training(
        recipe.data.sets,
        part=TRAIN,
        min_samples=recipe.data.min_samples,
        max_identities=recipe.data.max_identities,
    )
    unseen = open_training(recipe.data.sets, part=VALIDATION)
    _check_fits(recipe, network.contract, data)
    augmented = {MAIN: recipe.augment, LARGE_MARGIN: {}}
    pipelines = {
        stage: make_pipeline(
            data.contract, augment, seed=recipe.seed, rank=world.rank, identities=len(data.identities)
        ).to(world.device)
        for stage, augment in augmented.items()
    }
    sampler = make_sampler(
        recipe.sampler, data.labels, seed=recipe.seed, rank=world.rank, world_size=world.size
    )
    torch.manual_seed(recipe.seed)  # every process begins with the same weights
    net = make_network(network.name, dim=recipe.model.dim, **recipe.model.options)
    first = _first_weights(net, recipe.model.initial, network=network.name)
    frozen = freeze(net, recipe.model.freeze)
    if recipe.model.freeze_statistics:
        frozen += normalisations(net)
    layout = (
        torch.channels_last
        if recipe.run.channels_last and network.modality == "face"
        else torch.preserve_format
    )
    net = net.to(world.device, memory_format=layout)
    objectives = Objectives(
        recipe.objective,
        dim=int(getattr(net, "dim", network.dim)),
        identities=len(data.identities) * pipelines[MAIN].identity_factor,
        modality=recipe.modality,
    ).to(world.device)
    _check_pairs(recipe, data, objectives)
    validation = Validation(
        unseen,
        recipe.validation,
        pipeline=make_pipeline(data.contract, {}, training=False).to(world.device),
        seed=recipe.seed,
        world=world,
    )
    return Parts(
        recipe=recipe,
        world=world,
        data=data,
        sampler=sampler,
        plan=Plan.of(recipe, batches_per_pass=len(sampler)),
        pipelines=pipelines,
        validation=validation,
        net=net,
        forward=_wrapped(net, recipe, world),
        frozen=frozen,
        objectives=objectives,
        average=Average(net, decay=recipe.run.ema, frozen=frozen) if recipe.run.ema else None,
        optimiser=make_optimiser(recipe.optimiser, net, objectives, device=world.device),
        initial=first.words,
        history=ancestry.on_state(first, data),
    )


def agree_on_buffers(parts: Parts) -> None:
    """Average the running statistics that every process has made from its own share; a collective call.

    Those of the averaged network, too: it is embedded by all processes and written down by the first alone.
    """
    if distributed.size() == 1:
        return
    averaged = () if parts.average is None else parts.average.net.buffers()
    for buffer in itertools.chain(parts.net.buffers(), averaged):
        if buffer.is_floating_point():
            torch.distributed.all_reduce(buffer)
            buffer.div_(distributed.size())


def _first_weights(net: nn.Module, initial: str, *, network: str) -> Ancestry:
    if not initial:
        return ancestry.RANDOM
    from verify.training.initial import load_initial

    return load_initial(net, initial, network=network)


def _wrapped(net: nn.Module, recipe: Recipe, world: World) -> nn.Module:
    forward: nn.Module = Raw(net)
    if recipe.run.compile:
        forward = cast(nn.Module, torch.compile(forward))
    if world.size > 1:
        devices = [world.device] if world.device.type == "cuda" else None
        forward = nn.parallel.DistributedDataParallel(forward, device_ids=devices, broadcast_buffers=False)
    return forward


def _check_fits(recipe: Recipe, contract: Mapping[str, Any], data: TrainingSet) -> None:
    """Refuse data of another modality, or prepared for another input than the network's."""
    if recipe.modality != data.modality.value:
        msg = f"the recipe is for modality {recipe.modality!r}, the prepared data holds {data.modality.value!r} samples"
        raise UsageError(msg)
    for key in SAME_INPUT:
        ours, theirs = contract.get(key), data.contract.get(key)
        if ours is not None and theirs is not None and ours != theirs:
            msg = (
                f"{recipe.model.network} takes {key} = {ours!r}, the data was prepared with {theirs!r}: run"
                " `verify prepare` for this network, or train another one"
            )
            raise DataError(msg)


def _check_pairs(recipe: Recipe, data: TrainingSet, objectives: Objectives) -> None:
    """Refuse what leaves an objective without a pair to learn from, or without its views or target."""
    if objectives.views > recipe.sampler.views:
        msg = f"the objective needs two views of each sample: set sampler.views = {objectives.views}"
        raise UsageError(msg)
    if objectives.uses_target and not recipe.run.ema:
        msg = "the objective learns from the averaged network: set run.ema, for example 0.99"
        raise UsageError(msg)
    in_pairs = [
        section.name
        for section, term in zip(recipe.objective, objectives.terms, strict=True)
        if term.gathers and not section.options.get("memory")
    ]
    if in_pairs and recipe.sampler.samples == 1 and recipe.sampler.views == 1:
        msg = (
            f"{in_pairs[0]} learns from pairs of one subject, and sampler.samples = 1 puts none into a batch: "
            "set sampler.samples to 2 or more"
        )
        raise UsageError(msg)
    if recipe.sampler.samples > 1 and recipe.sampler.views == 1 and len(data.identities) == len(data.labels):
        msg = (
            f"every one of the {len(data.identities)} training subjects has one sample: pairs of one subject cannot be"
            " drawn. Bring more samples a subject, or use sampler.batch with a margin objective, or sampler.views = 2"
        )
        raise DataError(msg)
    if recipe.schedule.chunk and recipe.run.compile:
        msg = (
            "schedule.chunk (gradient caching) runs the network twice a step; set run.compile = false with it"
        )
        raise UsageError(msg)
