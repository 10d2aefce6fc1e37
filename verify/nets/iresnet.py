"""IResNet: the residual networks that ArcFace made the measure of face verification.

He, Zhang, Ren, Sun, "Deep Residual Learning for Image Recognition", CVPR 2016, as changed by Deng,
Guo, Xue, Zafeiriou, "ArcFace: Additive Angular Margin Loss for Deep Face Recognition", CVPR 2019,
https://arxiv.org/abs/1801.07698: units of BN-Conv-BN-PReLU-Conv-BN with the stride in the second
convolution, a first convolution that keeps the 112 pixels, and BN-Dropout-FC-BN at the end, over all
places of the last map. Module names are those of insightface's published torch state dicts.

    pixels (B, 3, 112, 112), 0..255
      convolution 3x3         (B, 64, 112, 112)
      layer1, / 2             (B, 64, 56, 56)
      layer2, / 2             (B, 128, 28, 28)
      layer3, / 2             (B, 256, 14, 14)
      layer4, / 2             (B, 512, 7, 7)
      linear, normalised      (B, 512)
"""

from __future__ import annotations

from torch import Tensor, nn

from verify.nets.encoder import Encoder, PixelScale, PReLU, Thinned, in_float32, initialise, scaled

CHANNELS = (64, 128, 256, 512)
STRIDE = 16  # of the last map


class IResNet(Encoder):
    """The face encoder: pixels (B, 3, S, S) of 0..255 -> embeddings (B, `dim`).

    Args:
        blocks: units of each of the four layers.
        dim: embedding size.
        width: factor on all channels.
        dropout: share of the last map that is dropped in training.
        size_px: side S of the photos, a multiple of 16; the linear layer's size depends on it.
    """

    def __init__(
        self,
        *,
        blocks: tuple[int, int, int, int],
        dim: int = 512,
        width: float = 1.0,
        dropout: float = 0.0,
        size_px: int = 112,
    ) -> None:
        super().__init__()
        self.dim = dim
        channels = scaled(64, width)
        self.pixels = PixelScale()
        self.conv1 = nn.Conv2d(3, channels, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.prelu = PReLU(channels)
        for number, (count, plain_out) in enumerate(zip(blocks, CHANNELS, strict=True), start=1):
            out = scaled(plain_out, width)
            units = [Unit(channels, out, stride=2), *(Unit(out, out) for _ in range(count - 1))]
            self.add_module(f"layer{number}", nn.Sequential(*units))
            channels = out
        self.bn2 = nn.BatchNorm2d(channels)
        self.dropout = nn.Dropout(dropout)
        self.fc = nn.Linear(channels * (size_px // STRIDE) ** 2, dim)
        self.features = nn.BatchNorm1d(dim)
        initialise(self)

    def raw(self, x: Tensor) -> Tensor:
        """(B, 3, S, S), 0..255 -> (B, D) float32."""
        x = self.prelu(self.bn1(self.conv1(self.pixels(x))))  # (B, 64, S, S)
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))  # (B, 512, S/16, S/16)
        x = self.dropout(self.bn2(x)).flatten(1)
        with in_float32(x):
            return self.features(self.fc(x.float()))


class Unit(nn.Module):
    """A residual unit, (B, C, H, W) -> (B, out, H / stride, W / stride)."""

    def __init__(self, channels: int, out: int, *, stride: int = 1) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv1 = nn.Conv2d(channels, out, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(out)
        self.prelu = PReLU(out)
        self.conv2 = nn.Conv2d(out, out, 3, stride=stride, padding=1, bias=False)
        self.bn3 = nn.BatchNorm2d(out)
        self.downsample: nn.Module = nn.Identity()
        if stride != 1:
            self.downsample = nn.Sequential(Thinned(channels, out, stride=stride), nn.BatchNorm2d(out))

    def forward(self, x: Tensor) -> Tensor:
        y = self.prelu(self.bn2(self.conv1(self.bn1(x))))
        return self.bn3(self.conv2(y)) + self.downsample(x)


def iresnet18(*, dim: int = 512, width: float = 1.0, dropout: float = 0.0, size_px: int = 112) -> IResNet:
    """24 million parameters."""
    return IResNet(blocks=(2, 2, 2, 2), dim=dim, width=width, dropout=dropout, size_px=size_px)


def iresnet50(*, dim: int = 512, width: float = 1.0, dropout: float = 0.0, size_px: int = 112) -> IResNet:
    """44 million parameters."""
    return IResNet(blocks=(3, 4, 14, 3), dim=dim, width=width, dropout=dropout, size_px=size_px)


def iresnet100(*, dim: int = 512, width: float = 1.0, dropout: float = 0.0, size_px: int = 112) -> IResNet:
    """65 million parameters."""
    return IResNet(blocks=(3, 13, 30, 3), dim=dim, width=width, dropout=dropout, size_px=size_px)
