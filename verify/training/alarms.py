"""Signs that a network has stopped to tell people apart, while the loss may still look well.

Two numbers of a batch, or of the validation set, say it:

- *spread*: 1 - |mean of the unit embeddings|², the total variance on the unit sphere, in [0, 1]. A
  network that maps everybody to one point, the known end of a failed batch-hard run, has 0.
- *gap*: mean cosine of mated pairs minus mean cosine of non-mated pairs, in [-2, 2].
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch
from torch.nn import functional

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

MIN_SPREAD = 0.05
MIN_GAP = 0.02
READINGS = 5  # in a row, before an alarm is given: single batches are noisy
MAX_ROWS = 1024  # of a batch that are held against each other


@torch.no_grad()
def health(raw: Tensor, labels: Tensor) -> Tensor:
    """(2,) float32: spread and gap of a batch; the gap is NaN without both kinds of pairs. Waits for no GPU.

    Args:
        raw: (B, D) embeddings of any length.
        labels: (B,) identity of each.
    """
    unit = functional.normalize(raw[:MAX_ROWS].float())
    labels = labels[:MAX_ROWS]
    spread = 1 - unit.mean(0).square().sum()
    cosines = unit @ unit.T
    same = labels[:, None] == labels[None, :]
    other = ~same
    same.fill_diagonal_(False)  # noqa: FBT003  a sample and itself are no pair
    mated = (cosines * same).sum() / same.sum()
    non_mated = (cosines * other).sum() / other.sum()
    return torch.stack([spread, mated - non_mated])


@dataclass(slots=True)
class Alarms:
    """Watches the readings of a run and says, once, what is wrong.

    Attributes:
        after_step: readings before it do not count: a random network spreads nobody.
    """

    after_step: int = 0
    _low: dict[str, int] = field(default_factory=dict)

    def judge(self, *, step: int, spread: float, gap: float) -> list[str]:
        """The sentences to be said now; mostly none. NaN readings do not count."""
        readings = (
            (
                "spread",
                spread,
                MIN_SPREAD,
                (
                    "embeddings collapse to one point; lower optimiser.lr, ramp the margin up more"
                    " slowly, or begin with semi-hard mining or a margin objective"
                ),
            ),
            (
                "gap",
                gap,
                MIN_GAP,
                "mated pairs are hardly more alike than non-mated ones; look at the labels and at optimiser.lr",
            ),
        )
        said = []
        for name, value, least, words in readings if step >= self.after_step else ():
            if value < least:
                self._low[name] = self._low.get(name, 0) + 1
                if self._low[name] == READINGS:
                    said.append(f"{name} {value:.4f} is below {least} for {READINGS} readings: {words}")
            elif value >= least:
                self._low[name] = 0
        return said

    def state(self) -> dict[str, int]:
        """What a checkpoint keeps."""
        return dict(self._low)

    def restore(self, state: Mapping[str, int]) -> None:
        """Take it back."""
        self._low = dict(state)
