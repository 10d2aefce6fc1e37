"""What all objectives share: full precision, the joint batch of all processes, checked numbers."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from verify.errors import UsageError
from verify.training import distributed


class Objective(nn.Module):
    """A loss with the attributes of `verify.protocols.Objective`; its forward pass runs in float32.

    Subclasses write `loss`. Autocast is off inside: an angle near 0 has no digits left in bfloat16, and what a loss
    computes is small beside the network. Whoever wants speed on a GPU sets
    ``torch.set_float32_matmul_precision("high")``.
    """

    gathers = False
    uses_target = False
    views = 1

    def __init__(self) -> None:
        super().__init__()
        self.fraction = 1.0

    def advance(self, fraction: float) -> None:
        """Set how far the objective has been ramped up, 0 to 1: margins scale with it, curricula harden."""
        if not 0.0 <= fraction <= 1.0:
            msg = f"fraction = {fraction}: must be between 0 and 1"
            raise UsageError(msg)
        self.fraction = fraction

    def forward(self, raw: Tensor, labels: Tensor, *, target: Tensor | None = None) -> Tensor:
        """The loss of (B, D) embeddings with (B,) labels; see `verify.protocols.Objective`."""
        if self.uses_target and target is None:
            msg = f"{type(self).__name__}: needs the averaged network's embeddings (target=)"
            raise UsageError(msg)
        with torch.autocast(raw.device.type, enabled=False):
            return self.loss(raw.float(), labels, None if target is None else target.detach().float())

    def loss(self, raw: Tensor, labels: Tensor, target: Tensor | None) -> Tensor:
        """The loss, a scalar: raw (B, D) float32, labels (B,) int64, target (B, D) float32 or None."""
        raise NotImplementedError


def joint(raw: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """(N, D) embeddings with gradients and (N,) labels of all processes."""
    rows = distributed.counts(len(raw))
    return distributed.gather(raw, rows=rows), distributed.gather_labels(labels, rows=rows)


def unit(raw: Tensor) -> Tensor:
    """Rows of unit L2 norm."""
    return functional.normalize(raw, dim=1)


def mated(labels: Tensor, columns: Tensor) -> Tensor:
    """(N, M) bool: which rows and columns are of one identity. The trial of row i with itself is among them."""
    return labels[:, None] == columns[None, :]


def angle(name: str, value: float, *, least: float = 0.0, most: float = math.pi / 2) -> None:
    """Refuse an angle outside its range; a value that looks like degrees is told apart.

    Raises:
        UsageError: names option, value and what it would be in radians.
    """
    if least <= value <= most:
        return
    looks = f"; {value:g} degrees are {math.radians(value):.3f}" if math.pi < value <= 360 else ""  # noqa: PLR2004
    msg = f"{name} = {value:g}: must be in radians, {least:g} to {most:.3f}{looks}"
    raise UsageError(msg)


def within(name: str, value: float, *, least: float, most: float = math.inf) -> None:
    """Refuse a number outside its range.

    Raises:
        UsageError: names option, value and range.
    """
    if not least <= value <= most:
        to = f" to {most:g}" if math.isfinite(most) else " or more"
        msg = f"{name} = {value:g}: must be {least:g}{to}"
        raise UsageError(msg)


def choice(name: str, value: str, known: tuple[str, ...]) -> None:
    """Refuse a name that is not among the known ones, with the nearest.

    Raises:
        UsageError: names option and value.
    """
    from verify.config import unknown

    if value not in known:
        raise UsageError(unknown(value, known, what=name))
