"""Augmentations of where a voice is heard: other sounds, the room's echo."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from verify.training.augment.bank import RATE_HZ, recordings
from verify.training.augment.kinds import Augmentation, Scene, Span, require, require_span

if TYPE_CHECKING:
    from verify.training.augment.dice import Dice

SYNTHESISED = ("coloured", "babble")
MAX_VOICES = 5
MAX_RESPONSE_S = 1.0
DECAY = 3 * math.log(10)  # amplitude falls by 60 dB over the reverberation time


@dataclass(frozen=True, slots=True, kw_only=True)
class Noise(Augmentation):
    """Other sounds beside the voice, at a level below it that is drawn for each sample.

    Attributes:
        snr_db: lowest and highest ratio of the voice's mean power to the noise's.
        folder: recordings of noise, in any folders under it; ``""`` synthesises.
        kinds: of synthesised noise, half of the samples each: ``coloured`` (normal noise whose power falls with
            frequency by 0 to 2 powers: hiss, wind, traffic) and ``babble`` (3 to 5 other samples of the batch
            at once). Beside a folder they are left out unless named.
    """

    probability: float = 0.5
    snr_db: Span = (5.0, 20.0)
    folder: str = ""
    kinds: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        Augmentation.__post_init__(self)
        require_span(self.snr_db, "snr_db", low=-20.0, high=60.0)
        for kind in self.kinds:
            require(kind in SYNTHESISED, "kinds", kind, f"of {', '.join(SYNTHESISED)}")

    def material(self) -> dict[str, Tensor]:
        """The folder's recordings end to end as int16, and where each begins and how long it is."""
        if not self.folder:
            return {}
        waves = recordings(self.folder, where="augment, noise, folder")
        peaks = [float(np.abs(wave).max()) for wave in waves]
        joined = np.concatenate(
            [
                np.round(wave * (32767 / peak)).astype(np.int16)
                for wave, peak in zip(waves, peaks, strict=True)
            ]
        )
        lengths = np.array([len(wave) for wave in waves])
        return {
            "waves": torch.from_numpy(joined),
            "starts": torch.from_numpy(np.cumsum(lengths) - lengths),
            "lengths": torch.from_numpy(lengths),
        }

    def change(self, part: Tensor, scene: Scene) -> Tensor:
        """(M, N) waves with noise."""
        kinds = (("folder",) if self.folder else ()) + (self.kinds or (() if self.folder else SYNTHESISED))
        makers = {"coloured": _coloured, "babble": _babble, "folder": _recorded}
        noise = torch.empty_like(part)
        for kind, rows in zip(kinds, scene.dice.parts(len(part), len(kinds)), strict=True):
            if len(rows):
                noise.index_copy_(0, rows, makers[kind](len(rows), part.shape[1], scene))
        snr_db = scene.dice.uniform(len(part), self.snr_db)[:, None]
        wanted = _rms(part) * 10 ** (-snr_db / 20)
        return part + noise * (wanted / _rms(noise).clamp(min=1e-8))


@dataclass(frozen=True, slots=True, kw_only=True)
class Room(Augmentation):
    """The echo of a room: the voice convolved with a response, at the level that it had.

    Synthesised responses are the direct sound followed by normal noise that decays exponentially, a diffuse
    field (Polack, La transmission de l'énergie sonore dans les salles, 1988).

    Attributes:
        decay_s: shortest and longest reverberation time, over which the echo falls by 60 dB.
        direct_db: lowest and highest ratio of the direct sound's energy to the echo's.
        folder: recorded room responses, of which each begins at its peak; ``""`` synthesises.
    """

    probability: float = 0.3
    decay_s: Span = (0.1, 0.7)
    direct_db: Span = (0.0, 15.0)
    folder: str = ""

    def __post_init__(self) -> None:
        Augmentation.__post_init__(self)
        require_span(self.decay_s, "decay_s", low=0.01, high=3.0)
        require_span(self.direct_db, "direct_db", low=-20.0, high=60.0)

    def material(self) -> dict[str, Tensor]:
        """(R, L) float32: the folder's responses from their peaks on, one second at most."""
        if not self.folder:
            return {}
        found = recordings(self.folder, where="augment, room, folder")
        cut = [wave[int(np.abs(wave).argmax()) :][: int(MAX_RESPONSE_S * RATE_HZ)] for wave in found]
        responses = np.zeros((len(cut), max(map(len, cut))), np.float32)
        for row, wave in zip(responses, cut, strict=True):
            row[: len(wave)] = wave / wave[0]
        return {"responses": torch.from_numpy(responses)}

    def change(self, part: Tensor, scene: Scene) -> Tensor:
        """(M, N) waves, echoes included as far as they fall into the stretch."""
        responses = scene.material.get("responses")
        if responses is None:
            response = self._synthesised(len(part), scene.dice)
        else:
            response = responses[scene.dice.whole(len(part), 0, len(responses) - 1)]
        size = _fast_size(part.shape[1] + response.shape[1] - 1)
        spectrum = torch.fft.rfft(part, n=size) * torch.fft.rfft(response, n=size)
        heard = torch.fft.irfft(spectrum, n=size)[:, : part.shape[1]]
        return heard * (_rms(part) / _rms(heard).clamp(min=1e-8))

    def _synthesised(self, count: int, dice: Dice) -> Tensor:
        """(count, L) responses that begin with the direct sound."""
        time_s = torch.arange(int(self.decay_s[1] * RATE_HZ) + 1, device=dice.device) / RATE_HZ
        decay_s = dice.uniform(count, self.decay_s)[:, None]
        first_s = dice.uniform(count, (0.001, 0.01))[:, None]  # the nearest wall
        echo = dice.normal(count, len(time_s)) * torch.exp(-DECAY * time_s / decay_s) * (time_s >= first_s)
        energy = echo.square().sum(dim=1, keepdim=True).clamp(min=1e-8)
        echo = echo * (10 ** (-dice.uniform(count, self.direct_db)[:, None] / 10) / energy).sqrt()
        echo[:, 0] += 1.0
        return echo


def _coloured(count: int, samples: int, scene: Scene) -> Tensor:
    """(count, samples): normal noise with power ~ f^-a, a from 0 (white) over 1 (pink) to 2 (brown)."""
    size = _fast_size(samples)
    exponent = scene.dice.uniform(count, (0.0, 2.0))[:, None]
    hz = torch.fft.rfftfreq(size, 1 / RATE_HZ, device=scene.dice.device).clamp(min=50.0)
    spectrum = torch.fft.rfft(scene.dice.normal(count, size)) * hz ** (-exponent / 2)
    return torch.fft.irfft(spectrum, n=size)[:, :samples]


def _babble(count: int, samples: int, scene: Scene) -> Tensor:
    """(count, samples): for each, 3 to 5 rows of the whole batch, all equally loud, each from some place on."""
    dice, whole = scene.dice, scene.whole
    at = torch.arange(samples, device=whole.device)
    babble = torch.zeros(count, samples, device=whole.device)
    number = dice.whole(count, 3, MAX_VOICES)
    for voice in range(MAX_VOICES):
        rows = dice.whole(count, 0, len(whole) - 1)
        places = (at + dice.whole(count, 0, samples - 1)[:, None]) % samples
        heard = whole[rows].gather(1, places)
        babble += torch.where((voice < number)[:, None], heard / _rms(heard).clamp(min=1e-8), 0.0)
    return babble


def _recorded(count: int, samples: int, scene: Scene) -> Tensor:
    """(count, samples): a stretch of some recording of the folder each; short ones go round."""
    waves, starts, lengths = (scene.material[key] for key in ("waves", "starts", "lengths"))
    rows = scene.dice.whole(count, 0, len(starts) - 1)
    offset = (scene.dice.uniform(count, (0.0, 1.0)) * lengths[rows]).long()
    at = (offset[:, None] + torch.arange(samples, device=waves.device)) % lengths[rows][:, None]
    return waves[starts[rows][:, None] + at].float() / 32768


def _rms(waves: Tensor) -> Tensor:
    """(M, N) -> (M, 1)."""
    return waves.square().mean(dim=1, keepdim=True).sqrt()


def _fast_size(count: int) -> int:
    """The least power of two, or three times one, of at least `count`: transforms of primes are slow."""
    power = 1 << (count - 1).bit_length()
    return power * 3 // 4 if power * 3 // 4 >= count else power
