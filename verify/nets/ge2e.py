"""GE2E's speaker encoder: three LSTM layers, of which the last state is the voice.

Wan, Wang, Papir, Lopez Moreno, "Generalized End-to-End Loss for Speaker Verification", ICASSP 2018,
https://arxiv.org/abs/1710.10467. Names are those of the state dict that Resemblyzer publishes,
without the two scalars of its loss (see `published`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional

if TYPE_CHECKING:
    from collections.abc import Mapping

LOSS_SCALARS = ("similarity_weight", "similarity_bias")


class GE2E(nn.Module):
    """The speaker encoder: mel features (B, T, `mels`) -> embeddings (B, `dim`) of unit L2 norm.

    Args:
        mels: mel bands, linear power, not logarithmic.
        hidden: width of the LSTM layers.
        dim: embedding size. All entries are >= 0 (ReLU), so cosines lie in [0, 1].
    """

    def __init__(self, *, mels: int = 40, hidden: int = 256, dim: int = 256) -> None:
        super().__init__()
        self.lstm = nn.LSTM(mels, hidden, num_layers=3, batch_first=True)
        self.linear = nn.Linear(hidden, dim)

    def forward(self, features: Tensor) -> Tensor:
        """(B, T, mels) -> (B, dim), unit L2 norm; trained on T = 160 (1.6 s)."""
        _, (states, _) = self.lstm(features)  # (layers, B, hidden)
        return functional.normalize(torch.relu(self.linear(states[-1])))


def published(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The published ``model_state`` as a state dict of `GE2E`: without the loss's two scalars."""
    return {name: tensor for name, tensor in state.items() if name not in LOSS_SCALARS}
