"""Gradient caching: a pair loss over a batch that the network cannot take at once.

Gao, Zhang, Han, Callan, "Scaling Deep Contrastive Learning Batch Size under Memory Limited Setup", RepL4NLP 2021,
https://arxiv.org/abs/2101.06983. A pair loss needs all embeddings of the batch, which are small; the network needs the
activations of one chunk only. So: embed all chunks without a graph, take the loss and its gradient with respect to
the embeddings, then embed each chunk again with a graph and push its rows of that gradient through. The gradients are
those of the whole batch, for one more forward pass. Batch normalisation in training mode sees chunks, not the batch,
as it does under any accumulation; its running statistics are updated once.
"""

from __future__ import annotations

import contextlib
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from verify.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


def cached_backward(
    net_raw: Callable[[Tensor], Tensor],
    inputs: Tensor,
    *,
    loss_of: Callable[[Tensor], Tensor],
    chunk: int,
    autocast: Callable[[], AbstractContextManager[object]] = contextlib.nullcontext,
    network: nn.Module | None = None,
) -> Tensor:
    """Add the gradients of ``loss_of(net_raw(inputs))`` to all parameters, `chunk` rows at a time.

    Dropout draws the same masks in both passes: the state of the random generators before each chunk is kept and
    restored. Afterwards the generators stand where one plain forward pass would have left them.

    Args:
        net_raw: (B, ...) -> (B, D), rows independent of each other.
        inputs: (B, ...) of this process.
        loss_of: (B, D) -> scalar; may gather over processes and have parameters of its own.
        chunk: rows that pass the network at once; at least 1.
        autocast: makes the context for the network's forward passes, for example
            ``partial(torch.autocast, "cuda", torch.bfloat16)``.
        network: the module behind `net_raw`, if that is not a module itself: its batch statistics are kept from being
            updated twice, and DistributedDataParallel from exchanging gradients before the last chunk.

    Returns:
        the loss, detached.

    Raises:
        UsageError: `chunk` is smaller than 1.
    """
    if chunk < 1:
        msg = f"chunk = {chunk}: at least 1 sample must pass the network at once"
        raise UsageError(msg)
    module = network if network is not None else (net_raw if isinstance(net_raw, nn.Module) else None)
    parts = inputs.split(chunk)
    states: list[_Random] = []
    raws: list[Tensor] = []
    with torch.no_grad(), _buffers_kept(module):
        for part in parts:
            states.append(_Random.now(inputs.device))
            with autocast():
                raws.append(net_raw(part))
    raw = torch.cat(raws).requires_grad_()
    loss = loss_of(raw)
    loss.backward()
    after = _Random.now(inputs.device)
    grads = (torch.zeros_like(raw) if raw.grad is None else raw.grad).split(chunk)
    for number, (part, state, grad) in enumerate(zip(parts, states, grads, strict=True), 1):
        state.restore()
        with _unsynchronised(module, last=number == len(parts)):
            with autocast():
                again = net_raw(part)
            again.backward(grad)
    after.restore()
    return loss.detach()


@dataclass(frozen=True, slots=True)
class _Random:
    """State of the generators that a forward pass may draw from."""

    cpu: Tensor
    gpu: Tensor | None
    device: torch.device

    @classmethod
    def now(cls, device: torch.device) -> _Random:
        gpu = torch.cuda.get_rng_state(device) if device.type == "cuda" else None
        return cls(torch.get_rng_state(), gpu, device)

    def restore(self) -> None:
        torch.set_rng_state(self.cpu)
        if self.gpu is not None:
            torch.cuda.set_rng_state(self.gpu, self.device)


@contextlib.contextmanager
def _buffers_kept(module: nn.Module | None) -> Iterator[None]:
    """Put back what the forward passes inside do to buffers: running means, counters."""
    kept = [] if module is None else [(buffer, buffer.clone()) for buffer in module.buffers()]
    yield
    for buffer, value in kept:
        buffer.copy_(value)


def _unsynchronised(module: nn.Module | None, *, last: bool) -> AbstractContextManager[object]:
    if last or not isinstance(module, nn.parallel.DistributedDataParallel):
        return contextlib.nullcontext()
    return module.no_sync()  # type: ignore[no-any-return, unused-ignore]
