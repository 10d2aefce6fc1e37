"""Where there is speech: Silero VAD, one run of the network for a whole block.

The network sees 32 ms frames, each with the 4 ms before it, and gives the probability of speech.
Speech starts at a frame of at least `ON` and lasts until one below `OFF` (hysteresis); silences
shorter than `MIN_SILENCE_S` are bridged, speech shorter than `MIN_SPEECH_S` is dropped, and what is left is
padded by `PAD_S`: the defaults that Silero publishes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from verify.errors import ModelError, UsageError
from verify.types import Modality, SpeechRegion

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from verify.models import ModelBundle
    from verify.types import Sample

RATE_HZ = 16_000
FRAME = 512
CONTEXT = 64
STATE_SHAPE = (1, 1, 128)
ON = 0.5
OFF = 0.35
MIN_SPEECH_S = 0.25
MIN_SILENCE_S = 0.1
PAD_S = 0.03


class SileroLocator:
    """Finds speech. One ONNX session, no state between calls: safe across threads.

    Args:
        bundle: the silero-vad bundle (the 16 kHz sequence graph).
        threads: of the ONNX session; the recurrent graph gains nothing from more than one.
    """

    def __init__(self, bundle: ModelBundle, *, threads: int = 1) -> None:
        self._session = bundle.session(threads=threads)
        names = {entry.name for entry in self._session.get_inputs()}
        if names != {"input", "h", "c"}:
            msg = (
                f"{bundle.name} takes {sorted(names)}, not input, h and c: it is not Silero's sequence graph"
            )
            raise ModelError(msg)

    def locate(self, sample: Sample) -> tuple[SpeechRegion, ...]:
        """Speech in time order, in seconds from the recording's start.

        Args:
            sample: voice, 16 kHz. Its fact ``start_s`` (0 if absent) is where this block starts in
                the recording.

        Returns:
            Regions that do not overlap and lie within the block; empty if there is no speech.

        Raises:
            UsageError: the sample is not a 16 kHz voice.
        """
        if sample.modality is not Modality.VOICE or sample.rate_hz != RATE_HZ:
            given = f"{sample.modality} at {sample.rate_hz} Hz"
            msg = f"{sample.source} is {given}: speech is located in voices at {RATE_HZ} Hz"
            raise UsageError(msg)
        start_s = float(sample.facts.get("start_s", 0.0))
        return regions(
            self.probabilities(sample.media), start_s=start_s, duration_s=len(sample.media) / RATE_HZ
        )

    def probabilities(self, wave: NDArray[np.float32]) -> NDArray[np.float32]:
        """Probability of speech for each 32 ms of `wave`: (N,) float32 to (ceil(N / 512),) float32."""
        if not len(wave):
            return np.zeros(0, np.float32)
        state = np.zeros(STATE_SHAPE, np.float32)
        feed = {"input": frames_with_context(wave), "h": state, "c": state}
        (probabilities,) = self._session.run(["speech_probs"], feed)
        return np.asarray(probabilities, np.float32).reshape(-1)


def frames_with_context(wave: NDArray[np.float32]) -> NDArray[np.float32]:
    """(N,) to (L, 64 + 512) frames that overlap by 64 samples; zeros before the start and after the end."""
    count = -(-len(wave) // FRAME)
    padded = np.zeros(CONTEXT + count * FRAME, np.float32)
    padded[CONTEXT : CONTEXT + len(wave)] = wave
    windows = np.lib.stride_tricks.sliding_window_view(padded, CONTEXT + FRAME)[::FRAME]
    return np.ascontiguousarray(windows)


def regions(
    probabilities: NDArray[np.float32], *, start_s: float, duration_s: float
) -> tuple[SpeechRegion, ...]:
    """Frame probabilities to regions of speech.

    Args:
        probabilities: (L,) in [0, 1], one for each 32 ms.
        start_s: where the first frame starts in the recording.
        duration_s: of the block; regions end there at the latest.

    Returns:
        Regions in time order; `score` is the mean probability over the region's own frames.
    """
    if not len(probabilities):
        return ()
    frame_s = FRAME / RATE_HZ
    starts, ends = _runs(_hysteresis(probabilities))
    if not len(starts):
        return ()
    apart = (starts[1:] - ends[:-1]) * frame_s >= MIN_SILENCE_S
    starts, ends = starts[np.r_[True, apart]], ends[np.r_[apart, True]]
    long_enough = (ends - starts) * frame_s >= MIN_SPEECH_S
    return tuple(
        SpeechRegion(
            start_s=start_s + max(0.0, start * frame_s - PAD_S),
            end_s=start_s + min(duration_s, end * frame_s + PAD_S),
            score=float(probabilities[start:end].mean()),
        )
        for start, end in zip(starts[long_enough].tolist(), ends[long_enough].tolist(), strict=True)
    )


def _hysteresis(probabilities: NDArray[np.float32]) -> NDArray[np.bool_]:
    """True from a frame at or above `ON` until one below `OFF`; a frame in between keeps the state."""
    decisive = (probabilities >= ON) | (probabilities < OFF)
    last = np.maximum.accumulate(np.where(decisive, np.arange(len(probabilities)), -1))
    return (last >= 0) & (probabilities[np.maximum(last, 0)] >= ON)


def _runs(active: NDArray[np.bool_]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """First and one-past-last index of each run of True."""
    edges = np.flatnonzero(np.diff(np.r_[False, active, False]))
    return edges[::2], edges[1::2]
