"""CAM++: a densely connected TDNN whose layers are masked by their context.

Wang, Zheng, Chen, Cheng, Chen, "CAM++: A Fast and Efficient Network for Speaker Verification Using
Context-Aware Masking", Interspeech 2023, https://arxiv.org/abs/2303.00332.

Module names are those of 3D-Speaker's published state dicts, which load strictly:
``CAMPPlus().load_state_dict(...)`` for the 192-d checkpoints.

    features (B, T, 80)
      FCM      2-D residual head over time and mel bands         (B, 320, T)
      TDNN     halves the frame rate; N = ceil(T / 2)            (B, 128, N)
      block1   12 dense layers, each 32 channels more            (B, 512, N)   transit1 -> 256
      block2   24 dense layers                                   (B, 1024, N)  transit2 -> 512
      block3   16 dense layers                                   (B, 1024, N)  transit3 -> 512
      stats    mean and standard deviation over time             (B, 1024)
      dense    linear, normalised by batch                       (B, 192)
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from verify.nets.encoder import Encoder, Thinned, in_float32, scaled

SEGMENT = 100  # frames of local context: two seconds


class CAMPPlus(Encoder):
    """The speaker encoder: log-mel features (B, T, `mels`) -> embeddings (B, `dim`) of unit L2 norm.

    Args:
        mels: mel bands, a multiple of 8; each has its mean over time subtracted beforehand.
        dim: embedding size.
        growth: channels that each dense layer adds.
        blocks: (layers, dilation) of each dense block.
        width: factor on `growth` and on the channels of the head.
    """

    def __init__(
        self,
        *,
        mels: int = 80,
        dim: int = 192,
        growth: int = 32,
        blocks: tuple[tuple[int, int], ...] = ((12, 1), (24, 2), (16, 2)),
        width: float = 1.0,
    ) -> None:
        super().__init__()
        self.dim = dim
        growth = scaled(growth, width)
        self.head = FCM(mels, scaled(32, width))
        channels = 4 * growth
        self.xvector = nn.Sequential()
        self.xvector.add_module("tdnn", TDNN(self.head.channels, channels))
        for number, (layers, dilation) in enumerate(blocks, start=1):
            self.xvector.add_module(f"block{number}", DenseBlock(channels, layers, growth, dilation))
            channels += layers * growth
            self.xvector.add_module(f"transit{number}", Transit(channels, channels // 2))
            channels //= 2
        self.xvector.add_module("out_nonlinear", norm_relu(channels))
        self.xvector.add_module("stats", StatsPool())
        self.xvector.add_module("dense", Dense(2 * channels, dim))
        for module in self.modules():
            if isinstance(module, nn.Conv1d):
                nn.init.kaiming_normal_(module.weight)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def raw(self, x: Tensor) -> Tensor:
        """(B, T, mels) -> (B, dim) float32; T >= 1, though speech needs hundreds of frames."""
        x = self.head(x.transpose(1, 2))  # (B, 320, T)
        return self.xvector(x)


class FCM(nn.Module):
    """The front-end convolution module: patterns over time and frequency, (B, F, T) -> (B, 32 F/8, T)."""

    def __init__(self, mels: int, width: int = 32) -> None:
        super().__init__()
        self.channels = width * (mels // 8)
        self.conv1 = nn.Conv2d(1, width, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.layer1 = nn.Sequential(Residual(width, stride=2), Residual(width))
        self.layer2 = nn.Sequential(Residual(width, stride=2), Residual(width))
        self.conv2 = nn.Conv2d(width, width, 3, stride=(2, 1), padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)

    def forward(self, x: Tensor) -> Tensor:
        x = functional.relu(self.bn1(self.conv1(x[:, None])))  # (B, 32, F, T)
        x = self.layer2(self.layer1(x))  # (B, 32, F/4, T)
        x = functional.relu(self.bn2(self.conv2(x)))  # (B, 32, F/8, T)
        return x.flatten(1, 2)


class Residual(nn.Module):
    """Two 3x3 convolutions and a shortcut; `stride` goes over frequency, time stays whole."""

    def __init__(self, width: int, stride: int = 1) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(width, width, 3, stride=(stride, 1), padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.shortcut = nn.Sequential()
        if stride != 1:
            self.shortcut.append(Thinned(width, width, stride=(stride, 1)))
            self.shortcut.append(nn.BatchNorm2d(width))

    def forward(self, x: Tensor) -> Tensor:
        y = functional.relu(self.bn1(self.conv1(x)))
        return functional.relu(self.bn2(self.conv2(y)) + self.shortcut(x))


class TDNN(nn.Module):
    """The strided time-delay layer: (B, C, T) -> (B, out, ceil(T / 2))."""

    def __init__(self, channels: int, out: int) -> None:
        super().__init__()
        self.linear = nn.Conv1d(channels, out, 5, stride=2, padding=2, bias=False)
        self.nonlinear = norm_relu(out)

    def forward(self, x: Tensor) -> Tensor:
        return self.nonlinear(self.linear(x))


class DenseBlock(nn.Module):
    """Layers that each see the outputs of all before them: (B, C, N) -> (B, C + layers * growth, N)."""

    def __init__(self, channels: int, layers: int, growth: int, dilation: int) -> None:
        super().__init__()
        for index in range(layers):
            self.add_module(f"tdnnd{index + 1}", DenseLayer(channels + index * growth, growth, dilation))

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.children():
            x = torch.cat([x, layer(x)], dim=1)
        return x


class DenseLayer(nn.Module):
    """Bottleneck and masked convolution: (B, C, N) -> (B, growth, N)."""

    def __init__(self, channels: int, growth: int, dilation: int) -> None:
        super().__init__()
        self.nonlinear1 = norm_relu(channels)
        self.linear1 = nn.Conv1d(channels, 4 * growth, 1, bias=False)
        self.nonlinear2 = norm_relu(4 * growth)
        self.cam_layer = ContextMasked(4 * growth, growth, dilation)

    def forward(self, x: Tensor) -> Tensor:
        return self.cam_layer(self.nonlinear2(self.linear1(self.nonlinear1(x))))


class ContextMasked(nn.Module):
    """A convolution over neighbours, scaled by a mask made of the segment's and the whole's mean."""

    def __init__(self, channels: int, out: int, dilation: int) -> None:
        super().__init__()
        self.linear_local = nn.Conv1d(channels, out, 3, padding=dilation, dilation=dilation, bias=False)
        self.linear1 = nn.Conv1d(channels, channels // 2, 1)
        self.linear2 = nn.Conv1d(channels // 2, out, 1)

    def forward(self, x: Tensor) -> Tensor:
        # The last segment is shorter and averages over the frames that it has (ceil_mode).
        segments = functional.avg_pool1d(x, SEGMENT, ceil_mode=True)  # (B, C, S)
        context = x.mean(-1, keepdim=True) + segments
        mask = self.linear2(functional.relu(self.linear1(context))).sigmoid()  # (B, out, S)
        # The same for each frame of a segment, so that it is computed once and repeated.
        return self.linear_local(x) * mask.repeat_interleave(SEGMENT, dim=-1)[..., : x.shape[-1]]


class Transit(nn.Module):
    """Halves the channels between blocks: (B, C, N) -> (B, out, N)."""

    def __init__(self, channels: int, out: int) -> None:
        super().__init__()
        self.nonlinear = norm_relu(channels)
        self.linear = nn.Conv1d(channels, out, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(self.nonlinear(x))


class StatsPool(nn.Module):
    """Mean and unbiased standard deviation over time: (B, C, N) -> (B, 2C); deviation 0 for N = 1."""

    def forward(self, x: Tensor) -> Tensor:
        x = x.float()
        deviation = x.std(dim=-1, correction=1 if x.shape[-1] > 1 else 0)
        return torch.cat([x.mean(dim=-1), deviation], dim=-1)


class Dense(nn.Module):
    """Linear layer as published (a convolution of width 1) and normalisation without affine part."""

    def __init__(self, channels: int, out: int) -> None:
        super().__init__()
        self.linear = nn.Conv1d(channels, out, 1, bias=False)
        self.nonlinear = nn.Sequential()
        self.nonlinear.add_module("batchnorm", nn.BatchNorm1d(out, affine=False))

    def forward(self, x: Tensor) -> Tensor:
        with in_float32(x):
            return self.nonlinear(self.linear(x.float()[:, :, None])[:, :, 0])


def norm_relu(channels: int) -> nn.Sequential:
    """Batch normalisation and ReLU under the published name of the former."""
    layers = nn.Sequential()
    layers.add_module("batchnorm", nn.BatchNorm1d(channels))
    layers.add_module("relu", nn.ReLU())
    return layers
