"""Inception-ResNet-v1, the face encoder of the FaceNet line.

Szegedy, Ioffe, Vanhoucke, Alemi, "Inception-v4, Inception-ResNet and the Impact of Residual
Connections on Learning", AAAI 2017, https://arxiv.org/abs/1602.07261. Names are those of the state
dicts that facenet-pytorch publishes (trained on VGGFace2 and on CASIA-WebFace), without their
classifier (see `published`).

    pixels (B, 3, 160, 160), RGB, 0..255
      stem               (B, 256, 17, 17)
      5 x Block35        (B, 256, 17, 17)
      Mixed_6a           (B, 896, 8, 8)
      10 x Block17       (B, 896, 8, 8)
      Mixed_7a           (B, 1792, 3, 3)
      5 x Block8, block8 (B, 1792, 3, 3)
      mean, linear, norm (B, 512)
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional

from verify.nets.encoder import Encoder, PixelScale, in_float32, scaled

if TYPE_CHECKING:
    from collections.abc import Mapping

BN_EPS = 1e-3  # as in the framework in which the weights were trained


class InceptionResnetV1(Encoder):
    """The face encoder: pixels (B, 3, H, W) of 0..255 -> embeddings (B, `dim`).

    Args:
        dim: embedding size.
        width: factor on all channels.
        dropout: share of pooled features dropped in training.
    """

    def __init__(self, *, dim: int = 512, width: float = 1.0, dropout: float = 0.6) -> None:
        super().__init__()
        self.dim = dim
        c32, c64, c80, c192, c256 = (scaled(n, width) for n in (32, 64, 80, 192, 256))
        last = 2 * scaled(384, width) + 4 * c256  # 1792: what the two reductions stack up to
        self.pixels = PixelScale(scale=128.0)
        self.conv2d_1a = ConvNormReLU(3, c32, 3, stride=2)
        self.conv2d_2a = ConvNormReLU(c32, c32, 3)
        self.conv2d_2b = ConvNormReLU(c32, c64, 3, padding=1)
        self.maxpool_3a = nn.MaxPool2d(3, stride=2)
        self.conv2d_3b = ConvNormReLU(c64, c80, 1)
        self.conv2d_4a = ConvNormReLU(c80, c192, 3)
        self.conv2d_4b = ConvNormReLU(c192, c256, 3, stride=2)
        self.repeat_1 = nn.Sequential(*(block35(scale=0.17, width=width) for _ in range(5)))
        self.mixed_6a = mixed_6a(width=width)
        self.repeat_2 = nn.Sequential(*(block17(scale=0.10, width=width) for _ in range(10)))
        self.mixed_7a = mixed_7a(width=width)
        self.repeat_3 = nn.Sequential(*(block8(scale=0.20, width=width) for _ in range(5)))
        self.block8 = block8(scale=1.0, width=width, relu=False)
        self.dropout = nn.Dropout(dropout)
        self.last_linear = nn.Linear(last, dim, bias=False)
        self.last_bn = nn.BatchNorm1d(dim, eps=BN_EPS)

    def raw(self, x: Tensor) -> Tensor:
        """(B, 3, H, W), 0..255 -> (B, D) float32; trained at 160 x 160."""
        x = self.conv2d_2b(self.conv2d_2a(self.conv2d_1a(self.pixels(x))))
        x = self.conv2d_3b(self.maxpool_3a(x))
        x = self.conv2d_4b(self.conv2d_4a(x))
        x = self.mixed_6a(self.repeat_1(x))
        x = self.mixed_7a(self.repeat_2(x))
        x = self.block8(self.repeat_3(x))
        with in_float32(x):
            x = self.dropout(x.float().mean(dim=(2, 3)))
            return self.last_bn(self.last_linear(x))


class ConvNormReLU(nn.Module):
    """Convolution, batch normalisation, ReLU."""

    def __init__(
        self,
        channels: int,
        out: int,
        size: int | tuple[int, int],
        *,
        stride: int = 1,
        padding: int | tuple[int, int] = 0,
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, out, size, stride=stride, padding=padding, bias=False)
        self.bn = nn.BatchNorm2d(out, eps=BN_EPS)

    def forward(self, x: Tensor) -> Tensor:
        return functional.relu(self.bn(self.conv(x)))


class Branches(nn.Module):
    """Runs ``branch0``, ``branch1``, ... on the same input and stacks their channels."""

    def __init__(self, *branches: nn.Module) -> None:
        super().__init__()
        self.count = len(branches)
        for index, branch in enumerate(branches):
            self.add_module(f"branch{index}", branch)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([self.get_submodule(f"branch{index}")(x) for index in range(self.count)], dim=1)


class ResidualBranches(Branches):
    """Branches, brought back to the input's channels, scaled and added to the input."""

    def __init__(self, *branches: nn.Module, channels: tuple[int, int], scale: float, relu: bool) -> None:
        super().__init__(*branches)
        self.conv2d = nn.Conv2d(*channels, 1)
        self.scale = scale
        self.relu = nn.ReLU() if relu else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return self.relu(self.conv2d(super().forward(x)) * self.scale + x)


def block35(*, scale: float, width: float) -> ResidualBranches:
    """The residual block of the 17 x 17 grid, 256 channels."""
    c32, c256 = scaled(32, width), scaled(256, width)
    return ResidualBranches(
        ConvNormReLU(c256, c32, 1),
        nn.Sequential(ConvNormReLU(c256, c32, 1), ConvNormReLU(c32, c32, 3, padding=1)),
        nn.Sequential(
            ConvNormReLU(c256, c32, 1),
            ConvNormReLU(c32, c32, 3, padding=1),
            ConvNormReLU(c32, c32, 3, padding=1),
        ),
        channels=(3 * c32, c256),
        scale=scale,
        relu=True,
    )


def block17(*, scale: float, width: float) -> ResidualBranches:
    """The residual block of the 8 x 8 grid, 896 channels."""
    c128 = scaled(128, width)
    c896 = scaled(384, width) + 2 * scaled(256, width)
    return ResidualBranches(
        ConvNormReLU(c896, c128, 1),
        nn.Sequential(
            ConvNormReLU(c896, c128, 1),
            ConvNormReLU(c128, c128, (1, 7), padding=(0, 3)),
            ConvNormReLU(c128, c128, (7, 1), padding=(3, 0)),
        ),
        channels=(2 * c128, c896),
        scale=scale,
        relu=True,
    )


def block8(*, scale: float, width: float, relu: bool = True) -> ResidualBranches:
    """The residual block of the 3 x 3 grid, 1792 channels."""
    c192 = scaled(192, width)
    c1792 = 2 * scaled(384, width) + 4 * scaled(256, width)
    return ResidualBranches(
        ConvNormReLU(c1792, c192, 1),
        nn.Sequential(
            ConvNormReLU(c1792, c192, 1),
            ConvNormReLU(c192, c192, (1, 3), padding=(0, 1)),
            ConvNormReLU(c192, c192, (3, 1), padding=(1, 0)),
        ),
        channels=(2 * c192, c1792),
        scale=scale,
        relu=relu,
    )


def mixed_6a(*, width: float) -> Branches:
    """From the 17 x 17 to the 8 x 8 grid, 256 -> 896 channels."""
    c192, c256, c384 = (scaled(n, width) for n in (192, 256, 384))
    return Branches(
        ConvNormReLU(c256, c384, 3, stride=2),
        nn.Sequential(
            ConvNormReLU(c256, c192, 1),
            ConvNormReLU(c192, c192, 3, padding=1),
            ConvNormReLU(c192, c256, 3, stride=2),
        ),
        nn.MaxPool2d(3, stride=2),
    )


def mixed_7a(*, width: float) -> Branches:
    """From the 8 x 8 to the 3 x 3 grid, 896 -> 1792 channels."""
    c256, c384 = scaled(256, width), scaled(384, width)
    c896 = c384 + 2 * c256
    return Branches(
        nn.Sequential(ConvNormReLU(c896, c256, 1), ConvNormReLU(c256, c384, 3, stride=2)),
        nn.Sequential(ConvNormReLU(c896, c256, 1), ConvNormReLU(c256, c256, 3, stride=2)),
        nn.Sequential(
            ConvNormReLU(c896, c256, 1),
            ConvNormReLU(c256, c256, 3, padding=1),
            ConvNormReLU(c256, c256, 3, stride=2),
        ),
        nn.MaxPool2d(3, stride=2),
    )


def published(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A published state dict as one of `InceptionResnetV1`: without the classifier's layer."""
    return {name: tensor for name, tensor in state.items() if not name.startswith("logits.")}
