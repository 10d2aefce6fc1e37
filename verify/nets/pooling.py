"""From frames to one vector: statistics over time that attention weighs."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from verify.nets.encoder import in_float32

SMALLEST_VARIANCE = 1e-7  # below, the deviation's gradient would outgrow everything else


class AttentiveStatistics(nn.Module):
    """Weighted mean and deviation over time, each channel with weights of its own: (B, C, T) -> (B, 2C).

    Okabe, Koshinaka, Shinoda, "Attentive Statistics Pooling for Deep Speaker Embedding", Interspeech
    2018, with weights that differ by channel and see mean and deviation of the whole, as in
    Desplanques, Thienpondt, Demuynck, "ECAPA-TDNN", Interspeech 2020, section 3.1.

    Args:
        channels: C.
        bottleneck: width of the attention's hidden layer.
    """

    def __init__(self, channels: int, *, bottleneck: int = 128) -> None:
        super().__init__()
        self.hidden = nn.Conv1d(3 * channels, bottleneck, 1)
        self.weights = nn.Conv1d(bottleneck, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        with in_float32(x):
            mean, deviation = statistics(x.float(), None)
        context = torch.cat([mean, deviation], dim=1).to(x.dtype)[:, :, None]
        seen = torch.cat([x, context.expand(-1, -1, x.shape[2])], dim=1)  # (B, 3C, T)
        scores = self.weights(self.hidden(seen).tanh())  # (B, C, T)
        with in_float32(x):
            return torch.cat(statistics(x.float(), scores.float().softmax(dim=2)), dim=1)


def statistics(x: Tensor, weights: Tensor | None) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation over time, (B, C) each, with `weights` (B, C, T) of sum 1 or equal ones."""
    mean = x.mean(dim=2) if weights is None else (x * weights).sum(dim=2)
    squares = (x - mean[:, :, None]).square()
    variance = squares.mean(dim=2) if weights is None else (squares * weights).sum(dim=2)
    return mean, variance.clamp(min=SMALLEST_VARIANCE).sqrt()
