"""Embedded media as a source of trials: every pair of samples, scored block by block."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from verify.errors import ScoreError
from verify.evaluation.sources import Attempt, TrialBlock

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from verify.data.manifest import Entry
    from verify.data.splits import Split
    from verify.evaluation.embeddings import EmbeddedSet
    from verify.types import Reason

    Pairs = tuple[NDArray[np.intp], NDArray[np.intp]]

CELLS = 1 << 20  # scores of a block: its arrays stay within the processor's caches and 30 MB


@dataclass(slots=True)
class EmbeddedSource:
    """The pairs of samples of one `EmbeddedSet`; see `verify.evaluation.sources.TrialSource`.

    Attributes:
        vectors: (n, D) float32, unit L2; NaN where the capture failed.
        owner: (n,) int32 place in `subjects` of each attempt.
        quality: measure -> (n,) float64, NaN where a capture has no such measure.
        transaction: K > 1: trials come in runs of K, the attempts of one transaction: K different samples
            of one subject against one sample; see `verify.evaluation.transactions`.
        max_non_mated: if there are more non-mated trials, each is taken with the probability that gives about
            this many.
        seed: of that sample.
        sha256s: (n,) hash of each file; empty where it is not known.
        persons: (S,) name of the person that each subject is over several sets, see
            `verify.evaluation.persons`; empty where nothing but the subject ids tells.
        split: the split file that says whose part is which; None halves the subjects by hash.
        part: of that split, where the subjects are all of one.
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
    vectors: NDArray[np.float32] = field(repr=False)
    owner: NDArray[np.int32] = field(repr=False)
    quality: Mapping[str, NDArray[np.float64]] = field(repr=False)
    transaction: int = 1
    max_non_mated: int | None = None
    seed: int = 0
    sha256s: tuple[str, ...] = field(default=(), repr=False)
    persons: tuple[str, ...] = field(default=(), repr=False)
    split: Split | None = None
    part: str = ""

    @classmethod
    def of(
        cls,
        embedded: EmbeddedSet,
        *,
        model_id: str,
        kind: str = "folder",
        warnings: Sequence[str] = (),
        max_non_mated: int | None = None,
        seed: int = 0,
        split: Split | None = None,
        part: str = "",
    ) -> EmbeddedSource:
        """The trials of a set's captures.

        Raises:
            ScoreError: a vector that is neither of unit norm nor of a failed capture.
        """
        subjects = tuple(sorted({entry.subject_id for entry in embedded.entries}))
        place = {subject_id: number for number, subject_id in enumerate(subjects)}
        groups, mixed = subject_groups(embedded.entries, subjects=subjects)
        _check_unit_norm(embedded)
        return cls(
            name=embedded.name,
            kind=kind,
            data_sha256=hashlib.sha256("\n".join(sorted(embedded.sha256s)).encode()).hexdigest(),
            subjects=subjects,
            groups=groups,
            attempts=tuple(
                Attempt(subject=place[entry.subject_id], name=str(entry.path), failure=failure)
                for entry, failure in zip(embedded.entries, embedded.failures, strict=True)
            ),
            measures=tuple(embedded.quality),
            model_id=model_id,
            copies=len(embedded.copies),
            conflicts=tuple(
                tuple(f"{entry.subject_id}: {entry.path.name}" for entry in group)
                for group in embedded.conflicts
            ),
            warnings=(*warnings, *mixed),
            vectors=embedded.vectors,
            owner=np.array([place[entry.subject_id] for entry in embedded.entries], dtype=np.int32),
            quality=embedded.quality,
            max_non_mated=max_non_mated,
            seed=seed,
            sha256s=embedded.sha256s,
            split=split,
            part=part,
        )

    def usable(self) -> NDArray[np.bool_]:
        """(n,) bool, which captures succeeded."""
        return np.isfinite(self.vectors[:, 0])

    def measured(self, name: str) -> NDArray[np.float64]:
        """(n,) a quality measure of each capture, NaN where it has none."""
        return self.quality[name]

    def without(self, attempts: NDArray[np.bool_], *, reason: Reason) -> EmbeddedSource:
        """The source without some captures (n,) bool, which count as failed for `reason`."""
        vectors = self.vectors.copy()
        vectors[attempts] = np.nan
        named = list(self.attempts)
        for number in np.flatnonzero(attempts).tolist():
            named[number] = replace(named[number], failure=reason)
        return replace(self, vectors=vectors, attempts=tuple(named))

    def blocks(
        self, among: NDArray[np.bool_], *, measures: Sequence[str] = (), mated_only: bool = False
    ) -> Iterator[TrialBlock]:
        """All trials among some subjects, each once; see `TrialSource.blocks`."""
        rows = self._rows(among)
        if self.transaction > 1:
            yield from self._transactions(rows, measures=measures, mated_only=mated_only)
            return
        if mated_only:
            for i, j in _pairs_within(self.owner[rows]):
                yield self._block(rows[i], rows[j], measures)
            return
        owner, vectors = self.owner[rows], np.ascontiguousarray(self.vectors[rows])
        keep = self._share(self.possible_non_mated(among))
        for start, end in _whole_subjects(owner, columns=rows.size):
            scores = vectors[start:end] @ vectors[start:].T
            size = end - start
            i, j = np.triu_indices(size, 1)  # among the subjects of these rows, mated or not
            chosen = keep(i.size) | (owner[start + i] == owner[start + j]) if keep else slice(None)
            i, j = i[chosen], j[chosen]
            yield self._block(rows[start + i], rows[start + j], measures, scores[i, j])
            if end == rows.size:
                continue
            beyond = scores[:, size:]  # everybody here is somebody else: no pair needs a look
            if keep:
                i, j = np.divmod(np.flatnonzero(keep(beyond.size)), beyond.shape[1])
                yield self._block(rows[start + i], rows[end + j], measures, beyond[i, j])
            else:
                a, b = np.repeat(rows[start:end], beyond.shape[1]), np.tile(rows[end:], size)
                yield self._block(a, b, measures, beyond.ravel())

    def crossing(self, among: NDArray[np.bool_]) -> int:
        """Pairs of one sample inside and one outside."""
        inside, everything = self._rows(among).size, self._rows(np.ones_like(among)).size
        return int(inside * (everything - inside))

    def possible_non_mated(self, among: NDArray[np.bool_]) -> int:
        """Number of non-mated trials that there are, sampled or not."""
        counts = np.bincount(self.owner[self._rows(among)], minlength=len(self.subjects)).astype(np.int64)
        if self.transaction > 1:
            probes = counts // self.transaction
            return int(counts.sum() * probes.sum() - np.sum(counts * probes))
        return int((counts.sum() ** 2 - np.sum(counts**2)) // 2)

    def _rows(self, among: NDArray[np.bool_]) -> NDArray[np.intp]:
        """Usable attempts of the marked subjects, those of one subject side by side."""
        usable = np.isfinite(self.vectors[:, 0]) & np.asarray(among, dtype=bool)[self.owner]
        rows = np.flatnonzero(usable)
        return rows[np.argsort(self.owner[rows], kind="stable")]

    def _share(self, possible: int) -> _Keep | None:
        """Draws which non-mated trials are kept; None if all are. The same ones in every pass."""
        if self.max_non_mated is None or possible <= self.max_non_mated:
            return None
        return _Keep(self.max_non_mated / possible, seed=self.seed)

    def _block(
        self,
        a: NDArray[np.intp],
        b: NDArray[np.intp],
        measures: Sequence[str],
        scores: NDArray[np.float32] | None = None,
    ) -> TrialBlock:
        """The trials of attempts `a` against attempts `b`, both (n,)."""
        if scores is None:
            scores = np.einsum("nd,nd->n", self.vectors[a], self.vectors[b])
        left, right = self.owner[a], self.owner[b]
        return TrialBlock(
            score=np.clip(scores, -1.0, 1.0),
            mated=left == right,
            subject_a=left,
            subject_b=right,
            attempt_a=a.astype(np.int32),
            attempt_b=b.astype(np.int32),
            quality={name: (self.quality[name][a], self.quality[name][b]) for name in measures},
        )

    def _transactions(
        self, rows: NDArray[np.intp], *, measures: Sequence[str], mated_only: bool
    ) -> Iterator[TrialBlock]:
        """Each sample against each run of K further samples of one subject, in the order of the samples."""
        k, owner = self.transaction, self.owner[rows]
        place = _place_in_run(owner)
        counts = np.bincount(owner, minlength=len(self.subjects))[owner]
        step = max(1, CELLS // max(1, rows.size))
        probes = np.flatnonzero(place < counts // k * k).reshape(-1, k)  # (T, K) places in rows
        keep = self._share(int(rows.size * len(probes)))
        for start in range(0, rows.size, step):
            here = np.arange(start, min(start + step, rows.size))
            own = (counts[here] - 1) // k  # of the subject's other samples
            reference = np.repeat(here, own)
            first = _place_in_run(reference.astype(np.int32)) * k
            theirs = first[:, None] + np.arange(k)
            theirs += theirs >= place[reference][:, None]  # step over the reference itself
            theirs += (reference - place[reference])[:, None]
            if reference.size:
                yield self._block(np.repeat(rows[reference], k), rows[theirs.ravel()], measures)
            if mated_only or not len(probes):
                continue
            wanted = owner[here, None] != owner[probes[:, 0]][None, :]
            if keep:
                wanted &= keep(wanted.size).reshape(wanted.shape)
            i, t = np.nonzero(wanted)
            if i.size:
                yield self._block(np.repeat(rows[here[i]], k), rows[probes[t].ravel()], measures)


class _Keep:
    """Draws trials with one probability, in a fixed order for each seed."""

    def __init__(self, share: float, *, seed: int) -> None:
        self._share = np.float32(share)
        self._rng = np.random.default_rng(seed)

    def __call__(self, trials: int) -> NDArray[np.bool_]:
        kept: NDArray[np.bool_] = self._rng.random(trials, dtype=np.float32) < self._share
        return kept


def subject_groups(
    entries: Sequence[Entry], *, subjects: Sequence[str]
) -> tuple[dict[str, tuple[str, ...]], tuple[str, ...]]:
    """Columns of a manifest that say one thing of each subject, and warnings on those that do not.

    Returns:
        (column -> label of each subject, ``""`` where there is none), (warnings).
    """
    seen: defaultdict[str, defaultdict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
    for entry in entries:
        for column, label in entry.labels.items():
            if label.strip():
                seen[column][entry.subject_id].add(label.strip())
    groups, warnings = {}, []
    for column, labels in seen.items():
        mixed = sorted(subject for subject, theirs in labels.items() if len(theirs) > 1)
        if mixed:
            warnings.append(
                f"column {column!r} differs between the files of {len(mixed)} subjects ({mixed[0]} is one): "
                "it says nothing about a subject, and no rates are given by it"
            )
            continue
        groups[column] = tuple(next(iter(labels[subject]), "") for subject in subjects)
    return groups, tuple(warnings)


def _check_unit_norm(embedded: EmbeddedSet) -> None:
    usable = np.array([failure is None for failure in embedded.failures])
    norms = np.linalg.norm(embedded.vectors[usable], axis=1)
    wrong = ~(np.abs(norms - 1.0) < 1e-3)  # noqa: PLR2004  true for NaN too
    if wrong.any():
        row = int(np.flatnonzero(usable)[np.argmax(wrong)])
        msg = f"{embedded.entries[row].path}: its vector has norm {norms[np.argmax(wrong)]}, not 1"
        raise ScoreError(msg)


def _place_in_run(owner: NDArray[np.int32]) -> NDArray[np.intp]:
    """(n,) how many equal neighbours stand before each element; equal ones are side by side."""
    starts = np.flatnonzero(np.append(True, owner[1:] != owner[:-1])) if owner.size else np.empty(0, np.intp)
    lengths = np.diff(np.append(starts, owner.size))
    return np.arange(owner.size) - np.repeat(starts, lengths)


def _whole_subjects(owner: NDArray[np.int32], *, columns: int) -> Iterator[tuple[int, int]]:
    """Rows (start, end) of whole subjects, about `CELLS` scores each; `owner` has equals side by side."""
    ends = [*(np.flatnonzero(owner[1:] != owner[:-1]) + 1).tolist(), owner.size]
    start, wanted = 0, max(1, CELLS // max(1, columns))
    for end in ends:
        if end - start >= wanted or end == owner.size:
            yield start, end
            start = end


def _pairs_within(owner: NDArray[np.int32]) -> Iterator[Pairs]:
    """Places (i, j), i < j, of two samples of one subject, many subjects at a time."""
    for start, end in _whole_subjects(owner, columns=1 << 6):
        places = _place_in_run(owner[start:end])
        counts = np.bincount(np.cumsum(places == 0) - 1)
        by_count = np.repeat(counts, counts)
        ahead = by_count - places - 1  # each sample meets those of its subject that come after it
        i = np.repeat(np.arange(start, end), ahead)
        j = i + 1 + _place_in_run(i.astype(np.int32))
        yield i, j
