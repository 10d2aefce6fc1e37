"""The whole way for one command: open a model, read the data, capture, split, calibrate."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from verify.data.manifest import Manifest, read_manifest
from verify.errors import UsageError
from verify.evaluation.cache import EmbeddingCache, default_cache_path
from verify.evaluation.calibrate import Calibration, calibrate, split_trials
from verify.evaluation.embeddings import EmbeddedSet, embed_all

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from pathlib import Path

    from verify.data.manifest import Layout
    from verify.evaluation.embeddings import Captures
    from verify.types import Capture

    Progress = Callable[[Iterator[Capture], int], Iterable[Capture]]

# What fits into about a gigabyte; more are sampled unless all are asked for.
AUTO_TRIALS = 20_000_000


@dataclass(frozen=True, slots=True)
class CalibrationJob:
    """What a run of `run_calibration` came to.

    Attributes:
        calibration: the operating points, and the targets without one.
        manifests: the data as read, with its warnings.
        embedded: the captures of each set, with failures, copies and conflicting labels.
        cache: the file that now holds templates; None if none was kept.
    """

    calibration: Calibration
    manifests: tuple[Manifest, ...] = field(repr=False)
    embedded: tuple[EmbeddedSet, ...] = field(repr=False)
    cache: Path | None = None


def run_calibration(
    capturer: Captures,
    data: Sequence[str | os.PathLike[str]],
    *,
    targets: Sequence[float],
    layout: Layout | str | None = None,
    seed: int = 0,
    confidence: float = 0.95,
    max_samples_per_subject: int | None = None,
    trials: str = "auto",
    cache: Path | None = None,
    keep_cache: bool = True,
    workers: int | None = None,
    progress: Progress = lambda captures, _: captures,
) -> CalibrationJob:
    """Calibrate one model on folders or CSV files of people.

    Args:
        capturer: makes the captures.
        data: folders or CSV files; each is a set of its own, and no trial is made across sets.
        targets: FMRs to hold, each in (0, 1).
        layout: of the data; None guesses it for each.
        seed: of the split of subjects and of sampled trials.
        confidence: of the one-sided bounds, in (0, 1).
        max_samples_per_subject: takes at most so many files of a subject.
        trials: ``all`` non-mated trials of each half, a number to sample, or ``auto``.
        cache: embedding cache file; None takes the platform's place for it.
        keep_cache: False keeps no templates on disk.
        workers: captures under way at once.
        progress: wraps the captures still to be made, given their number.

    Raises:
        UsageError: a target, a number of trials or a layout that cannot be.
        DataError: malformed data, or none that gives trials.
        StorageError: the cache cannot be used.
    """
    max_non_mated = _max_non_mated(trials)
    manifests = tuple(read_manifest(one, layout=layout) for one in data)
    path = (cache or default_cache_path()) if keep_cache else None
    with nullcontext() if path is None else EmbeddingCache(path) as store:
        embedded = tuple(
            embed_all(
                capturer,
                manifest,
                cache=store,
                max_samples_per_subject=max_samples_per_subject,
                workers=workers,
                progress=progress,
            )
            for manifest in manifests
        )
    calibration = calibrate(
        [split_trials(one, seed=seed, max_non_mated=max_non_mated) for one in embedded],
        model_id=capturer.model_id,
        modality=capturer.modality,
        targets=targets,
        confidence=confidence,
    )
    return CalibrationJob(calibration=calibration, manifests=manifests, embedded=embedded, cache=path)


def _max_non_mated(trials: str) -> int | None:
    if trials == "all":
        return None
    if trials == "auto":
        return AUTO_TRIALS
    if not (trials.isascii() and trials.isdecimal() and int(trials) > 0):
        msg = f"trials must be 'all', 'auto' or a positive number, not {trials!r}"
        raise UsageError(msg)
    return int(trials)
