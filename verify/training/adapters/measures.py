"""Verification of people with their embeddings: what chooses a setting, and what is reported of the choice."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from verify.errors import InsufficientTrialsError
from verify.metrics import paired_rates, threshold_at_fmr

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from verify.training.adapters.samples import People

TARGETS = (1e-2, 1e-3, 1e-4)
_CHOOSING = (1e-2, 3e-3, 1e-3, 3e-4, 1e-4)
_LEAST_ERRORS = 5  # a threshold that fewer false matches set is a matter of chance
BEFORE, AFTER = "before", "after"


@dataclass(frozen=True, slots=True)
class Trials:
    """All pairs within each set, as places of rows.

    Attributes:
        mated: (M, 2) rows of one person.
        non_mated: (N, 2) rows of two people of one set.
    """

    mated: NDArray[np.int64]
    non_mated: NDArray[np.int64]


def trials_of(people: People) -> Trials:
    """Every pair of rows of one set.

    Raises:
        InsufficientTrialsError: no mated or no non-mated pair.
    """
    mated, non_mated = [], []
    for number in np.unique(people.source):
        rows = np.flatnonzero(people.source == number)
        a, b = np.triu_indices(len(rows), 1)
        pairs = np.column_stack([rows[a], rows[b]])
        same = people.owner[pairs[:, 0]] == people.owner[pairs[:, 1]]
        mated.append(pairs[same])
        non_mated.append(pairs[~same])
    found = Trials(np.concatenate(mated), np.concatenate(non_mated))
    if not len(found.mated) or not len(found.non_mated):
        msg = (
            f"{len(people.subjects)} people with {len(people)} samples give {len(found.mated)} mated and "
            f"{len(found.non_mated)} non-mated pairs: both are needed; bring more people, two samples each"
        )
        raise InsufficientTrialsError(msg)
    return found


def scores(vectors: NDArray[np.float64], pairs: NDArray[np.int64]) -> NDArray[np.float32]:
    """(N,) cosines of pairs (N, 2) of unit vectors, a block at a time."""
    unit = vectors.astype(np.float32)
    found = np.empty(len(pairs), np.float32)
    for at in range(0, len(pairs), 1 << 16):
        a, b = pairs[at : at + (1 << 16)].T
        found[at : at + (1 << 16)] = np.einsum("nd,nd->n", unit[a], unit[b])
    return found


class Judge:
    """Compares people with whatever embeddings they are given; made once, asked for every setting.

    Each set is measured apart and all count alike. What is judged is the mean logarithm of the FNMR at FMRs from
    1e-2 down to what the pairs can tell: a single FNMR at a single FMR would be decided by a handful of pairs, and
    the logarithm lets a gain of a tenth count the same at each.

    Args:
        people: who is compared; sets without mated or without non-mated pairs are left out.
    """

    def __init__(self, people: People) -> None:
        self._sets: list[tuple[NDArray[np.intp], NDArray[np.bool_], NDArray[np.bool_]]] = []
        for number in np.unique(people.source):
            rows = np.flatnonzero(people.source == number)
            owner = people.owner[rows]
            same = owner[:, None] == owner[None, :]
            mated = np.triu(same, 1)
            non_mated = np.triu(~same, 1)
            if mated.any() and non_mated.any():
                self._sets.append((rows, mated, non_mated))

    def badness(self, vectors: NDArray[np.float64]) -> float:
        """The measure for (N, P) embeddings of unit L2 norm; the lower, the better, infinite without any pair."""
        found = []
        unit = vectors.astype(np.float32)
        for rows, mated, non_mated in self._sets:
            cosines = unit[rows] @ unit[rows].T
            found.append(_log_fnmr(np.sort(cosines[mated]), cosines[non_mated]))
        return float(np.mean(found)) if found else float("inf")


def _log_fnmr(mated: NDArray[np.float32], non_mated: NDArray[np.float32]) -> float:
    """Mean over `_CHOOSING` of log FNMR; `mated` in ascending order."""
    goals = [goal for goal in _CHOOSING if goal * non_mated.size >= _LEAST_ERRORS] or [_CHOOSING[0]]
    allowed = [int(goal * non_mated.size) for goal in goals]
    most = max(allowed) + 1
    top = -np.sort(
        -(np.partition(non_mated, non_mated.size - most)[-most:] if most < non_mated.size else non_mated)
    )
    missed = np.searchsorted(
        mated, top[allowed], side="right"
    )  # accepted is what lies above the first let in too many
    return float(np.mean(np.log((missed + 0.5) / (mated.size + 1))))


def before_and_after(
    people: People, *, vectors: Mapping[str, NDArray[np.float64]], seed: int = 0, replicates: int = 300
) -> dict[str, Any]:
    """Rates of several embeddings of the same people on the same pairs, with bounds over people.

    Args:
        people: none of whom took part in a fit.
        vectors: name -> (N, P) unit embeddings; `BEFORE` and `AFTER` among them.
        seed: of the resampling.
        replicates: resampled groups of people.

    Returns:
        ``subjects``, ``samples``, ``mated``, ``non_mated`` and, by measure, ``value`` and one-sided 95 % ``upper``
        of each embedding, ``difference`` (after less before) with its ``lower`` and ``upper``.

    Raises:
        InsufficientTrialsError: no mated or no non-mated pair.
    """
    trials = trials_of(people)
    goals = [goal for goal in TARGETS if goal * len(trials.non_mated) >= _LEAST_ERRORS]
    found = paired_rates(
        mated={name: scores(rows, trials.mated) for name, rows in vectors.items()},
        non_mated={name: scores(rows, trials.non_mated) for name, rows in vectors.items()},
        mated_subject=people.owner[trials.mated[:, 0]],
        subject_a=people.owner[trials.non_mated[:, 0]],
        subject_b=people.owner[trials.non_mated[:, 1]],
        targets=goals,
        replicates=replicates,
        seed=seed,
    )
    change = found.difference(AFTER, to=BEFORE)
    upper = {name: found.upper(name) for name in vectors}
    measures = {
        measure: {
            **{
                name: {"value": float(found.measured[name][at]), "upper": float(upper[name][at])}
                for name in vectors
            },
            "difference": dict(
                zip(("value", "lower", "upper"), (float(one[at]) for one in change), strict=True)
            ),
        }
        for at, measure in enumerate(found.measures)
    }
    counts = {"subjects": len(people.subjects), "samples": len(people)}
    return {**counts, "mated": len(trials.mated), "non_mated": len(trials.non_mated), "measures": measures}


def thresholds(people: People, vectors: NDArray[np.float64]) -> dict[str, float]:
    """The cosines at which these people give the first two of `TARGETS`: for proofs of agreement, no promise.

    Raises:
        InsufficientTrialsError: no mated or no non-mated pair.
    """
    non_mated = scores(vectors, trials_of(people).non_mated)
    return {f"fmr_{goal:g}": threshold_at_fmr(non_mated=non_mated, target=goal) for goal in TARGETS[:2]}


def verdict(measured: Sequence[Mapping[str, Any]]) -> str:
    """``better``, ``worse``, ``mixed`` or ``no difference shown``: over all measures of all sets, by their bounds."""
    signs = set()
    for one in measured:
        for figures in one["measures"].values():
            change = figures["difference"]
            signs |= {"better"} if change["upper"] < 0 else {"worse"} if change["lower"] > 0 else set()
    return {0: "no difference shown", 1: next(iter(signs), "")}.get(len(signs), "mixed")
