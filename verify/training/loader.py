"""Samples of a training set as batches of one tensor, read and decoded by processes beside the training.

What a batch holds depends on (seed, epoch, sample, view) alone, never on how many processes read it.
"""

from __future__ import annotations

import signal
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import torch
from torch.utils.data import DataLoader

from verify.capture import usable_cpus
from verify.errors import DataError, EnvironmentProblemError, StorageError, UsageError, VerifyError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from types import TracebackType

    from numpy.typing import NDArray

    from verify.training.training_set import TrainingSet

AHEAD = 3  # batches that each process has ready


@dataclass(frozen=True, slots=True)
class Batch:
    """Samples as they are stored.

    Attributes:
        media: faces (B, H, W, 3) uint8 RGB, or voices (B, N) int16 at 16 kHz.
        labels: (B,) int64 identity.
        samples: (B,) int64 sample numbers of the training set.
    """

    media: torch.Tensor
    labels: torch.Tensor
    samples: torch.Tensor

    def to(self, device: torch.device | str) -> Batch:
        """The batch on a device; the copy of pinned memory does not wait."""
        return Batch(
            self.media.to(device, non_blocking=True),
            self.labels.to(device, non_blocking=True),
            self.samples.to(device, non_blocking=True),
        )

    def pin_memory(self) -> Batch:
        """The batch in page-locked memory, from which a GPU copies by itself."""
        return Batch(self.media.pin_memory(), self.labels.pin_memory(), self.samples.pin_memory())

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True, slots=True)
class _Failure:
    """An error on its way from a reading process."""

    message: str
    storage: bool


class Loader:
    """Batches of a training set, in order.

    Use it as a context manager, or call `close`: then no process stays behind. An epoch's processes serve
    the next one too, see `again`.

    Args:
        data: the training set.
        batches: sample numbers of each batch, as `Sampler.batches` gives them. A sample that comes n
            times in a batch is n views: each with a crop of its own.
        crop_samples: voices: length of the stretch of each sample; shorter ones are repeated. None for faces.
        seed: of the crops.
        epoch: of the crops.
        workers: reading processes, no more than there are processors; 0 reads in this one.
        pin: whether batches come in page-locked memory (training on a GPU).

    Raises:
        UsageError: a crop for faces, or none for voices.
    """

    def __init__(
        self,
        data: TrainingSet,
        batches: Iterable[list[int]],
        *,
        crop_samples: int | None = None,
        seed: int = 0,
        epoch: int = 0,
        workers: int = 0,
        pin: bool = False,
    ) -> None:
        if (crop_samples is None) is not (data.modality == "face"):
            msg = f"{data.modality} samples: crop_samples is for voices, which need it; it is {crop_samples}"
            raise UsageError(msg)
        if crop_samples is not None and crop_samples < 1:
            msg = f"crop_samples must be at least 1, not {crop_samples}"
            raise UsageError(msg)
        workers = min(workers, usable_cpus())
        self._order = _Order(batches, epoch)
        self._torch: DataLoader[Any] | None = DataLoader(
            _Reader(data, crop_samples=crop_samples, seed=seed),
            batch_sampler=self._order,
            num_workers=workers,
            collate_fn=_as_is,
            pin_memory=pin,
            persistent_workers=workers > 0,
            prefetch_factor=AHEAD if workers else None,
            worker_init_fn=_in_worker,
        )

    def again(self, batches: Iterable[list[int]], *, epoch: int) -> Self:
        """The same loader for another epoch: its processes stay."""
        self._order.batches, self._order.epoch = batches, epoch
        return self

    def __iter__(self) -> Iterator[Batch]:
        """Batches in order.

        Raises:
            DataError: a sample cannot be read; the message has its name.
            StorageError: the disk failed.
            EnvironmentProblemError: a reading process was killed.
        """
        if self._torch is None:
            msg = "this loader is closed"
            raise UsageError(msg)
        try:
            for item in self._torch:
                if isinstance(item, _Failure):
                    raise (StorageError if item.storage else DataError)(item.message)
                yield item
        except RuntimeError as error:
            if "DataLoader worker" not in str(error):
                raise
            msg = (
                "a process that reads training samples was killed, most likely for want of memory or of shared "
                "memory (/dev/shm): lower data.workers or the batch, or give the machine more"
            )
            raise EnvironmentProblemError(msg) from error

    def close(self) -> None:
        """End the reading processes."""
        self._torch = None  # the last reference: torch joins its workers

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


class _Order:
    """What torch draws batches from: (epoch, sample numbers), replaced for each epoch."""

    def __init__(self, batches: Iterable[list[int]], epoch: int) -> None:
        self.batches, self.epoch = batches, epoch

    def __iter__(self) -> Iterator[tuple[int, list[int]]]:
        return ((self.epoch, batch) for batch in self.batches)


class _Reader:
    """Reads one batch; lives in every reading process.

    torch hands the batch's list to `__getitems__` as a whole, so a batch is put together here once.
    """

    def __init__(self, data: TrainingSet, *, crop_samples: int | None, seed: int) -> None:
        self._data, self._crop, self._seed = data, crop_samples, seed

    def __getitem__(self, batch: object) -> Batch:  # pragma: no cover  torch asks for it and never calls it
        raise NotImplementedError

    def __getitems__(self, batch: tuple[int, list[int]]) -> Batch | _Failure:
        epoch, samples = batch
        numbers = np.asarray(samples, np.int64)
        try:
            media = self._faces(numbers) if self._crop is None else self._voices(numbers, epoch, self._crop)
        except (VerifyError, OSError) as error:
            return _Failure(str(error), storage=isinstance(error, (StorageError, OSError)))
        labels = np.asarray(self._data.labels, np.int64)[numbers]
        return Batch(torch.from_numpy(media), torch.from_numpy(labels), torch.from_numpy(numbers))

    def _faces(self, samples: NDArray[np.int64]) -> NDArray[np.uint8]:
        chips: NDArray[np.uint8] | None = None
        for row, sample in enumerate(samples.tolist()):
            chip = self._media(sample)
            if chips is None:
                chips = np.empty((len(samples), *chip.shape), np.uint8)
            if chip.shape != chips.shape[1:] or chip.dtype != np.uint8:
                msg = (
                    f"{self._data.name(sample)}: a face of {chip.shape} {chip.dtype} in a batch of "
                    f"{chips.shape[1:]} uint8; prepare the set again"
                )
                raise DataError(msg)
            chips[row] = chip
        return np.empty((0, 0, 0, 3), np.uint8) if chips is None else chips

    def _voices(self, samples: NDArray[np.int64], epoch: int, crop: int) -> NDArray[np.int16]:
        waves = np.empty((len(samples), crop), np.int16)
        lengths = np.asarray(self._data.lengths)[samples]
        places = uniform(self._seed, epoch, samples, views(samples))
        for row, (sample, length, place) in enumerate(zip(samples.tolist(), lengths, places, strict=True)):
            count = min(int(length), crop)
            # a long one gives a stretch; a short one, from some place in it on, goes round
            start = int(place * (length - crop + 1)) if length > crop else 0
            wave = self._media(sample, start, count)
            if wave.shape != (count,) or not count:
                msg = f"{self._data.name(sample)}: {wave.shape} samples of speech where {count} are recorded"
                raise DataError(msg)
            turned = wave if length >= crop else np.roll(wave, -int(place * count))
            waves[row] = np.resize(turned, crop)
        return waves

    def _media(self, sample: int, start: int = 0, count: int | None = None) -> NDArray[Any]:
        try:
            return (
                self._data.media(sample)
                if count is None
                else self._data.media(sample, start=start, count=count)
            )
        except StorageError:
            raise
        except VerifyError as error:
            name = self._data.name(sample)
            raise DataError(str(error) if name in str(error) else f"{name}: {error}") from error


def views(samples: NDArray[np.int64]) -> NDArray[np.int64]:
    """How often each sample came before in its batch: 0 for the first time."""
    order = np.argsort(samples, kind="stable")
    ordered = samples[order]
    first = np.searchsorted(ordered, ordered, side="left")
    found = np.empty(len(samples), np.int64)
    found[order] = np.arange(len(samples)) - first
    return found


def uniform(
    seed: int, epoch: int, samples: NDArray[np.int64], view: NDArray[np.int64]
) -> NDArray[np.float64]:
    """(B,) numbers in [0, 1), each a function of its own (seed, epoch, sample, view).

    Mixed as in SplitMix64 (Steele, Lea, Flood, Fast splittable pseudorandom number generators, 2014): a
    generator for each sample would cost more than the sample.
    """
    words = np.full(len(samples), seed & 0xFFFF_FFFF_FFFF_FFFF, np.uint64)
    for part in (np.full(len(samples), epoch), samples, view):
        words = _mixed(words ^ _mixed(part.astype(np.uint64)))
    return np.asarray((words >> np.uint64(11)).astype(np.float64) * 2.0**-53)


def _mixed(words: NDArray[np.uint64]) -> NDArray[np.uint64]:
    words = words + np.uint64(0x9E3779B97F4A7C15)
    words = (words ^ (words >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    words = (words ^ (words >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return words ^ (words >> np.uint64(31))


def _as_is(batch: Batch | _Failure) -> Batch | _Failure:
    return batch


def _in_worker(_: int) -> None:
    """Ctrl-C is the training process's to handle; what it set for signals is not for its readers."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    sys.excepthook = _unless_hung_up


def _unless_hung_up(kind: type[BaseException], error: BaseException, traceback: TracebackType | None) -> None:
    """Report what a reader's threads could not handle, but not that the training process hung up: it is leaving.

    The thread that hands a tensor over may be in the middle of that when Ctrl-C ends the training process.
    """
    if not issubclass(kind, (ConnectionError, EOFError)):
        sys.__excepthook__(kind, error, traceback)
