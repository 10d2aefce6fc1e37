"""Sounds made on the spot, and recordings of them in every format."""

from __future__ import annotations

import io

import numpy as np
import soundfile

RATE = 16_000


def tone(seconds: float, *, hz: float = 440.0, rate: int = RATE, peak: float = 0.5) -> np.ndarray:
    return (peak * np.sin(2 * np.pi * hz * np.arange(round(seconds * rate)) / rate)).astype(np.float32)


def noise(seconds: float, *, rate: int = RATE, rms: float = 0.05, seed: int = 0) -> np.ndarray:
    samples = np.random.default_rng(seed).standard_normal(round(seconds * rate)) * rms
    return np.clip(samples, -1, 1).astype(np.float32)


def encoded(
    samples: np.ndarray, *, rate: int = RATE, container: str = "WAV", subtype: str | None = None
) -> bytes:
    buffer = io.BytesIO()
    soundfile.write(buffer, samples, rate, format=container, subtype=subtype)
    return buffer.getvalue()
