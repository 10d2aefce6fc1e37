"""Prepare a data set once: detect and align, or find the speech, in parallel, into shards.

The work is cut into chunks in the manifest's order; each becomes one shard that is renamed into its place when
it is whole. A shard records the hash of what it was made from and how, so that a run after a kill keeps every
shard that fits and makes the others: there is no journal that could disagree with the files.
"""

from __future__ import annotations

import csv
import io
import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from verify import __version__
from verify.atomic import write_file
from verify.capture import ordered_map, usable_cpus
from verify.data.duplicates import content_hashes, without_duplicates
from verify.errors import DataError, InsufficientTrialsError, StorageError, UsageError
from verify.models.identity import canonical_sha256
from verify.training.extraction import ENCODINGS, Extracted, encode_face, encode_voice
from verify.training.shard_files import Row, Shard, arrow, write_shard
from verify.training.shards import FORMAT, FTA_FILE, INDEX_FILE, VERSION, PreparedSet, read_index, rows_sha256
from verify.types import Modality

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from verify.data.manifest import Entry, Manifest
    from verify.training.extraction import Extractor

    Progress = Callable[[Iterator[Any], int, str], Iterable[Any]]

CHUNK_FILES = 1024
CHUNK_BYTES = 64 << 20  # of the files, so that the speech of one chunk fits into memory
CLAIMED_BY_SEVERAL = "claimed_by_several_subjects"
SHARDS = "shard-*.arrow"


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
        return f"shard-{self.number:05d}.arrow"


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
    _claim(out, facts, name=manifest.name, force=force)
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
    made = _finish(out, chunks, ordered, facts=facts, name=manifest.name, conflicts=conflicts)
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
    _claim(out, facts, name=name, force=False)
    chunks: list[_Chunk] = []
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
        chunk = _Chunk(len(chunks), (), identity)
        write_shard(out / chunk.file, rows, facts={"chunk": identity, "failures": []})
        chunks.append(chunk)
        shards.append(Shard(out / chunk.file))
    return _finish(out, chunks, shards, facts=facts, name=name, conflicts=[])


def _claim(out: Path, facts: Mapping[str, Any], *, name: str, force: bool) -> None:
    """Make the folder ours and say in its index what it is becoming; refuse what is something else."""
    arrow()  # a missing extra is said before any work
    try:
        out.mkdir(parents=True, exist_ok=True)
        there = {path.name for path in out.iterdir()}
    except OSError as error:
        msg = f"{out}: no folder for a prepared set ({error.strerror or error}); name another with -o"
        raise StorageError(msg) from error
    if INDEX_FILE in there:
        before = read_index(out)
        asked = {**facts, "name": name}
        other = [key for key in asked if before.get(key) != asked[key]]
        if not other:
            return
        if not force:
            was = ", ".join(f"{key} {_differing(before.get(key), asked[key])}" for key in other)
            msg = f"{out}: was prepared with other settings ({was}); name another folder, or --force to make it anew"
            raise UsageError(msg)
    elif there:
        msg = f"{out}: holds other things ({min(there)}): name an empty folder, or one that is not there yet"
        raise UsageError(msg)
    _write_index(out, {**facts, "name": name, "complete": False})


def _differing(before: Any, now: Any) -> str:
    """What differs, in words: of tables only the keys that do."""
    if isinstance(before, Mapping) and isinstance(now, Mapping):
        keys = [key for key in {**before, **now} if before.get(key) != now.get(key)]
        return ", ".join(f"{key} {before.get(key)!r}, now {now.get(key)!r}" for key in keys)
    return f"{before!r}, now {now!r}"


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
            failures.append((entry.subject_id, path, got.failure.value, got.message))
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


def _finish(
    out: Path,
    chunks: Sequence[_Chunk],
    shards: Sequence[Shard],
    *,
    facts: Mapping[str, Any],
    name: str,
    conflicts: Sequence[tuple[str, str, str, str]],
) -> PreparedSet:
    """Write the list of failures, then the index: from then on the set is whole."""
    failed = [tuple(row) for shard in shards for row in shard.facts["failures"]] + list(conflicts)
    counts = dict(Counter(reason for _, _, reason, _ in failed).most_common())
    if not any(len(shard) for shard in shards):
        why = ", ".join(f"{reason}: {count}" for reason, count in counts.items()) or "there are no files"
        msg = f"{name}: no file gave a sample ({why})"
        raise InsufficientTrialsError(msg)
    text = io.StringIO(newline="")
    table = csv.writer(text, lineterminator="\n")
    table.writerow(("file", "reason", "subject", "message"))
    table.writerows((path, reason, subject, message) for subject, path, reason, message in failed)
    write_file(out / FTA_FILE, text.getvalue().encode(errors="replace"))
    listed = [
        {"file": chunk.file, "rows": len(shard), "chunk": chunk.sha256}
        for chunk, shard in zip(chunks, shards, strict=True)
    ]
    for stale in set(out.glob(SHARDS)) - {out / chunk.file for chunk in chunks}:
        stale.unlink()
    index = {
        **facts, "name": name, "complete": True, "shards": listed, "failures": counts,
        "samples": sum(map(len, shards)), "sha256": rows_sha256(facts, shards),
    }  # fmt: skip
    _write_index(out, index)
    return PreparedSet.open(out)


def _write_index(out: Path, index: Mapping[str, Any]) -> None:
    head = {"format": FORMAT, "version": VERSION, "verify": __version__}
    write_file(
        out / INDEX_FILE, (json.dumps({**head, **index}, ensure_ascii=False, indent=1) + "\n").encode()
    )


def _relative(path: Path, root: Path | None) -> str:
    if root is not None and path.is_relative_to(root):
        return path.relative_to(root).as_posix()
    return str(path)
