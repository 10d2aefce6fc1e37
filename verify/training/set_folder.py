"""The folder of a prepared set while it is being made: claimed, filled with shards, and finished by its index."""

from __future__ import annotations

import csv
import io
import json
from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from verify import __version__
from verify.atomic import write_file
from verify.errors import InsufficientTrialsError, StorageError, UsageError
from verify.training.shard_files import arrow
from verify.training.shards import FORMAT, FTA_FILE, INDEX_FILE, VERSION, PreparedSet, read_index, rows_sha256

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from verify.training.shard_files import Shard

SHARDS = "shard-*.arrow"


def file_of(number: int) -> str:
    """The name of a shard's file."""
    return f"shard-{number:05d}.arrow"


def claim(out: Path, facts: Mapping[str, Any], *, name: str, force: bool) -> None:
    """Make the folder ours and say in its index what it is becoming; refuse what is something else.

    Raises:
        MissingExtraError: pyarrow is not installed.
        UsageError: the folder holds other things, or a set that was made otherwise and `force` is not given.
        StorageError: no folder can be there.
    """
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


def finish(
    out: Path,
    shards: Sequence[Shard],
    *,
    facts: Mapping[str, Any],
    name: str,
    conflicts: Sequence[tuple[str, str, str, str]],
) -> PreparedSet:
    """Write the list of failures, then the index: from then on the set is whole.

    Args:
        out: the folder.
        shards: of the set, in order; others are removed.
        facts: how the samples were made.
        name: of the set.
        conflicts: (subject, path, reason, message) of files that were left out before the shards were made.

    Raises:
        InsufficientTrialsError: the shards hold no sample.
        StorageError: the disk is full or read-only.
    """
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
        {"file": shard.path.name, "rows": len(shard), "chunk": shard.facts["chunk"]} for shard in shards
    ]
    for stale in set(out.glob(SHARDS)) - {shard.path for shard in shards}:
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
