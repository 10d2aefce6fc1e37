"""Losses on their way from the device to the log: read back some steps at a time, so that no GPU waits for a line."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from verify.training import distributed
from verify.training.failures import GIB, all_finite, not_finite

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray
    from torch import nn

    from verify.training.alarms import Alarms
    from verify.training.course import Reading
    from verify.training.distributed import World
    from verify.training.logs import RunLog
    from verify.training.training_set import TrainingSet

EVERY = 20  # steps on a GPU; on a CPU nothing waits, and every step is read


class Readings:
    """Collects what steps leave behind and reads it at once.

    Args:
        run_dir: of the run.
        data: names the samples of a step that failed.
        world: the processes; all must call `read` at the same steps.
        log: takes a line for each step.
        alarms: judge the batches' health.
    """

    def __init__(
        self, run_dir: Path, *, data: TrainingSet, world: World, log: RunLog, alarms: Alarms
    ) -> None:
        self._run_dir, self._data, self._world, self._log, self._alarms = run_dir, data, world, log, alarms
        self._every = EVERY if world.device.type == "cuda" else 1
        self._pending: list[Reading] = []
        self._last: tuple[Reading, NDArray[np.float64]] | None = None
        self._since = time.perf_counter()

    def is_due(self, step: int) -> bool:
        """Whether the processes read, and agree on what they must, after so many steps."""
        return step % self._every == 0

    def take(self, reading: Reading) -> None:
        """Keep what a step left."""
        self._pending.append(reading)

    def restart_clock(self) -> None:
        """Leave what happened since the last reading out of the speed."""
        self._since = time.perf_counter()

    def read(self) -> tuple[dict[str, Any], list[str]]:
        """Bring everything to the host, check it, write it down; a collective call.

        Returns:
            the last step's loss, the speed and the GPU's memory, for a progress bar (empty if nothing was there);
            and alarms to be said.

        Raises:
            TrainingError: a loss or gradient is not finite; the message names the step's samples.
        """
        if not self._pending:
            return {}, []
        readings, self._pending = self._pending, []
        values = torch.stack([reading.values for reading in readings]).double().cpu().numpy()  # (n, 2)
        bad = np.flatnonzero(~np.isfinite(values).all(axis=1))
        if distributed.any_of(bad.size > 0):
            first = int(bad[0]) if bad.size else -1
            raise self._not_finite(readings[first], values[first])
        self._last = readings[-1], values[-1].copy()
        values[:, 0] = _mean_over_ranks(values[:, 0], world=self._world)
        facts = {"samples_per_s": self._speed(readings), "memory_gib": _peak_gib(self._world.device)}
        alarms: list[str] = []
        for reading, (loss, norm) in zip(readings, values, strict=True):
            facts |= {"loss": float(loss)}
            alarms += self._write(reading, loss=float(loss), norm=float(norm), speed=facts["samples_per_s"])
        return {**facts, "step": readings[-1].step}, alarms

    def refuse_broken(self, net: nn.Module) -> None:
        """Before weights are measured or kept: a loss may have been a number, and its update leave none.

        Raises:
            TrainingError: a weight is not finite; the message names the samples of the last step.
        """
        if self._last is not None and not all_finite(net):
            raise self._not_finite(*self._last)

    def _write(self, reading: Reading, *, loss: float, norm: float, speed: float) -> list[str]:
        line = {"loss": loss, "grad_norm": norm, "lr": reading.lr, "margin": reading.margin}
        alarms: list[str] = []
        if reading.health is not None:
            spread, gap = (float(value) for value in reading.health.cpu())
            alarms = self._alarms.judge(step=reading.step, spread=spread, gap=gap)
            line |= {"spread": spread, "gap": gap, "samples_per_s": round(speed, 1)}
            self._log.curves("train", line, step=reading.step)
        self._log.write("step", step=reading.step, **line)
        return alarms

    def _speed(self, readings: list[Reading]) -> float:
        now = time.perf_counter()
        rows = sum(len(samples) for reading in readings for samples in reading.samples)
        speed = rows * self._world.size / max(now - self._since, 1e-9)
        self._since = now
        return speed

    def _not_finite(self, reading: Reading, values: NDArray[np.float64]) -> Exception:
        names = [self._data.name(int(number)) for some in reading.samples for number in some.cpu()]
        loss, norm = (float(value) for value in values)
        self._log.write("stop", step=reading.step, reason="not finite", loss=str(loss), grad_norm=str(norm))
        return not_finite(
            self._run_dir, step=reading.step, rank=self._world.rank, loss=loss, grad_norm=norm, names=names
        )


def _mean_over_ranks(losses: NDArray[np.float64], *, world: World) -> NDArray[np.float64]:
    """The joint loss of each step: the mean of what the processes have."""
    if world.size == 1:
        return losses
    total = torch.from_numpy(losses.copy())
    torch.distributed.all_reduce(total)
    return np.asarray(total.numpy() / world.size)


def _peak_gib(device: torch.device) -> float:
    return torch.cuda.max_memory_allocated(device) / GIB if device.type == "cuda" else 0.0
