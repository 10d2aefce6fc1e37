"""Subject ids as people write them: which can be one, and which two are likely the same."""

from __future__ import annotations

import unicodedata
from collections import defaultdict
from typing import TYPE_CHECKING

from verify.errors import ManifestError
from verify.types import MAX_SUBJECT_ID_BYTES

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


def near_equal_subjects(subject_ids: Iterable[str]) -> Iterator[str]:
    """Warn of subject ids that differ only by case, spaces or Unicode form: likely one person."""
    for spellings in near_equal(subject_ids):
        names = " and ".join(repr(name) for name in spellings)
        yield f"{names} look like one subject in two spellings"


def near_equal(names: Iterable[str]) -> Iterator[tuple[str, ...]]:
    """Groups of names that differ only by case, spaces or Unicode form, each in order."""
    spellings: defaultdict[str, set[str]] = defaultdict(set)
    for name in names:
        spellings[folded_subject(name)].add(name)
    yield from (tuple(sorted(group)) for group in spellings.values() if len(group) > 1)


def folded_subject(subject_id: str) -> str:
    """The spelling that near-equal subject ids share: Unicode NFKC, one case, single inner spaces."""
    return " ".join(unicodedata.normalize("NFKC", subject_id).casefold().split())


def check_subject_id(subject_id: str, *, where: str) -> None:
    """Refuse a subject id that cannot be one.

    Args:
        subject_id: the id.
        where: begins the message: the file and line.

    Raises:
        ManifestError: it is empty, too long, or cannot be printed.
    """
    if not subject_id.strip():
        msg = f"{where}: the subject is empty"
        raise ManifestError(msg)
    if len(subject_id.encode(errors="replace")) > MAX_SUBJECT_ID_BYTES:
        msg = f"{where}: the subject {subject_id[:40]!r}... is longer than {MAX_SUBJECT_ID_BYTES} bytes"
        raise ManifestError(msg)
    if not subject_id.isprintable():
        msg = f"{where}: the subject {subject_id!r} holds characters that cannot be printed"
        raise ManifestError(msg)
