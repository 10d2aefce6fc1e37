"""The lines of an export file, written and read in one place.

JSON lines in UTF-8. Line 1 is the header: format, version, time, models, counts. Each line between
is one template with its provenance, ordered by subject. The last line closes the file with a
SHA-256 over every byte before it.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import math
from dataclasses import dataclass
from datetime import datetime
from typing import IO, TYPE_CHECKING, Any, NoReturn

from verify.errors import GalleryError, VerifyError
from verify.gallery.entry import Entry
from verify.gallery.subject import check_idempotency_key, check_subject_id
from verify.gallery.vectors import checked_vector, from_blobs, to_blob
from verify.types import Modality

if TYPE_CHECKING:
    from collections.abc import Iterator

FORMAT = "verify-gallery-export"
VERSION = 1
_MAX_LINE = 1 << 20  # the largest template is 350 kB in base64


@dataclass(frozen=True, slots=True)
class Model:
    """A model whose templates the file holds."""

    model_id: str
    modality: Modality
    dim: int


@dataclass(frozen=True, slots=True)
class Header:
    """The first line."""

    created_at: datetime
    models: tuple[Model, ...]
    subjects: int
    templates: int


@dataclass(frozen=True, slots=True)
class Line:
    """One template of a subject."""

    subject_id: str
    entry: Entry
    idempotency_key: str | None


def header_line(header: Header) -> bytes:
    """Return the first line of a file."""
    models = [{"model_id": m.model_id, "modality": m.modality.value, "dim": m.dim} for m in header.models]
    return _dump(
        {
            "format": FORMAT,
            "version": VERSION,
            "created_at": header.created_at.isoformat(),
            "models": models,
            "subjects": header.subjects,
            "templates": header.templates,
        }
    )


def template_line(line: Line) -> bytes:
    """Return the line of one template."""
    entry = line.entry
    return _dump(
        {
            "subject_id": line.subject_id,
            "modality": entry.modality.value,
            "model_id": entry.model_id,
            "vector": base64.b64encode(to_blob(entry.vector)).decode(),
            "source": entry.source,
            "source_sha256": entry.source_sha256,
            "created_at": entry.created_at.isoformat(),
            "quality": dict(entry.quality),
            "idempotency_key": line.idempotency_key,
        }
    )


def end_line(sha256: str) -> bytes:
    """Return the last line of a file."""
    return _dump({"sha256": sha256})


def read_header(file: IO[bytes], *, name: str) -> Header:
    """Read the first line of an export.

    Raises:
        GalleryError: it is none, or of a future version.
    """
    content = _load(file.readline(_MAX_LINE), name=name, number=1)
    if content.get("format") != FORMAT:
        msg = f"{name} is not an export of a gallery; 'verify gallery export' writes them"
        raise GalleryError(msg)
    if content.get("version") != VERSION:
        msg = f"{name} has export version {content.get('version')} and this release reads {VERSION}; upgrade verify"
        raise GalleryError(msg)
    try:
        models = tuple(
            Model(str(m["model_id"]), Modality(m["modality"]), int(m["dim"])) for m in content["models"]
        )
        time = datetime.fromisoformat(content["created_at"])
        return Header(time, models, int(content["subjects"]), int(content["templates"]))
    except (KeyError, TypeError, ValueError) as error:
        msg = f"{name}, line 1: the header is malformed ({type(error).__name__}: {error})"
        raise GalleryError(msg) from error


def read_lines(file: IO[bytes], header: Header, *, name: str) -> Iterator[Line]:
    """Yield every template behind the header, each checked; then check count and checksum.

    The file must stand behind its header. Nothing may be kept of what was yielded if this raises.

    Raises:
        GalleryError: naming the line: malformed, a vector that is no template, truncated, altered.
    """
    models = {m.model_id: m for m in header.models}
    digest = hashlib.sha256()
    end = file.tell()
    file.seek(0)
    digest.update(file.read(end))
    for number in range(2, header.templates + 2):
        raw = file.readline(_MAX_LINE)
        digest.update(raw)
        content = _load(raw, name=name, number=number)
        try:
            yield _line(content, models)
        except (VerifyError, KeyError, TypeError, ValueError, AttributeError) as error:
            raise _malformed(name, number, error) from error
    last = _load(file.readline(_MAX_LINE), name=name, number=header.templates + 2)
    if last.get("sha256") != digest.hexdigest() or file.read(1):
        msg = f"{name} was altered or damaged since it was exported: its checksum does not fit; nothing was imported"
        raise GalleryError(msg)


def _line(content: dict[str, Any], models: dict[str, Model]) -> Line:
    model = models[content["model_id"]]
    if content["modality"] != model.modality.value:
        _refuse("its modality differs from the header's")
    blob = base64.b64decode(content["vector"], validate=True)
    vector = checked_vector(from_blobs([blob], dim=model.dim)[0], dim=model.dim)
    created_at = datetime.fromisoformat(content["created_at"])
    if created_at.tzinfo is None:
        _refuse("created_at has no time zone")
    quality = {str(name): float(value) for name, value in content["quality"].items()}
    if not all(map(math.isfinite, quality.values())):
        _refuse("a quality measure is not finite")
    texts = str(content["source"]), str(content["source_sha256"])
    key = content["idempotency_key"]
    return Line(
        check_subject_id(content["subject_id"]),
        Entry(vector, model.model_id, model.modality, *texts, created_at, quality),
        None if key is None else check_idempotency_key(key),
    )


def _refuse(why: str) -> NoReturn:
    raise ValueError(why)


def _load(raw: bytes, *, name: str, number: int) -> dict[str, Any]:
    if not raw.endswith(b"\n"):
        msg = f"{name}, line {number}: the file ends too early or the line is too long; export it again"
        raise GalleryError(msg)
    try:
        content = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise _malformed(name, number, error) from error
    if not isinstance(content, dict):
        raise _malformed(name, number, TypeError("not a JSON object"))
    return content


def _malformed(name: str, number: int, error: Exception) -> GalleryError:
    what = f"{type(error).__name__}: {error}" if isinstance(error, (KeyError, binascii.Error)) else str(error)
    return GalleryError(f"{name}, line {number} is malformed ({what}); nothing was imported, export it again")


def _dump(content: dict[str, Any]) -> bytes:
    return json.dumps(content, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode() + b"\n"
