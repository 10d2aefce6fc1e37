"""Augmentations of where a face stands in its chip, what covers it, and the light on it."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812  as everyone writes it

from verify.training.augment.kinds import Augmentation, Scene, Span, require, require_span

LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601, the Y of JPEG


@dataclass(frozen=True, slots=True, kw_only=True)
class Flip(Augmentation):
    """The mirror image."""

    probability: float = 0.5

    def change(self, part: Tensor, scene: Scene) -> Tensor:  # noqa: ARG002  nothing is drawn
        """(M, 3, H, W) mirrored left to right."""
        return part.flip(3)


@dataclass(frozen=True, slots=True, kw_only=True)
class Crop(Augmentation):
    """Landmarks that were found a little off: the chip is cut shifted, larger or smaller, and turned.

    Attributes:
        shift: largest shift along each axis, as a share of the side.
        zoom: smallest and largest magnification.
        turn_rad: largest turn to either side.
    """

    probability: float = 0.5
    shift: float = 0.04
    zoom: Span = (0.92, 1.1)
    turn_rad: float = 0.08

    def __post_init__(self) -> None:
        Augmentation.__post_init__(self)
        require(0.0 <= self.shift <= 0.5, "shift", self.shift, "a share of the side from 0 to 0.5")  # noqa: PLR2004
        require_span(self.zoom, "zoom", low=0.5, high=2.0)
        require(0.0 <= self.turn_rad <= 1.0, "turn_rad", self.turn_rad, "radians from 0 to 1")

    def change(self, part: Tensor, scene: Scene) -> Tensor:
        """(M, 3, H, W) resampled bilinearly; the border's colour where the chip ends."""
        count, dice = len(part), scene.dice
        turn = dice.uniform(count, (-self.turn_rad, self.turn_rad))
        zoom = dice.uniform(count, self.zoom)
        shift = torch.stack([dice.uniform(count, (-2 * self.shift, 2 * self.shift)) for _ in "xy"], dim=1)
        cos, sin = turn.cos() / zoom, turn.sin() / zoom
        rows = torch.stack([torch.stack([cos, -sin], 1), torch.stack([sin, cos], 1)], dim=1)  # (M, 2, 2)
        grid = F.affine_grid(
            torch.cat([rows, shift[:, :, None]], dim=2), list(part.shape), align_corners=False
        )
        return F.grid_sample(part, grid, padding_mode="border", align_corners=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Occlusion(Augmentation):
    """A hand, a scarf, a post: part of the face under a rectangle or an ellipse of one colour or of noise.

    After random erasing (Zhong et al., Random erasing data augmentation, AAAI 2020).

    Attributes:
        area: smallest and largest share of the chip that is covered.
        aspect: smallest and largest height to width.
    """

    probability: float = 0.2
    area: Span = (0.03, 0.2)
    aspect: Span = (0.4, 2.5)

    def __post_init__(self) -> None:
        Augmentation.__post_init__(self)
        require_span(self.area, "area", low=0.0, high=0.6)
        require_span(self.aspect, "aspect", low=0.1, high=10.0)

    def change(self, part: Tensor, scene: Scene) -> Tensor:
        """(M, 3, H, W) with one patch each."""
        (count, _, height, width), dice = part.shape, scene.dice
        area = dice.uniform(count, self.area) * height * width
        aspect = dice.uniform(count, self.aspect)
        round_ = dice.uniform(count, (0.0, 1.0)) < 0.5  # noqa: PLR2004  half are ellipses
        spread = torch.where(round_, 4 / torch.pi, 1.0)  # an ellipse fills pi / 4 of its box
        half_height, half_width = ((area * spread * aspect).sqrt() / 2), ((area * spread / aspect).sqrt() / 2)
        top, left = dice.uniform(count, (0.0, 1.0)) * height, dice.uniform(count, (0.0, 1.0)) * width
        y = (torch.arange(height, device=part.device) + 0.5 - top[:, None]) / half_height[:, None]  # (M, H)
        x = (torch.arange(width, device=part.device) + 0.5 - left[:, None]) / half_width[:, None]
        y, x = y[:, None, :, None], x[:, None, None, :]
        inside = torch.where(
            round_[:, None, None, None], y.square() + x.square() <= 1, (y.abs() <= 1) & (x.abs() <= 1)
        )
        colour = torch.stack([dice.uniform(count, (0.0, 255.0)) for _ in range(3)], dim=1)[:, :, None, None]
        grain = dice.uniform(count, (-60.0, 60.0)).clamp(min=0.0)[
            :, None, None, None
        ]  # none for half of them
        cover = (colour + grain * dice.normal(count, 3, height, width)).clamp(0.0, 255.0)
        return torch.where(inside, cover, part)


@dataclass(frozen=True, slots=True, kw_only=True)
class Light(Augmentation):
    """Light from one side: brightness that rises along a direction.

    Attributes:
        slope: smallest and largest change of brightness from the middle to an edge, as a share.
    """

    probability: float = 0.2
    slope: Span = (0.1, 0.5)

    def __post_init__(self) -> None:
        Augmentation.__post_init__(self)
        require_span(self.slope, "slope", low=0.0, high=1.0)

    def change(self, part: Tensor, scene: Scene) -> Tensor:
        """(M, 3, H, W) times a plane of mean 1."""
        (count, _, height, width), dice = part.shape, scene.dice
        slope, angle = dice.uniform(count, self.slope), dice.uniform(count, (0.0, 2 * torch.pi))
        y = torch.linspace(-1, 1, height, device=part.device) * (slope * angle.sin())[:, None]  # (M, H)
        x = torch.linspace(-1, 1, width, device=part.device) * (slope * angle.cos())[:, None]
        return (part * (1 + y[:, None, :, None] + x[:, None, None, :])).clamp(0.0, 255.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Colour(Augmentation):
    """Another camera's exposure, contrast, saturation and white balance.

    Attributes:
        brightness: largest change of brightness to either side, as a share.
        contrast: largest change of the contrast about the chip's mean.
        saturation: largest change of the distance to grey.
        warmth: largest change of each channel against the others.
    """

    probability: float = 0.5
    brightness: float = 0.3
    contrast: float = 0.3
    saturation: float = 0.4
    warmth: float = 0.08

    def __post_init__(self) -> None:
        Augmentation.__post_init__(self)
        for key in ("brightness", "contrast", "saturation", "warmth"):
            require(0.0 <= getattr(self, key) < 1.0, key, getattr(self, key), "a share from 0 to below 1")

    def change(self, part: Tensor, scene: Scene) -> Tensor:
        """(M, 3, H, W) with its own four factors each."""

        def factor(most: float) -> Tensor:
            return scene.dice.uniform(len(part), (1 - most, 1 + most))[:, None, None, None]

        grey = _luma(part)
        part = grey + (part - grey) * factor(self.saturation)
        mean = part.mean(dim=(1, 2, 3), keepdim=True)
        part = mean + (part - mean) * factor(self.contrast)
        gains = torch.cat([factor(self.warmth) for _ in range(3)], dim=1)
        return (part * gains * factor(self.brightness)).clamp(0.0, 255.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Grey(Augmentation):
    """A photo without colour: old archives, infrared cameras at night."""

    probability: float = 0.1

    def change(self, part: Tensor, scene: Scene) -> Tensor:  # noqa: ARG002  nothing is drawn
        """(M, 3, H, W), all channels alike."""
        return _luma(part).expand_as(part)


def _luma(part: Tensor) -> Tensor:
    """(M, 3, H, W) RGB -> (M, 1, H, W)."""
    red, green, blue = part.split(1, dim=1)
    return LUMA[0] * red + LUMA[1] * green + LUMA[2] * blue
