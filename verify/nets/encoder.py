"""What all encoders share: raw embeddings, their unit-L2 form, widths, activations, first weights.

Networks run under autocast in bf16. Only the last layer, which makes the embedding, leaves it: its
sums run over thousands of values, and a cosine of 0.99 next to one of 0.995 is a decision.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional


class Encoder(nn.Module):
    """A network that ends in an embedding. Subclasses give `raw`.

    Attributes:
        dim: embedding size D.
    """

    dim: int

    def raw(self, x: Tensor) -> Tensor:
        """(B, ...) inputs -> (B, D) float32 embeddings before L2 normalisation: what objectives take."""
        raise NotImplementedError

    def forward(self, x: Tensor) -> Tensor:
        """(B, ...) inputs -> (B, D) float32 embeddings of unit L2 norm: what templates are."""
        return functional.normalize(self.raw(x).float())


class PReLU(nn.PReLU):
    """`torch.nn.PReLU`, trained at the speed of a ReLU on a CPU.

    The same values and gradients. Slopes follow the type of their input, which autocast on a CPU does
    not see to, and the gradient there is made of whole-tensor operations: torch's own kernel branches
    at every value, which takes longer than the convolutions around it.
    """

    def forward(self, x: Tensor) -> Tensor:
        if x.device.type == "cpu" and x.requires_grad and not torch.compiler.is_compiling():
            return _BranchlessPReLU.apply(x, self.weight)
        return functional.prelu(x, self.weight.to(x.dtype))


class _BranchlessPReLU(torch.autograd.Function):
    """PReLU over axis 1 with a gradient free of branches."""

    @staticmethod
    def forward(context: Any, x: Tensor, slopes: Tensor) -> Tensor:
        context.save_for_backward(x, slopes)
        return functional.prelu(x, slopes.to(x.dtype))

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> tuple[Tensor, Tensor]:
        x, slopes = context.saved_tensors
        slope = slopes.to(x.dtype).reshape(-1, *([1] * (x.ndim - 2)))
        above = torch.ops.aten.threshold_backward(gradient, x, 0)  # the gradient where x > 0, else 0
        below = gradient - above
        product = below * x
        by_row = product if product.ndim == 2 else product.flatten(2).sum(2)  # noqa: PLR2004  (B, C)
        return above.addcmul_(below, slope), by_row.sum(0, dtype=torch.float32).to(slopes.dtype)


class Thinned(nn.Conv2d):
    """A 1x1 convolution with a stride, without bias: of the places that it keeps alone.

    The same weights, state dict and values as `torch.nn.Conv2d` of kernel 1. It leaves places out first: torch's
    own backward pass over 8 channels in channels_last with a stride writes beyond its memory on a CPU (torch 2.11).
    """

    def __init__(self, channels: int, out: int, *, stride: int | tuple[int, int]) -> None:
        super().__init__(channels, out, 1, stride=stride, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        down, right = self.stride
        return functional.conv2d(x[:, :, ::down, ::right], self.weight)


class PixelScale(nn.Module):
    """Pixels of 0..255 to (x - `mean`) / `scale`, in float32; the runtime's inputs stay pixels."""

    def __init__(self, *, mean: float = 127.5, scale: float = 127.5) -> None:
        super().__init__()
        self.mean, self.scale = mean, scale

    def forward(self, x: Tensor) -> Tensor:
        return (x - self.mean) / self.scale


def in_float32(x: Tensor) -> torch.autocast:
    """The context in which autocast leaves computations on the device of `x` as they are."""
    return torch.autocast(x.device.type, enabled=False)


def scaled(channels: int, width: float) -> int:
    """`channels` times `width`, to the nearest multiple of 8 (what vector units like), at least 8.

    >>> scaled(64, 1.0), scaled(64, 0.5), scaled(64, 0.3), scaled(64, 0.01)
    (64, 32, 16, 8)

    Raises:
        ValueError: `width` is not positive.
    """
    if not width > 0:
        msg = f"width must be above 0, not {width!r}"
        raise ValueError(msg)
    return channels if width == 1.0 else max(8, 8 * int(channels * width / 8 + 0.5))


def initialise(net: nn.Module, *, slope: float = 0.25) -> None:
    """First weights: kernels after He et al. (ICCV 2015) for (P)ReLUs of `slope`, linear layers after Glorot.

    Fan-in counts what one output sees, so that depthwise kernels are not made too small.
    """
    for module in net.modules():
        if isinstance(module, nn.Conv1d | nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, a=slope)
        elif isinstance(module, nn.Linear):
            nn.init.xavier_normal_(module.weight)
        if isinstance(module, nn.Conv1d | nn.Conv2d | nn.Linear) and module.bias is not None:
            nn.init.zeros_(module.bias)
