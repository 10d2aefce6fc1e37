"""Samples for several models: captures made to fail together, and made-up people of face and voice.

Nobody publishes faces and voices of the same people in numbers, so `paired_sets` makes people up: a
subject of one set is given the samples of a subject of another. Whatever is measured on them is
labelled a synthetic pairing.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections import defaultdict
from typing import TYPE_CHECKING

import numpy as np

from verify.errors import InsufficientTrialsError, UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from verify.data.manifest import Entry
    from verify.evaluation.embeddings import EmbeddedSet

SYNTHETIC = "SYNTHETIC PAIRING: faces and voices of different people, paired at random"


def aligned_sets(sets: Sequence[EmbeddedSet]) -> tuple[EmbeddedSet, ...]:
    """The captures of several models over the same files, made to fail together.

    A sample that one model could not capture has no fused score: it is a failure to acquire of all.

    Args:
        sets: one a model, from the same manifest.

    Raises:
        UsageError: fewer than two sets, or sets over different files.
        InsufficientTrialsError: no sample was captured by all models.
    """
    first = _several(sets)[0]
    files = [(entry.subject_id, entry.path) for entry in first.entries]
    for other in sets[1:]:
        if [(entry.subject_id, entry.path) for entry in other.entries] != files:
            msg = f"{first.name} and {other.name}: the models were run over different files; use one manifest for all"
            raise UsageError(msg)
    failures = tuple(
        next((reason for reason in reasons if reason is not None), None)
        for reasons in zip(*(one.failures for one in sets), strict=True)
    )
    failed = np.array([reason is not None for reason in failures], dtype=bool)
    if failed.all():
        msg = f"{first.name}: none of {len(files)} samples was captured by all of {len(sets)} models"
        raise InsufficientTrialsError(msg)
    return tuple(
        dataclasses.replace(
            one,
            failures=failures,
            vectors=np.where(failed[:, None], np.float32(np.nan), one.vectors),
        )
        for one in sets
    )


def paired_sets(one: EmbeddedSet, other: EmbeddedSet, *, seed: int = 0) -> tuple[EmbeddedSet, EmbeddedSet]:
    """Made-up people with a sample of each of two sets at a time: a SYNTHETIC PAIRING.

    Subjects are paired in the order of their hashes under the seed, so each takes part at most once, and a
    person's k-th usable sample of the one set goes with the k-th of the other; what is left over on
    either side is left out. What hangs together in
    real people does not hang together here (who is tired looks and sounds so).

    Args:
        one: captures of the first modality.
        other: captures of the second; other people.
        seed: another seed pairs other people.

    Returns:
        Two sets with the same entries, subjects called ``a+b``.

    Raises:
        InsufficientTrialsError: fewer than two people can be paired.
    """
    sides = [_usable_rows(side) for side in (one, other)]
    orders = [sorted(rows, key=lambda subject: _drawn(subject, seed)) for rows in sides]
    people = list(zip(*orders, strict=False))
    if len(people) < 2:  # noqa: PLR2004  nobody to be compared with
        msg = (
            f"{one.name} and {other.name}: {len(people)} subjects can be paired; two are needed, and hundreds "
            "for a useful rate"
        )
        raise InsufficientTrialsError(msg)
    samples = [(i, j, f"{a}+{b}") for a, b in people for i, j in zip(sides[0][a], sides[1][b], strict=False)]
    entries = tuple(dataclasses.replace(one.entries[i], subject_id=name) for i, _, name in samples)
    name = f"{one.name}+{other.name}"
    return (
        _of_rows(one, [i for i, _, _ in samples], entries=entries, name=name),
        _of_rows(other, [j for _, j, _ in samples], entries=entries, name=name),
    )


def _of_rows(one: EmbeddedSet, rows: Sequence[int], *, entries: tuple[Entry, ...], name: str) -> EmbeddedSet:
    """Some captures of a set, under other names."""
    at = np.array(rows, dtype=np.intp)
    return dataclasses.replace(
        one,
        name=name,
        entries=entries,
        vectors=one.vectors[at],
        failures=tuple(one.failures[row] for row in rows),
        copies=(),
        conflicts=(),
        quality={measure: values[at] for measure, values in one.quality.items()},
        sha256s=tuple(one.sha256s[row] for row in rows),
    )


def _several(sets: Sequence[EmbeddedSet]) -> Sequence[EmbeddedSet]:
    if len(sets) < 2:  # noqa: PLR2004
        msg = "a fusion needs the captures of two models or more"
        raise UsageError(msg)
    return sets


def _usable_rows(one: EmbeddedSet) -> dict[str, list[int]]:
    """Subject -> rows of the captures that succeeded, in the order of the entries."""
    rows: defaultdict[str, list[int]] = defaultdict(list)
    for row, (entry, failure) in enumerate(zip(one.entries, one.failures, strict=True)):
        if failure is None:
            rows[entry.subject_id].append(row)
    return dict(rows)


def _drawn(subject: str, seed: int) -> bytes:
    return hashlib.sha256(f"pairing {seed}\n{subject}".encode()).digest()
