"""Several processes as one: who am I, and tensors of all ranks with exact gradients.

Under `torchrun` every process holds the same network and its own share of the batch, and
DistributedDataParallel (DDP) divides the sum of the processes' gradients by their number W. Hence one rule, which all
objectives keep: **what is trained is the mean over ranks of the losses that the ranks return.**

- A loss of pairs gathers the joint batch by `gather` and is computed whole on every rank, so the mean over ranks is
  the joint loss itself. The backward pass of `gather` adds up what all ranks' losses say about this rank's rows
  (W times the joint gradient); DDP's division by W then leaves the gradient of the joint batch, exactly.
- A loss that is a sum over rows is returned as ``W / (rows of all ranks) * sum over own rows`` (`share`), so that
  ragged batches weigh every sample equally, too.

Alone, without torch.distributed, all of these do nothing and cost nothing.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, cast

import torch
import torch.distributed as dist
from torch import Tensor

from verify.errors import EnvironmentProblemError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """This process among all.

    Attributes:
        rank: number of this process, 0 to `size` - 1.
        size: number of processes.
        local_rank: number of this process on its machine.
        device: where this process computes.
    """

    rank: int
    size: int
    local_rank: int
    device: torch.device

    @property
    def is_main(self) -> bool:
        """Whether this is the process that writes files and talks."""
        return self.rank == 0


def start(device: str | None = None, *, timeout_s: float = 600.0) -> World:
    """Join the processes that `torchrun` started; alone without it.

    On CUDA both backends are brought up, NCCL for tensors on the GPU and gloo for those of the host, so that counts
    and flags are agreed upon without waiting for the GPU.

    Args:
        device: ``"cpu"``, ``"cuda"`` or ``"cuda:1"``; None takes the GPU of this process's local rank, if any.
        timeout_s: how long a rank waits for the others before it gives up.

    Raises:
        UsageError: a device that torch does not know.
        EnvironmentProblemError: CUDA is asked for and not there, or the other processes cannot be reached.
    """
    size, local_rank = int(os.environ.get("WORLD_SIZE", "1")), int(os.environ.get("LOCAL_RANK", "0"))
    where = _device(device, local_rank=local_rank)
    if where.type == "cuda":
        torch.cuda.set_device(where)
    if size > 1 and not dist.is_initialized():
        backend = "cpu:gloo,cuda:nccl" if where.type == "cuda" else "gloo"
        try:
            dist.init_process_group(backend, timeout=timedelta(seconds=timeout_s))
        except (RuntimeError, ValueError) as error:
            msg = f"the {size} processes of this run cannot be joined ({error}); start them with torchrun"
            raise EnvironmentProblemError(msg) from error
    rank = dist.get_rank() if dist.is_initialized() else 0
    size = dist.get_world_size() if dist.is_initialized() else 1
    return World(rank=rank, size=size, local_rank=local_rank, device=where)


def stop() -> None:
    """Leave the other processes; nothing to do when alone."""
    if dist.is_initialized():
        dist.destroy_process_group()


def world() -> World:
    """This process among all, as `start` left it."""
    if not dist.is_initialized():
        return World(rank=0, size=1, local_rank=0, device=_device(None, local_rank=0))
    local_rank = int(os.environ.get("LOCAL_RANK", "0"))
    on_gpu = "nccl" in str(dist.get_backend_config())
    device = torch.device("cuda", torch.cuda.current_device()) if on_gpu else torch.device("cpu")
    return World(rank=dist.get_rank(), size=dist.get_world_size(), local_rank=local_rank, device=device)


def rank() -> int:
    """Number of this process; 0 when alone."""
    return dist.get_rank() if dist.is_initialized() else 0


def size() -> int:
    """Number of processes; 1 when alone."""
    return dist.get_world_size() if dist.is_initialized() else 1


def counts(rows: int) -> tuple[int, ...]:
    """How many rows each rank has; a collective call."""
    if size() == 1:
        return (rows,)
    own = torch.tensor([rows], dtype=torch.int64, device=_host())
    every = [torch.empty_like(own) for _ in range(size())]
    dist.all_gather(every, own)
    return tuple(int(count) for count in torch.cat(every).tolist())


def gather(tensor: Tensor, *, rows: Sequence[int] | None = None) -> Tensor:
    """Rows of all ranks in rank order, with gradients; the tensor itself when alone. A collective call.

    The backward pass is collective, too: every rank must run it, in the same order (see the module for the factor).

    Args:
        tensor: (B, ...) of this rank; B may differ between ranks, all else may not.
        rows: what `counts` gave, if it is known already: saves one exchange.

    Returns:
        (sum of B over ranks, ...), the same on every rank.
    """
    if size() == 1:
        return tensor
    found = counts(len(tensor)) if rows is None else tuple(rows)
    return cast(Tensor, _Gather.apply(tensor, found))


def gather_labels(labels: Tensor, *, rows: Sequence[int] | None = None) -> Tensor:
    """Labels, or other values without gradient, of all ranks in rank order; see `gather`."""
    return labels if size() == 1 else gather(labels.detach(), rows=rows)


def share(rows: int) -> float:
    """Factor on a sum over this rank's rows that makes the mean over ranks the mean over all rows.

    W / (rows of all ranks); 1 / `rows` when alone; 0 when nobody has a row. A collective call.
    """
    return size() / max(1, sum(counts(rows)))


def mean(value: float | Tensor) -> float:
    """Mean of a number over ranks; a collective call. A tensor on a GPU is waited for."""
    if size() == 1:
        return float(value)
    total = torch.tensor([float(value)], dtype=torch.float64, device=_host())
    dist.all_reduce(total)
    return float(total.item()) / size()


def any_of(flag: bool) -> bool:  # noqa: FBT001  the flag is the whole call
    """Whether any rank says so: how all ranks come to stop at the same step. A collective call."""
    if size() == 1:
        return flag
    said = torch.tensor([int(flag)], dtype=torch.int64, device=_host())
    dist.all_reduce(said, op=dist.ReduceOp.MAX)
    return bool(said.item())


def barrier() -> None:
    """Wait for all ranks."""
    any_of(False)  # noqa: FBT003  what is said does not matter; agreement on the host needs no GPU


def average_gradients(parameters: Iterable[torch.nn.Parameter]) -> None:
    """Average gradients over ranks in place, as DDP does, for parameters that DDP does not hold.

    For the parameters of an objective (class centres, temperature); never for `sharded_parameters`. A parameter
    without a gradient on this rank counts as zero. A collective call.
    """
    if size() == 1:
        return
    for parameter in parameters:
        if not parameter.requires_grad:
            continue
        if parameter.grad is None:
            parameter.grad = torch.zeros_like(parameter)
        dist.all_reduce(parameter.grad)
        parameter.grad /= size()


class _Gather(torch.autograd.Function):
    """All-gather of ragged rows whose backward pass adds up the ranks' gradients and takes this rank's rows."""

    @staticmethod
    def forward(ctx: Any, tensor: Tensor, rows: tuple[int, ...]) -> Tensor:  # type: ignore[override, unused-ignore]
        ctx.rows = rows
        longest = max(rows)
        own = tensor.contiguous()
        if len(own) < longest:
            own = torch.cat([own, own.new_zeros((longest - len(own), *own.shape[1:]))])
        every = own.new_empty((len(rows) * longest, *own.shape[1:]))
        parts = list(every.split(longest)) if longest else []
        if parts:
            dist.all_gather(parts, own)
        if all(count == longest for count in rows):
            return every
        return torch.cat([part[:count] for part, count in zip(parts, rows, strict=True)])

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:  # type: ignore[override, unused-ignore]
        total = grad.clone(memory_format=torch.contiguous_format)
        if total.numel():
            dist.all_reduce(total)
        first = sum(ctx.rows[: dist.get_rank()])
        return total[first : first + ctx.rows[dist.get_rank()]], None


def _host() -> torch.device:
    """Where small agreements live: the host if some backend serves it, else this process's GPU."""
    served = str(dist.get_backend_config())
    if "cpu" in served:
        return torch.device("cpu")
    return torch.device("cuda", torch.cuda.current_device())


def _device(name: str | None, *, local_rank: int) -> torch.device:
    if name is None:
        return torch.device("cuda", local_rank) if torch.cuda.is_available() else torch.device("cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        msg = f"device {name!r}: not one that torch knows; take 'cpu', 'cuda' or 'cuda:0'"
        raise UsageError(msg) from error
    if device.type != "cuda":
        return device
    found = torch.cuda.device_count()
    wanted = torch.device("cuda", local_rank if device.index is None else device.index)
    if cast(int, wanted.index) >= found:
        msg = (
            f"device {name!r} (local rank {local_rank}): torch sees {found} GPUs; "
            "take --device cpu or start fewer processes"
        )
        raise EnvironmentProblemError(msg)
    return wanted
