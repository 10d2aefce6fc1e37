"""ECAPA-TDNN: time-delay layers with channel attention, all of which reach the pooling.

Desplanques, Thienpondt, Demuynck, "ECAPA-TDNN: Emphasized Channel Attention, Propagation and
Aggregation in TDNN Based Speaker Verification", Interspeech 2020, https://arxiv.org/abs/2005.07143.
The middle of each block is Res2Net's (Gao et al., PAMI 2021), its end a squeeze and excitation (Hu,
Shen, Sun, CVPR 2018). As the paper has it, the input of a block is the sum of all that came before.

    features (B, T, 80)
      convolution 5               (B, 1024, T)
      3 blocks, dilation 2, 3, 4  (B, 1024, T) each
      all three, convolution 1    (B, 1536, T)
      attentive statistics        (B, 3072)
      linear, normalised by batch (B, 192)
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from verify.nets.encoder import Encoder, in_float32, initialise, scaled
from verify.nets.pooling import AttentiveStatistics

DILATIONS = (2, 3, 4)
SCALE = 8  # parts into which the channels of a block's middle are cut
BOTTLENECK = 128  # of the squeeze and of the attention


class ECAPATDNN(Encoder):
    """The speaker encoder: log-mel features (B, T, `mels`) -> embeddings (B, `dim`).

    Args:
        mels: mel bands, each with its mean over time subtracted.
        dim: embedding size.
        channels: of the blocks, a multiple of 8; the paper has 512 and 1024.
        width: factor on the channels of the blocks, of what they are joined to, and of the bottlenecks.
    """

    def __init__(self, *, mels: int = 80, dim: int = 192, channels: int = 1024, width: float = 1.0) -> None:
        super().__init__()
        self.dim = dim
        channels, joined = scaled(channels, width), scaled(1536, width)
        self.first = ConvReLUNorm(mels, channels, 5)
        self.blocks = nn.ModuleList(
            Block(channels, dilation, bottleneck=scaled(BOTTLENECK, width)) for dilation in DILATIONS
        )
        self.join = nn.Conv1d(len(DILATIONS) * channels, joined, 1)
        self.pool = AttentiveStatistics(joined, bottleneck=scaled(BOTTLENECK, width))
        self.pool_norm = nn.BatchNorm1d(2 * joined)
        self.linear = nn.Linear(2 * joined, dim)
        self.norm = nn.BatchNorm1d(dim)
        initialise(self, slope=0.0)

    def raw(self, x: Tensor) -> Tensor:
        """(B, T, mels) -> (B, D) float32."""
        before = self.first(x.transpose(1, 2))  # (B, C, T): the sum of all so far
        outputs = []
        for block in self.blocks:
            outputs.append(block(before))
            before = before + outputs[-1]
        joined = functional.relu(self.join(torch.cat(outputs, dim=1)))  # (B, 1536, T)
        pooled = self.pool(joined)  # (B, 3072)
        with in_float32(pooled):
            return self.norm(self.linear(self.pool_norm(pooled)))


class ConvReLUNorm(nn.Module):
    """Convolution over time that keeps its length, ReLU, batch normalisation: (B, C, T) -> (B, out, T)."""

    def __init__(self, channels: int, out: int, size: int, *, dilation: int = 1) -> None:
        super().__init__()
        reach = dilation * (size // 2)
        self.conv = nn.Conv1d(channels, out, size, padding=reach, dilation=dilation)
        self.norm = nn.BatchNorm1d(out)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(functional.relu(self.conv(x)))


class Block(nn.Module):
    """SE-Res2Block: (B, C, T) -> (B, C, T)."""

    def __init__(self, channels: int, dilation: int, *, bottleneck: int) -> None:
        super().__init__()
        self.before = ConvReLUNorm(channels, channels, 1)
        self.middle = Res2(channels, dilation)
        self.after = ConvReLUNorm(channels, channels, 1)
        self.excite = SqueezeExcitation(channels, bottleneck)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.excite(self.after(self.middle(self.before(x))))


class Res2(nn.Module):
    """Dilated convolutions in a row over parts of the channels: the later a part, the wider what it sees."""

    def __init__(self, channels: int, dilation: int) -> None:
        super().__init__()
        part = channels // SCALE
        self.parts = nn.ModuleList(ConvReLUNorm(part, part, 3, dilation=dilation) for _ in range(SCALE - 1))

    def forward(self, x: Tensor) -> Tensor:
        first, *rest = x.chunk(SCALE, dim=1)
        outputs = [first]
        for index, (conv, part) in enumerate(zip(self.parts, rest, strict=True)):
            outputs.append(conv(part + outputs[-1] if index else part))
        return torch.cat(outputs, dim=1)


class SqueezeExcitation(nn.Module):
    """Each channel times a factor in (0, 1) that all channels' means over time decide."""

    def __init__(self, channels: int, bottleneck: int) -> None:
        super().__init__()
        self.squeeze = nn.Linear(channels, bottleneck)
        self.excite = nn.Linear(bottleneck, channels)

    def forward(self, x: Tensor) -> Tensor:
        factors = self.excite(functional.relu(self.squeeze(x.mean(dim=2)))).sigmoid()
        return x * factors[:, :, None]
