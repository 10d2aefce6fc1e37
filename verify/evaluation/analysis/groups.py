"""Rates by group, at the one threshold that everybody is judged by (after ISO/IEC 19795-10).

Group labels come from the user's manifest or score file. Nothing is ever inferred from a face or a voice.
A group of fewer than four subjects is named and not measured. Ratios between groups are stated only where
every measured group has errors: a group without errors has a bound, and no ratio can be made of that.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from verify.errors import InsufficientTrialsError
from verify.evaluation.analysis.rates import rate_facts
from verify.evaluation.analysis.subsets import between
from verify.metrics.dyadic import mated_rate
from verify.metrics.groups import gini, max_over_geometric_mean

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from verify.evaluation.side import Side
    from verify.facts import GroupFacts
    from verify.metrics.prediction import Bound
    from verify.types import Rate

MIN_SUBJECTS = 4  # the dyadic variance needs as many
MAX_GROUPS = 16  # of a column; a column with more is rather an id than a group


def groups(
    calibration: Side,
    test: Side,
    *,
    columns: Sequence[str],
    threshold: float,
    target_fmr: float | None = None,
    confidence: float = 0.95,
    bound: Bound = "population",
) -> list[GroupFacts]:
    """FMR and FNMR within and across the groups of each column, on the test side.

    Args:
        calibration: where the threshold that would hold for the worst group is chosen.
        test: where rates are measured.
        columns: names of group columns; columns without a label on the test side are left out.
        threshold: of the verdict.
        target_fmr: that the worst group's own bound is to meet; None asks for no such threshold.
        confidence: of each one-sided bound.
        bound: of the worst group's threshold: ``population`` or ``prediction``.
    """
    return [
        _column(
            calibration,
            test,
            column,
            threshold=threshold,
            target=target_fmr,
            confidence=confidence,
            bound=bound,
        )
        for column in columns
        if any(_labelled(test, column))
    ]


def _column(
    calibration: Side,
    test: Side,
    column: str,
    *,
    threshold: float,
    target: float | None,
    confidence: float,
    bound: Bound,
) -> GroupFacts:
    notes: list[str] = []
    members = _members(test, column)
    unlabelled = _seen(test) - sum(int(np.count_nonzero(mask)) for mask in members.values())
    if unlabelled:
        notes.append(f"{unlabelled:,} subjects have no label and are in no group")
    by_size = sorted(members, key=lambda name: (-int(np.count_nonzero(members[name])), name))
    if len(by_size) > MAX_GROUPS:
        notes.append(f"{len(by_size):,} groups: the {MAX_GROUPS} with most subjects are shown")
    shown = sorted(by_size[:MAX_GROUPS])
    few = [name for name in shown if np.count_nonzero(members[name]) < MIN_SUBJECTS]
    if few:
        notes.append(f"too few subjects to measure (under {MIN_SUBJECTS}): {', '.join(few)}")
    measured = [name for name in shown if name not in few]
    fmr = {
        name: _fmr(test, members[name], members[name], threshold=threshold, confidence=confidence)
        for name in measured
    }
    fnmr = {name: _fnmr(test, members[name], threshold=threshold, confidence=confidence) for name in measured}
    worst, why = _worst_threshold(calibration, column, measured, target, confidence=confidence, bound=bound)
    notes += [why] if why else []
    fmr_ratio, fmr_gini = _spread(fmr, "FMR", notes)
    fnmr_ratio, fnmr_gini = _spread(fnmr, "FNMR", notes)
    return {
        "column": column,
        "groups": [
            _line(name, members[name], fmr.get(name), fnmr.get(name), few=name in few) for name in shown
        ],
        "across": _across(test, members, measured, threshold=threshold, confidence=confidence),
        "worst_fmr": _worst(fmr),
        "worst_fnmr": _worst(fnmr),
        "fmr_max_over_geometric_mean": fmr_ratio,
        "fnmr_max_over_geometric_mean": fnmr_ratio,
        "fmr_gini": fmr_gini,
        "fnmr_gini": fnmr_gini,
        "worst_threshold": worst,
        "note": "; ".join(notes),
    }


def _line(
    name: str, mask: NDArray[np.bool_], fmr: Rate | None, fnmr: Rate | None, *, few: bool
) -> dict[str, Any]:
    return {
        "name": name,
        "subjects": int(np.count_nonzero(mask)),
        "fmr": rate_facts(fmr),
        "fnmr": rate_facts(fnmr),
        "too_few": few,
    }


def _across(
    test: Side,
    members: dict[str, NDArray[np.bool_]],
    measured: Sequence[str],
    *,
    threshold: float,
    confidence: float,
) -> list[dict[str, Any]]:
    """FMR between each two groups: low where people of different groups are told apart easily."""
    lines: list[dict[str, Any]] = []
    for place, a in enumerate(measured):
        for b in measured[place + 1 :]:
            rate = _fmr(test, members[a], members[b], threshold=threshold, confidence=confidence)
            lines.append({"a": a, "b": b, "fmr": rate_facts(rate)})
    return lines


def _labelled(side: Side, column: str) -> list[str]:
    """(S,) each subject's label; empty for subjects who are not on this side or have none."""
    labels = side.groups.get(column, ())
    return [label if on else "" for label, on in zip(labels, side.among.tolist(), strict=False)]


def _members(side: Side, column: str) -> dict[str, NDArray[np.bool_]]:
    """Label -> (S,) which subjects of this side that took part in a trial carry it."""
    labels = np.array(_labelled(side, column), dtype=object)
    labels = np.append(labels, np.full(len(side.subjects) - labels.size, "", dtype=object))
    present = _present(side)
    names = sorted({str(label) for label in labels[present] if label})
    return {name: (labels == name) & present for name in names}


def _present(side: Side) -> NDArray[np.bool_]:
    present = np.zeros(len(side.subjects), dtype=bool)
    per_subject = side.non_mated.design.per_subject
    present[: per_subject.size] = per_subject > 0
    present[side.mated_subject] = True
    return present


def _seen(side: Side) -> int:
    return int(np.count_nonzero(_present(side)))


def _fmr(
    side: Side, one: NDArray[np.bool_], other: NDArray[np.bool_], *, threshold: float, confidence: float
) -> Rate | None:
    """FMR between two groups, or within one; None without trials, or where errors are not known one by one."""
    if threshold <= side.non_mated.floor:
        return None
    trials = between(side.non_mated, one, other, at_least=threshold)
    return None if trials is None else trials.rate(threshold, confidence=confidence)


def _fnmr(side: Side, mask: NDArray[np.bool_], *, threshold: float, confidence: float) -> Rate | None:
    here = mask[side.mated_subject]
    if not here.any():
        return None
    return mated_rate(
        mated=side.mated[here],
        subject=side.mated_subject[here],
        threshold=threshold,
        confidence=confidence,
    )


def _worst(rates: dict[str, Rate | None]) -> str | None:
    """The group with the highest rate; None where no group has an error."""
    seen = {name: rate.value for name, rate in rates.items() if rate is not None and rate.errors}
    return max(seen, key=lambda name: seen[name]) if seen else None


def _spread(rates: dict[str, Rate | None], name: str, notes: list[str]) -> tuple[float | None, float | None]:
    """(max / geometric mean, Gini) of the point rates; None and a note where a group has no errors."""
    known = {group: rate for group, rate in rates.items() if rate is not None and rate.trials}
    if len(known) < 2:  # noqa: PLR2004  one group has nothing to be compared with
        return None, None
    clean = [group for group, rate in known.items() if not rate.errors]
    if clean:
        notes.append(f"no {name} error in {', '.join(clean)}: bounds are shown, and no ratio between groups")
        return None, None
    values = [rate.value for rate in known.values()]
    return max_over_geometric_mean(values), gini(values)


def _worst_threshold(
    calibration: Side,
    column: str,
    measured: Sequence[str],
    target: float | None,
    *,
    confidence: float,
    bound: Bound,
) -> tuple[float | None, str]:
    """The highest of the thresholds that each group's own calibration subjects ask for, or why there is none."""
    if target is None or not measured:
        return None, ""
    members = _members(calibration, column)
    asked: dict[str, float] = {}
    missing: list[str] = []
    for name in measured:
        trials = between(calibration.non_mated, members[name], members[name]) if name in members else None
        choice = None
        if trials is not None and trials.tail.score.size:
            choice = trials.choose([target], confidence=confidence, bound=bound)[target]
        if choice is None or isinstance(choice, InsufficientTrialsError):
            missing.append(name)
        else:
            asked[name] = choice.threshold
    if missing:
        return (
            None,
            f"too few calibration subjects to find a threshold for {target:g} in: {', '.join(missing)}",
        )
    worst = max(asked, key=lambda name: asked[name])
    return asked[worst], f"{worst} asks for the highest threshold"
