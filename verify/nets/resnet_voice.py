"""ResNet34 over spectrograms with attentive statistics pooling.

He, Zhang, Ren, Sun, "Deep Residual Learning for Image Recognition", CVPR 2016, with half the
channels, as speaker verification takes it (Zeinali et al., "BUT System Description to VoxCeleb
Speaker Recognition Challenge 2019", https://arxiv.org/abs/1910.12592), under the pooling of Okabe,
Koshinaka, Shinoda, Interspeech 2018 (see `verify.nets.pooling`).

    features (B, T, 80)
      convolution 3x3      (B, 32, 80, T)
      3 blocks             (B, 32, 80, T)
      4 blocks, / 2        (B, 64, 40, T/2)
      6 blocks, / 2        (B, 128, 20, T/4)
      3 blocks, / 2        (B, 256, 10, T/8)
      channels times bands (B, 2560, T/8)
      attentive statistics (B, 5120)
      linear, normalised   (B, 256)
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional

from verify.nets.encoder import Encoder, Thinned, in_float32, initialise, scaled
from verify.nets.pooling import AttentiveStatistics

# (blocks, channels, stride of the first)
STAGES = ((3, 32, 1), (4, 64, 2), (6, 128, 2), (3, 256, 2))
STRIDE = 8  # of all of them


class ResNet34ASP(Encoder):
    """The speaker encoder: log-mel features (B, T, `mels`) -> embeddings (B, `dim`).

    Args:
        mels: mel bands, a multiple of 8, each with its mean over time subtracted.
        dim: embedding size.
        width: factor on all channels.
    """

    def __init__(self, *, mels: int = 80, dim: int = 256, width: float = 1.0) -> None:
        super().__init__()
        if mels % STRIDE:
            msg = f"mels must be a multiple of {STRIDE}, not {mels}"
            raise ValueError(msg)
        self.dim = dim
        channels = scaled(32, width)
        self.first = nn.Sequential()
        self.first.add_module("conv", nn.Conv2d(1, channels, 3, padding=1, bias=False))
        self.first.add_module("norm", nn.BatchNorm2d(channels))
        self.stages = nn.Sequential()
        for blocks, plain_out, stride in STAGES:
            out = scaled(plain_out, width)
            for index in range(blocks):
                self.stages.append(Block(channels, out, stride=stride if index == 0 else 1))
                channels = out
        flat = channels * (mels // STRIDE)
        self.pool = AttentiveStatistics(flat, bottleneck=scaled(128, width))
        self.linear = nn.Linear(2 * flat, dim)
        self.norm = nn.BatchNorm1d(dim)
        initialise(self, slope=0.0)

    def raw(self, x: Tensor) -> Tensor:
        """(B, T, mels) -> (B, D) float32."""
        x = functional.relu(self.first(x.transpose(1, 2)[:, None]))  # (B, 32, mels, T)
        x = self.stages(x)  # (B, 256, mels/8, T/8)
        pooled = self.pool(x.flatten(1, 2))  # (B, 5120)
        with in_float32(pooled):
            return self.norm(self.linear(pooled))


class Block(nn.Module):
    """Two 3x3 convolutions and a shortcut, (B, C, F, T) -> (B, out, F / stride, T / stride)."""

    def __init__(self, channels: int, out: int, *, stride: int = 1) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, out, 3, stride=stride, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(out)
        self.conv2 = nn.Conv2d(out, out, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(out)
        self.shortcut = nn.Sequential()
        if stride != 1 or channels != out:
            self.shortcut.append(Thinned(channels, out, stride=stride))
            self.shortcut.append(nn.BatchNorm2d(out))

    def forward(self, x: Tensor) -> Tensor:
        y = functional.relu(self.norm1(self.conv1(x)))
        return functional.relu(self.norm2(self.conv2(y)) + self.shortcut(x))
