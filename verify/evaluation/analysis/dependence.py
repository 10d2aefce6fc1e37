"""How far trials are from independent, and who makes them so: the subjects and pairs to look at first."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from verify.evaluation.analysis.label_evidence import evidence_map
from verify.evaluation.analysis.lookalikes import Lookalike, lookalikes
from verify.evaluation.analysis.outliers import Outlier, outliers
from verify.evaluation.analysis.rates import fmr_of
from verify.metrics.bootstrap import subject_bootstrap
from verify.metrics.intervals import clopper_pearson

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from verify.evaluation.side import Side
    from verify.facts import Dependence, Suspect

LISTED = 20  # of each kind
_REPLICATES = 200  # of the bootstrap: its bound moves by a few per cent from seed to seed
_MOST_SUBJECTS = 5_000  # more make the bootstrap take minutes, and say what the dyadic bound says
_WORST = 10  # subjects who cause most false matches


def dependence(
    test: Side,
    *,
    threshold: float,
    calibration: Side | None = None,
    confidence: float = 0.95,
    seed: int = 0,
    listed: int = LISTED,
    name_of: Callable[[str], str] = str,
) -> Dependence | None:
    """What the FMR's bound rests on at `threshold`, with the likely label errors.

    Args:
        test: the side measured: n_eff and the bounds are its own.
        threshold: of the verdict.
        calibration: the side that set the threshold. Its wrong labels move the threshold, so suspects are looked for on
            it too, within each side alone, and each says which side it is on.
        confidence: of each one-sided bound.
        seed: of the bootstrap, and of the sample that evidence is fitted on.
        listed: how many suspects of each kind to name.
        name_of: makes of an attempt's name what is shown, for example its last two parts.

    Returns:
        The facts; None without non-mated trials. `subjects` has samples unlike the rest of their subject
        (kind ``mated``), strongest evidence first, then the subjects with the largest share of false matches (kind
        ``non_mated``); `pairs` has two names that look like one person. The sides' lists are merged by that order.
    """
    rate = fmr_of(test, threshold=threshold, confidence=confidence)
    if rate is None:
        return None
    sides = {"": test} if calibration is None else {"calibration": calibration, "test": test}
    odd, alike, causes = _Ranked(), _Ranked(), _Ranked()
    for name, side in sides.items():
        mapping = evidence_map(side, seed=seed)
        if mapping is not None:
            rejected = _rejected(side, threshold)
            for one in outliers(side, mapping)[:listed]:
                odd.add(one.evidence, _odd(side, one, rejected=rejected, name_of=name_of), name)
            for pair in lookalikes(side, mapping)[:listed]:
                if pair.evidence > 0:
                    alike.add(pair.evidence, _alike(side, pair, name_of=name_of), name)
        for cause in _causes(side, threshold=threshold):
            causes.add(cause["errors"] / cause["trials"], cause, name)
    return {
        "threshold": threshold,
        "n_eff": float(rate.n_eff),
        "design_effect": max(1.0, rate.trials / rate.n_eff),
        "independent_upper": clopper_pearson(rate.errors, trials=rate.trials, confidence=confidence)[1],
        "dyadic_upper": rate.upper,
        "bootstrap_upper": _bootstrap(test, threshold=threshold, confidence=confidence, seed=seed),
        "subjects": [*odd.first(listed), *causes.first(_WORST)],
        "pairs": alike.first(listed),
    }


class _Ranked:
    """Suspects of both sides under way to one list."""

    def __init__(self) -> None:
        self._found: list[tuple[float, Suspect]] = []

    def add(self, weight: float, suspect: Suspect, side: str) -> None:
        """Keep one, with the name of its side if there are two."""
        if side:
            suspect["side"] = side
        self._found.append((weight, suspect))

    def first(self, most: int) -> list[Suspect]:
        """The heaviest, heaviest first."""
        return [suspect for _, suspect in sorted(self._found, key=_negated)[:most]]


def _negated(item: tuple[float, Suspect]) -> float:
    return -item[0]


def _bootstrap(test: Side, *, threshold: float, confidence: float, seed: int) -> float | None:
    """The subject bootstrap's upper bound; None where it is not known who errs, or it would take too long."""
    scores = test.non_mated
    if threshold <= scores.floor or scores.subjects > _MOST_SUBJECTS:
        return None
    drawn = subject_bootstrap(non_mated=scores, thresholds=[threshold], replicates=_REPLICATES, seed=seed)
    return float(drawn.fmr_upper(confidence=confidence)[0])


def _odd(
    test: Side, one: Outlier, *, rejected: dict[int, tuple[int, int]], name_of: Callable[[str], str]
) -> Suspect:
    errors, trials = rejected.get(one.attempts[0], (0, 0))
    who = test.subjects[one.subject]
    if len(one.attempts) == 2:  # noqa: PLR2004
        note = (
            f"the only two samples of {who} score {one.score:.2f} with each other: one may show somebody else"
        )
        trials = 1
        errors = min(errors, 1)
    elif one.others == 1:
        note = f"scores {one.score:.2f} with the one sample that is left of {who}: it may show somebody else"
    else:
        note = (
            f"scores {one.score:.2f} on average with the {one.others} other samples of {who}, which score "
            f"{one.agreement:.2f} with each other: it may show somebody else"
        )
    return {
        "subjects": [who],
        "samples": [name_of(test.attempts[attempt].name) for attempt in one.attempts],
        "errors": errors,
        "trials": trials,
        "score": one.score,
        "kind": "mated",
        "note": f"{note} (evidence {one.evidence:.1f} nats)",
    }


def _alike(test: Side, pair: Lookalike, *, name_of: Callable[[str], str]) -> Suspect:
    first, second = (test.subjects[subject] for subject in pair.subjects)
    if pair.whole:
        note = (
            f"{pair.hits} of the {pair.trials} comparisons between the two score as one person's do: they may be one "
            "person under two names"
        )
    else:
        note = (
            f"the first sample is filed under {first} but matches {pair.hits} of the {pair.trials} samples of {second} "
            f"and its own less: it may belong to {second}"
        )
    return {
        "subjects": [first, second],
        "samples": [name_of(test.attempts[attempt].name) for attempt in pair.attempts],
        "errors": pair.hits,
        "trials": pair.trials,
        "score": pair.score,
        "kind": "non_mated",
        "note": f"{note} (evidence {pair.evidence:.1f} nats)",
    }


def _causes(test: Side, *, threshold: float) -> list[Suspect]:
    """The subjects with most false matches; none where it is not known who errs."""
    if not test.non_mated.trials or threshold <= test.non_mated.floor:
        return []
    errors, trials = test.non_mated.errors_by_subject(threshold)
    total = int(errors.sum()) // 2
    worst = np.argsort(-errors, kind="stable")[:_WORST]
    highest = _highest(test, worst[errors[worst] > 0])
    return [
        {
            "subjects": [test.subjects[subject]],
            "samples": [],
            "errors": int(errors[subject]),
            "trials": int(trials[subject]),
            "score": highest[subject],
            "kind": "non_mated",
            "note": f"has a part in {errors[subject] / total:.1%} of the {total:,} false matches",
        }
        for subject in worst.tolist()
        if errors[subject]
    ]


def _highest(test: Side, subjects: NDArray[np.intp]) -> dict[int, float]:
    """Each subject's highest non-mated score."""
    tail = test.non_mated.tail
    found = {}
    for subject in subjects.tolist():
        theirs = np.flatnonzero((tail.subject_a == subject) | (tail.subject_b == subject))
        found[subject] = float(tail.score[theirs[-1]])  # the tail is ascending
    return found


def _rejected(test: Side, threshold: float) -> dict[int, tuple[int, int]]:
    """Attempt -> (false non-matches, mated trials)."""
    size = len(test.attempts)
    if not size:
        return {}
    wrong = test.mated < threshold
    counts = np.zeros((2, size), dtype=np.int64)
    for ends in test.mated_attempts.T:
        known = ends >= 0
        counts[0] += np.bincount(ends[known & wrong], minlength=size)
        counts[1] += np.bincount(ends[known], minlength=size)
    return {
        attempt: (int(counts[0, attempt]), int(counts[1, attempt]))
        for attempt in np.flatnonzero(counts[1]).tolist()
    }
