"""From a manifest to embeddings: each distinct file captured once, failures kept with their reasons."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from verify import __version__
from verify.data.duplicates import content_hashes, without_duplicates
from verify.errors import InsufficientTrialsError
from verify.evaluation.cache import Outcome

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from verify.data.manifest import Entry, Manifest
    from verify.evaluation.cache import EmbeddingCache
    from verify.types import Capture, Modality, Reason


class Captures(Protocol):
    """What is asked of a capturer; `verify.capture.Capturer` is one."""

    @property
    def model_id(self) -> str:
        """The model that makes the templates."""
        ...

    @property
    def modality(self) -> Modality:
        """Face or voice."""
        ...

    def capture_many(self, sources: Iterable[Any], *, workers: int | None = None) -> Iterator[Capture]:
        """One capture for each source, in order; unreadable sources are failed captures."""
        ...


@dataclass(frozen=True, slots=True)
class EmbeddedSet:
    """The captures of one data set.

    Attributes:
        name: of the data set.
        entries: the files tried, without duplicates.
        vectors: (n, D) float32, unit L2; a row of NaN where the capture failed.
        failures: (n,) the reason of each failed capture, else None.
        copies: files left out because the same subject has the same bytes already.
        conflicts: groups of equal files under several subjects, left out as likely label errors.
        quality: measure -> (n,) float64, NaN where a capture has no such measure.
        sha256s: (n,) hash of each entry's bytes.
    """

    name: str
    entries: tuple[Entry, ...] = field(repr=False)
    vectors: NDArray[np.float32] = field(repr=False)
    failures: tuple[Reason | None, ...] = field(repr=False)
    copies: tuple[Entry, ...] = ()
    conflicts: tuple[tuple[Entry, ...], ...] = ()
    quality: Mapping[str, NDArray[np.float64]] = field(default_factory=dict, repr=False)
    sha256s: tuple[str, ...] = field(default=(), repr=False)

    def failure_counts(self) -> dict[str, int]:
        """Failures to acquire by reason, most frequent first."""
        return dict(Counter(str(reason) for reason in self.failures if reason is not None).most_common())


def embed_all(
    capturer: Captures,
    manifest: Manifest,
    *,
    cache: EmbeddingCache | None = None,
    max_samples_per_subject: int | None = None,
    workers: int | None = None,
    progress: Callable[[Iterator[Capture], int], Iterable[Capture]] = lambda captures, _: captures,
) -> EmbeddedSet:
    """Capture every file of a manifest, or take it from the cache.

    Args:
        capturer: makes the captures.
        manifest: whose files to take.
        cache: where captures are kept; None keeps none.
        max_samples_per_subject: takes that many files of each subject, the same ones every time.
        workers: captures under way at once; None leaves it to the capturer.
        progress: wraps the captures still to be made, given their number.

    Raises:
        ManifestError: a file cannot be read.
        InsufficientTrialsError: no capture succeeded.
    """
    entries = limited(manifest.entries, per_subject=max_samples_per_subject)
    hashes = content_hashes(entry.path for entry in entries)
    unique = without_duplicates(entries, hashes=hashes)
    settings = f"{capturer.model_id} verify-{__version__} {getattr(capturer, 'policy', '')}"
    outcomes: dict[str, Outcome] = {}
    missing: dict[str, Path] = {}
    for entry in unique.entries:
        sha256 = hashes[entry.path]
        known = cache.get(sha256, settings=settings) if cache else None
        if known is None:
            missing[sha256] = entry.path
        else:
            outcomes[sha256] = known
    captures = capturer.capture_many(missing.values(), workers=workers)
    for sha256, capture in zip(missing, progress(captures, len(missing)), strict=True):
        vector = None if capture.template is None else np.asarray(capture.template.vector, dtype=np.float32)
        measures = dict(capture.quality.measures) if capture.quality else {}
        outcomes[sha256] = Outcome(vector=vector, failure=capture.failure, measures=measures)
        if cache:
            cache.put(sha256, outcomes[sha256], settings=settings)
    in_order = [outcomes[hashes[entry.path]] for entry in unique.entries]
    return EmbeddedSet(
        name=manifest.name,
        entries=unique.entries,
        vectors=_stacked(in_order, name=manifest.name),
        failures=tuple(outcome.failure for outcome in in_order),
        copies=unique.copies,
        conflicts=unique.conflicts,
        quality=_measures(in_order),
        sha256s=tuple(hashes[entry.path] for entry in unique.entries),
    )


def limited(entries: Sequence[Entry], *, per_subject: int | None) -> tuple[Entry, ...]:
    """At most `per_subject` entries of each subject, chosen by hash of the file name, in given order."""
    if per_subject is None:
        return tuple(entries)
    by_subject: defaultdict[str, list[Entry]] = defaultdict(list)
    for entry in entries:
        by_subject[entry.subject_id].append(entry)
    kept: set[int] = set()
    for theirs in by_subject.values():
        theirs.sort(key=lambda entry: hashlib.sha256(str(entry.path.name).encode(errors="replace")).digest())
        kept.update(id(entry) for entry in theirs[:per_subject])
    return tuple(entry for entry in entries if id(entry) in kept)


def _measures(outcomes: Sequence[Outcome]) -> dict[str, NDArray[np.float64]]:
    """Each measure that any capture has, as a column."""
    names = dict.fromkeys(name for outcome in outcomes for name in outcome.measures)
    return {name: np.array([one.measures.get(name, np.nan) for one in outcomes]) for name in names}


def _stacked(outcomes: Sequence[Outcome], *, name: str) -> NDArray[np.float32]:
    dim = next((outcome.vector.size for outcome in outcomes if outcome.vector is not None), None)
    if dim is None:
        counts: Mapping[str, int] = Counter(str(outcome.failure) for outcome in outcomes)
        why = ", ".join(f"{reason}: {count}" for reason, count in counts.items())
        msg = f"{name}: none of {len(outcomes)} files gave a template ({why or 'no files are left'})"
        raise InsufficientTrialsError(msg)
    vectors = np.full((len(outcomes), dim), np.nan, dtype=np.float32)
    for row, outcome in enumerate(outcomes):
        if outcome.vector is not None:
            vectors[row] = outcome.vector
    return vectors
