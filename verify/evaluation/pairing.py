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


def joined_sets(
    one: Sequence[EmbeddedSet], other: Sequence[EmbeddedSet]
) -> tuple[tuple[EmbeddedSet, ...], tuple[EmbeddedSet, ...]]:
    """Samples of two modalities of the same people, joined: the k-th usable one with the k-th usable other.

    What is left over of either kind is left out, as are subjects with one kind only.

    Args:
        one: captures of the first modality, one set a model, made to fail together.
        other: captures of the second, of subjects of the same names.

    Returns:
        For each modality its sets, all with the same entries.

    Raises:
        InsufficientTrialsError: fewer than two subjects have both.
    """
    rows = [_usable_rows(side[0]) for side in (one, other)]
    people = [(subject, subject, subject) for subject in rows[0] if subject in rows[1]]
    return _joined(one, other, rows, people, name=one[0].name)


def paired_sets(one: EmbeddedSet, other: EmbeddedSet, *, seed: int = 0) -> tuple[EmbeddedSet, EmbeddedSet]:
    """Made-up people with a sample of each of two sets at a time: a SYNTHETIC PAIRING.

    Subjects are paired in the order of their hashes under the seed, so each takes part at most once, and a
    person's k-th usable sample of the one set goes with the k-th of the other; what is left over on
    either side is left out. What hangs together in real people does not hang together here (who is tired
    looks and sounds so).

    Args:
        one: captures of the first modality.
        other: captures of the second; other people.
        seed: another seed pairs other people.

    Returns:
        Two sets with the same entries, subjects called ``a+b``.

    Raises:
        InsufficientTrialsError: fewer than two people can be paired.
    """
    rows = [_usable_rows(side) for side in (one, other)]
    orders = [sorted(theirs, key=lambda subject: _drawn(subject, seed)) for theirs in rows]
    people = [(a, b, f"{a}+{b}") for a, b in zip(*orders, strict=False)]
    (first,), (second,) = _joined([one], [other], rows, people, name=f"{one.name}+{other.name}")
    return first, second


def _joined(
    one: Sequence[EmbeddedSet],
    other: Sequence[EmbeddedSet],
    rows: Sequence[dict[str, list[int]]],
    people: Sequence[tuple[str, str, str]],
    *,
    name: str,
) -> tuple[tuple[EmbeddedSet, ...], tuple[EmbeddedSet, ...]]:
    """`people` are (subject of one, subject of the other, what to call both)."""
    if len(people) < 2:  # noqa: PLR2004  nobody to be compared with
        msg = (
            f"{one[0].name} and {other[0].name}: {len(people)} subjects have both kinds of samples; two are needed, "
            "and hundreds for a useful rate"
        )
        raise InsufficientTrialsError(msg)
    samples = [
        (i, j, called) for a, b, called in people for i, j in zip(rows[0][a], rows[1][b], strict=False)
    ]
    entries = tuple(dataclasses.replace(one[0].entries[i], subject_id=called) for i, _, called in samples)
    return (
        tuple(_of_rows(side, [i for i, _, _ in samples], entries=entries, name=name) for side in one),
        tuple(_of_rows(side, [j for _, j, _ in samples], entries=entries, name=name) for side in other),
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
