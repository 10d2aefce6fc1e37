"""A training run as it lives on disk: its folder, log, checkpoints, and what it has found so far."""

from __future__ import annotations

import dataclasses
import json
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import torch

from verify.atomic import write_file
from verify.config import plain
from verify.errors import StorageError, UsageError
from verify.training import checkpoint as checkpoints
from verify.training import distributed
from verify.training.alarms import Alarms
from verify.training.failures import GIB, not_finite
from verify.training.logs import RunLog
from verify.training.optimisers import restore_state, state_of
from verify.training.validation import Validated, is_better, summary

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from types import TracebackType

    from torch import Tensor

    from verify.training.parts import Parts

RECIPE = "recipe.json"
READ_EVERY = 20  # steps whose losses are read back at once, so that a GPU never waits for the log


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
        values: (2,) loss and gradient norm.
        health: (2,) spread and gap, or None.
        samples: numbers of the training samples of each micro-batch.
    """

    step: int
    lr: float
    margin: float
    values: Tensor
    health: Tensor | None
    samples: tuple[Tensor, ...]


@dataclass(slots=True)
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
    untrained: dict[str, Any] | None = None
    latest: dict[str, Any] | None = None
    best: dict[str, Any] | None = None
    best_step: int = 0
    waiting: int = 0
    alarms: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunResult:
    """What came out.

    Attributes:
        run_dir: of the run; ``checkpoints/best`` is what `verify export` takes.
        steps: updates done.
        stopped_early: whether validation had stopped getting better.
        metric: that chose the best.
        untrained: validation of the first weights.
        best: validation of the best.
        best_step: its step.
        latest: validation of the last.
    """

    run_dir: Path
    steps: int
    stopped_early: bool
    metric: str
    untrained: dict[str, Any]
    best: dict[str, Any]
    best_step: int
    latest: dict[str, Any]


class Run:
    """One run; made by `Run.open`, a context manager."""

    def __init__(self, run_dir: Path, parts: Parts, *, on_progress: Callable[[Progress], None]) -> None:
        self.run_dir, self.parts, self.step = run_dir, parts, 0
        self.course = Course()
        self._log: RunLog | None = None
        self._on_progress = on_progress
        plan = parts.plan
        self._alarms = Alarms(after_step=max(plan.warmup_steps, plan.ramp_steps, plan.steps // 20))
        self._read_every = READ_EVERY if parts.world.device.type == "cuda" else 1
        self._pending: list[Reading] = []
        self._read_at = time.perf_counter()
        self._progress = Progress(step=0, steps=plan.steps, epoch=1, epochs=plan.all_epochs)

    @classmethod
    def open(
        cls,
        run_dir: Path,
        parts: Parts,
        *,
        on_progress: Callable[[Progress], None] = silent,
        resume: bool = False,
    ) -> Self:
        """Begin a run in a new folder, or go on with the one there.

        Raises:
            UsageError: there is a run and `resume` is not asked for, or it is of another recipe or data.
            StorageError: the folder cannot be written.
        """
        run = cls(run_dir, parts, on_progress=on_progress)
        found = checkpoints.newest(run_dir)
        if (run_dir / RECIPE).exists() and not resume:
            msg = f"{run_dir} holds a run already: go on with --resume, or name another folder with -o"
            raise UsageError(msg)
        if found is not None:
            run._restore(found)
        distributed.barrier()  # everybody has looked before anything is written
        if parts.world.is_main:
            try:
                run_dir.mkdir(parents=True, exist_ok=True)
                checkpoints.clean(run_dir)
                write_file(run_dir / RECIPE, json.dumps(plain(parts.recipe), indent=1).encode())
            except OSError as error:
                msg = f"{run_dir} cannot be made ({error.strerror or error}); name another folder with -o"
                raise StorageError(msg) from error
        distributed.barrier()
        run._log = RunLog(run_dir, from_step=run.step, active=parts.world.is_main)
        run._log.write(
            "resume" if found else "start",
            step=run.step,
            recipe_sha256=parts.recipe.sha256,
            git=checkpoints.git_revision(),
            processes=parts.world.size,
            device=str(parts.world.device),
            identities=len(parts.data.identities),
            samples=len(parts.data),
        )
        return run

    # -- what the loop asks ------------------------------------------------------------------------

    @property
    def is_new_epoch(self) -> bool:
        """Whether this epoch's end has not been dealt with yet."""
        return max(self.course.closed, self.course.skip_to) < self.step or self.course.closed < 0

    @property
    def reads_next(self) -> bool:
        """Whether the next step is read back."""
        return (self.step + 1) % self._read_every == 0

    @property
    def wants_checkpoint(self) -> bool:
        """Whether a checkpoint is due in the middle of an epoch."""
        every = self.parts.recipe.run.checkpoint_steps
        return every > 0 and self.step % every == 0

    def agreed(self, stop: bool) -> bool:  # noqa: FBT001  one flag, this process's
        """Whether any process was asked to stop; processes agree where losses are read."""
        if self.parts.world.size == 1:
            return stop
        return self.step % self._read_every == 0 and distributed.any_of(stop)

    # -- what the loop tells -----------------------------------------------------------------------

    def took(self, reading: Reading) -> None:
        """Count a step; read losses back where it is time.

        Raises:
            TrainingError: one of them is not finite.
        """
        self.step = reading.step
        self._pending.append(reading)
        if self.step % self._read_every == 0:
            self._read_back()

    def say(self, message: str) -> None:
        """Tell people something."""
        self._tell(dataclasses.replace(self._progress, step=self.step, message=message))

    def end_epoch(self) -> None:
        """Validate, keep the best, write a checkpoint, and decide whether the stage goes on."""
        self._read_back()
        plan, course, recipe = self.parts.plan, self.course, self.parts.recipe
        epoch = plan.epoch_of(self.step)
        new_best = False
        if epoch % recipe.validation.every_epochs == 0 or self.step in (plan.main_steps, plan.steps):
            new_best = self._validate()
        ended = max(0, epoch - 1)
        if 0 < recipe.validation.patience <= course.waiting and self.step < plan.after_stage(ended):
            course.skip_to = plan.after_stage(ended)
            self._write(
                "stop", reason=f"no better {recipe.validation.metric} in {course.waiting} validations"
            )
            self.say(f"stopped early: no better {recipe.validation.metric} in {course.waiting} validations")
        if course.skip_to > self.step or self.step == plan.main_steps:
            course.waiting = 0  # the next stage counts for itself
        course.closed = self.step
        saved = self.checkpoint()
        if self.parts.world.is_main and new_best:
            checkpoints.publish(saved, name=checkpoints.BEST)
            checkpoints.prune(self.run_dir, keep=recipe.run.keep)
        self.step = max(self.step, course.skip_to)

    def checkpoint(self) -> Path:
        """Write everything that the next step hangs on.

        Raises:
            StorageError: the disk is full; the checkpoint before is whole.
        """
        self._read_back()  # nothing is kept that has not been looked at
        parts = self.parts
        tensors: dict[str, dict[str, Tensor]] = {}
        own = f"-rank-{parts.world.rank}" if parts.world.rank else ""
        if parts.world.is_main:
            tensors["model"] = parts.net.state_dict()
            if parts.average is not None:
                tensors["ema"] = parts.average.state_dict()
        if parts.world.is_main or parts.objectives.sharded():
            tensors["objective" + own] = parts.objectives.state_dict()
            tensors["optimiser" + own] = state_of(parts.optimiser, parts.names)
        saved = checkpoints.save(
            self.run_dir,
            step=self.step,
            tensors=tensors,
            state=self._state(),
            rank=parts.world.rank,
            barrier=distributed.barrier,
        )
        if parts.world.is_main:
            checkpoints.prune(self.run_dir, keep=parts.recipe.run.keep)
        self._write("checkpoint", name=saved.name)
        return saved

    def result(self) -> RunResult:
        """What came out; the run is over."""
        course = self.course
        done = course.closed
        self._write("end", step=done, best_step=course.best_step, best=course.best)
        return RunResult(
            run_dir=self.run_dir,
            steps=done,
            stopped_early=course.skip_to > 0,
            metric=self.parts.recipe.validation.metric,
            untrained=course.untrained or {},
            best=course.best or {},
            best_step=course.best_step,
            latest=course.latest or {},
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        if self._log is not None:
            self._log.close()

    # -- inside ------------------------------------------------------------------------------------

    def _validate(self) -> bool:
        began = time.perf_counter()
        validated = self.parts.validation.run(self.parts.best_net)
        course, metric = self.course, self.parts.recipe.validation.metric
        values = validated.as_dict()
        course.latest = values
        if course.untrained is None:
            course.untrained = values
        than = Validated(**course.best).value(metric) if course.best else None
        new_best = is_better(validated.value(metric), than, metric=metric)
        if new_best:
            course.best, course.best_step, course.waiting = values, self.step, 0
        else:
            course.waiting += 1
        self._write("validation", **values, best=new_best, seconds=round(time.perf_counter() - began, 3))
        if self._log is not None:
            self._log.curves("validation", values, step=self.step)
        self._alarm(spread=validated.spread, gap=validated.gap)
        self.say(
            f"epoch {self.parts.plan.epoch_of(self.step)}: {summary(validated)}{' *' if new_best else ''}"
        )
        self._read_at = time.perf_counter()
        return new_best

    def _read_back(self) -> None:
        """Bring the losses of the last steps to the host, check them, write them down."""
        if not self._pending:
            return
        readings, self._pending = self._pending, []
        values = torch.stack([reading.values for reading in readings]).double().cpu().numpy()  # (n, 2)
        bad = np.flatnonzero(~np.isfinite(values).all(axis=1))
        if distributed.any_of(len(bad) > 0):
            self._give_up(readings[int(bad[0]) if len(bad) else -1], values[int(bad[0]) if len(bad) else -1])
        if self.parts.world.size > 1:  # the joint loss is the mean of what the processes have
            everywhere = torch.from_numpy(values[:, 0].copy())
            torch.distributed.all_reduce(everywhere)
            values[:, 0] = everywhere.numpy() / self.parts.world.size
        now = time.perf_counter()
        rows = sum(len(samples) for reading in readings for samples in reading.samples)
        speed = rows * self.parts.world.size / max(now - self._read_at, 1e-9)
        self._read_at = now
        health: dict[str, float] = {}
        for reading, (loss, norm) in zip(readings, values, strict=True):
            health = {}
            if reading.health is not None:
                spread, gap = (float(value) for value in reading.health.cpu())
                health = {"spread": spread, "gap": gap}
            self._write(
                "step", step=reading.step, loss=float(loss), grad_norm=float(norm), lr=reading.lr,
                margin=reading.margin, **health,
            )  # fmt: skip
        last = readings[-1]
        if self._log is not None:
            curves = {"loss": float(values[-1, 0]), "grad_norm": float(values[-1, 1]), "lr": last.lr,
                      "samples_per_s": speed, **health}  # fmt: skip
            self._log.curves("train", curves, step=last.step)
        if health:
            self._alarm(**health)
        epoch = self.parts.plan.epoch_of(last.step - 1) + 1
        self._progress = dataclasses.replace(
            self._progress, step=last.step, epoch=epoch, loss=float(values[-1, 0]), samples_per_s=speed,
            memory_gib=_peak_gib(self.parts.world.device), message="",
        )  # fmt: skip
        self._tell(self._progress)

    def _give_up(self, reading: Reading, values: Any) -> None:
        names = [self.parts.data.name(int(number)) for some in reading.samples for number in some.cpu()]
        loss, norm = (float(value) for value in values)
        self._write("stop", step=reading.step, reason="not finite", loss=str(loss), grad_norm=str(norm))
        raise not_finite(
            self.run_dir,
            step=reading.step,
            rank=self.parts.world.rank,
            loss=loss,
            grad_norm=norm,
            names=names,
        )

    def _alarm(self, *, spread: float, gap: float) -> None:
        for sentence in self._alarms.judge(step=self.step, spread=spread, gap=gap):
            self._write("alarm", message=sentence)
            self.say(f"ALARM at step {self.step}: {sentence}")

    def _state(self) -> dict[str, Any]:
        parts, recipe = self.parts, self.parts.recipe
        self.course.alarms = self._alarms.state()
        return {
            "epoch": parts.plan.epoch_of(self.step),
            "course": dataclasses.asdict(self.course),
            "recipe": plain(recipe),
            "recipe_sha256": recipe.sha256,
            **parts.hashes,
            "sets": [dataclasses.asdict(facts) for facts in parts.data.sets],
            "contract": dict(parts.data.contract),
            "locator": dict(parts.data.locator),
            "identities": len(parts.data.identities),
            "network": {
                "name": recipe.model.network,
                "dim": int(getattr(parts.net, "dim", recipe.model.dim)),
                "options": plain(recipe.model.options),
                "parameters": sum(parameter.numel() for parameter in parts.net.parameters()),
                "initial": parts.initial,
            },
            "weights": "model" if parts.average is None else "ema",
            "validation_samples_sha256": parts.validation.sha256,
            "world_size": parts.world.size,
            # all random numbers are drawn anew for each batch from these
            "rng": {"seed": recipe.seed, "next_batch": self.step * parts.plan.accumulate},
            "git_revision": checkpoints.git_revision(),
            "torch": str(torch.__version__),
        }

    def _restore(self, found: Path) -> None:
        parts = self.parts
        state = checkpoints.read_state(found)
        checkpoints.check_same_run(found, state, recipe=parts.recipe, hashes=parts.hashes)
        if parts.objectives.sharded() and state["world_size"] != parts.world.size:
            msg = (
                f"{found} was written by {state['world_size']} processes, each with its own class centres; resume with"
                f" as many, not {parts.world.size}"
            )
            raise UsageError(msg)
        own = f"-rank-{parts.world.rank}" if parts.world.rank and parts.objectives.sharded() else ""
        parts.net.load_state_dict(checkpoints.read_tensors(found, "model"))
        parts.objectives.load_state_dict(checkpoints.read_tensors(found, "objective" + own))
        restore_state(parts.optimiser, parts.names, checkpoints.read_tensors(found, "optimiser" + own))
        if parts.average is not None:
            parts.average.load_state_dict(checkpoints.read_tensors(found, "ema"))
        self.course = Course(**state["course"])
        self._alarms.restore(self.course.alarms)
        self.step = max(int(state["step"]), self.course.skip_to)
        best = checkpoints.folder_of(self.run_dir) / checkpoints.BEST
        if parts.world.is_main and self.course.best_step == int(state["step"]) == self.course.closed:
            written = best.exists() and int(checkpoints.read_state(best)["step"]) == int(state["step"])
            if not written:  # killed between the two
                checkpoints.publish(found, name=checkpoints.BEST)

    def _write(self, event: str, *, step: int | None = None, **values: Any) -> None:
        if self._log is not None:
            self._log.write(event, step=self.step if step is None else step, **values)

    def _tell(self, progress: Progress) -> None:
        if self.parts.world.is_main:
            self._on_progress(progress)


def _peak_gib(device: torch.device) -> float:
    return torch.cuda.max_memory_allocated(device) / GIB if device.type == "cuda" else 0.0
