"""Trials that somebody listed, scored on the media that they name: published protocols and own ones."""

from __future__ import annotations

import dataclasses
import hashlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from verify.data.duplicates import content_hashes
from verify.data.manifest import Entry, Manifest
from verify.data.manifest_csv import refuse_missing
from verify.errors import UsageError
from verify.evaluation.acquaintance import told_of_acquainted
from verify.evaluation.embeddings import embed_all
from verify.evaluation.sources import Attempt, TrialBlock
from verify.evaluation.trial_list_lines import read_trial_list

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from verify.evaluation.cache import EmbeddingCache
    from verify.evaluation.embeddings import Captures, EmbeddedSet
    from verify.evaluation.trial_listing import ListedTrials
    from verify.types import Capture, Reason

_BLOCK_ROWS = 1 << 16


@dataclass(slots=True, eq=False)
class TrialListSource:
    """The trials of a list; a `verify.evaluation.sources.TrialSource`.

    `blocks` gives the trials that could be scored. `mated`, `folds` and `scores()` give all of them, in
    the order of the list, for protocols that are defined on it.

    Attributes:
        mated: (T,) bool, all trials of the list.
        folds: (T,) int32, the fold of each (LFW); None where the list has none.
        failed: number of (mated, non-mated) trials that need a capture that failed: they have no score
            and count as failures to acquire, through `attempts`.
    """

    name: str
    kind: str
    data_sha256: str
    subjects: tuple[str, ...] = field(repr=False)
    groups: Mapping[str, tuple[str, ...]] = field(repr=False)
    attempts: tuple[Attempt, ...] = field(repr=False)
    measures: tuple[str, ...]
    model_id: str | None
    copies: int
    conflicts: tuple[tuple[str, ...], ...]
    warnings: tuple[str, ...]
    mated: NDArray[np.bool_] = field(repr=False)
    folds: NDArray[np.int32] | None = field(repr=False)
    failed: tuple[int, int]
    _pairs: NDArray[np.int32] = field(repr=False)  # (T, 2) attempts, -1 where a file was left out
    _scored: NDArray[np.bool_] = field(repr=False)  # (T,)
    _owner: NDArray[np.int32] = field(repr=False)  # (attempts,)
    _vectors: NDArray[np.float32] = field(repr=False)
    _quality: Mapping[str, NDArray[np.float64]] = field(repr=False)

    @classmethod
    def open(
        cls,
        path: str | os.PathLike[str],
        *,
        capturer: Captures,
        media_root: str | os.PathLike[str] | None = None,
        cache: EmbeddingCache | None = None,
        workers: int | None = None,
        progress: Callable[[Iterator[Capture], int], Iterable[Capture]] = lambda captures, _: captures,
    ) -> TrialListSource:
        """Read a list and embed each of its files once.

        Args:
            path: the list; its styles are in `verify.evaluation.trial_list_lines`.
            capturer: makes the captures.
            media_root: what the paths in the list are relative to; None: the list's own folder.
            cache: where captures are kept.
            workers: captures under way at once.
            progress: wraps the captures still to be made, given their number.

        Raises:
            ManifestError: a malformed line, or files that are not there.
            InsufficientTrialsError: no capture succeeded.
        """
        source = Path(path)
        listed = read_trial_list(source)
        root = source.parent if media_root is None else Path(media_root)
        files = [root / file for file in listed.files]
        refuse_missing(files, source=source, relative_to=root)
        entries = tuple(
            Entry(subject_id=listed.subjects[owner], path=file)
            for owner, file in zip(listed.owner.tolist(), files, strict=True)
        )
        manifest = Manifest(name=source.resolve().stem, entries=entries)
        embedded = embed_all(capturer, manifest, cache=cache, workers=workers, progress=progress)
        told = told_of_acquainted(capturer, embedded)
        return cls._of(listed, files, embedded, model_id=capturer.model_id, told=told)

    @classmethod
    def _of(
        cls,
        listed: ListedTrials,
        files: Sequence[Path],
        embedded: EmbeddedSet,
        *,
        model_id: str,
        told: tuple[str, ...] = (),
    ) -> TrialListSource:
        attempt_of = _attempt_of(files, embedded)
        pairs = np.stack([attempt_of[listed.a], attempt_of[listed.b]], axis=1)
        place = {subject: number for number, subject in enumerate(listed.subjects)}
        owner = np.array([place[entry.subject_id] for entry in embedded.entries], dtype=np.int32)
        usable = np.array([failure is None for failure in embedded.failures])
        there = (pairs[:, 0] >= 0) & (pairs[:, 1] >= 0)
        with_itself = there & (pairs[:, 0] == pairs[:, 1])
        captured = usable[pairs].all(axis=1)
        failed = there & ~with_itself & ~captured
        scored = there & ~with_itself & captured
        counts = int(np.count_nonzero(failed & listed.mated)), int(np.count_nonzero(failed & ~listed.mated))
        digest = hashlib.sha256("\n".join([listed.sha256, *sorted(embedded.sha256s)]).encode())
        return cls(
            name=embedded.name,
            kind="trial list",
            data_sha256=digest.hexdigest(),
            subjects=listed.subjects,
            groups=listed.groups,
            attempts=tuple(
                Attempt(subject=subject, name=str(entry.path), failure=failure)
                for subject, entry, failure in zip(
                    owner.tolist(), embedded.entries, embedded.failures, strict=True
                )
            ),
            measures=tuple(embedded.quality),
            model_id=model_id,
            copies=len(embedded.copies),
            conflicts=tuple(
                tuple(f"{entry.subject_id}: {entry.path.name}" for entry in group)
                for group in embedded.conflicts
            ),
            warnings=(
                *listed.warnings,
                *told,
                *_warnings(pairs[scored], failed=failed, with_itself=with_itself, claimed=~there),
            ),
            mated=listed.mated,
            folds=listed.folds,
            failed=counts,
            _pairs=pairs,
            _scored=scored,
            _owner=owner,
            _vectors=embedded.vectors,
            _quality=embedded.quality,
        )

    def usable(self) -> NDArray[np.bool_]:
        """(attempts,) bool, which captures succeeded."""
        return np.isfinite(self._vectors[:, 0])

    def measured(self, name: str) -> NDArray[np.float64]:
        """(attempts,) a quality measure of each capture, NaN where it has none."""
        return self._quality[name]

    def without(self, attempts: NDArray[np.bool_], *, reason: Reason) -> TrialListSource:
        """The source without some captures (attempts,) bool, which count as failed for `reason`."""
        touched = self._scored & attempts[self._pairs].any(axis=1)
        counts = np.count_nonzero(touched & self.mated), np.count_nonzero(touched & ~self.mated)
        return dataclasses.replace(
            self,
            attempts=tuple(
                dataclasses.replace(attempt, failure=reason) if gone else attempt
                for attempt, gone in zip(self.attempts, attempts.tolist(), strict=True)
            ),
            failed=(self.failed[0] + int(counts[0]), self.failed[1] + int(counts[1])),
            _scored=self._scored & ~touched,
            _vectors=np.where(attempts[:, None], np.float32(np.nan), self._vectors),
        )

    def scores(self) -> NDArray[np.float64]:
        """(T,) cosine of every trial in the order of the list, NaN where there is none."""
        found = np.full(self.mated.size, np.nan)
        trials = np.flatnonzero(self._scored)
        for start in range(0, trials.size, _BLOCK_ROWS):
            some = trials[start : start + _BLOCK_ROWS]
            found[some] = self._cosines(self._pairs[some])
        return found

    def blocks(
        self, among: NDArray[np.bool_], *, measures: Sequence[str] = (), mated_only: bool = False
    ) -> Iterator[TrialBlock]:
        """The scored trials both of whose subjects are marked in `among` (S,), in the order of the list.

        Raises:
            UsageError: a measure that the captures do not have.
        """
        for name in measures:
            if name not in self._quality:
                there = ", ".join(self.measures) or "none"
                msg = f"{self.name}: no quality measure {name!r} (there is: {there})"
                raise UsageError(msg)
        trials = np.flatnonzero(self._scored & self.mated if mated_only else self._scored)
        for start in range(0, trials.size, _BLOCK_ROWS):
            pairs = self._pairs[trials[start : start + _BLOCK_ROWS]]
            pairs = pairs[among[self._owner[pairs]].all(axis=1)]
            if not pairs.size:
                continue
            a, b = np.ascontiguousarray(pairs[:, 0]), np.ascontiguousarray(pairs[:, 1])
            yield TrialBlock(
                score=self._cosines(pairs),
                mated=self._owner[a] == self._owner[b],
                subject_a=self._owner[a],
                subject_b=self._owner[b],
                attempt_a=a,
                attempt_b=b,
                quality={name: (self._quality[name][a], self._quality[name][b]) for name in measures},
            )

    def crossing(self, among: NDArray[np.bool_]) -> int:
        """How many scored trials have one subject marked and one not."""
        inside = among[self._owner[self._pairs[self._scored]]]
        return int(np.count_nonzero(inside[:, 0] != inside[:, 1]))

    def _cosines(self, pairs: NDArray[np.int32]) -> NDArray[np.float32]:
        first, second = self._vectors[pairs[:, 0]], self._vectors[pairs[:, 1]]
        cosines: NDArray[np.float32] = np.clip(np.einsum("nd,nd->n", first, second), -1.0, 1.0)
        return cosines


def _attempt_of(files: Sequence[Path], embedded: EmbeddedSet) -> NDArray[np.int32]:
    """(F,) the attempt of each file: its own, its equal's if it is a copy, -1 if several subjects claim it."""
    number = {entry.path: place for place, entry in enumerate(embedded.entries)}
    by_content = {sha256: place for place, sha256 in enumerate(embedded.sha256s)}
    copies = content_hashes(entry.path for entry in embedded.copies)
    number.update({path: by_content[sha256] for path, sha256 in copies.items()})
    return np.array([number.get(file, -1) for file in files], dtype=np.int32)


def _warnings(
    scored: NDArray[np.int32],
    *,
    failed: NDArray[np.bool_],
    with_itself: NDArray[np.bool_],
    claimed: NDArray[np.bool_],
) -> Iterator[str]:
    if failed.any():
        yield (
            f"{np.count_nonzero(failed)} of {failed.size} trials need a sample whose capture failed: "
            "failures to acquire, without a score"
        )
    if with_itself.any():
        yield f"{np.count_nonzero(with_itself)} trials of a sample with itself or a copy of it: left out"
    if claimed.any():
        yield f"{np.count_nonzero(claimed)} trials need a file that several subjects claim: left out"
    repeats = len(scored) - len(np.unique(np.sort(scored, axis=1), axis=0))
    if repeats:
        yield f"{repeats} trials compare two samples that another trial compares: they count twice"
