"""Kaldi's log-mel filterbank in batches, on any device: what the runtime's `verify.voice.normalise` makes.

The two must agree, or a network is trained for one input and used on another; a test holds them
together. The runtime computes in float64; so does this by default. In float32 a quiet band beside a
loud one moves by up to 5e-3, which no network notices, and GPUs without float64 units run far faster.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

RATE_HZ = 16_000
WINDOW = 400  # 25 ms
HOP = 160  # 10 ms
FFT = 512
PREEMPHASIS = 0.97
LOW_HZ = 20.0
FLOOR = torch.finfo(torch.float32).eps  # of the mel energies, as in Kaldi


class KaldiFbank(nn.Module):
    """Waves (B, N) -> features (B, T, `bins`) with T = 1 + (N - 400) // 160, one row as the runtime makes it.

    Each row is brought up to `level_dbfs` (never down), cut into 25 ms povey windows every 10 ms,
    each freed of its mean and pre-emphasised by 0.97; 512-point power spectrum, triangles between
    20 Hz and 8 kHz that are linear on the mel scale 1127 ln(1 + f / 700), natural logarithm floored at
    float32's epsilon; the mean over time is taken off each band.

    Args:
        bins: number of mel bands.
        level_dbfs: mean level that quieter rows are raised to; None leaves the level alone.
        mean: whether each band's mean over time is subtracted.
        dtype: of the computation up to the power spectrum. The result is always float32.
    """

    window: Tensor
    bank: Tensor

    def __init__(
        self,
        bins: int = 80,
        level_dbfs: float | None = -25.0,
        *,
        mean: bool = True,
        dtype: torch.dtype = torch.float64,
    ) -> None:
        super().__init__()
        self.bins, self.level_dbfs, self.mean, self.dtype = bins, level_dbfs, mean, dtype
        self.register_buffer("window", povey_window(), persistent=False)
        self.register_buffer("bank", mel_bank(bins), persistent=False)

    def forward(self, waves: Tensor) -> Tensor:
        """(B, N) floating point in [-1, 1], N >= 400 -> (B, T, bins) float32; no gradient.

        Raises:
            ValueError: not (B, N), or shorter than one window.
        """
        if waves.ndim != 2 or waves.shape[1] < WINDOW:  # noqa: PLR2004  batch and time
            msg = f"waves must be (B, N) with N >= {WINDOW} samples at 16 kHz, not {tuple(waves.shape)}"
            raise ValueError(msg)
        with torch.no_grad(), torch.autocast(waves.device.type, enabled=False):
            features = self._log_mel(self._raised(waves.float()))
            return features - features.mean(dim=1, keepdim=True) if self.mean else features

    def _raised(self, waves: Tensor) -> Tensor:
        if self.level_dbfs is None:
            return waves
        rms = waves.double().square().mean(dim=1, keepdim=True).sqrt()
        gain = 10 ** (self.level_dbfs / 20) / rms.clamp(min=1e-30)
        gain = torch.where(rms > 0, gain.clamp(min=1.0), 1.0)  # silence stays silence
        return waves * gain.float()

    def _log_mel(self, waves: Tensor) -> Tensor:
        """(B, N) -> (B, T, bins); no mean subtracted."""
        waves = waves.to(self.dtype)
        means = waves.unfold(1, WINDOW, HOP).mean(dim=2, keepdim=True)  # (B, T, 1)
        # x[i] - 0.97 x[i-1] of a window without its mean m is that of the whole signal less 0.03 m, but
        # for the window's first sample, and there the povey window is 0.
        emphasised = torch.cat([waves[:, :1], waves[:, 1:] - PREEMPHASIS * waves[:, :-1]], dim=1)
        windows = emphasised.unfold(1, WINDOW, HOP) - (1.0 - PREEMPHASIS) * means  # (B, T, 400)
        spectrum = torch.fft.rfft(windows * self.window.to(self.dtype), n=FFT)
        power = spectrum.real.square() + spectrum.imag.square()  # (B, T, 257)
        return (power.float() @ self.bank.float()).clamp(min=FLOOR).log()


def povey_window() -> Tensor:
    """(400,) float64: Kaldi's window, a symmetric Hann to the power of 0.85."""
    return torch.hann_window(WINDOW, periodic=False, dtype=torch.float64) ** 0.85


def mel_bank(bins: int) -> Tensor:
    """(257, bins) float64: weight of each spectral line in each triangle; the line at 8 kHz weighs nothing."""
    mel = 1127.0 * torch.log1p(torch.arange(FFT // 2 + 1, dtype=torch.float64) * (RATE_HZ / FFT) / 700.0)
    low = 1127.0 * math.log1p(LOW_HZ / 700.0)
    edges = torch.linspace(low, float(mel[-1]), bins + 2, dtype=torch.float64)
    left, centre, right = edges[:-2], edges[1:-1], edges[2:]
    lines = mel[:, None]
    rising, falling = (lines - left) / (centre - left), (right - lines) / (right - centre)
    return torch.minimum(rising, falling).clamp(min=0.0)
