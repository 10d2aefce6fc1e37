"""Recordings to 16 kHz mono float32, block by block, so that an hour never sits in memory.

libsndfile reads WAV, FLAC, Ogg (Vorbis, Opus), MP3 and AIFF; everything else is refused by name.
Limits are checked on the header before decoding and again while decoding, because headers lie.

libsndfile itself reads a file that was cut short without a word. Here the lengths that the container
states (RIFF and AIFF chunk sizes, Xing frame counts, Ogg's end-of-stream flag, FLAC's sample count) are held
against what is there, and a shortfall is an error: half a recording is not the recording that was sent.
"""

from __future__ import annotations

import hashlib
import io
import os
import stat
import weakref
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, cast

import numpy as np

from verify.errors import MediaError
from verify.types import Modality, Reason, Sample
from verify.voice.containers import cut_short, foreign_format, is_text, xing

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from numpy.typing import NDArray

    from verify.types import Source

RATE_HZ = 16_000
MAX_BLOCK_S = 30.0
MIN_BLOCK_S = 10.0
FULL_SCALE = 0.999  # at or above this, in runs of two and more, a sample counts as clipped
MAX_OVERSHOOT = 8.0  # float media beyond 18 dB over full scale are integers in disguise
READ_FRAMES = 1 << 16
FORMATS = ("WAV", "WAVEX", "RF64", "FLAC", "OGG", "MP3", "AIFF")
FORMATS_IN_WORDS = "WAV, FLAC, Ogg (Vorbis or Opus), MP3 and AIFF"
UNKNOWN_FRAMES = 1 << 62  # libsndfile's "length unknown" lies above this


@dataclass(frozen=True, slots=True)
class AudioLimits:
    """What a recording may measure before it is decoded.

    Attributes:
        max_bytes: of the encoded file, or of the array.
        max_duration_s: by the header, and again while decoding.
        max_channels: more is a lying header or a transposed array.
        min_rate_hz: lowest sample rate that still carries speech.
        max_rate_hz: highest sample rate.
    """

    max_bytes: int = 2_000_000_000
    max_duration_s: float = 4 * 3600.0
    max_channels: int = 32
    min_rate_hz: int = 4_000
    max_rate_hz: int = 384_000


@dataclass(slots=True, eq=False, weakref_slot=True)
class AudioBlocks:
    """One recording, ready to be decoded. Iterating yields `Sample` blocks in order.

    Each block holds at most 30 s of 16 kHz mono float32 in [-1, 1] and starts where the one before ended;
    where there are several, each holds at least 10 s and is cut where the recording is quietest, so
    that a cut seldom falls into a word. A block's facts are those of the recording and besides:
    ``start_s`` (of the block in the recording), ``clipped_samples`` and ``original_samples`` (before
    resampling, all channels together).

    Channels are averaged. A dead channel (all zero, or a constant) costs level and nothing else:
    the VAD and the features tolerate a factor of two and remove a constant.

    Iterating again decodes again. Not safe across threads: open the recording once a thread.

    Attributes:
        source: what to call it in messages.
        sha256: hex hash of the encoded bytes (of dtype, shape and content for arrays).
        facts: ``format``, ``subtype``, ``rate_hz``, ``channels``, ``duration_s`` (NaN where the
            container does not say).
    """

    source: str
    sha256: str
    facts: Mapping[str, Any]
    limits: AudioLimits = field(repr=False)
    _media: Any = field(repr=False)  # an open soundfile.SoundFile, or a (N, C) array
    _trusted_frames: int = field(repr=False)  # 0 where the container does not say

    def __iter__(self) -> Iterator[Sample]:
        """Decode; raises `MediaError` (TRUNCATED, INVALID_SAMPLES, OVER_LIMITS) where it breaks."""
        pending: list[NDArray[np.float32]] = []
        held = clipped = seen = start = 0
        for piece, piece_clipped, piece_seen in self._mono():
            clipped, seen, held = clipped + piece_clipped, seen + piece_seen, held + len(piece)
            pending.append(piece)
            while held > MAX_BLOCK_S * RATE_HZ:
                joined = np.concatenate(pending)
                cut = _quietest(
                    joined, low=int(MIN_BLOCK_S * RATE_HZ), high=int((MAX_BLOCK_S - MIN_BLOCK_S) * RATE_HZ)
                )
                yield self._block(joined[:cut].copy(), start=start, clipped=clipped, seen=seen)
                pending, held, start, clipped, seen = [joined[cut:]], held - cut, start + cut, 0, 0
        if held:
            yield self._block(np.concatenate(pending), start=start, clipped=clipped, seen=seen)

    def close(self) -> None:
        """Close the file; dropping the object does the same."""
        if not isinstance(self._media, np.ndarray):
            self._media.close()

    def _block(self, media: NDArray[np.float32], *, start: int, clipped: int, seen: int) -> Sample:
        media.setflags(write=False)
        extra = {"start_s": start / RATE_HZ, "clipped_samples": clipped, "original_samples": seen}
        return Sample(
            modality=Modality.VOICE,
            media=media,
            source=self.source,
            sha256=self.sha256,
            rate_hz=RATE_HZ,
            facts={**self.facts, **extra},
        )

    def _mono(self) -> Iterator[tuple[NDArray[np.float32], int, int]]:
        """Yield (resampled mono, clipped original samples, original samples)."""
        import soxr

        rate = int(self.facts["rate_hz"])
        resampler = (
            None if rate == RATE_HZ else soxr.ResampleStream(rate, RATE_HZ, 1, dtype="float32", quality="HQ")
        )
        frames = 0
        for raw in self._raw():
            frames += len(raw)
            if frames > self.limits.max_duration_s * rate:
                raise _over_limits(self.source, f"decodes to more than {self.limits.max_duration_s:g} s")
            peak = float(np.abs(raw).max())
            _check_samples(self.source, peak, at_s=frames / rate)
            clipped = _count_clipped(raw) if peak >= FULL_SCALE else 0
            mono = raw.mean(axis=1, dtype=np.float32) if raw.shape[1] > 1 else raw[:, 0]
            if resampler is not None:
                mono = resampler.resample_chunk(mono)
            yield np.clip(mono, -1.0, 1.0), clipped, raw.size
        if resampler is not None:
            yield np.clip(resampler.resample_chunk(np.zeros(0, np.float32), last=True), -1.0, 1.0), 0, 0
        if frames == 0:
            raise _bad(Reason.EMPTY_FILE, f"{self.source} holds no samples: record again")
        if frames < self._trusted_frames:
            raise _truncated(
                self.source, f"{frames / rate:.2f} s of {self._trusted_frames / rate:.2f} s can be decoded"
            )

    def _raw(self) -> Iterator[NDArray[np.float32]]:
        """Yield (n, C) float32 at the original rate."""
        if isinstance(self._media, np.ndarray):
            for at in range(0, len(self._media), READ_FRAMES):
                yield _to_float(self._media[at : at + READ_FRAMES])
            return
        import soundfile

        if self._media.tell():
            self._media.seek(0)
        while True:
            try:
                raw = self._media.read(READ_FRAMES, dtype="float32", always_2d=True)
            except soundfile.LibsndfileError as error:
                raise _truncated(self.source, f"decoding stopped with '{error.error_string}'") from error
            if not len(raw):
                return
            yield raw


def open_audio(source: Source, *, limits: AudioLimits | None = None, rate_hz: int = RATE_HZ) -> AudioBlocks:
    """Open a recording; nothing is decoded yet.

    Args:
        source: path, encoded bytes, binary file object (read to its end), or an array: (N,) or (N, C), int16,
            int32 or uint8 at full scale, or float32 or float64 in [-1, 1].
        limits: what the recording may measure; `AudioLimits()` if not given.
        rate_hz: sample rate of an array; files bring their own.

    Returns:
        The recording, to be iterated.

    Raises:
        MediaError: with `reason` MISSING_FILE, NOT_A_FILE, EMPTY_FILE, UNSUPPORTED_FORMAT,
            TRUNCATED, OVER_LIMITS or INVALID_SAMPLES; the message says the way out.
    """
    limits = limits or AudioLimits()
    if isinstance(source, np.ndarray):
        return _open_array(source, limits=limits, rate_hz=rate_hz)
    if isinstance(source, str | os.PathLike):
        name, handle = os.fspath(source), _open_path(source, limits=limits)
    elif isinstance(source, bytes | bytearray | memoryview):
        name, handle = "<bytes>", io.BytesIO(_within(bytes(source), "<bytes>", limits=limits))
    elif hasattr(source, "read"):
        name = str(getattr(source, "name", "<file object>"))
        handle = io.BytesIO(_within(_read_object(source, name, limits=limits), name, limits=limits))
    else:
        raise _bad(
            Reason.UNSUPPORTED_FORMAT,
            f"a recording is a path, bytes, binary file object or array, not {type(source).__name__}",
        )
    try:
        blocks = _open_encoded(handle, name=name, limits=limits)
    except BaseException:
        handle.close()
        raise
    weakref.finalize(blocks, handle.close)  # closes quietly when a recording is left half read
    return blocks


def _open_encoded(handle: IO[bytes], *, name: str, limits: AudioLimits) -> AudioBlocks:
    import soundfile

    head = handle.read(4096)
    size = handle.seek(0, io.SEEK_END)
    if not size:
        raise _bad(Reason.EMPTY_FILE, f"{name} is empty (0 bytes): copy or record it again")
    foreign = foreign_format(head)
    if foreign:
        raise _unsupported(name, foreign)
    _, counted = xing(handle)
    cut = cut_short(handle, head, size=size)
    if cut:
        raise _truncated(name, cut)
    handle.seek(0)
    sha256 = hashlib.file_digest(cast(Any, handle), "sha256").hexdigest()
    handle.seek(0)
    try:
        media = soundfile.SoundFile(handle)
    except soundfile.LibsndfileError as error:
        raise _unreadable(name, head, error.error_string) from error
    except TypeError as error:  # soundfile's way of saying "a raw format needs a rate"
        raise _unsupported(name, "an unknown format") from error
    if media.format not in FORMATS:
        raise _unsupported(name, f"{media.format} audio")
    frames = media.frames if 0 < media.frames < UNKNOWN_FRAMES else 0
    _check_shape(name, rate_hz=media.samplerate, channels=media.channels, frames=frames, limits=limits)
    trusted = 0 if media.format == "MP3" and not counted else frames  # without a Xing header it is a guess
    facts = {
        "format": media.format,
        "subtype": media.subtype,
        "rate_hz": media.samplerate,
        "channels": media.channels,
        "duration_s": frames / media.samplerate if frames else float("nan"),
    }
    return AudioBlocks(name, sha256, facts, limits, media, trusted)


def _open_array(array: NDArray[Any], *, limits: AudioLimits, rate_hz: int) -> AudioBlocks:
    name = "<array>"
    if array.ndim not in (1, 2):
        raise _bad(Reason.INVALID_SAMPLES, f"an array of audio has shape (N,) or (N, C), not {array.shape}")
    if array.dtype.name not in ("int16", "int32", "uint8", "float32", "float64"):
        raise _bad(
            Reason.INVALID_SAMPLES,
            f"an array of audio is int16, int32, uint8, float32 or float64, not {array.dtype}",
        )
    if not array.size:
        raise _bad(
            Reason.EMPTY_FILE, f"the array of audio is empty (shape {array.shape}): pass at least one sample"
        )
    if array.nbytes > limits.max_bytes:
        raise _over_limits(name, f"holds {array.nbytes:,} bytes, more than {limits.max_bytes:,}")
    frames = array if array.ndim == 2 else array[:, None]  # noqa: PLR2004 (axes: samples, channels)
    _check_shape(name, rate_hz=rate_hz, channels=frames.shape[1], frames=len(frames), limits=limits)
    digest = hashlib.sha256(f"{array.dtype.str} {array.shape}".encode())
    digest.update(np.ascontiguousarray(array).data.cast("B"))
    facts = {
        "format": "array",
        "subtype": array.dtype.name,
        "rate_hz": rate_hz,
        "channels": frames.shape[1],
        "duration_s": len(frames) / rate_hz,
    }
    return AudioBlocks(name, digest.hexdigest(), facts, limits, frames, len(frames))


def _open_path(source: str | os.PathLike[str], *, limits: AudioLimits) -> IO[bytes]:
    try:
        status = Path(source).stat()
        if not stat.S_ISREG(status.st_mode):  # a pipe or a device would block for ever
            kind = "a directory" if stat.S_ISDIR(status.st_mode) else "not a regular file"
            raise _bad(Reason.NOT_A_FILE, f"{source} is {kind}: name one recording")
        if status.st_size > limits.max_bytes:
            raise _over_limits(str(source), f"has {status.st_size:,} bytes, more than {limits.max_bytes:,}")
        return Path(source).open("rb")
    except (FileNotFoundError, NotADirectoryError) as error:
        raise _bad(Reason.MISSING_FILE, f"{source} does not exist: check the path") from error
    except (OSError, ValueError) as error:  # ValueError: a path with a null byte
        raise _bad(
            Reason.NOT_A_FILE, f"{source!r} cannot be opened ({error}): check the name and its permissions"
        ) from error


def _read_object(source: IO[bytes], name: str, *, limits: AudioLimits) -> bytes:
    data: object = source.read(limits.max_bytes + 1)
    if not isinstance(data, bytes):
        msg = (
            f"{name} is not a binary file object (read() gave {type(data).__name__}): open it with mode 'rb'"
        )
        raise MediaError(msg, reason=Reason.UNSUPPORTED_FORMAT)
    return data


def _within(data: bytes, name: str, *, limits: AudioLimits) -> bytes:
    if len(data) > limits.max_bytes:
        raise _over_limits(name, f"has more than {limits.max_bytes:,} bytes")
    return data


def _check_shape(name: str, *, rate_hz: int, channels: int, frames: int, limits: AudioLimits) -> None:
    if not 1 <= channels <= limits.max_channels:
        hint = "; an array is (samples, channels): transpose it" if name == "<array>" else ""
        raise _over_limits(name, f"has {channels} channels, not 1 to {limits.max_channels}{hint}")
    if not limits.min_rate_hz <= rate_hz <= limits.max_rate_hz:
        raise _over_limits(name, f"has {rate_hz} Hz, not {limits.min_rate_hz} to {limits.max_rate_hz}")
    if frames > limits.max_duration_s * rate_hz:
        raise _over_limits(name, f"lasts {frames / rate_hz:.1f} s, more than {limits.max_duration_s:g}")


def _check_samples(name: str, peak: float, *, at_s: float) -> None:
    if not np.isfinite(peak):
        raise _bad(
            Reason.INVALID_SAMPLES,
            f"{name} holds NaN or infinite samples in the second before {at_s:.1f} s: export it again",
        )
    if peak > MAX_OVERSHOOT:
        raise _bad(
            Reason.INVALID_SAMPLES,
            f"{name} holds samples up to {peak:.4g}, full scale is 1.0: divide them by their full scale",
        )


def _to_float(raw: NDArray[Any]) -> NDArray[np.float32]:
    if raw.dtype == np.uint8:
        return (raw.astype(np.float32) - 128.0) / 128.0
    if raw.dtype.kind == "i":
        return raw.astype(np.float32) / np.float32(2 ** (8 * raw.dtype.itemsize - 1))
    with np.errstate(over="ignore"):  # a float64 beyond float32 turns infinite and is refused as such
        return raw.astype(np.float32)


def _count_clipped(raw: NDArray[np.float32]) -> int:
    """Samples at full scale whose neighbour is there too: a lone peak is a loud voice."""
    full = np.abs(raw) >= FULL_SCALE
    beside = np.zeros_like(full)
    beside[1:] |= full[:-1]
    beside[:-1] |= full[1:]
    return int(np.count_nonzero(full & beside))


def _quietest(wave: NDArray[np.float32], *, low: int, high: int) -> int:
    """Where in [low, high) 160 ms of `wave` carry the least energy: the middle of that stretch."""
    hop, width = 256, 10
    part = wave[low : low + (high - low) // hop * hop].reshape(-1, hop)
    energy = np.convolve(np.einsum("th,th->t", part, part), np.ones(width), mode="valid")
    return low + (int(energy.argmin()) + width // 2) * hop


def _unreadable(name: str, head: bytes, error: str) -> MediaError:
    known = head[:4] in (b"RIFF", b"RF64", b"fLaC", b"OggS", b"FORM") or head[:3] == b"ID3"
    if known:
        return _bad(Reason.TRUNCATED, f"{name} has a damaged header ({error}): copy or export it again")
    return _unsupported(name, "text" if is_text(head) else "an unknown format")


def _unsupported(name: str, what: str) -> MediaError:
    text = (
        f"{name} is {what}; verify reads {FORMATS_IN_WORDS}: convert it, for example with "
        "`ffmpeg -i INPUT -ac 1 OUTPUT.flac`"
    )
    return _bad(Reason.UNSUPPORTED_FORMAT, text)


def _truncated(name: str, what: str) -> MediaError:
    return _bad(Reason.TRUNCATED, f"{name} is cut short or damaged ({what}): copy or record it again")


def _over_limits(name: str, what: str) -> MediaError:
    return _bad(Reason.OVER_LIMITS, f"{name} {what}: raise the limit or bring a smaller recording")


def _bad(reason: Reason, message: str) -> MediaError:
    return MediaError(message, reason=reason)
