"""A training run as it lives on disk: its folder, log, checkpoints, and what it has found so far."""

from __future__ import annotations

import dataclasses
import json
import time
from typing import TYPE_CHECKING, Any, Self

import torch

from verify.atomic import write_file
from verify.config import plain
from verify.errors import StorageError, UsageError
from verify.training import checkpoint as checkpoints
from verify.training import distributed
from verify.training.alarms import Alarms
from verify.training.course import Course, Progress, Reading, RunResult, opening, silent
from verify.training.logs import CURVES, RunLog
from verify.training.optimisers import restore_state, state_of
from verify.training.parts import agree_on_buffers
from verify.training.readings import Readings
from verify.training.validation import summary

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from types import TracebackType

    from torch import Tensor

    from verify.training.parts import Parts

RECIPE = "recipe.json"


class Run:
    """One run; made by `Run.open`, a context manager.

    Attributes:
        parts: what it trains.
        step: updates done (after an early stop: where the plan goes on).
        course: what it has found.
    """

    def __init__(
        self,
        run_dir: Path,
        parts: Parts,
        *,
        log: RunLog,
        course: Course,
        step: int = 0,
        on_progress: Callable[[Progress], None] = silent,
    ) -> None:
        plan = parts.plan
        self.run_dir, self.parts, self.step, self.course = run_dir, parts, step, course
        self._log, self._on_progress = log, on_progress
        self._alarms = Alarms(after_step=max(plan.warmup_steps, plan.ramp_steps, plan.steps // 20))
        self._alarms.restore(course.alarms)
        self._readings = Readings(run_dir, data=parts.data, world=parts.world, log=log, alarms=self._alarms)
        self._progress = Progress(step=step, steps=plan.steps, epoch=1, epochs=plan.all_epochs)

    @classmethod
    def open(
        cls,
        run_dir: Path,
        parts: Parts,
        *,
        on_progress: Callable[[Progress], None] = silent,
        resume: bool = False,
    ) -> Self:
        """Begin a run in a new folder, or go on with the one there; a collective call.

        Raises:
            UsageError: there is a run and `resume` is not asked for, or it is of another recipe or data.
            StorageError: the folder cannot be written.
        """
        check_free(run_dir, resume=resume)
        found = checkpoints.newest(run_dir)
        course, step = (Course(), 0) if found is None else _restored(found, parts)
        distributed.barrier()  # everybody has looked before anything is written
        if parts.world.is_main:
            _claim(run_dir, recipe=plain(parts.recipe))
            if (
                found is not None
                and course.best_step == course.closed == checkpoints.read_state(found)["step"]
            ):
                checkpoints.publish(found, name=checkpoints.BEST)  # the kill may have come between the two
        distributed.barrier()
        log = RunLog(run_dir, from_step=step, active=parts.world.is_main)
        run = cls(run_dir, parts, log=log, course=course, step=step, on_progress=on_progress)
        log.write(
            "start" if found is None else "resume",
            step=step,
            recipe_sha256=parts.recipe.sha256,
            git=checkpoints.git_revision(),
            processes=parts.world.size,
            device=str(parts.world.device),
            identities=len(parts.data.identities),
            samples=len(parts.data),
        )
        run.say(opening(parts, step=None if found is None else step, asked=run_dir if resume else None))
        return run

    def took(self, reading: Reading) -> None:
        """Count a step; read losses back where it is time.

        Raises:
            TrainingError: one of them is not finite.
        """
        self.step = reading.step
        self._readings.take(reading)
        if self._readings.is_due(self.step):
            self._read()

    def reads(self, step: int) -> bool:
        """Whether losses are read back after this step."""
        return self._readings.is_due(step)

    def agrees_to(self, stop: bool) -> bool:  # noqa: FBT001  one flag, this process's
        """Whether any process was asked to stop; several agree where losses are read."""
        if self.parts.world.size == 1:
            return stop
        return self._readings.is_due(self.step) and distributed.any_of(stop)

    def is_checkpoint_due(self) -> bool:
        """Whether one is to be written in the middle of an epoch."""
        every = self.parts.recipe.run.checkpoint_steps
        return every > 0 and self.step % every == 0 and self.step % self.parts.plan.steps_per_epoch != 0

    def has_epoch_to_end(self) -> bool:
        """Whether the run stands at the end of an epoch that has not been dealt with: at the beginning, or killed."""
        at_end = self.step % self.parts.plan.steps_per_epoch == 0
        return at_end and max(self.course.closed, self.course.skip_to - 1) < self.step

    def end_epoch(self) -> None:
        """Validate, keep the best, write a checkpoint, and decide whether the stage goes on; a collective call.

        Before the first step, too: the first weights are what training has to beat.
        """
        self._read()
        self._readings.refuse_broken(self.parts.net)
        agree_on_buffers(self.parts)
        plan, course, section = self.parts.plan, self.course, self.parts.recipe.validation
        epoch = plan.epoch_of(self.step)
        is_due = epoch % section.every_epochs == 0 or self.step in (plan.main_steps, plan.steps)
        is_best = self._validate() if is_due else False
        behind = plan.after_stage(max(0, epoch - 1))
        if 0 < section.patience <= course.waiting and self.step < behind:
            course.skip_to = behind
            self.say(
                f"stopped early: no better {section.metric} in {course.waiting} validations", event="stop"
            )
        if self.step == plan.main_steps or course.skip_to == behind:
            course.waiting = 0  # the next stage counts for itself
        course.closed = self.step
        saved = self.checkpoint()
        if is_best and self.parts.world.is_main:
            checkpoints.publish(saved, name=checkpoints.BEST)
        self.step = max(self.step, course.skip_to)
        self._readings.restart_clock()

    def checkpoint(self) -> Path:
        """Write everything that the next step hangs on; a collective call.

        Raises:
            TrainingError: the weights are not to be kept: a loss was not finite.
            StorageError: the disk is full; the checkpoint before is whole.
        """
        self._read()
        self._readings.refuse_broken(self.parts.net)
        agree_on_buffers(self.parts)
        parts = self.parts
        saved = checkpoints.save(
            self.run_dir,
            step=self.step,
            tensors=self._tensors(),
            state=self._state(),
            rank=parts.world.rank,
            barrier=distributed.barrier,
        )
        if parts.world.is_main:
            checkpoints.prune(self.run_dir, keep=parts.recipe.run.keep)
        self._log.write("checkpoint", step=self.step, name=saved.name)
        return saved

    def say(self, message: str, *, event: str = "") -> None:
        """Tell people something; with `event`, write it down as well."""
        if event:
            self._log.write(event, step=self.step, message=message)
        self._tell(dataclasses.replace(self._progress, step=self.step, message=message))

    def result(self) -> RunResult:
        """What came out; the run is over."""
        course = self.course
        self._log.write("end", step=course.closed, best_step=course.best_step, **course.best)
        return RunResult(
            run_dir=self.run_dir,
            steps=course.closed,
            stopped_early=course.skip_to > 0,
            metric=self.parts.recipe.validation.metric,
            untrained=course.untrained,
            best=course.best,
            best_step=course.best_step,
            latest=course.latest,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        self._log.close()

    def _read(self) -> None:
        facts, alarms = self._readings.read()
        if facts:
            epoch = self.parts.plan.epoch_of(facts["step"] - 1) + 1
            self._progress = dataclasses.replace(self._progress, epoch=epoch, **facts)
            self._tell(self._progress)
        for sentence in alarms:
            self.say(f"ALARM at step {self.step}: {sentence}", event="alarm")

    def _validate(self) -> bool:
        began = time.perf_counter()
        validated = self.parts.validation.run(self.parts.best_net)
        is_best = self.course.take(validated, metric=self.parts.recipe.validation.metric, step=self.step)
        values = validated.as_dict()
        seconds = round(time.perf_counter() - began, 3)
        self._log.write("validation", step=self.step, **values, best=is_best, seconds=seconds)
        self._log.curves("validation", values, step=self.step)
        epoch = self.parts.plan.epoch_of(self.step)
        self.say(f"epoch {epoch}: {summary(validated)}{', the best so far' if is_best and self.step else ''}")
        for sentence in self._alarms.judge(step=self.step, spread=validated.spread, gap=validated.gap):
            self.say(f"ALARM at step {self.step}, unseen people: {sentence}", event="alarm")
        return is_best

    def _tensors(self) -> dict[str, dict[str, Tensor]]:
        """What this process writes, by file: the first one everything, the others their shards."""
        parts, tensors = self.parts, {}
        if parts.world.is_main:
            tensors["model"] = parts.net.state_dict()
            if parts.average is not None:
                tensors["ema"] = parts.average.state_dict()
        if parts.world.is_main or parts.objectives.sharded():
            tensors["objective" + _own(parts)] = parts.objectives.state_dict()
            tensors["optimiser" + _own(parts)] = state_of(parts.optimiser, parts.names)
        return tensors

    def _state(self) -> dict[str, Any]:
        parts, recipe = self.parts, self.parts.recipe
        self.course.alarms = self._alarms.state()
        return {
            "epoch": parts.plan.epoch_of(self.step),
            "course": dataclasses.asdict(self.course),
            "recipe": plain(recipe),
            "recipe_sha256": recipe.sha256,
            **parts.facts(),
            "validation_samples_sha256": parts.validation.sha256,
            "world_size": parts.world.size,
            # every random number is drawn anew for each batch, from these
            "rng": {"seed": recipe.seed, "next_batch": self.step * parts.plan.accumulate},
            "git_revision": checkpoints.git_revision(),
            "torch": str(torch.__version__),
        }

    def _tell(self, progress: Progress) -> None:
        if self.parts.world.is_main:
            self._on_progress(progress)


def check_free(run_dir: Path, *, resume: bool) -> None:
    """Refuse a folder that holds a run which is not to be resumed, or something else, such as people or a prepared set.

    Raises:
        UsageError: says how to go on.
    """
    if not resume and (found := _foreign(run_dir)):
        msg = f"{run_dir} holds something else than a run ({found}): name a new folder with -o"
        raise UsageError(msg)
    if (run_dir / RECIPE).exists() and not resume:
        msg = f"{run_dir} holds a run already: go on with --resume, or name another folder with -o"
        raise UsageError(msg)


def _foreign(run_dir: Path) -> str:
    """What tells that a folder is no run's: a folder that runs do not make, a shard, a bundle's card; else empty."""
    own = {checkpoints.folder_of(run_dir).name, CURVES}
    for path in sorted(run_dir.glob("[!.]*")):
        if (path.is_dir() and path.name not in own) or path.name == "card.json" or path.suffix == ".arrow":
            return path.name
    return ""


def _claim(run_dir: Path, *, recipe: Any) -> None:
    """Make the folder ours: without what a kill left half written, with the recipe in it."""
    try:
        run_dir.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        msg = f"{run_dir} cannot be made ({error.strerror or error}); name another folder with -o"
        raise StorageError(msg) from error
    checkpoints.clean(run_dir)
    write_file(run_dir / RECIPE, json.dumps(recipe, indent=1).encode())


def _restored(found: Path, parts: Parts) -> tuple[Course, int]:
    """Take everything back from a checkpoint; return what it had found and the step to go on at."""
    state = checkpoints.read_state(found)
    checkpoints.check_same_run(found, state, recipe=parts.recipe, hashes=parts.hashes)
    if parts.objectives.sharded() and state["world_size"] != parts.world.size:
        msg = (
            f"{found} was written by {state['world_size']} processes, each with its own class centres; resume with"
            f" as many, not {parts.world.size}"
        )
        raise UsageError(msg)
    parts.net.load_state_dict(checkpoints.read_tensors(found, "model"))
    parts.objectives.load_state_dict(checkpoints.read_tensors(found, "objective" + _own(parts)))
    restore_state(parts.optimiser, parts.names, checkpoints.read_tensors(found, "optimiser" + _own(parts)))
    if parts.average is not None:
        parts.average.load_state_dict(checkpoints.read_tensors(found, "ema"))
    course = Course(**state["course"])
    return course, max(int(state["step"]), course.skip_to)


def _own(parts: Parts) -> str:
    """Ends the names of files that each process has its own of: shards of class centres."""
    rank = parts.world.rank if parts.objectives.sharded() else 0
    return f"-rank-{rank}" if rank else ""
