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
    confidence: float = 0.95,
    seed: int = 0,
    listed: int = LISTED,
    name_of: Callable[[str], str] = str,
) -> Dependence | None:
    """What the FMR's bound rests on at `threshold`, with the likely label errors.

    Args:
        test: the side measured.
        threshold: of the verdict.
        confidence: of each one-sided bound.
        seed: of the bootstrap, and of the sample that evidence is fitted on.
        listed: how many suspects of each kind to name.
        name_of: makes of an attempt's name what is shown, for example its last two parts.

    Returns:
        The facts; None without non-mated trials. `subjects` has samples unlike the rest of their subject
        (kind ``mated``), strongest evidence first, then the subjects with most false matches (kind
        ``non_mated``); `pairs` has two names that look like one person.
    """
    rate = fmr_of(test, threshold=threshold, confidence=confidence)
    if rate is None:
        return None
    odd, alike = _label_errors(test, threshold=threshold, seed=seed, listed=listed, name_of=name_of)
    return {
        "threshold": threshold,
        "n_eff": float(rate.n_eff),
        "design_effect": max(1.0, rate.trials / rate.n_eff),
        "independent_upper": clopper_pearson(rate.errors, trials=rate.trials, confidence=confidence)[1],
        "dyadic_upper": rate.upper,
        "bootstrap_upper": _bootstrap(test, threshold=threshold, confidence=confidence, seed=seed),
        "subjects": [*odd, *_causes(test, threshold=threshold)],
        "pairs": alike,
    }


def _bootstrap(test: Side, *, threshold: float, confidence: float, seed: int) -> float | None:
    """The subject bootstrap's upper bound; None where it is not known who errs, or it would take too long."""
    scores = test.non_mated
    if threshold <= scores.floor or scores.subjects > _MOST_SUBJECTS:
        return None
    drawn = subject_bootstrap(non_mated=scores, thresholds=[threshold], replicates=_REPLICATES, seed=seed)
    return float(drawn.fmr_upper(confidence=confidence)[0])


def _label_errors(
    test: Side, *, threshold: float, seed: int, listed: int, name_of: Callable[[str], str]
) -> tuple[list[Suspect], list[Suspect]]:
    mapping = evidence_map(test, seed=seed)
    if mapping is None:
        return [], []
    odd = outliers(test, mapping)[:listed]
    alike = [pair for pair in lookalikes(test, mapping) if pair.evidence > 0][:listed]
    rejected = _rejected(test, threshold)
    return (
        [_odd(test, one, rejected=rejected, name_of=name_of) for one in odd],
        [_alike(test, pair, name_of=name_of) for pair in alike],
    )


def _odd(
    test: Side, one: Outlier, *, rejected: dict[int, tuple[int, int]], name_of: Callable[[str], str]
) -> Suspect:
    errors, trials = rejected.get(one.attempts[0], (0, 0))
    if len(one.attempts) == 2:  # noqa: PLR2004
        note = f"its only two samples score {one.score:.3f} with each other: either may be somebody else's"
        trials = 1
        errors = min(errors, 1)
    elif one.others == 1:
        note = f"scores {one.score:.3f} with the one sample that is left of this subject"
    else:
        note = (
            f"scores {one.score:.3f} on average with the {one.others} other samples of this subject that agree, "
            f"which score {one.agreement:.3f} with each other"
        )
    return {
        "subjects": [test.subjects[one.subject]],
        "samples": [name_of(test.attempts[attempt].name) for attempt in one.attempts],
        "errors": errors,
        "trials": trials,
        "score": one.score,
        "kind": "mated",
        "note": f"{note}; evidence for a stranger {one.evidence:.1f} nats",
    }


def _alike(test: Side, pair: Lookalike, *, name_of: Callable[[str], str]) -> Suspect:
    first, second = (test.subjects[subject] for subject in pair.subjects)
    if pair.whole:
        note = f"{pair.hits} of the {pair.trials} trials between the two speak for one person under two names"
    else:
        note = (
            f"a sample filed under {first} that {pair.hits} of the {pair.trials} samples of {second} speak for, "
            f"more than those of {first} do"
        )
    return {
        "subjects": [first, second],
        "samples": [name_of(test.attempts[attempt].name) for attempt in pair.attempts],
        "errors": pair.hits,
        "trials": pair.trials,
        "score": pair.score,
        "kind": "non_mated",
        "note": f"{note}; evidence for one person {pair.evidence:.1f} nats",
    }


def _causes(test: Side, *, threshold: float) -> list[Suspect]:
    """The subjects with most false matches; none where it is not known who errs."""
    if threshold <= test.non_mated.floor:
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
