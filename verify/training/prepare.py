"""Prepare a data set once: detect and align, or find the speech, in parallel, into shards.

The work is cut into chunks in the manifest's order; each becomes one shard that is renamed into its place when
it is whole. A shard records the hash of what it was made from and how, so that a run after a kill keeps every
shard that fits and makes the others: there is no journal that could disagree with the files.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from verify.capture import ordered_map, usable_cpus
from verify.data.duplicates import content_hashes, without_duplicates
from verify.errors import DataError
from verify.models.identity import canonical_sha256
from verify.training.extraction import ENCODINGS, Extracted, encode_face, encode_voice
from verify.training.set_folder import claim, file_of, finish
from verify.training.shard_files import Row, Shard, write_shard
from verify.types import Modality

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from verify.data.manifest import Entry, Manifest
    from verify.training.extraction import Extractor
    from verify.training.shards import PreparedSet

    Progress = Callable[[Iterator[Any], int, str], Iterable[Any]]

CHUNK_FILES = 1024
CHUNK_BYTES = 64 << 20  # of the files, so that the speech of one chunk fits into memory
CLAIMED_BY_SEVERAL = "claimed_by_several_subjects"


@dataclass(frozen=True, slots=True, kw_only=True)
class Preparation:
    """How samples are made.

    Attributes:
        modality: face or voice.
        contract: input contract that they are made for, as on a model's card.
        locator: name and model_id of what finds faces or speech.
        encoding: see `verify.training.extraction`; empty takes the modality's usual one.
        rules: further settings that decide which samples there are: ``min_speech_s``, ``gate``.
    """

    modality: Modality
    contract: Mapping[str, Any]
    locator: Mapping[str, str] = field(default_factory=dict)
    encoding: str = ""
    rules: Mapping[str, Any] = field(default_factory=dict)

    def facts(self) -> dict[str, Any]:
        """As JSON values."""
        return {
            "modality": self.modality.value,
            "contract": dict(self.contract),
            "locator": dict(self.locator),
            "encoding": self.encoding or ENCODINGS[self.modality][0],
            "rules": dict(self.rules),
        }


@dataclass(frozen=True, slots=True)
class Prepared:
    """What a run did.

    Attributes:
        path: the folder.
        samples: in the set.
        subjects: in the set.
        made: shards made by this run.
        kept: shards that were there already and fit.
        failures: reason -> files that gave no sample.
        copies: files left out because the same subject has the same bytes already.
    """

    path: Path
    samples: int
    subjects: int
    made: int
    kept: int
    failures: Mapping[str, int]
    copies: int
    sha256: str


@dataclass(frozen=True, slots=True)
class _Chunk:
    number: int
    entries: tuple[Entry, ...] = field(repr=False)
    sha256: str

    @property
    def file(self) -> str:
        return file_of(self.number)


def prepare(
    manifest: Manifest,
    out: Path,
    *,
    how: Preparation,
    extractor: Extractor,
    root: Path | None = None,
    workers: int | None = None,
    force: bool = False,
    progress: Progress = lambda items, _, __: items,
) -> Prepared:
    """Prepare every file of a manifest, or go on where an earlier run stopped.

    Args:
        manifest: whose files to take.
        out: folder of the set; made if it is not there.
        how: what the samples are; must be what `extractor` does.
        extractor: makes them.
        root: paths in the set are relative to it where they lie in it.
        workers: files under way at once; None takes one a CPU.
        force: make a set anew that is there with other settings.
        progress: wraps work, given its length and a word for it.

    Raises:
        UsageError: the folder holds something else, or a set made otherwise.
        ManifestError: a file cannot be read.
        InsufficientTrialsError: no file gave a sample.
        StorageError: the disk is full or read-only; finished shards are kept.
    """
    facts = how.facts()
    claim(out, facts, name=manifest.name, force=force)
    hashes = content_hashes(
        progress(iter([entry.path for entry in manifest.entries]), len(manifest.entries), "reading")
    )
    unique = without_duplicates(manifest.entries, hashes=hashes)
    chunks = list(_chunks(unique.entries, hashes=hashes, facts=facts, root=root))
    shards = {chunk.number: shard for chunk in chunks if (shard := _fitting(out, chunk)) is not None}
    kept = len(shards)
    missing = [chunk for chunk in chunks if chunk.number not in shards]
    paths = [entry.path for chunk in missing for entry in chunk.entries]
    results = ordered_map(extractor.extract, paths, workers=workers or usable_cpus())
    extracted = iter(progress(results, len(paths), "preparing"))
    for chunk in missing:
        shards[chunk.number] = _make(out, chunk, extracted, hashes=hashes, root=root)
    conflicts = [
        (
            entry.subject_id,
            _relative(entry.path, root),
            CLAIMED_BY_SEVERAL,
            "the same bytes under several subjects",
        )
        for group in unique.conflicts
        for entry in group
    ]
    ordered = [shards[chunk.number] for chunk in chunks]
    made = finish(out, ordered, facts=facts, name=manifest.name, conflicts=conflicts)
    return Prepared(
        path=out, samples=len(made), subjects=len(made.subjects), made=len(missing), kept=kept,
        failures=made.index["failures"], copies=len(unique.copies), sha256=made.sha256,
    )  # fmt: skip


def write_prepared(
    out: Path,
    samples: Iterable[tuple[str, str, NDArray[Any]]],
    *,
    name: str,
    how: Preparation,
    rows_per_shard: int = CHUNK_FILES,
) -> PreparedSet:
    """A prepared set of samples that are aligned, or cut to their speech, already.

    Args:
        out: folder of the set, empty or not there yet.
        samples: (subject, path, media): faces (H, W, 3) uint8 RGB of the contract's size, voices (N,) int16 at
            16 kHz. The hash of the media stands for that of a file.
        name: of the set.
        how: what the samples are.
        rows_per_shard: so many are in memory at once.

    Raises:
        UsageError: media of another shape or type, or a folder that holds something else.
        InsufficientTrialsError: there are no samples.
        StorageError: the disk is full or read-only.
    """
    import hashlib
    from itertools import islice

    facts = how.facts()
    claim(out, facts, name=name, force=False)
    shards: list[Shard] = []
    waiting = iter(samples)
    while part := list(islice(waiting, rows_per_shard)):
        rows = []
        for subject, path, media in part:
            sha256 = hashlib.sha256(media.tobytes()).hexdigest()
            if how.modality is Modality.FACE:
                rows.append(Row(subject, path, sha256, 1, encode_face(media, encoding=facts["encoding"])))
            else:
                rows.append(Row(subject, path, sha256, len(media), encode_voice(media)))
        identity = canonical_sha256([facts, [[row.subject, row.path, row.sha256] for row in rows]])
        file = out / file_of(len(shards))
        write_shard(file, rows, facts={"chunk": identity, "failures": []})
        shards.append(Shard(file))
    return finish(out, shards, facts=facts, name=name, conflicts=[])


def _chunks(
    entries: Sequence[Entry], *, hashes: Mapping[Path, str], facts: Mapping[str, Any], root: Path | None
) -> Iterator[_Chunk]:
    """Entries in runs of bounded number and size, each with the hash of all that decides its shard."""
    number, part, size = 0, list[Any](), 0
    for at, entry in enumerate(entries):
        part.append(entry)
        size += entry.path.stat().st_size
        if len(part) == CHUNK_FILES or size >= CHUNK_BYTES or at == len(entries) - 1:
            told = [
                [e.subject_id, _relative(e.path, root), e.session, dict(e.labels), hashes[e.path]]
                for e in part
            ]
            yield _Chunk(number, tuple(part), canonical_sha256([facts, told]))
            number, part, size = number + 1, [], 0


def _fitting(out: Path, chunk: _Chunk) -> Shard | None:
    """The chunk's shard if it is there, whole and made from the same files in the same way."""
    try:
        shard = Shard(out / chunk.file)
        if shard.facts.get("chunk") != chunk.sha256:
            return None
        shard.check()
    except DataError:
        return None
    return shard


def _make(
    out: Path,
    chunk: _Chunk,
    extracted: Iterator[Extracted],
    *,
    hashes: Mapping[Path, str],
    root: Path | None,
) -> Shard:
    rows: list[Row] = []
    failures: list[tuple[str, str, str, str]] = []
    for entry in chunk.entries:
        got = next(extracted)
        path = _relative(entry.path, root)
        if got.failure is not None:
            failures.append((entry.subject_id, path, got.failure.value, _readable(got.message)))
            continue
        rows.append(
            Row(
                subject=entry.subject_id,
                path=path,
                sha256=hashes[entry.path],
                length=got.length,
                media=got.media,
                session=entry.session,
                labels=entry.labels,
            )
        )
    write_shard(out / chunk.file, rows, facts={"chunk": chunk.sha256, "failures": failures})
    return Shard(out / chunk.file)


def _relative(path: Path, root: Path | None) -> str:
    if root is not None and path.is_relative_to(root):
        return _readable(path.relative_to(root).as_posix())
    return _readable(str(path))


def _readable(text: str) -> str:
    """Text that can be written: file names need not be UTF-8."""
    return text.encode(errors="replace").decode()
