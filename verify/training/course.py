"""What a run says of itself: where it is, what a step left behind, what it has found, what came out."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from verify.training.validation import Validated, is_better

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor

    from verify.training.parts import Parts


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """Where a run is; what a progress bar shows.

    Attributes:
        step: updates done, of `steps`.
        steps: of the whole run.
        epoch: under way, from 1, of `epochs`.
        epochs: of both stages.
        loss: of the last step.
        samples_per_s: of all processes.
        memory_gib: peak of this process's GPU; 0 on a CPU.
        message: a line for people: a validation, an alarm; mostly empty.
    """

    step: int
    steps: int
    epoch: int
    epochs: int
    loss: float = float("nan")
    samples_per_s: float = 0.0
    memory_gib: float = 0.0
    message: str = ""


def silent(progress: Progress) -> None:
    """Say nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What one step leaves behind; tensors stay on the device until they are read.

    Attributes:
        step: number of the update, from 1.
        lr: learning rate.
        margin: how far the margins were ramped up.
        values: (2,) float32 loss and gradient norm.
        health: (2,) float32 spread and gap, or None.
        samples: numbers of the training samples of each micro-batch.
    """

    step: int
    lr: float
    margin: float
    values: Tensor
    health: Tensor | None
    samples: tuple[Tensor, ...]


@dataclass(slots=True, kw_only=True)
class Course:
    """What a run has found so far; travels in ``state.json``.

    Attributes:
        closed: step of the last epoch end that was dealt with; -1 before the first.
        skip_to: step to go on at, when a stage stopped early.
        untrained: validation of the first weights.
        latest: the last validation.
        best: the best one.
        best_step: its step.
        waiting: validations since, in this stage.
        alarms: state of the alarms.
    """

    closed: int = -1
    skip_to: int = 0
    untrained: dict[str, Any] = field(default_factory=dict)
    latest: dict[str, Any] = field(default_factory=dict)
    best: dict[str, Any] = field(default_factory=dict)
    best_step: int = 0
    waiting: int = 0
    alarms: dict[str, int] = field(default_factory=dict)

    def take(self, validated: Validated, *, metric: str, step: int) -> bool:
        """Note a validation; return whether it is the best so far.

        Equals (few people may be told apart without an error, again and again) are told apart by the other
        figures and then by the gap; that keeps the later one, and is no reason to train on.
        """
        self.latest = validated.as_dict()
        self.untrained = self.untrained or self.latest
        best = Validated(**self.best) if self.best else None
        better = is_better(validated.value(metric), best.value(metric) if best else None, metric=metric)
        self.waiting = 0 if better else self.waiting + 1
        tied = best is not None and validated.value(metric) == best.value(metric)
        if not better and not (tied and best is not None and validated.rank > best.rank):
            return False
        self.best, self.best_step = self.latest, step
        return True


@dataclass(frozen=True, slots=True, kw_only=True)
class RunResult:
    """What came out.

    Attributes:
        run_dir: of the run; ``checkpoints/best`` is what `verify export` takes.
        steps: updates done.
        stopped_early: whether validation had stopped getting better.
        metric: that chose the best.
        untrained: validation of the first weights, see `verify.training.validation.Validated`.
        best: of the best.
        best_step: its step.
        latest: of the last.
    """

    run_dir: Path
    steps: int
    stopped_early: bool
    metric: str
    untrained: dict[str, Any]
    best: dict[str, Any]
    best_step: int
    latest: dict[str, Any]


def opening(parts: Parts, *, step: int | None, asked: Path | None) -> str:
    """What begins, in words: who learns from whom, and whether there was anything to resume.

    Args:
        parts: of the run.
        step: that it goes on from; None: it begins.
        asked: the folder that was to be resumed, if one was.
    """
    data, plan, unseen = parts.data, parts.plan, parts.validation.labels
    others = len(set(unseen.tolist()))
    begun = "" if step is None else f"going on from step {step:,}: "
    if step is None and asked is not None:
        begun = f"{asked} has nothing to resume, beginning anew: "
    return (
        f"{begun}{len(data.identities):,} people with {len(data):,} samples to learn from, {others:,} others with "
        f"{len(unseen):,} to verify; steps: {plan.steps_per_epoch:,} an epoch, {plan.steps:,} in all, on "
        f"{parts.world.device}"
    )
