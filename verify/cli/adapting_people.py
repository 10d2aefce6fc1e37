"""From folders of people and bundles to embeddings in parts, for ``verify train --adapter``."""

from __future__ import annotations

import hashlib
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from verify.cli.output import progress
from verify.data.splits import CALIBRATION, TEST, TRAIN, VALIDATION
from verify.models.learnt_from import marks

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from verify.capture import Capturer
    from verify.data.splits import Split
    from verify.evaluation.embeddings import EmbeddedSet
    from verify.training.adapters import People

FIT_PARTS = (TRAIN, VALIDATION)
FRACTIONS: Mapping[str, float] = {TRAIN: 0.5, CALIBRATION: 0.25, TEST: 0.25}


@dataclass(frozen=True, slots=True)
class PeopleSet:
    """One DATA with its embeddings by all encoders.

    Attributes:
        name: of the data.
        split: who may be learnt from, and who may not.
        made: whether the split was made here.
        fit: people of the training and validation parts.
        test: people of the test part.
        files: samples to prove a graph on: of the test part, or where that is empty, of those learnt from.
        data_sha256: over the hashes of all samples that took part in the fit.
        learnt_from: what a card keeps of the files of those people.
        left_out: samples that an encoder could not capture.
    """

    name: str
    split: Split
    made: bool
    fit: People = field(repr=False)
    test: People = field(repr=False)
    files: tuple[Path, ...] = field(repr=False)
    data_sha256: str
    learnt_from: tuple[str, ...] = field(repr=False)
    left_out: int


def open_sets(
    capturers: Sequence[Capturer], options: Mapping[str, Any], *, quiet: bool
) -> tuple[PeopleSet, ...]:
    """Read, split and embed every DATA; each file is captured once by each encoder, or taken from the cache.

    Raises:
        UsageError: another number of splits than DATA.
        ManifestError: no usable DATA, or a split that does not know its subjects or has one in two parts.
        InsufficientTrialsError: nobody could be captured.
    """
    from verify.data.manifest import read_manifest, refuse_one_subject
    from verify.data.splits import split_subjects
    from verify.evaluation.cache import EmbeddingCache, default_cache_path
    from verify.evaluation.embeddings import embed_all
    from verify.evaluation.given_split import splits_for, taking_part

    sources, found = options["sources"], []
    given = splits_for(options["split"], sets=len(sources))
    with nullcontext() if options.get("no_cache") else EmbeddingCache(default_cache_path()) as cache:
        for source, known in zip(sources, given, strict=True):
            manifest = read_manifest(source)
            refuse_one_subject(manifest)
            split = known or split_subjects(manifest.subjects, name=manifest.name, fractions=FRACTIONS)
            parts = [part for part in (*FIT_PARTS, TEST) if part in set(split.parts.values())]
            manifest = taking_part(manifest, split, parts=parts)
            sets = [
                embed_all(
                    capturer, manifest, cache=cache,
                    progress=lambda captures, total: progress(captures, total=total, label="capturing", quiet=quiet),
                )
                for capturer in capturers
            ]  # fmt: skip
            found.append(_parted(manifest.name, sets, split, made=known is None))
    return tuple(found)


def _parted(name: str, sets: Sequence[EmbeddedSet], split: Split, *, made: bool) -> PeopleSet:
    """Samples that every encoder captured, in the parts of the split."""
    first = sets[0]
    subjects = sorted({entry.subject_id for entry in first.entries})
    owner = np.array([subjects.index(entry.subject_id) for entry in first.entries], dtype=np.int64)
    part = np.array([split.parts[entry.subject_id] for entry in first.entries])
    vectors = np.hstack([one.vectors for one in sets])
    usable = np.isfinite(vectors).all(axis=1)
    fit, test = usable & np.isin(part, FIT_PARTS), usable & (part == TEST)
    hashes = sorted(first.sha256s[row] for row in np.flatnonzero(fit))
    dims = tuple(one.vectors.shape[1] for one in sets)
    return PeopleSet(
        name=name,
        split=split,
        made=made,
        fit=_people(vectors, owner, fit, dims),
        test=_people(vectors, owner, test, dims),
        files=tuple(first.entries[row].path for row in np.flatnonzero(test if test.any() else fit)),
        data_sha256=hashlib.sha256("\n".join(hashes).encode()).hexdigest(),
        learnt_from=marks((first.entries[row].subject_id, first.sha256s[row]) for row in np.flatnonzero(fit)),
        left_out=int(np.count_nonzero(~usable)),
    )


def _people(
    vectors: NDArray[np.float32],
    owner: NDArray[np.int64],
    rows: NDArray[np.bool_],
    dims: tuple[int, ...],
) -> People:
    from verify.training.adapters import People

    kept = vectors[rows].astype(np.float64)
    return People(kept, owner[rows], np.zeros(len(kept), np.int64), dims)
