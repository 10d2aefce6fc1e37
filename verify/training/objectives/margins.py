"""Margins on the target's cosine: what makes a class's samples come closer than they must.

All angles in radians. Each takes cosines (b,) in [-1, 1] and gives cosines; differentiable, never growing with the
angle.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

NEARLY = 1.0 - 1e-6  # the arc cosine has no slope at 1


def add_angle(cosine: Tensor, *, margin_rad: float) -> Tensor:
    """ArcFace: cos(angle + margin), continued as a line where the angle would pass pi.

    Deng, Guo, Xue, Zafeiriou, CVPR 2019, https://arxiv.org/abs/1801.07698. The continuation,
    cos(angle) - margin * sin(margin), keeps the logit falling; it is the one of the authors' code.
    """
    bounded = cosine.clamp(-NEARLY, NEARLY)
    sine = (1.0 - bounded * bounded).sqrt()
    moved = bounded * math.cos(margin_rad) - sine * math.sin(margin_rad)
    line = bounded - margin_rad * math.sin(margin_rad)
    return torch.where(bounded >= -math.cos(margin_rad), moved, line)


def subtract(cosine: Tensor, *, margin_cosine: float) -> Tensor:
    """CosFace: cosine - margin. Wang et al., CVPR 2018, https://arxiv.org/abs/1801.09414."""
    return cosine - margin_cosine


def adapt(cosine: Tensor, *, quality: Tensor, margin_rad: float) -> Tensor:
    """AdaFace: more angle for samples of low quality, more distance for those of high quality.

    Kim, Jain, Liu, CVPR 2022, https://arxiv.org/abs/2204.00964, equations 16 to 18.

    Args:
        cosine: (b,).
        quality: (b,) in [-1, 1]: standardised norm of the embedding.
        margin_rad: m.
    """
    angle = cosine.clamp(-NEARLY, NEARLY).acos()
    moved = (angle - margin_rad * quality).clamp(1e-3, math.pi - 1e-3).cos()
    return moved - margin_rad * (1.0 + quality)
