"""Augmentations of what a voice passes through: a microphone's gain, a telephone line, a codec."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from verify.training.augment.bank import RATE_HZ
from verify.training.augment.kinds import Augmentation, Scene, Span, require, require_span

KINDS = ("telephone", "mulaw", "lowpass")
MU = 255.0  # of ITU-T G.711
TELEPHONE_HZ = (300.0, 3400.0)
MOST_BINS, MOST_TIME = 40, 0.6  # something must be left to know a voice by
EDGE = 0.06  # width of a filter's edge, as a share of its frequency


@dataclass(frozen=True, slots=True, kw_only=True)
class Codec(Augmentation):
    """What is left of a voice after transmission.

    CAM++ as published takes a voice after ``telephone`` for its owner's by a cosine of 0.5 only (the others lie
    below 0.3); 0.8 after ``lowpass``, 0.98 after ``mulaw`` (20 recordings of LibriSpeech).

    Attributes:
        kinds: an equal share of the samples each: ``telephone`` (300 to 3400 Hz, 8-bit mu-law at 8 kHz),
            ``mulaw`` (8-bit mu-law, ITU-T G.711, at 16 kHz) and ``lowpass`` (cut off at `cutoff_hz`, as codecs
            of low rate do).
        cutoff_hz: lowest and highest cut-off of ``lowpass``.
    """

    probability: float = 0.2
    kinds: tuple[str, ...] = KINDS
    cutoff_hz: Span = (3000.0, 7000.0)

    def __post_init__(self) -> None:
        Augmentation.__post_init__(self)
        require(bool(self.kinds), "kinds", list(self.kinds), f"some of {', '.join(KINDS)}")
        for kind in self.kinds:
            require(kind in KINDS, "kinds", kind, f"of {', '.join(KINDS)}")
        require_span(self.cutoff_hz, "cutoff_hz", low=500.0, high=RATE_HZ / 2)

    def change(self, part: Tensor, scene: Scene) -> Tensor:
        """(M, N) waves."""
        changed = torch.empty_like(part)
        for kind, rows in zip(self.kinds, scene.dice.parts(len(part), len(self.kinds)), strict=True):
            if not len(rows):
                continue
            wave = part[rows]
            if kind == "telephone":
                wave = _telephone(wave)
            elif kind == "mulaw":
                wave = mulaw(wave)
            else:
                wave = _band(wave, low_hz=0.0, high_hz=scene.dice.uniform(len(rows), self.cutoff_hz)[:, None])
            changed.index_copy_(0, rows, wave)
        return changed


@dataclass(frozen=True, slots=True, kw_only=True)
class Gain(Augmentation):
    """A microphone set too low or too high: what goes beyond full scale is cut off.

    Features forget the level itself; what stays is the floor under a faint voice and the harshness of a cut one.

    Attributes:
        gain_db: lowest and highest.
    """

    probability: float = 0.2
    gain_db: Span = (-20.0, 15.0)

    def __post_init__(self) -> None:
        Augmentation.__post_init__(self)
        require_span(self.gain_db, "gain_db", low=-80.0, high=60.0)

    def change(self, part: Tensor, scene: Scene) -> Tensor:
        """(M, N) waves, rounded to 16 bits."""
        gain = 10 ** (scene.dice.uniform(len(part), self.gain_db)[:, None] / 20)
        return (part * gain * 32768).round().clamp(-32768, 32767) / 32768


@dataclass(frozen=True, slots=True, kw_only=True)
class Spec(Augmentation):
    """Bands and moments of the features blanked out.

    SpecAugment without warping (Park et al., SpecAugment, Interspeech 2019). Blanks are zero, which is the mean
    of each band.

    Attributes:
        bands: stretches of frequency that are blanked.
        band: bins of such a stretch, at most.
        moments: stretches of time that are blanked.
        moment: share of the time of such a stretch, at most.
    """

    probability: float = 0.5
    bands: int = 1
    band: int = 10
    moments: int = 1
    moment: float = 0.1

    def __post_init__(self) -> None:
        Augmentation.__post_init__(self)
        for key in ("bands", "moments", "band", "moment"):
            require(getattr(self, key) >= 0, key, getattr(self, key), "at least 0")
        require(
            self.bands * self.band <= MOST_BINS,
            "bands x band",
            self.bands * self.band,
            f"at most {MOST_BINS}",
        )
        share = self.moments * self.moment
        require(share <= MOST_TIME, "moments x moment", share, f"at most {MOST_TIME}")

    def change(self, part: Tensor, scene: Scene) -> Tensor:
        """(M, T, F) features."""
        (count, frames, bins), dice = part.shape, scene.dice
        kept = torch.ones(count, frames, bins, dtype=torch.bool, device=part.device)
        for _ in range(self.bands):
            width = dice.uniform(count, (0.0, self.band + 1.0))
            kept &= _outside(bins, width, dice.uniform(count, (0.0, 1.0)))[:, None, :]
        for _ in range(self.moments):
            width = dice.uniform(count, (0.0, self.moment * frames))
            kept &= _outside(frames, width, dice.uniform(count, (0.0, 1.0)))[:, :, None]
        return part * kept


def mulaw(waves: Tensor) -> Tensor:
    """Waves in [-1, 1] through 8 bits of the continuous mu-law and back (ITU-T G.711 approximates it piecewise)."""
    pressed = waves.sign() * torch.log1p(MU * waves.abs().clamp(max=1.0)) / math.log1p(MU)
    pressed = ((pressed + 1) / 2 * MU).round() / MU * 2 - 1
    return pressed.sign() * torch.expm1(pressed.abs() * math.log1p(MU)) / MU


def _telephone(waves: Tensor) -> Tensor:
    """(M, N) with what 8 kHz and 8 bits leave of it."""
    samples = waves.shape[1]
    narrow = mulaw(_band(waves, low_hz=TELEPHONE_HZ[0], high_hz=TELEPHONE_HZ[1])[:, ::2])
    wide = torch.fft.irfft(torch.fft.rfft(narrow), n=2 * narrow.shape[1]) * 2
    return wide[:, :samples]


def _band(waves: Tensor, *, low_hz: float, high_hz: float | Tensor) -> Tensor:
    """(M, N) with what lies outside a band taken away, over edges of a few percent of their frequency."""
    samples = waves.shape[1]
    padded = samples + RATE_HZ // 50  # what rings over the end does not come back at the beginning
    hz = torch.fft.rfftfreq(padded, 1 / RATE_HZ, device=waves.device)
    passed = torch.sigmoid((high_hz - hz) / (EDGE * high_hz) * 4)
    if low_hz:
        passed = passed * torch.sigmoid((hz - low_hz) / (EDGE * low_hz) * 4)
    return torch.fft.irfft(torch.fft.rfft(waves, n=padded) * passed, n=padded)[:, :samples]


def _outside(size: int, width: Tensor, place: Tensor) -> Tensor:
    """(M, size): whether each index lies outside a stretch of (M,) whole `width` at (M,) share `place`."""
    width = width.floor()
    start = (place * (size - width + 1)).floor()[:, None]
    at = torch.arange(size, device=width.device)
    return (at < start) | (at >= start + width[:, None])
