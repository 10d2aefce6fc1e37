"""A cohort of strangers: who they are, that they take part nowhere else, and their templates."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from verify.data.subjects import folded_subject
from verify.errors import DataError, UsageError
from verify.metrics.normalisation import cohort_sha256
from verify.score_space import ScoreNorm, ScoreSpace

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from verify.evaluation.embeddings import EmbeddedSet

NORMS = {
    "none": ScoreSpace.COSINE,
    "z": ScoreSpace.Z_NORM,
    "t": ScoreSpace.T_NORM,
    "s": ScoreSpace.S_NORM,
    "as": ScoreSpace.AS_NORM,
}
DEFAULT_TOP_K = 200
_SHOWN = 3


@dataclass(frozen=True, slots=True)
class Cohort:
    """The strangers of a normalisation.

    Attributes:
        vectors: (K, D) float32 of unit norm, one a subject, in order of subject id.
        norm: the recipe, with the vectors' hash.
    """

    vectors: NDArray[np.float32] = field(repr=False)
    norm: ScoreNorm


def make_cohort(
    embedded: EmbeddedSet, *, apart_from: Iterable[EmbeddedSet], method: str, top_k: int | None
) -> Cohort:
    """One template a subject: the first usable capture of each.

    Args:
        embedded: captures of the strangers.
        apart_from: the sets of the calibration, none of whose subjects or files may be in the cohort.
        method: ``z``, ``t``, ``s`` or ``as``.
        top_k: of as-norm; None takes 200, or the whole cohort where it is smaller.

    Raises:
        UsageError: an unknown method, or `top_k` for another one than as-norm.
        DataError: a subject or a file of the cohort takes part in the calibration.
    """
    space = NORMS.get(method)
    if space is None or space is ScoreSpace.COSINE:
        msg = f"norm must be one of {', '.join(NORMS)}, not {method!r}"
        raise UsageError(msg)
    for other in apart_from:
        _check_apart(embedded, other)
    first: dict[str, int] = {}
    for row, (entry, failure) in enumerate(zip(embedded.entries, embedded.failures, strict=True)):
        if failure is None:
            first.setdefault(entry.subject_id, row)
    rows = [first[subject] for subject in sorted(first)]
    vectors = np.ascontiguousarray(embedded.vectors[rows], dtype=np.float32)
    if space is ScoreSpace.AS_NORM:
        top = min(DEFAULT_TOP_K, len(rows)) if top_k is None else top_k
    elif top_k is not None:
        msg = f"--top-k is for --norm as only, not for --norm {method}"
        raise UsageError(msg)
    else:
        top = 0
    norm = ScoreNorm(method=space, cohort_sha256=cohort_sha256(vectors), cohort_size=len(rows), top_k=top)
    return Cohort(vectors=vectors, norm=norm)


def _check_apart(cohort: EmbeddedSet, other: EmbeddedSet) -> None:
    """By name, in whatever spelling, and by the files' bytes."""
    there = {folded_subject(entry.subject_id) for entry in other.entries}
    shared = sorted({e.subject_id for e in cohort.entries if folded_subject(e.subject_id) in there})
    if shared:
        msg = (
            f"cohort {cohort.name}: {len(shared)} of its subjects are in {other.name} too "
            f"({', '.join(shared[:_SHOWN])}): a cohort is of strangers; take them out of one of the two"
        )
        raise DataError(msg)
    files = dict(zip(other.sha256s, other.entries, strict=False))
    for sha256, entry in zip(cohort.sha256s, cohort.entries, strict=False):
        if sha256 in files:
            same = files[sha256]
            msg = (
                f"cohort {cohort.name}: {entry.path.name} of {entry.subject_id} is the same file as "
                f"{same.path.name} of {same.subject_id} in {other.name}: a cohort is of strangers; take it out"
            )
            raise DataError(msg)
