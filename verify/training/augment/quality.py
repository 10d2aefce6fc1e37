"""Augmentations of how well a face was taken: distance, focus, sensor noise, compression.

Scaling, blurring and JPEG's cosine transform are all linear along rows and along columns, so each is two
products with a small matrix (side x side): exact, batched, a matrix of its own for each photo, fast on any device.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812  as everyone writes it

from verify.training.augment.kinds import Augmentation, Scene, Span, require_span

Table = tuple[tuple[float, ...], ...]

BLOCK = 8  # of JPEG
# Tables K.1 and K.2 of ITU-T T.81 (JPEG), for quality 50 as the Independent JPEG Group scales them.
LUMINANCE = (
    (16, 11, 10, 16, 24, 40, 51, 61), (12, 12, 14, 19, 26, 58, 60, 55), (14, 13, 16, 24, 40, 57, 69, 56),
    (14, 17, 22, 29, 51, 87, 80, 62), (18, 22, 37, 56, 68, 109, 103, 77), (24, 35, 55, 64, 81, 104, 113, 92),
    (49, 64, 78, 87, 103, 121, 120, 101), (72, 92, 95, 98, 112, 100, 103, 99),
)  # fmt: skip
CHROMINANCE = (
    (17, 18, 24, 47, 99, 99, 99, 99), (18, 21, 26, 66, 99, 99, 99, 99), (24, 26, 56, 99, 99, 99, 99, 99),
    (47, 66, 99, 99, 99, 99, 99, 99), *(((99,) * 8,) * 4),
)  # fmt: skip
TO_YCC = ((0.299, 0.587, 0.114), (-0.168736, -0.331264, 0.5), (0.5, -0.418688, -0.081312))
FROM_YCC = ((1.0, 0.0, 1.402), (1.0, -0.344136, -0.714136), (1.0, 1.772, 0.0))


@dataclass(frozen=True, slots=True, kw_only=True)
class Downscale(Augmentation):
    """A face far away: shrunk with antialiasing, then enlarged again, both bilinearly.

    Attributes:
        scale: smallest and largest share of the side that is left.
    """

    probability: float = 0.2
    scale: Span = (0.25, 0.8)

    def __post_init__(self) -> None:
        Augmentation.__post_init__(self)
        require_span(self.scale, "scale", low=0.05, high=1.0)

    def change(self, part: Tensor, scene: Scene) -> Tensor:
        """(M, 3, H, W)."""
        share = scene.dice.uniform(len(part), self.scale)
        rows, columns = (
            _scalings(side, part.device)[(share * side).round().long().clamp(1, side) - 1]
            for side in part.shape[2:]
        )
        return _along_both(part, rows, columns)


@dataclass(frozen=True, slots=True, kw_only=True)
class Blur(Augmentation):
    """A face out of focus: a Gaussian.

    Attributes:
        sigma: smallest and largest standard deviation, as a share of the side (0.01 is 1.1 pixels of 112).
    """

    probability: float = 0.2
    sigma: Span = (0.003, 0.018)

    def __post_init__(self) -> None:
        Augmentation.__post_init__(self)
        require_span(self.sigma, "sigma", low=1e-4, high=0.2)

    def change(self, part: Tensor, scene: Scene) -> Tensor:
        """(M, 3, H, W)."""
        sigma = scene.dice.uniform(len(part), self.sigma)
        rows, columns = (_gaussians(sigma * side, side) for side in part.shape[2:])
        return _along_both(part, rows, columns)


@dataclass(frozen=True, slots=True, kw_only=True)
class Grain(Augmentation):
    """Sensor noise in poor light: normal, independent in each pixel and channel.

    Attributes:
        sigma: smallest and largest standard deviation, in grey levels of 0 to 255.
    """

    probability: float = 0.1
    sigma: Span = (2.0, 12.0)

    def __post_init__(self) -> None:
        Augmentation.__post_init__(self)
        require_span(self.sigma, "sigma", low=0.0, high=100.0)

    def change(self, part: Tensor, scene: Scene) -> Tensor:
        """(M, 3, H, W)."""
        sigma = scene.dice.uniform(len(part), self.sigma)[:, None, None, None]
        return (part + sigma * scene.dice.normal(*part.shape)).clamp(0.0, 255.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Jpeg(Augmentation):
    """JPEG compression: 8 x 8 cosine transform, quantised by the standard's tables, chroma at half the size.

    What libjpeg gives at the same quality, to within one grey level on average: a test holds the two together.

    Attributes:
        quality: smallest and largest, on libjpeg's scale.
    """

    probability: float = 0.2
    quality: Span = (25.0, 90.0)

    def __post_init__(self) -> None:
        Augmentation.__post_init__(self)
        require_span(self.quality, "quality", low=1.0, high=100.0)

    def change(self, part: Tensor, scene: Scene) -> Tensor:
        """(M, 3, H, W), H and W of any size."""
        height, width = part.shape[2:]
        quality = scene.dice.uniform(len(part), self.quality).round()
        # chroma blocks are 16 x 16 pixels
        padding = (0, -width % (2 * BLOCK), 0, -height % (2 * BLOCK))
        return compressed(F.pad(part, padding, mode="replicate"), quality)[:, :, :height, :width]


def compressed(photos: Tensor, quality: Tensor) -> Tensor:
    """(M, 3, H, W) in 0..255, H and W multiples of 16, each through JPEG of its (M,) whole-number quality."""
    to_ycc, from_ycc = (_constant(matrix, photos.device) for matrix in (TO_YCC, FROM_YCC))
    ycc = torch.einsum("ij,mjhw->mihw", to_ycc, photos.round()).round()
    scale = torch.where(quality < 50, 5000 / quality, 200 - 2 * quality)[:, None, None, None]  # noqa: PLR2004
    luma = _quantised(ycc[:, :1] - 128, LUMINANCE, scale) + 128
    chroma = _quantised(F.avg_pool2d(ycc[:, 1:], 2).round(), CHROMINANCE, scale)
    chroma = F.interpolate(chroma, scale_factor=2, mode="bilinear")  # libjpeg's "fancy upsampling"
    rgb = torch.einsum("ij,mjhw->mihw", from_ycc, torch.cat([luma, chroma], dim=1))
    return rgb.round().clamp(0.0, 255.0)


def _quantised(planes: Tensor, table: Table, scale: Tensor) -> Tensor:
    """(M, C, H, W) through the cosine transform, rounding to multiples of the table, and back."""
    rows, columns = (_cosines(side, planes.device) for side in planes.shape[2:])
    steps = _constant(table, planes.device).repeat(planes.shape[2] // BLOCK, planes.shape[3] // BLOCK)
    steps = ((steps * scale + 50) / 100).floor().clamp(1.0, 255.0)
    whole = (_along_both(planes, rows, columns) / steps).round() * steps
    return _along_both(whole, rows.mT, columns.mT)


def _along_both(photos: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """(M, C, H, W): each plane X becomes rows X columns', with matrices (H, H) and (W, W), or (M, ...) of them."""
    if rows.ndim == 3:  # noqa: PLR2004  one for each photo
        rows, columns = rows[:, None], columns[:, None]
    return rows @ photos @ columns.mT


def _gaussians(sigma: Tensor, side: int) -> Tensor:
    """(M,) standard deviations in pixels -> (M, side, side); rows sum to 1, at the edges too."""
    place = torch.arange(side, device=sigma.device, dtype=torch.float32)
    distance = (place[:, None] - place) / sigma[:, None, None]
    return (-0.5 * distance.square()).softmax(dim=2)


@cache
def _constant(table: Table, device: torch.device) -> Tensor:
    """A table on the device: sent once, for every sending waits for the device."""
    return torch.tensor(table, dtype=torch.float32).to(device)


@cache
def _scalings(side: int, device: torch.device) -> Tensor:
    """(side, side, side): entry n - 1 shrinks to n pixels and enlarges again."""
    one = torch.eye(side)[None, None]
    found = [
        F.interpolate(
            F.interpolate(one, (n, side), mode="bilinear", antialias=True), (side, side), mode="bilinear"
        )[0, 0]
        for n in range(1, side + 1)
    ]
    return torch.stack(found).to(device)


@cache
def _cosines(side: int, device: torch.device) -> Tensor:
    """(side, side): the orthonormal cosine transform of each stretch of 8."""
    n = torch.arange(BLOCK, dtype=torch.float64)
    basis = torch.cos((2 * n + 1) * n[:, None] * torch.pi / (2 * BLOCK)) * (2 / BLOCK) ** 0.5
    basis[0] /= 2**0.5
    return torch.block_diag(*[basis] * (side // BLOCK)).float().to(device)
