"""People whom a model was trained on are no strangers to it: found by their files, refused or told of."""

from __future__ import annotations

from typing import TYPE_CHECKING

from verify.errors import DataError
from verify.models.learnt_from import known_identities

if TYPE_CHECKING:
    from verify.evaluation.embeddings import Captures, EmbeddedSet

_SHOWN = 3


def acquainted(capturer: Captures, embedded: EmbeddedSet) -> tuple[str, ...]:
    """Subjects of a set with a file that the capturer's model was trained on, as far as its card tells."""
    bundle = getattr(capturer, "bundle", None)
    if bundle is None:
        return ()
    files = zip((entry.subject_id for entry in embedded.entries), embedded.sha256s, strict=True)
    return known_identities(bundle.card, files)


def refuse_acquainted(capturer: Captures, embedded: EmbeddedSet) -> None:
    """Refuse to choose a threshold on people whom the model was trained on.

    Raises:
        DataError: there are some; the message says how many, who for example, and the way out.
    """
    known = acquainted(capturer, embedded)
    if known:
        said = _said(capturer, embedded, known)
        msg = (
            f"{said}: a threshold chosen or measured on them promises too much. Give the split that it was trained "
            f"with (--split FILE: its calibration and test parts take part), or people whom it has never seen"
        )
        raise DataError(msg)


def told_of_acquainted(capturer: Captures, embedded: EmbeddedSet) -> tuple[str, ...]:
    """A warning, where only a measure is taken; () if the card knows nobody."""
    known = acquainted(capturer, embedded)
    if not known:
        return ()
    return (f"{_said(capturer, embedded, known)}: what is measured on them is no proof for strangers",)


def _said(capturer: Captures, embedded: EmbeddedSet, known: tuple[str, ...]) -> str:
    subjects = len({entry.subject_id for entry in embedded.entries})
    name = getattr(getattr(capturer, "bundle", None), "name", "the model")
    shown = ", ".join(known[:_SHOWN]) + (", ..." if len(known) > _SHOWN else "")
    return f"{embedded.name}: {name} was trained on {len(known)} of these {subjects} subjects ({shown})"
