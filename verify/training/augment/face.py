"""The augmentations of faces, in the order in which the world applies them: scene, optics, sensor, file."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING

from verify.training.augment.frame import Colour, Crop, Flip, Grey, Light, Occlusion
from verify.training.augment.quality import Blur, Downscale, Grain, Jpeg

if TYPE_CHECKING:
    from collections.abc import Mapping

    from verify.training.augment.kinds import Augmentation

FACE: Mapping[str, type[Augmentation]] = MappingProxyType(
    {
        "flip": Flip,
        "occlusion": Occlusion,
        "light": Light,
        "crop": Crop,
        "downscale": Downscale,
        "blur": Blur,
        "colour": Colour,
        "grey": Grey,
        "grain": Grain,
        "jpeg": Jpeg,
    }
)
