"""How a run ends that cannot go on: out of memory, or a loss that is no number. Each says what to do."""

from __future__ import annotations

import gc
import json
import math
import traceback
from typing import TYPE_CHECKING, Any, Self

import torch

from verify.atomic import write_file
from verify.errors import TrainingError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path
    from types import TracebackType

    from torch import nn

GIB = 1 << 30
LEAST_ROWS = 2  # one sample has no batch statistics to pass the network with
SHOWN = 8  # sample names in a message; the file has all


class OutOfMemory:
    """Turns a GPU's out-of-memory error into one that says which batch fits, having tried.

    Args:
        device: of the run.
        rows: samples that are to pass the network at once.
        attempt: runs forward and backward over the first n of them.
    """

    def __init__(self, device: torch.device, *, rows: int, attempt: Callable[[int], None]) -> None:
        self._device, self._rows, self._attempt = device, rows, attempt

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        if not isinstance(exc, torch.cuda.OutOfMemoryError):
            return
        traceback.clear_frames(tb)  # they hold the activations that did not fit
        fits = largest_that_fits(self._rows, self._attempt)
        memory = ""
        if self._device.type == "cuda":
            memory = f" in {torch.cuda.get_device_properties(self._device).total_memory / GIB:.0f} GiB"
        if not fits:
            msg = f"out of memory: not even one sample passes the network{memory}; take a smaller one, or a larger GPU"
            raise TrainingError(msg) from None
        msg = (
            f"out of memory: {self._rows} samples at once do not fit{memory}, {fits} do (tried, for one process). Set"
            f" sampler.batch (or identities x samples) to {fits} a process; or keep the batch, with schedule.accumulate"
            f" = {-(-self._rows // fits)} and a batch of {fits} (margins) or with schedule.chunk = {fits} (pairs)"
        )
        raise TrainingError(msg) from None


def no_room() -> TrainingError:
    """The error where memory ran out, but not while a batch passed the network."""
    return TrainingError(
        "out of memory for weights, optimiser, augmentation or validation, not for the network's passes over a batch:"
        " split the class centres over processes (sharded = true), take sgd for adamw, a smaller sampler.batch or"
        " network, or free the GPU of other programs; the last checkpoint is whole, go on with --resume"
    )


def largest_that_fits(rows: int, attempt: Callable[[int], None]) -> int:
    """The largest part of `rows` for which `attempt` does not run out of memory, to a sixteenth; 0 if none."""
    fits, fails = 0, rows
    while fails - fits > max(1, rows // 16):
        middle = (fits + fails) // 2
        if _fits(middle, attempt):
            fits = middle
        else:
            fails = middle
    return fits


def not_finite(
    run_dir: Path, *, step: int, rank: int, loss: float, grad_norm: float, names: Sequence[str]
) -> TrainingError:
    """Write down which samples the step had, and make the error that ends the run."""
    path = run_dir / f"not-finite-step-{step:06d}-rank-{rank}.json"
    facts: dict[str, Any] = {
        "step": step,
        "loss": str(loss),
        "gradient_norm": str(grad_norm),
        "samples": list(names),
    }
    write_file(path, json.dumps(facts, indent=1).encode())
    some = ", ".join(names[:SHOWN]) + (f" and {len(names) - SHOWN} more" if len(names) > SHOWN else "")
    what = f"loss {loss}, gradient norm {grad_norm}"
    if math.isfinite(loss) and math.isfinite(grad_norm):
        what += ", and the weights after it"
    return TrainingError(
        f"step {step}: {what}: not finite. The last checkpoint is from before and whole. The batch was {some}; all"
        f" of it stands in {path}. Look at these samples; if they are sound, lower optimiser.lr, lengthen"
        " schedule.warmup_epochs, or take run.precision = 'fp32', and begin anew from that checkpoint (model.initial)"
    )


def all_finite(net: nn.Module) -> bool:
    """Whether every weight is a number; waits for the device once."""
    sums = [parameter.detach().double().sum() for parameter in net.parameters()]
    return bool(torch.stack(sums).isfinite().all())


def _fits(rows: int, attempt: Callable[[int], None]) -> bool:
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    try:
        attempt(max(LEAST_ROWS, rows))
    except torch.cuda.OutOfMemoryError as error:
        traceback.clear_frames(error.__traceback__)
        return False
    return True
