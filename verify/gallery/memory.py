"""A gallery that lives in memory only: for tests, demonstrations and short-lived embedding."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from verify.errors import DuplicateSubjectError, GalleryError, UnknownSubjectError
from verify.gallery.entry import DEFAULT_MAX_TEMPLATES, check_cap, check_model, check_top_k, checked_addition
from verify.gallery.index import MatrixIndex
from verify.gallery.subject import check_subject_id, shown
from verify.gallery.vectors import checked_vector
from verify.types import Candidate, TemplateRecord

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from types import TracebackType
    from typing import Self

    from numpy.typing import NDArray

    from verify.gallery.entry import Addition, Entry
    from verify.types import Modality, Template


@dataclass(frozen=True, slots=True)
class _Stored:
    record: TemplateRecord
    vector: NDArray[np.float32] = field(repr=False)


class MemoryGallery:
    """References in memory, gone when the process ends. Implements `protocols.Gallery`.

    Safe across threads: one lock, since nothing here waits for a disk.

    Args:
        max_templates: cap of templates for a subject and model.
    """

    def __init__(self, *, max_templates: int = DEFAULT_MAX_TEMPLATES) -> None:
        self.max_templates = max_templates
        self._lock = threading.RLock()
        self._stored: dict[str, list[_Stored]] = {}
        self._fingerprints: dict[str, str] = {}
        self._models: dict[str, tuple[Modality, int]] = {}
        self._indexes: dict[str, MatrixIndex] = {}
        self._numbers: dict[str, int] = {}
        self._names: dict[int, str] = {}
        self._last_id = 0
        self._last_number = -1
        self._closed = False

    def __repr__(self) -> str:
        return f"MemoryGallery(subjects={len(self._stored)})"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def add(
        self,
        subject_id: str,
        templates: Sequence[Template],
        *,
        records: Sequence[TemplateRecord],
        idempotency_key: str | None = None,
    ) -> tuple[TemplateRecord, ...]:
        """Store templates with their provenance; see `SqliteGallery.add` for what is refused."""
        addition = checked_addition(subject_id, templates, records=records, idempotency_key=idempotency_key)
        with self._lock:
            self._check_open()
            if addition.idempotency_key in self._fingerprints:
                return self._replayed(addition)
            self._check(addition)
            return tuple(self._store(addition, entry) for entry in addition.entries)

    def replay(self, idempotency_key: str) -> tuple[TemplateRecord, ...]:
        """Return the records written under this key; empty if the key is new."""
        return tuple(r for r in self.records() if r.idempotency_key == idempotency_key)

    def templates(self, subject_id: str, *, model_id: str) -> NDArray[np.float32]:
        """Return the subject's templates of this model, (T, D) float32; T is 0 if there are none."""
        name = check_subject_id(subject_id)
        with self._lock:
            self._check_open()
            found = [s.vector for s in self._stored.get(name, []) if s.record.model_id == model_id]
            dim = self._models[model_id][1] if model_id in self._models else 0
            return np.array(found, np.float32).reshape(len(found), dim)

    def search(self, vector: NDArray[np.float32], *, model_id: str, top_k: int) -> tuple[Candidate, ...]:
        """Return the best `top_k` subjects by highest cosine, best first; ties by subject id."""
        check_top_k(top_k)
        probe = checked_vector(vector, what="probe")
        with self._lock:
            self._check_open()
            index = self._indexes.get(model_id)
            if index is None:
                return ()
            hits = index.top(checked_vector(probe, dim=index.dim, what="probe"), top_k)
            found = sorted(((self._names[n], score) for n, score in hits), key=lambda hit: (-hit[1], hit[0]))
        return tuple(Candidate(name, score) for name, score in found[:top_k])

    def records(self, subject_id: str | None = None) -> Iterator[TemplateRecord]:
        """Return provenance of one subject's templates, or of all, by subject then template."""
        only = None if subject_id is None else check_subject_id(subject_id)
        with self._lock:
            self._check_open()
            names = sorted(self._stored) if only is None else [only]
            return iter([s.record for name in names for s in self._stored.get(name, [])])

    def subjects(self, *, model_id: str | None = None) -> tuple[str, ...]:
        """Return subject ids in order of their code points, of all models or of one."""
        found = {r.subject_id for r in self.records() if model_id is None or r.model_id == model_id}
        return tuple(sorted(found))

    def count(self, *, model_id: str) -> int:
        """Return the number of subjects with at least one template of this model."""
        return len(self.subjects(model_id=model_id))

    def model_ids(self, *, modality: Modality) -> tuple[str, ...]:
        """Return the models whose templates of this modality are stored, in order."""
        return tuple(sorted({r.model_id for r in self.records() if r.modality == modality}))

    def delete(self, subject_id: str) -> int:
        """Remove a subject and zero its templates; return their number."""
        name = check_subject_id(subject_id)
        with self._lock:
            self._check_open()
            if name not in self._stored:
                msg = f"subject {shown(name)} is not in this gallery"
                raise UnknownSubjectError(msg)
            stored = self._stored.pop(name)
            del self._names[self._numbers.pop(name)]
            for one in stored:
                self._indexes[one.record.model_id].remove(np.array([one.record.template_id], np.int64))
                self._fingerprints.pop(str(one.record.idempotency_key), None)
                one.vector.fill(0.0)
            return len(stored)

    def close(self) -> None:
        """Zero and release the memory. May be called twice."""
        with self._lock:
            for index in self._indexes.values():
                index.clear()
            self._stored.clear()
            self._closed = True

    def _check_open(self) -> None:
        if self._closed:
            msg = "this gallery is closed; make a new one"
            raise GalleryError(msg)

    def _replayed(self, addition: Addition) -> tuple[TemplateRecord, ...]:
        key = str(addition.idempotency_key)
        if self._fingerprints[key] != addition.fingerprint:
            msg = (
                f"idempotency key {shown(key)} was used before for another enrolment; use a new key for each"
            )
            raise DuplicateSubjectError(msg)
        return self.replay(key)

    def _check(self, addition: Addition) -> None:
        models = dict(self._models)
        for entry in addition.entries:
            check_model(
                entry.model_id,
                modality=entry.modality,
                dim=len(entry.vector),
                stored=models.get(entry.model_id),
            )
            models[entry.model_id] = (entry.modality, len(entry.vector))
        for model_id in {entry.model_id for entry in addition.entries}:
            stored = sum(s.record.model_id == model_id for s in self._stored.get(addition.subject_id, []))
            added = sum(entry.model_id == model_id for entry in addition.entries)
            check_cap(
                addition.subject_id, stored=stored, added=added, model_id=model_id, cap=self.max_templates
            )

    def _store(self, addition: Addition, entry: Entry) -> TemplateRecord:
        name, key = addition.subject_id, addition.idempotency_key
        self._last_id += 1
        record = TemplateRecord(
            template_id=self._last_id,
            subject_id=name,
            modality=entry.modality,
            model_id=entry.model_id,
            source=entry.source,
            source_sha256=entry.source_sha256,
            created_at=entry.created_at,
            quality=dict(entry.quality),
            idempotency_key=key,
        )
        if name not in self._numbers:
            self._last_number += 1
            self._numbers[name], self._names[self._last_number] = self._last_number, name
        if key is not None:
            self._fingerprints[key] = addition.fingerprint
        self._models[entry.model_id] = (entry.modality, len(entry.vector))
        index = self._indexes.setdefault(entry.model_id, MatrixIndex(len(entry.vector)))
        numbers = np.array([self._last_id], np.int64), np.array([self._numbers[name]], np.int64)
        index.append(*numbers, entry.vector[None, :])
        self._stored.setdefault(name, []).append(_Stored(record, entry.vector.copy()))
        return record
