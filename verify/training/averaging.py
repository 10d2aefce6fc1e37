"""The averaged network: an exponential moving average of the weights, calmer than any single step's.

It is what is validated and exported where a recipe keeps one, and the target of the objectives that
learn from their own past (`uses_target`).
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from torch import Tensor, nn


class Average:
    """A second copy of a network whose floats follow the first: ours += (1 - decay) (theirs - ours).

    The decay grows with the steps, min(decay, (1 + n) / (10 + n)), so that the random beginning is
    soon forgotten. Running statistics are averaged like weights; counters are copied.
    """

    def __init__(self, net: nn.Module, *, decay: float, frozen: Iterable[nn.Module] = ()) -> None:
        """Begin as a copy of `net`, whose `frozen` modules stay in eval mode in the copy, too."""
        self.decay = decay
        copied: dict[int, Any] = {}
        self.net = copy.deepcopy(net, copied).requires_grad_(False)  # noqa: FBT003  torch's own signature
        self._frozen = tuple(copied[id(module)] for module in frozen)

    @torch.no_grad()
    def follow(self, net: nn.Module, *, step: int) -> None:
        """Move towards `net`, once after each update of the weights."""
        decay = min(self.decay, (1 + step) / (10 + step))
        ours, theirs = self.net.state_dict(), net.state_dict()
        floats = [name for name, tensor in ours.items() if tensor.is_floating_point()]
        torch._foreach_lerp_([ours[name] for name in floats], [theirs[name] for name in floats], 1 - decay)
        for name in ours.keys() - set(floats):
            ours[name].copy_(theirs[name])

    @torch.no_grad()
    def target(self, inputs: Any) -> Any:
        """(B, D) raw embeddings for objectives that learn from the average; batch statistics as in training."""
        self.net.train()
        for module in self._frozen:
            module.eval()
        return self.net.raw(inputs)

    def state_dict(self) -> dict[str, Tensor]:
        """The averaged network's tensors."""
        return dict(self.net.state_dict())

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Take them back."""
        self.net.load_state_dict(state)
