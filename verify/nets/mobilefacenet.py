"""MobileFaceNet: a face encoder of a million parameters, for phones and doors.

Chen, Liu, Gao, Han, "MobileFaceNets: Efficient CNNs for Accurate Real-Time Face Verification on
Mobile Devices", CCBR 2018, https://arxiv.org/abs/1804.07573, Table 1; the inverted residuals are
those of MobileNetV2 (Sandler et al., CVPR 2018) with PReLU. A depthwise convolution over the whole
last map, with weights of its own for every place, stands where others average: the middle of a
face tells more than its rim.

    pixels (B, 3, 112, 112), 0..255
      convolution 3x3 / 2, depthwise 3x3     (B, 64, 56, 56)
      5 bottlenecks, expansion 2, the first / 2   (B, 64, 28, 28)
      bottleneck, expansion 4, / 2           (B, 128, 14, 14)
      6 bottlenecks, expansion 2             (B, 128, 14, 14)
      bottleneck, expansion 4, / 2           (B, 128, 7, 7)
      2 bottlenecks, expansion 2             (B, 128, 7, 7)
      convolution 1x1                        (B, 512, 7, 7)
      depthwise 7x7, linear                  (B, 512, 1, 1)
      linear, normalised by batch            (B, 128)
"""

from __future__ import annotations

from torch import Tensor, nn

from verify.nets.encoder import Encoder, PixelScale, PReLU, in_float32, initialise, scaled

# (blocks, channels, expansion, stride of the first block)
STAGES = ((5, 64, 2, 2), (1, 128, 4, 2), (6, 128, 2, 1), (1, 128, 4, 2), (2, 128, 2, 1))
STRIDE = 16  # of the last map


class MobileFaceNet(Encoder):
    """The face encoder: pixels (B, 3, S, S) of 0..255 -> embeddings (B, `dim`).

    Args:
        dim: embedding size; the paper's is 128.
        width: factor on all channels.
        size_px: side S of the photos, a multiple of 16; the last layer's weights depend on it.
    """

    def __init__(self, *, dim: int = 128, width: float = 1.0, size_px: int = 112) -> None:
        super().__init__()
        self.dim = dim
        channels, last = scaled(64, width), scaled(512, width)
        self.pixels = PixelScale()
        self.stem = nn.Sequential(
            conv_norm(3, channels, 3, stride=2, act=True),
            conv_norm(channels, channels, 3, groups=channels, act=True),
        )
        self.stages = nn.Sequential()
        for blocks, plain_out, expansion, stride in STAGES:
            out = scaled(plain_out, width)
            for index in range(blocks):
                self.stages.append(
                    Bottleneck(channels, out, expansion=expansion, stride=stride if index == 0 else 1)
                )
                channels = out
        self.last = conv_norm(channels, last, 1, act=True)
        self.whole = conv_norm(last, last, size_px // STRIDE, groups=last, padding=0)
        self.linear = nn.Linear(last, dim, bias=False)
        self.norm = nn.BatchNorm1d(dim)
        initialise(self)

    def raw(self, x: Tensor) -> Tensor:
        """(B, 3, S, S), 0..255 -> (B, D) float32."""
        x = self.stages(self.stem(self.pixels(x)))  # (B, 128, S/16, S/16)
        x = self.whole(self.last(x)).flatten(1)  # (B, 512)
        with in_float32(x):
            return self.norm(self.linear(x.float()))


class Bottleneck(nn.Module):
    """Inverted residual: widen, look around (depthwise), narrow; added to the input where shapes allow."""

    def __init__(self, channels: int, out: int, *, expansion: int, stride: int) -> None:
        super().__init__()
        wide = channels * expansion
        self.residual = stride == 1 and channels == out
        self.widen = conv_norm(channels, wide, 1, act=True)
        self.look = conv_norm(wide, wide, 3, stride=stride, groups=wide, act=True)
        self.narrow = conv_norm(wide, out, 1)

    def forward(self, x: Tensor) -> Tensor:
        y = self.narrow(self.look(self.widen(x)))
        return x + y if self.residual else y


class Depthwise(nn.Conv2d):
    """A convolution within each channel. Where it shrinks the map, a CPU trains it in float32.

    In bf16 the gradients of these few layers took a CPU a third of a whole step, in float32 an eighth of that.
    """

    def forward(self, x: Tensor) -> Tensor:
        shrinks = self.stride != (1, 1) or self.padding == (0, 0)
        if shrinks and x.device.type == "cpu" and x.requires_grad:
            with in_float32(x):
                return super().forward(x.float()).to(x.dtype)
        return super().forward(x)


def conv_norm(
    channels: int,
    out: int,
    size: int,
    *,
    stride: int = 1,
    groups: int = 1,
    padding: int | None = None,
    act: bool = False,
) -> nn.Sequential:
    """Convolution, batch normalisation and, with `act`, PReLU; `padding` keeps the size if None."""
    padding = size // 2 if padding is None else padding
    layers = nn.Sequential()
    kind = nn.Conv2d if groups == 1 else Depthwise
    layers.add_module(
        "conv", kind(channels, out, size, stride=stride, padding=padding, groups=groups, bias=False)
    )
    layers.add_module("norm", nn.BatchNorm2d(out))
    if act:
        layers.add_module("act", PReLU(out))
    return layers
