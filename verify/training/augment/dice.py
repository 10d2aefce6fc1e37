"""Random numbers of one augmentation in one step."""

from __future__ import annotations

import hashlib

import torch
from torch import Tensor


class Dice:
    """Draws parameters on the host and noise on the device, all out of (seed, rank, step, name).

    Args:
        seed: of the run.
        rank: of the process.
        step: of the run.
        name: of the augmentation: each has its own dice, whatever the others draw.
        device: where the numbers are used.
    """

    def __init__(self, *, seed: int, rank: int, step: int, name: str, device: torch.device) -> None:
        self.device = device
        self._seed = mixed(seed, rank, step, name)
        self._host = torch.Generator().manual_seed(self._seed)
        self._device: torch.Generator | None = None

    def chosen(self, count: int, probability: float) -> Tensor | None:
        """(M,) int64 rows out of `count`, each with the probability; None if there are none.

        M is the expected number, rounded up or down by chance: the work of a step hardly varies, and its
        size is known without asking the device.
        """
        number = int(probability * count + float(torch.rand((), generator=self._host)))
        if not number:
            return None
        rows = torch.randperm(count, generator=self._host)[: min(number, count)].sort().values
        return rows.to(self.device, non_blocking=True)

    def uniform(self, count: int, span: tuple[float, float]) -> Tensor:
        """(count,) float32 between the ends of the span."""
        drawn = torch.rand(count, generator=self._host) * (span[1] - span[0]) + span[0]
        return drawn.to(self.device, non_blocking=True)

    def whole(self, count: int, low: int, high: int) -> Tensor:
        """(count,) int64 from `low` to `high`, both included."""
        drawn = torch.randint(low, high + 1, (count,), generator=self._host)
        return drawn.to(self.device, non_blocking=True)

    def parts(self, count: int, number: int) -> list[Tensor]:
        """`count` rows dealt at random into `number` lists of almost equal length."""
        order = torch.randperm(count, generator=self._host)
        return [part.to(self.device, non_blocking=True) for part in torch.tensor_split(order, number)]

    def normal(self, *shape: int) -> Tensor:
        """Standard normal float32 noise of this shape, drawn on the device."""
        if self._device is None:
            self._device = torch.Generator(self.device).manual_seed(self._seed)
        return torch.randn(shape, generator=self._device, device=self.device)


def mixed(*parts: int | str) -> int:
    """One number of 63 bits that all of these decide."""
    digest = hashlib.blake2b("/".join(map(str, parts)).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1
