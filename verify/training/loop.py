"""The training loop. Read `train` first, then `train_epoch`, then `update`: that is all that happens.

One process a GPU: alone, or under ``torchrun`` with DistributedDataParallel. Whatever a step does is a function
of the checkpoint and the step's number: batches, crops, augmentation and dropout are drawn from (seed, epoch, sample)
or (seed, rank, batch), so a run that was killed goes on to the same losses.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from verify.training import distributed
from verify.training.alarms import health
from verify.training.course import Progress, Reading, RunResult, silent
from verify.training.failures import OutOfMemory, no_room
from verify.training.gradient_cache import cached_backward
from verify.training.loader import Loader
from verify.training.optimisers import clip, set_lr
from verify.training.parts import Parts, assemble
from verify.training.run import Run, check_free
from verify.training.schedule import LARGE_MARGIN
from verify.training.stopping import stop_signals

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator
    from contextlib import AbstractContextManager
    from pathlib import Path

    from verify.training.loader import Batch
    from verify.training.recipe import Recipe

__all__ = ["Progress", "RunResult", "train"]


def train(
    recipe: Recipe,
    *,
    run_dir: Path,
    device: str | None = None,
    on_progress: Callable[[Progress], None] = silent,
    resume: bool = False,
) -> RunResult:
    """Train a network and keep the one that verifies unseen people best.

    Args:
        recipe: see `verify.training.recipe`.
        run_dir: folder of this run: ``recipe.json``, ``log.jsonl``, ``tensorboard/``, ``checkpoints/``.
        device: ``cpu``, ``cuda``, ``cuda:1``; None takes the GPU if there is one.
        on_progress: called in the first process after each step that is read, and with what there is to say.
        resume: go on from the newest checkpoint in `run_dir`.

    Raises:
        UsageError: a recipe that cannot be, a folder that holds a run already, a checkpoint of another recipe.
        DataError: a sample that cannot be read, or nothing to learn from.
        TrainingError: the loss is not finite, or the GPU is too small; the message says what to do.
        StorageError: the disk is full; the last checkpoint is whole.
        KeyboardInterrupt: Ctrl-C or SIGTERM; a checkpoint has been written.
    """
    check_free(run_dir, resume=resume)
    world = distributed.start(device)
    try:
        _settings(recipe, world.device)
        parts = assemble(recipe, world=world)
        plan = parts.plan
        with Run.open(run_dir, parts, on_progress=on_progress, resume=resume) as run, stop_signals() as asked:
            if run.has_epoch_to_end():
                run.end_epoch()  # validates, keeps the best, writes a checkpoint, may end the stage early
            while run.step < plan.steps:
                stage = plan.stage_at(run.step)
                with contextlib.closing(batches(parts, first_step=run.step, stage=stage)) as source:
                    while run.step < plan.steps and plan.stage_at(run.step) == stage:
                        train_epoch(run, source, stage=stage, stop=asked)
                        run.end_epoch()
            return run.result()
    except torch.cuda.OutOfMemoryError as error:
        raise no_room() from error
    finally:
        torch.set_flush_denormal(False)  # the caller's arithmetic is the caller's
        distributed.stop()


def train_epoch(run: Run, source: Iterator[Batch], *, stage: str, stop: Callable[[], bool]) -> None:
    """From where the run stands to the end of the epoch.

    Raises:
        KeyboardInterrupt: `stop` said so; a checkpoint has been written.
    """
    parts, plan = run.parts, run.parts.plan
    parts.train_mode()
    if stage == LARGE_MARGIN:
        parts.objectives.set_margin(parts.recipe.large_margin.margin_rad)
    last = (plan.epoch_of(run.step) + 1) * plan.steps_per_epoch
    while run.step < last:
        micro_batches = tuple(itertools.islice(source, plan.accumulate))
        with_health = run.reads(run.step + 1)
        run.took(update(parts, micro_batches, step=run.step, stage=stage, with_health=with_health))
        if run.agrees_to(stop()):
            run.checkpoint()
            run.say(f"stopped at step {run.step}, everything is kept; go on with --resume")
            raise KeyboardInterrupt
        if run.is_checkpoint_due():
            run.checkpoint()


def update(
    parts: Parts, micro_batches: tuple[Batch, ...], *, step: int, stage: str, with_health: bool
) -> Reading:
    """One step: forward and backward over the micro-batches, clip, update the weights and their average."""
    recipe, world, plan = parts.recipe, parts.world, parts.plan
    lr = plan.lr_at(step)
    set_lr(parts.optimiser, lr)
    parts.objectives.advance(plan.margin_at(step))
    losses = []
    for number, stored in enumerate(micro_batches):
        batch_number = step * plan.accumulate + number
        torch.manual_seed(_mixed(recipe.seed, world.rank, batch_number))  # dropout, the same after a resume
        batch = stored.to(world.device)
        inputs, labels = parts.pipelines[stage](batch, batch_number)  # (B, 3, H, W) or (B, T, C), (B,)
        if inputs.dim() == 4 and recipe.run.channels_last:  # noqa: PLR2004  photos
            inputs = inputs.contiguous(memory_format=torch.channels_last)
        with OutOfMemory(
            world.device, rows=len(inputs), attempt=_attempt(parts, inputs, labels, batch.samples)
        ):
            last = number == len(micro_batches) - 1
            loss, raw = backward(parts, inputs, labels, batch.samples, share=1 / plan.accumulate, last=last)
        losses.append(loss)
    distributed.average_gradients(parts.objectives.replicated())
    norm = clip(
        itertools.chain(parts.net.parameters(), parts.objectives.replicated()),
        sharded=parts.objectives.sharded(),
        max_norm=recipe.run.clip_norm,
    )
    parts.optimiser.step()
    parts.optimiser.zero_grad(set_to_none=True)
    if parts.average is not None:
        parts.average.follow(parts.net, step=step)
    return Reading(
        step=step + 1,
        lr=lr,
        margin=plan.margin_at(step),
        values=torch.stack([torch.stack(losses).mean(), norm]).float(),
        health=health(raw, labels) if with_health else None,
        samples=tuple(batch.samples for batch in micro_batches),
    )


def backward(
    parts: Parts, inputs: Tensor, labels: Tensor, samples: Tensor, *, share: float, last: bool
) -> tuple[Tensor, Tensor]:
    """Add the gradients of one micro-batch; return its loss and (B, D) embeddings, both detached.

    Args:
        parts: of the run.
        inputs: (B, ...) of this process.
        labels: (B,) identities.
        samples: (B,) numbers of the training samples.
        share: of this micro-batch in the step's loss.
        last: whether processes exchange gradients after this one.
    """
    autocast = _autocast(parts)
    target = None
    if parts.objectives.uses_target and parts.average is not None:
        with autocast():
            target = parts.average.target(inputs)
    seen: list[Tensor] = []

    def loss_of(raw: Tensor) -> Tensor:
        seen.append(raw.detach())
        return parts.objectives(raw, labels, samples, target=target) * share

    with _exchange(parts.forward, now=last):
        chunk = parts.recipe.schedule.chunk
        if chunk and chunk < len(inputs):
            loss = cached_backward(parts.forward, inputs, loss_of=loss_of, chunk=chunk, autocast=autocast)
        else:
            with autocast():
                raw = parts.forward(inputs)  # (B, D)
            loss = loss_of(raw)
            loss.backward()
    return loss.detach() / share, seen[0]


def batches(parts: Parts, *, first_step: int, stage: str) -> Generator[Batch]:
    """This process's batches from `first_step` to the end of the stage.

    Batches are counted through the whole run, so that passes over the data and epochs of the schedule need not be
    of one length: nobody waits longer for a turn than the sampler lets them. One loader serves them all: its
    processes read ahead while the network is validated.
    """
    recipe, world, plan = parts.recipe, parts.world, parts.plan
    crop_s = recipe.large_margin.crop_s if stage == LARGE_MARGIN else recipe.data.crop_s
    crop = (
        parts.pipelines[stage].samples_needed(round(crop_s * 16_000)) if recipe.modality == "voice" else None
    )
    last_step = plan.after_stage(plan.epoch_of(first_step))
    at, left = first_step * plan.accumulate, (last_step - first_step) * plan.accumulate
    loader = Loader(
        parts.data,
        [],
        crop_samples=crop,
        seed=recipe.seed,
        workers=recipe.data.workers,
        pin=world.device.type == "cuda",
    )
    with loader:
        while left:
            turn, start = divmod(at, len(parts.sampler))
            count = min(left, len(parts.sampler) - start)
            some = itertools.islice(parts.sampler.batches(turn, start=start), count)
            yield from loader.again(some, epoch=turn)
            at, left = at + count, left - count


def _settings(recipe: Recipe, device: torch.device) -> None:
    """On a GPU: TF32 for what autocast leaves in float32, and the fastest kernel for each shape, found by trying.

    On a CPU numbers too small to matter are zero, in this thread, until the run ends.
    """
    if device.type == "cuda":
        torch.set_float32_matmul_precision("high" if recipe.run.precision == "bf16" else "highest")
        torch.backends.cudnn.benchmark = True
    else:
        # momenta that die away become denormal numbers, on which a CPU is many times slower (eight times, seen)
        torch.set_flush_denormal(True)


def _autocast(parts: Parts) -> Callable[[], AbstractContextManager[Any]]:
    if parts.recipe.run.precision == "bf16":
        return functools.partial(torch.autocast, parts.world.device.type, torch.bfloat16)
    return contextlib.nullcontext


def _attempt(parts: Parts, inputs: Tensor, labels: Tensor, samples: Tensor) -> Callable[[int], None]:
    """Forward and backward over the first n rows, in this process alone: to find out what fits."""

    def attempt(rows: int) -> None:
        with _autocast(parts)():
            raw = parts.net.raw(inputs[:rows])
        loss = raw.float().sum()
        if parts.world.size == 1:  # objectives talk to the other processes, which wait elsewhere
            target = raw.detach() if parts.objectives.uses_target else None
            loss = parts.objectives(raw, labels[:rows], samples[:rows], target=target)
        # unlike `backward`, this wakes no hook of DDP, which still stands in the pass that failed
        torch.autograd.grad(loss, [*parts.names], allow_unused=True)

    return attempt


def _exchange(forward: nn.Module, *, now: bool) -> AbstractContextManager[Any]:
    if now or not isinstance(forward, nn.parallel.DistributedDataParallel):
        return contextlib.nullcontext()
    return forward.no_sync()  # type: ignore[no-any-return, unused-ignore]


def _mixed(seed: int, rank: int, number: int) -> int:
    return (seed * 1_000_003 + rank) * 2_147_483_647 + number & 0x7FFF_FFFF_FFFF_FFFF
