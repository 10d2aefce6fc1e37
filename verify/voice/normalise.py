"""Speech to the features that an embedder's contract asks for; the same code for training and runtime.

``kaldi-fbank``: Kaldi's log-mel filterbank, as CAM++ and most speaker encoders of WeSpeaker and 3D-Speaker
take it, on samples in [-1, 1] with its mean over time subtracted. ``ge2e-mel``: the linear mel power spectrum
of the GE2E encoder, in partials of 1.6 s.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cache
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from verify.errors import ModelError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from verify.types import Sample, SpeechRegion

RATE_HZ = 16_000
WINDOW = 400  # 25 ms
HOP = 160  # 10 ms
FFT = 512
SLICE = 64  # frames at a time: their arrays stay in the cache
PREEMPHASIS = 0.97
FLOOR = np.float32(np.finfo(np.float32).eps)  # Kaldi's floor of the mel energies
MAX_CHUNK_S = 10.0  # measured: chunks of 2 to 30 s separate speakers equally well
LEVELS_DBFS = {"kaldi-fbank": -25.0, "ge2e-mel": -30.0}  # quieter speech would sink below the floor
MARGIN_S = 0.1  # kept around speech: words joined by four, EER 1.1 % with it, 1.4 % without

PARTIAL_FRAMES = 160  # GE2E: 1.6 s
PARTIAL_STEP = 80  # unless the contract says otherwise
MIN_COVERAGE = 0.75  # of a last partial, or it is dropped

KNOWN_CONTRACTS: dict[str, dict[str, object]] = {
    "kaldi-fbank": {
        "rate_hz": RATE_HZ,
        "window": "povey",
        "frame_s": 0.025,
        "hop_s": 0.01,
        "low_hz": 20.0,
        "dither": 0.0,
        "mean": "subtracted",
    },
    "ge2e-mel": {
        "rate_hz": RATE_HZ,
        "bins": 40,
        "window": "hann",
        "frame_s": 0.025,
        "hop_s": 0.01,
        "partial_frames": PARTIAL_FRAMES,
    },
}


@dataclass(frozen=True, slots=True)
class SpeechChunk:
    """Speech ready for an embedder.

    Attributes:
        features: (T, F) float32.
        net_speech_s: how much speech it holds: its weight in the recording's average.
    """

    features: NDArray[np.float32] = field(repr=False)
    net_speech_s: float


def chunks(
    sample: Sample, regions: Sequence[SpeechRegion], *, contract: Mapping[str, Any]
) -> tuple[SpeechChunk, ...]:
    """Join a block's speech, cut it into chunks of bounded length and compute their features.

    The chunks of one block differ by at most one frame in length, so that none is a useless rest.

    Args:
        sample: one block, 16 kHz.
        regions: its speech, from `SileroLocator.locate`.
        contract: the input contract of the embedder's card: ``features`` (``kaldi-fbank`` or
            ``ge2e-mel``), ``bins``, ``max_chunk_s`` (10 s if absent), ``margin_s`` kept around
            speech (0.1 s if absent), ``level_dbfs`` that quieter speech is raised to (-25 if absent, -30
            for GE2E), ``partial_step`` of GE2E in frames; whatever else it says must be what this version does.

    Returns:
        Chunks in time order; none if there is less speech than one frame.

    Raises:
        ModelError: the contract asks for features that this version does not make.
    """
    name = contract.get("features")
    known = KNOWN_CONTRACTS.get(str(name))
    if known is None:
        msg = f"the model takes features {name!r}; this version knows {', '.join(KNOWN_CONTRACTS)}: upgrade verify"
        raise ModelError(msg)
    for key, value in known.items():
        if contract.get(key, value) != value:
            msg = f"the model takes {name} features of {key} {contract[key]!r}; this version makes them of {value!r}"
            raise ModelError(msg)
    wave = joined(sample, regions, margin_s=float(contract.get("margin_s", MARGIN_S)))
    wave = raised(wave, level_dbfs=float(contract.get("level_dbfs", LEVELS_DBFS[str(name)])))
    if name == "ge2e-mel":
        parts = _ge2e_parts(wave, step=int(contract.get("partial_step", PARTIAL_STEP)))
    else:
        max_chunk_s = float(contract.get("max_chunk_s", MAX_CHUNK_S))
        parts = _fbank_parts(wave, bins=int(contract.get("bins", 80)), max_chunk_s=max_chunk_s)
    net_speech_s = sum(region.end_s - region.start_s for region in regions)
    return tuple(SpeechChunk(part, net_speech_s / len(parts)) for part in parts)


def short_pieces(features: NDArray[np.float32], *, frames: int = 200) -> tuple[NDArray[np.float32], ...]:
    """A chunk's fbank features (T, F) in pieces of at least `frames` (2 s), each with its own mean subtracted.

    Pieces are for holding a recording against itself; one that is too short to halve gives itself.
    """
    count = max(1, len(features) // frames)
    return tuple(piece - piece.mean(axis=0) for piece in np.array_split(features, count))


def joined(
    sample: Sample, regions: Sequence[SpeechRegion], *, margin_s: float = MARGIN_S
) -> NDArray[np.float32]:
    """The samples of all regions with `margin_s` on both sides, end to end: (N,) float32.

    Regions closer than two margins are joined with all that is between them, and no sample comes twice.
    """
    start_s = float(sample.facts.get("start_s", 0.0))
    covered = np.zeros(len(sample.media), bool)
    for region in regions:
        low = round((region.start_s - margin_s - start_s) * RATE_HZ)
        covered[max(0, low) : max(0, round((region.end_s + margin_s - start_s) * RATE_HZ))] = True
    return sample.media[covered]


def raised(wave: NDArray[np.float32], *, level_dbfs: float) -> NDArray[np.float32]:
    """Speech brought up to a mean level, never down.

    The encoders shrug off level itself, but Kaldi's floor does not: speech at -55 dBFS loses up to 0.14 of
    cosine to itself at -25 dBFS, at -40 dBFS 0.015 (CAM++, LibriSpeech).
    """
    rms = float(np.sqrt(np.mean(np.square(wave, dtype=np.float64)))) if len(wave) else 0.0
    gain = 10 ** (level_dbfs / 20) / rms if rms else 1.0
    return wave * np.float32(gain) if gain > 1.0 else wave


def kaldi_fbank(wave: NDArray[np.float32], *, bins: int = 80) -> NDArray[np.float32]:
    """Kaldi's log-mel filterbank of 16 kHz audio, without dither and with `snip_edges`.

    25 ms povey windows every 10 ms, mean removed and pre-emphasised by 0.97 in each, 512-point power
    spectrum, `bins` triangles between 20 Hz and 8 kHz on the mel scale 1127 ln(1 + f / 700), natural
    log with the energies floored at float32's epsilon. Computed in float64 up to the power spectrum: in
    float32 a quiet bin beside a loud one moves by 5e-3, in ``torchaudio.compliance.kaldi.fbank`` too,
    with which this agrees to 1e-3 when that is fed float64.

    Args:
        wave: (N,) float32 in [-1, 1]. The scale matters: it places the floor.
        bins: number of mel bins F.

    Returns:
        (T, F) float32 with T = 1 + (N - 400) // 160, or 0 if N < 400. No mean is subtracted.
    """
    if len(wave) < WINDOW:
        return np.zeros((0, bins), np.float32)
    count = 1 + (len(wave) - WINDOW) // HOP
    bank, window = _kaldi_bank(bins), _povey_window()
    energies = np.empty((count, bins), np.float32)
    padded = np.zeros((SLICE, FFT))
    for at in range(0, count, SLICE):
        taken = min(SLICE, count - at)
        # Kaldi takes the mean m off each window and then x[i] - 0.97 x[i-1]. Both are linear: the signal is emphasised
        # once and 0.03 m taken off. Only a window's first sample differs, and there the povey window is 0.
        signal = wave[at * HOP : (at + taken - 1) * HOP + WINDOW].astype(np.float64)
        means = _windows(signal).mean(axis=1, keepdims=True)
        signal[1:] -= PREEMPHASIS * signal[:-1]
        shaped = padded[:taken, :WINDOW]
        np.subtract(_windows(signal), (1.0 - PREEMPHASIS) * means, out=shaped)
        shaped *= window
        energies[at : at + taken] = bank.apply(_power(padded[:taken]))
    return np.log(np.maximum(energies, FLOOR, out=energies), out=energies)


def ge2e_mel(wave: NDArray[np.float32]) -> NDArray[np.float32]:
    """Mel power spectrum of 16 kHz audio as the GE2E encoder takes it: no logarithm.

    25 ms periodic Hann windows centred every 10 ms (zeros beyond the ends), 400-point power spectrum,
    40 triangles of unit area (Slaney) between 0 and 8 kHz.

    Args:
        wave: (N,) float32 in [-1, 1].

    Returns:
        (T, 40) float32 with T = 1 + N // 160.
    """
    padded = np.pad(np.asarray(wave, np.float32), WINDOW // 2)
    frames = _windows(padded)
    bank, window = _slaney_bank(), _hann_window()
    energies = np.empty((len(frames), bank.bins), np.float32)
    for at in range(0, len(frames), SLICE):
        energies[at : at + SLICE] = bank.apply(_power(frames[at : at + SLICE] * window))
    return energies


def _fbank_parts(wave: NDArray[np.float32], *, bins: int, max_chunk_s: float) -> list[NDArray[np.float32]]:
    """Features in parts of almost equal length, each with its own mean over time at zero."""
    features = kaldi_fbank(wave, bins=bins)
    if not len(features):
        return []
    count = -(-len(features) * HOP // round(max_chunk_s * RATE_HZ))
    return [part - part.mean(axis=0, dtype=np.float32) for part in np.array_split(features, count)]


def _ge2e_parts(wave: NDArray[np.float32], *, step: int) -> list[NDArray[np.float32]]:
    """Partials of 1.6 s, one every `step` frames, each a (160, 40) array."""
    if len(wave) < WINDOW:
        return []
    frames = -(-(len(wave) + 1) // HOP)
    starts = list(range(0, max(1, frames - PARTIAL_FRAMES + step + 1), step))
    covered = (len(wave) - starts[-1] * HOP) / (PARTIAL_FRAMES * HOP)
    if covered < MIN_COVERAGE and len(starts) > 1:
        starts.pop()
    needed = (starts[-1] + PARTIAL_FRAMES) * HOP
    mel = ge2e_mel(np.pad(wave, (0, max(0, needed - len(wave)))))
    return [mel[start : start + PARTIAL_FRAMES] for start in starts]


def _windows(signal: NDArray[Any]) -> NDArray[Any]:
    """(N,) to a (T, 400) view: 25 ms every 10 ms."""
    return np.lib.stride_tricks.sliding_window_view(signal, WINDOW)[::HOP]


def _power(frames: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
    spectrum = np.fft.rfft(frames, axis=1)
    power: NDArray[np.float64] = np.square(spectrum.real)
    power += np.square(spectrum.imag)
    return power


@dataclass(frozen=True, slots=True)
class MelBank:
    """Triangles between neighbouring edges, as sums over the stretches between the edges.

    A spectral line between two edges belongs to one rising and one falling triangle. Two weighted sums
    a stretch replace the product with a matrix that is 98 % zeros, which would also wake BLAS's threads.

    Attributes:
        rising: (K,) weight of each line in the triangle that rises there; the one that falls has the rest.
        starts: (F + 2,) first line of each stretch; the last entry is where the last one ends.
        scale: (F,) factor of each triangle.
    """

    rising: NDArray[np.float64] = field(repr=False)
    starts: NDArray[np.intp] = field(repr=False)
    scale: NDArray[np.float64] = field(repr=False)

    @classmethod
    def of(cls, places: NDArray[np.floating[Any]], edges: NDArray[np.floating[Any]]) -> Self:
        """Triangles of height 1 over each three neighbouring edges, for lines at ascending `places`."""
        stretch = np.clip(np.searchsorted(edges, places, side="right") - 1, 0, len(edges) - 2)
        rising = (places - edges[stretch]) / (edges[stretch + 1] - edges[stretch])
        return cls(
            rising=rising,
            starts=np.searchsorted(places, edges, side="left"),
            scale=np.ones(len(edges) - 2),
        )

    @property
    def bins(self) -> int:
        """Number of triangles F."""
        return len(self.scale)

    def apply(self, power: NDArray[np.float64]) -> NDArray[np.float64]:
        """(T, K) power spectra to (T, F) energies."""
        whole = self._sums(power)
        rising = self._sums(power * self.rising)
        energies: NDArray[np.float64] = rising[:, :-1] + (whole - rising)[:, 1:]
        return energies * self.scale

    def _sums(self, lines: NDArray[np.float64]) -> NDArray[np.float64]:
        """(T, K) to (T, F + 1): the sum over each stretch; 0 where it holds no line."""
        first, end = self.starts[:-1], self.starts[1:]
        sums: NDArray[np.float64] = np.add.reduceat(lines, np.minimum(first, lines.shape[1] - 1), axis=1)
        sums[:, first == end] = 0.0
        return sums


@cache
def _povey_window() -> NDArray[np.float64]:
    """Hann (symmetric) to the power of 0.85."""
    return np.asarray(np.hanning(WINDOW) ** 0.85, np.float64)


@cache
def _hann_window() -> NDArray[np.float32]:
    return np.asarray(np.hanning(WINDOW + 1)[:-1], np.float32)


@cache
def _kaldi_bank(bins: int) -> MelBank:
    """Triangles that are linear in mel, not in Hz, from 20 Hz to 8 kHz; the line at 8 kHz itself stays out."""
    mel = 1127.0 * np.log1p(np.arange(FFT // 2 + 1) * (RATE_HZ / FFT) / 700.0)
    return MelBank.of(mel, np.linspace(1127.0 * np.log1p(20.0 / 700.0), mel[-1], bins + 2))


@cache
def _slaney_bank() -> MelBank:
    """Triangles of unit area on Slaney's scale: linear to 1 kHz, then 27 steps for a factor of 6.4."""
    step_hz, corner_hz = 200.0 / 3.0, 1000.0
    corner, log_step = corner_hz / step_hz, np.log(6.4) / 27.0
    mels = np.linspace(0.0, corner + np.log(RATE_HZ / 2 / corner_hz) / log_step, 42)
    edges_hz = np.where(mels < corner, mels * step_hz, corner_hz * np.exp(log_step * (mels - corner)))
    bank = MelBank.of(np.arange(WINDOW // 2 + 1) * (RATE_HZ / WINDOW), edges_hz)
    return replace(bank, scale=2.0 / (edges_hz[2:] - edges_hz[:-2]))
