"""A training recipe: what is trained, on whom, with which objective, for how long.

Read from TOML by `read_recipe`; ``configs/`` holds the ones that were measured. Every key has its
unit in its name or here, every default is what a run without the key does.
"""

from __future__ import annotations

from collections.abc import Mapping  # noqa: TC003  read by `build` at run time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from verify.config import REST, build, plain, read_toml
from verify.errors import UsageError
from verify.models.identity import canonical_sha256
from verify.types import Modality

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class SetSection:
    """One prepared set. Subjects of different sets are different people, whatever they are called.

    Attributes:
        prepared: folder that `verify prepare` wrote; relative to the working directory.
        split: the split file, see `verify.data.splits`; relative to the working directory.
    """

    prepared: str
    split: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DataSection:
    """Where samples come from.

    Attributes:
        sets: the prepared sets; the command line may replace them.
        crop_s: voices: seconds of speech that a training sample gives, drawn anew each time; shorter
            samples are repeated. Ignored for faces.
        workers: processes that read and decode; 0 reads in the training process.
        min_samples: subjects with fewer samples take no part in training.
        max_identities: take only so many subjects (0: all): for trying a recipe out.
    """

    sets: tuple[SetSection, ...] = ()
    crop_s: float = 2.0
    workers: int = 2
    min_samples: int = 1
    max_identities: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSection:
    """The network; see `verify.nets.registry`.

    Attributes:
        network: its name there.
        dim: embedding size; 0 takes the network's own.
        initial: ``""`` for random weights, ``"published"`` for those of the registry's model of this network, else a
            path: a run's folder, a ``.safetensors`` or a ``.pt``/``.pth`` state dict.
        freeze: prefixes of parameter names that stay as they are (batch statistics there too).
        freeze_statistics: keep the running statistics of batch normalisation, and normalise with them: for
            fine-tuning, where a batch of few people is no sample of everybody. Needs `initial`.
        options: further arguments of the network, for example ``width = 0.5``.
    """

    network: str
    dim: int = 0
    initial: str = ""
    freeze: tuple[str, ...] = ()
    freeze_statistics: bool = False
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectiveSection:
    """One term of the loss; see `verify.training.objectives`.

    Attributes:
        name: of the objective.
        weight: its factor in the sum.
        options: its own arguments: ``margin_rad``, ``scale``, ``mining``, ``temperature``...
    """

    name: str
    weight: float = 1.0
    options: Mapping[str, Any] = field(default_factory=dict, metadata={REST: True})


@dataclass(frozen=True, slots=True, kw_only=True)
class SamplerSection:
    """How batches are drawn, over all processes together.

    Attributes:
        batch: samples of a batch without regard to identity (margin objectives); 0 for P x K batches.
        identities: P, identities of a batch.
        samples: K, samples of each identity in a batch.
        views: 2 draws every sample twice with its own augmentation (self-supervised objectives).
    """

    batch: int = 0
    identities: int = 0
    samples: int = 0
    views: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class OptimiserSection:
    """The optimiser.

    Attributes:
        name: ``sgd`` or ``adamw``.
        lr: peak learning rate, of the whole batch.
        momentum: of SGD.
        weight_decay: on matrices and kernels; never on biases, normalisation or temperatures.
        objective_lr: factor on `lr` for the objective's own parameters (class centres, temperature).
    """

    name: str = "sgd"
    lr: float = 0.1
    momentum: float = 0.9
    weight_decay: float = 5e-4
    objective_lr: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduleSection:
    """How long, and how the learning rate and the margins move.

    Attributes:
        epochs: passes over the training subjects.
        steps_per_epoch: batches of an epoch; 0 takes as many as the sampler has.
        warmup_epochs: the learning rate rises from zero, linearly.
        final_lr: share of `lr` at the end of the cosine.
        margin_ramp_epochs: margins rise from zero to theirs, linearly.
        accumulate: batches whose gradients are summed for one step (margin objectives).
        chunk: samples that pass the network at once (pair objectives, gradient caching); 0: all.
    """

    epochs: int = 20
    steps_per_epoch: int = 0
    warmup_epochs: float = 1.0
    final_lr: float = 0.0
    margin_ramp_epochs: float = 0.0
    accumulate: int = 1
    chunk: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class LargeMarginSection:
    """Large-margin fine-tuning after the schedule: longer crops, larger margin, no augmentation.

    Attributes:
        epochs: 0 leaves it out.
        margin_rad: replaces the margin.
        crop_s: replaces the crop (voices).
        lr: constant learning rate.
    """

    epochs: int = 0
    margin_rad: float = 0.5
    crop_s: float = 6.0
    lr: float = 1e-4


@dataclass(frozen=True, slots=True, kw_only=True)
class ValidationSection:
    """Verification of unseen people while training.

    Attributes:
        every_epochs: how often.
        metric: what chooses the best checkpoint and stops: ``eer``, ``fnmr_at_fmr_1e-2``, ``fnmr_at_fmr_1e-3``
            or ``recall_at_1``.
        patience: validations without a better value after which training stops; 0 never stops.
        max_samples: of the validation subjects; 0 takes as many as are ever compared, 10 000.
        crop_s: voices: seconds from the beginning of each sample.
    """

    every_epochs: int = 1
    metric: str = "eer"
    patience: int = 0
    max_samples: int = 4000
    crop_s: float = 4.0


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSection:
    """How it is computed.

    Attributes:
        precision: ``fp32`` or ``bf16`` (autocast).
        compile: pass the network through torch.compile.
        channels_last: memory format of convolutions over photos.
        ema: decay of the averaged weights, which are validated and exported; 0 keeps none.
        clip_norm: largest L2 norm of the gradient; 0 does not clip.
        checkpoint_steps: steps between checkpoints besides those at each epoch's end; 0: none.
        keep: epoch checkpoints that stay on disk, besides the best.
    """

    precision: str = "bf16"
    compile: bool = False
    channels_last: bool = True
    ema: float = 0.0
    clip_norm: float = 5.0
    checkpoint_steps: int = 0
    keep: int = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """A whole recipe; see the sections."""

    name: str
    modality: str
    seed: int = 0
    data: DataSection = field(default_factory=DataSection)
    model: ModelSection
    objective: tuple[ObjectiveSection, ...]
    sampler: SamplerSection
    optimiser: OptimiserSection = field(default_factory=OptimiserSection)
    schedule: ScheduleSection = field(default_factory=ScheduleSection)
    large_margin: LargeMarginSection = field(default_factory=LargeMarginSection)
    augment: Mapping[str, Any] = field(default_factory=dict)
    validation: ValidationSection = field(default_factory=ValidationSection)
    run: RunSection = field(default_factory=RunSection)

    @property
    def sha256(self) -> str:
        """Hash over every value: what a checkpoint must agree with to be resumed."""
        return canonical_sha256(plain(self))


METRICS = ("eer", "fnmr_at_fmr_1e-2", "fnmr_at_fmr_1e-3", "recall_at_1")


def read_recipe(path: Path) -> Recipe:
    """Read and check a recipe file.

    Raises:
        UsageError: no such file, an unknown key (with the nearest), or a value out of its range.
    """
    return check(build(Recipe, read_toml(path), where=str(path)), where=str(path))


def check(recipe: Recipe, *, where: str) -> Recipe:
    """Refuse values that no run could mean; return the recipe.

    Raises:
        UsageError: names section, key and value.
    """
    sampler, schedule = recipe.sampler, recipe.schedule
    wrong = [
        (recipe.modality not in tuple(Modality), "modality", recipe.modality, "face or voice"),
        (not recipe.objective, "objective", "none", "at least one [[objective]]"),
        (
            bool(sampler.batch) == bool(sampler.identities and sampler.samples),
            "sampler",
            plain(sampler),
            "either batch, or identities and samples",
        ),
        (
            recipe.model.freeze_statistics and not recipe.model.initial,
            "model, freeze_statistics",
            True,
            "false without `initial`: random weights have no statistics yet",
        ),
        (sampler.views not in (1, 2), "sampler, views", sampler.views, "1 or 2"),
        (schedule.epochs < 1, "schedule, epochs", schedule.epochs, "at least 1"),
        (schedule.accumulate < 1, "schedule, accumulate", schedule.accumulate, "at least 1"),
        (recipe.optimiser.lr <= 0, "optimiser, lr", recipe.optimiser.lr, "above 0"),
        (recipe.optimiser.name not in ("sgd", "adamw"), "optimiser", recipe.optimiser.name, "sgd or adamw"),
        (
            recipe.run.precision not in ("fp32", "bf16"),
            "run, precision",
            recipe.run.precision,
            "fp32 or bf16",
        ),
        (not 0 <= recipe.run.ema < 1, "run, ema", recipe.run.ema, "in [0, 1)"),
        (recipe.data.crop_s <= 0, "data, crop_s", recipe.data.crop_s, "above 0"),
        (
            recipe.validation.metric not in METRICS,
            "validation, metric",
            recipe.validation.metric,
            ", ".join(METRICS),
        ),
        (
            recipe.validation.every_epochs < 1,
            "validation, every_epochs",
            recipe.validation.every_epochs,
            "at least 1",
        ),
    ]
    for is_wrong, key, value, wanted in wrong:
        if is_wrong:
            msg = f"{where}, {key}: must be {wanted}, not {value!r}"
            raise UsageError(msg)
    return recipe


def replaced(recipe: Recipe, overrides: Mapping[str, Any], *, where: str = "command line") -> Recipe:
    """The recipe with dotted keys set, for example ``{"schedule.epochs": 2}``.

    Raises:
        UsageError: no such key, or a value of another type or out of range.
    """
    table = plain(recipe)
    for dotted, value in overrides.items():
        *sections, key = dotted.split(".")
        place = table
        for section in sections:
            if not isinstance(place, dict) or section not in place:
                from verify.config import unknown

                raise UsageError(f"{where}: {unknown(section, place, what='section')}")  # noqa: TRY003, EM102
            place = place[section]
        place[key] = value
    return check(build(Recipe, table, where=where), where=where)
