"""Where a run stands: epochs, learning rate and margin as functions of the step alone.

Nothing here remembers anything, so a run that resumes at step n goes on as if it had never stopped.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from verify.training.recipe import Recipe

MAIN, LARGE_MARGIN = "main", "large margin"


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The course of a run. A step is one update of the weights, counted from 0 over both stages.

    Attributes:
        steps_per_epoch: updates of one epoch.
        accumulate: batches that one update takes.
        epochs: of the main stage: warm-up, then half a cosine (Loshchilov and Hutter, 2017).
        large_margin_epochs: of the stage after it, at a constant rate (Thienpondt et al., 2021).
        lr: the peak.
        final_lr: share of `lr` at the end of the main stage.
        large_margin_lr: of the last stage.
        warmup_steps: the rate rises from zero over these.
        ramp_steps: the margins rise from zero over these.
    """

    steps_per_epoch: int
    accumulate: int = 1
    epochs: int
    large_margin_epochs: int = 0
    lr: float
    final_lr: float = 0.0
    large_margin_lr: float = 0.0
    warmup_steps: int = 0
    ramp_steps: int = 0

    @classmethod
    def of(cls, recipe: Recipe, *, batches_per_pass: int) -> Plan:
        """The plan of a recipe whose sampler gives so many batches in one pass over the data."""
        schedule = recipe.schedule
        steps = schedule.steps_per_epoch or max(1, batches_per_pass // schedule.accumulate)
        return cls(
            steps_per_epoch=steps,
            accumulate=schedule.accumulate,
            epochs=schedule.epochs,
            large_margin_epochs=recipe.large_margin.epochs,
            lr=recipe.optimiser.lr,
            final_lr=schedule.final_lr,
            large_margin_lr=recipe.large_margin.lr,
            warmup_steps=round(schedule.warmup_epochs * steps),
            ramp_steps=round(schedule.margin_ramp_epochs * steps),
        )

    @property
    def all_epochs(self) -> int:
        """Epochs of both stages."""
        return self.epochs + self.large_margin_epochs

    @property
    def main_steps(self) -> int:
        """Steps of the main stage."""
        return self.epochs * self.steps_per_epoch

    @property
    def steps(self) -> int:
        """Steps of both stages."""
        return self.all_epochs * self.steps_per_epoch

    def epoch_of(self, step: int) -> int:
        """The epoch that this step belongs to, from 0."""
        return step // self.steps_per_epoch

    def stage_of(self, epoch: int) -> str:
        """`MAIN` or `LARGE_MARGIN`."""
        return MAIN if epoch < self.epochs else LARGE_MARGIN

    def stage_at(self, step: int) -> str:
        """The stage that this step belongs to."""
        return self.stage_of(self.epoch_of(step))

    def after_stage(self, epoch: int) -> int:
        """The first step behind the stage of this epoch: where a run goes on that stops early."""
        return self.main_steps if self.stage_of(epoch) == MAIN else self.steps

    def lr_at(self, step: int) -> float:
        """Learning rate of a step."""
        if step >= self.main_steps:
            return self.large_margin_lr
        if step < self.warmup_steps:
            return self.lr * (step + 1) / self.warmup_steps
        done = (step - self.warmup_steps) / max(1, self.main_steps - 1 - self.warmup_steps)
        return self.lr * (self.final_lr + (1 - self.final_lr) * (1 + math.cos(math.pi * done)) / 2)

    def margin_at(self, step: int) -> float:
        """How far the margins have been ramped up at a step, 0 to 1."""
        return 1.0 if step >= min(self.ramp_steps, self.main_steps) else step / self.ramp_steps
