"""What one `Gallery.add` brings, checked in one place for every implementation."""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from verify.errors import DataError, EnrolmentRefusedError, ModelMismatchError, UsageError
from verify.gallery.subject import check_idempotency_key, check_subject_id, shown
from verify.gallery.vectors import checked_vector
from verify.types import Modality, Reason

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from verify.types import Template, TemplateRecord

DEFAULT_MAX_TEMPLATES = 10
_MAX_TEXT = 4096


@dataclass(frozen=True, slots=True)
class Entry:
    """One template with its provenance, fit to be stored."""

    vector: NDArray[np.float32] = field(repr=False)
    model_id: str
    modality: Modality
    source: str
    source_sha256: str
    created_at: datetime
    quality: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Addition:
    """A checked enrolment: a subject, at least one entry, and maybe an idempotency key."""

    subject_id: str
    entries: tuple[Entry, ...]
    idempotency_key: str | None

    @property
    def fingerprint(self) -> str:
        """Hash of what makes two enrolments the same: subject, and samples and models in order.

        Vectors are left out, since the same photo embedded on another machine may differ in the
        last bit; file names too, since an upload gets a new one at every try.
        """
        content = [self.subject_id, [[e.model_id, e.modality.value, e.source_sha256] for e in self.entries]]
        return hashlib.sha256(json.dumps(content, ensure_ascii=True).encode()).hexdigest()


def checked_addition(
    subject_id: str,
    templates: Sequence[Template],
    *,
    records: Sequence[TemplateRecord],
    idempotency_key: str | None,
) -> Addition:
    """Check everything that a gallery is asked to store.

    Raises:
        UsageError: a bad subject id or key, no templates, or not one record for each.
        DataError: a vector that is no template, or a record that contradicts its template.
    """
    name = check_subject_id(subject_id)
    key = None if idempotency_key is None else check_idempotency_key(idempotency_key)
    if not templates or len(templates) != len(records):
        counts = f"{len(templates)} templates with {len(records)} records"
        msg = f"subject {shown(name)}: {counts}; give at least one template, and one record for each"
        raise UsageError(msg)
    pairs = zip(templates, records, strict=True)
    return Addition(name, tuple(_entry(name, template, record) for template, record in pairs), key)


def check_cap(subject_id: str, *, stored: int, added: int, model_id: str, cap: int) -> None:
    """Refuse what would bring a subject over its templates a model.

    Raises:
        EnrolmentRefusedError: with reason TEMPLATE_CAP_REACHED.
    """
    if stored + added > cap:
        msg = (
            f"subject {shown(subject_id)} has {stored} templates of model {model_id[:12]} and {added} more "
            f"would pass the cap of {cap}; delete it and enrol its best samples, or raise max_templates"
        )
        raise EnrolmentRefusedError(msg, reason=Reason.TEMPLATE_CAP_REACHED)


def check_model(model_id: str, *, modality: Modality, dim: int, stored: tuple[Modality, int] | None) -> None:
    """Refuse a template whose modality or size contradicts the others of its model.

    Raises:
        ModelMismatchError: naming both.
    """
    if stored is not None and stored != (modality, dim):
        msg = (
            f"model {model_id[:12]} has {stored[0].value} templates of {stored[1]} numbers in this gallery; "
            f"got {modality.value} with {dim}: one of the two carries the wrong model_id"
        )
        raise ModelMismatchError(msg)


def check_top_k(top_k: int) -> int:
    """Return `top_k` if it is at least 1.

    Raises:
        UsageError: it is not.
    """
    if top_k < 1:
        msg = f"top_k is {top_k}; ask for at least 1 candidate"
        raise UsageError(msg)
    return int(top_k)


def _entry(name: str, template: Template, record: TemplateRecord) -> Entry:
    if not template.model_id or len(template.model_id) > _MAX_TEXT:
        msg = f"subject {shown(name)}: a template without a model_id cannot be compared with anything"
        raise DataError(msg)
    claims = (check_subject_id(record.subject_id), record.model_id, record.modality)
    if claims != (name, template.model_id, template.modality):
        msg = (
            f"subject {shown(name)}: a record speaks of another subject, model or modality than its template"
        )
        raise DataError(msg)
    if record.created_at.tzinfo is None:
        msg = f"subject {shown(name)}: created_at {record.created_at} has no time zone; give UTC"
        raise DataError(msg)
    return Entry(
        vector=checked_vector(template.vector),
        model_id=template.model_id,
        modality=Modality(template.modality),
        source=_text(record.source),
        source_sha256=_text(record.source_sha256),
        created_at=record.created_at.astimezone(UTC),
        # a measure that could not be taken is left out: JSON knows no NaN
        quality={str(k): float(v) for k, v in record.quality.items() if math.isfinite(v)},
    )


def _text(text: str) -> str:
    """Make a sample's name storable: file names may hold undecodable bytes and be very long."""
    return text[:_MAX_TEXT].encode("utf-8", "backslashreplace").decode().replace("\0", "\\0")
