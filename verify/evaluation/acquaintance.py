"""People whom a model was trained on are no strangers to it: found by their files, refused or told of."""

from __future__ import annotations

from typing import TYPE_CHECKING

from verify.data.duplicates import content_hashes, without_duplicates
from verify.errors import DataError
from verify.models.learnt_from import known_identities, marks_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from verify.data.manifest import Entry, Manifest
    from verify.evaluation.embeddings import Captures, EmbeddedSet
    from verify.models.bundle import ModelBundle

_SHOWN = 3


def refuse_acquainted(capturers: Iterable[Captures], manifests: Sequence[Manifest]) -> None:
    """Refuse to choose a threshold on people whom a model was trained on; nothing is captured yet.

    All their files are looked at, also those that would take no part: of very many, a card knows but some. Models
    whose cards know nobody cost nothing.

    Raises:
        DataError: there are some; the message says how many, who for example, and the way out.
        ManifestError: a file cannot be read.
    """
    asked = [capturer for capturer in capturers if _knows_somebody(capturer)]
    for manifest in manifests if asked else ():
        hashes = content_hashes(entry.path for entry in manifest.entries)
        entries = without_duplicates(manifest.entries, hashes=hashes).entries
        sha256s = tuple(hashes[entry.path] for entry in entries)
        for capturer in asked:
            said = _said(capturer, manifest.name, entries, sha256s)
            if said:
                msg = (
                    f"{said}: a threshold chosen or measured on them promises too much. Give the split that it was "
                    "trained with (--split FILE: its calibration and test parts take part), or people whom it has "
                    "never seen"
                )
                raise DataError(msg)


def told_of_acquainted(capturer: Captures, embedded: EmbeddedSet) -> tuple[str, ...]:
    """A warning, where only a measure is taken; () if the card knows nobody."""
    if not _knows_somebody(capturer):
        return ()
    said = _said(capturer, embedded.name, embedded.entries, embedded.sha256s)
    return (f"{said}: what is measured on them is no proof for strangers",) if said else ()


def _knows_somebody(capturer: Captures) -> bool:
    bundle = _bundle(capturer)
    return bundle is not None and bool(marks_of(bundle.card.sources))


def _bundle(capturer: Captures) -> ModelBundle | None:
    """Of captures that come from one; another matcher's have none."""
    return getattr(capturer, "bundle", None)


def _said(capturer: Captures, name: str, entries: Sequence[Entry], sha256s: Sequence[str]) -> str:
    """Whom of a set the capturer's model was trained on, in words; empty if nobody."""
    bundle = _bundle(capturer)
    files = zip((entry.subject_id for entry in entries), sha256s, strict=True)
    known = () if bundle is None else known_identities(bundle.card, files)
    if bundle is None or not known:
        return ""
    subjects = len({entry.subject_id for entry in entries})
    shown = ", ".join(known[:_SHOWN]) + (", ..." if len(known) > _SHOWN else "")
    return f"{name}: {bundle.name} was trained on {len(known)} of these {subjects} subjects ({shown})"
