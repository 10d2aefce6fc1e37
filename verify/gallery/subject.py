"""What may name a subject: any text of up to 256 bytes that a person can read and type again.

Ids are stored as data and never become paths, SQL or markup, so ``../x``, quotes and emoji are as
good as any. They are kept in Unicode normalisation form NFC: one file system hands out "é" as two
code points and the next as one, and both must name the same person.
"""

from __future__ import annotations

import unicodedata

from verify.errors import UsageError
from verify.types import MAX_SUBJECT_ID_BYTES

_SHOWN_CHARACTERS = 40
# Controls, lone surrogates, and line and paragraph separators break logs and tables.
_REFUSED_CATEGORIES = {
    "Cc": "a control character",
    "Cs": "a lone surrogate",
    "Zl": "a line break",
    "Zp": "a line break",
}
# Bidirectional overrides and isolates make an id read as another one (Unicode TR 36, 2.5).
_JOINERS = frozenset("\u200c\u200d")  # Persian, Indic scripts and emoji are spelt with them
_BIDI = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


def check_subject_id(text: str) -> str:
    """Return `text` in NFC if it can name a subject.

    Raises:
        UsageError: empty, over `MAX_SUBJECT_ID_BYTES` of UTF-8, with surrounding blanks, or with
            characters that cannot be shown. The message holds a shortened id at most.
    """
    return _check_name(text, what="subject id")


def check_idempotency_key(text: str) -> str:
    """Return `text` if it can be an idempotency key: the rules of subject ids, not normalised.

    Raises:
        UsageError: as for `check_subject_id`.
    """
    _check_name(text, what="idempotency key")
    return text


def shown(text: str) -> str:
    """Return `text` quoted, escaped and shortened for a message."""
    short = text if len(text) <= _SHOWN_CHARACTERS else text[: _SHOWN_CHARACTERS - 1] + "…"
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in f"'{short}'")


def _check_name(text: str, *, what: str) -> str:
    if not isinstance(text, str):
        msg = f"a {what} is text, not {type(text).__name__}"
        raise UsageError(msg)
    # Bytes are counted before anything walks the text: a hostile id may be megabytes long.
    if not text or len(text) > MAX_SUBJECT_ID_BYTES:
        _refuse(
            text, what=what, why="is empty" if not text else f"is longer than {MAX_SUBJECT_ID_BYTES} bytes"
        )
    for character in text:
        category = _REFUSED_CATEGORIES.get(unicodedata.category(character))
        if category is None and unicodedata.category(character) == "Cf" and character not in _JOINERS:
            category = "an invisible character"
        if category is not None or character in _BIDI:
            _refuse(
                text,
                what=what,
                why=f"holds {category or 'a text-direction override'}, U+{ord(character):04X}",
            )
    name = unicodedata.normalize("NFC", text)
    if len(name.encode()) > MAX_SUBJECT_ID_BYTES:
        _refuse(text, what=what, why=f"is longer than {MAX_SUBJECT_ID_BYTES} bytes of UTF-8")
    if name != name.strip():
        _refuse(text, what=what, why="begins or ends with a blank")
    return name


def _refuse(text: str, *, what: str, why: str) -> None:
    msg = (
        f"{what} {shown(text)} {why}; give 1 to {MAX_SUBJECT_ID_BYTES} bytes of readable text "
        "without control characters or surrounding blanks"
    )
    raise UsageError(msg)
