"""The augmentations of voices, in the order in which the world applies them: room, noise, line, microphone's range.

There is none that colours the sound by a fixed filter: the features' mean over time is subtracted, which takes
such a filter out again.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from types import MappingProxyType
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from verify.training.augment.channel import Codec, Gain, Spec
from verify.training.augment.dice import mixed
from verify.training.augment.kinds import Augmentation, require
from verify.training.augment.surroundings import Noise, Room

if TYPE_CHECKING:
    from collections.abc import Mapping

SLOWEST, FASTEST = 0.5, 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Speed(Augmentation):
    """A voice played faster or slower is another person's: pitch and vocal tract move with it.

    Each identity is, besides itself, one new identity for each factor (Yamamoto et al., Speaker augmentation
    and bandwidth extension for deep speaker embedding, Interspeech 2019). In one step all samples of an
    identity have the same factor, so P x K batches keep their K.

    Attributes:
        probability: that an identity's samples are replaced in a step.
        factors: 0.9 is slower and lower, 1.1 faster and higher.
    """

    probability: float = 2 / 3
    factors: tuple[float, ...] = (0.9, 1.1)

    def __post_init__(self) -> None:
        Augmentation.__post_init__(self)
        require(bool(self.factors), "factors", list(self.factors), "at least one")
        for factor in self.factors:
            wanted = f"from {SLOWEST} to {FASTEST}, and not 1"
            require(SLOWEST <= factor <= FASTEST and factor != 1, "factors", factor, wanted)
        require(len(set(self.factors)) == len(self.factors), "factors", list(self.factors), "all different")

    def chosen(self, labels: Tensor, *, seed: int, step: int) -> Tensor:
        """(B,) int64: 0 for the speed as it is, n for the n-th factor; the same for equal labels of a step."""
        words = labels * 0x2545F4914F6CDD1D + mixed(seed, step, "speed")
        words = (words ^ ((words >> 29) & 0x7FFFFFFFF)) * 0x1B03738712FAD5C9
        share = ((words >> 11) & 0x1FFFFFFFFFFFFF).double() * 2.0**-53  # (B,) in [0, 1)
        number = (share / max(self.probability, 1e-9) * len(self.factors)).floor().long() + 1
        return torch.where(number > len(self.factors), 0, number)


def played(waves: Tensor, factor: float) -> Tensor:
    """(B, N) at another speed: (B, ⌈N / factor⌉), bandlimited."""
    from torchaudio.functional import resample

    ratio = Fraction(factor).limit_denominator(100)
    return resample(waves, ratio.numerator, ratio.denominator)


VOICE: Mapping[str, type[Augmentation]] = MappingProxyType(
    {
        "speed": Speed,
        "room": Room,
        "noise": Noise,
        "codec": Codec,
        "gain": Gain,
        "spec": Spec,
    }
)
