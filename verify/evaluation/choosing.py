"""Which threshold each view of the data asks for, target by target."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from verify.errors import InsufficientTrialsError, UsageError
from verify.evaluation.analysis.attempts import fta_of
from verify.evaluation.joined_source import JoinedSource, shared_subjects
from verify.evaluation.mated_thresholds import choose_for_fnmr
from verify.evaluation.prepare import POOLED, pooled_side, prepare
from verify.evaluation.targets import Kind
from verify.evaluation.thresholds import ChosenThreshold
from verify.metrics.tail import GeneralisedParetoTail

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from verify.evaluation.prepare import SplitSet
    from verify.evaluation.side import Side
    from verify.evaluation.targets import Target
    from verify.metrics.prediction import Bound
    from verify.types import Rate

    Choice = ChosenThreshold | InsufficientTrialsError


@dataclass(frozen=True, slots=True)
class View:
    """The two sides of one set, or of all sets pooled."""

    name: str
    calibration: Side
    test: Side


@dataclass(frozen=True, slots=True)
class Choices:
    """What one view asks for.

    Attributes:
        targets: each target's threshold, or why there is none.
        ladder: likewise for FMRs of the ladder.
        extrapolated: targets whose threshold comes from a fitted tail.
        extrapolated_rungs: likewise of the ladder.
    """

    targets: Mapping[Target, Choice]
    ladder: Mapping[float, Choice]
    extrapolated: frozenset[Target] = frozenset()
    extrapolated_rungs: frozenset[float] = frozenset()


def views_of(sets: Sequence[SplitSet], *, searched: bool = False) -> dict[str, View]:
    """The pooled view first, then each set's own; a single set is its own whole.

    Args:
        sets: the data.
        searched: the sides hold searches, which their sources know nothing of.

    Raises:
        UsageError: no set, or two of one name.
    """
    if not sets:
        msg = "there is no data set to calibrate on"
        raise UsageError(msg)
    single = {one.name: View(one.name, one.calibration, one.test) for one in sets}
    if len(single) != len(sets) or POOLED in single:
        msg = f"data sets need names of their own, not {[one.name for one in sets]}"
        raise UsageError(msg)
    if len(sets) == 1:
        return single
    calibration = _whole([one.calibration for one in sets], sets, searched=searched)
    test = _whole([one.test for one in sets], sets, searched=searched)
    return {POOLED: View(POOLED, calibration, test), **single}


def _whole(sides: Sequence[Side], sets: Sequence[SplitSet], *, searched: bool) -> Side:
    """One side of all sets; where people of one name are in two of them, they are one cluster."""
    sources = [one.source for one in sets]
    if not shared_subjects(sources):
        return pooled_side(sides)
    joined = JoinedSource(sources, name=POOLED)
    if searched:
        return joined.searches(sides)
    return prepare(joined, joined.joint([side.among for side in sides]))


def choices_of(
    view: View,
    targets: Sequence[Target],
    *,
    ladder: Sequence[float],
    confidence: float,
    bound: Bound,
    ceiling: float,
    attempts: int,
    extrapolate: bool = False,
    seed: int = 0,
) -> Choices:
    """What the calibration side of a view asks for.

    Args:
        view: whose calibration side chooses.
        targets: of mode ``1:1``.
        ladder: further FMRs.
        confidence: of the one-sided bounds.
        bound: ``population`` or ``prediction``.
        ceiling: no threshold above it can be reached by a score.
        attempts: per transaction.
        extrapolate: let a fitted tail speak where trials cannot.
        seed: of the tail's resampled subjects.
    """
    side = view.calibration
    fta = fta_of(side, confidence=confidence, bound=bound)
    by_fmr = {target: fmr_needed(target, fta, attempts=attempts) for target in targets}
    wanted = sorted({rate for rate in by_fmr.values() if rate is not None} | set(ladder), reverse=True)
    chosen: dict[float, Choice] = {}
    if wanted:
        chosen |= side.non_mated.choose(wanted, confidence=confidence, bound=bound, ceiling=ceiling)
    found: dict[Target, Choice] = {}
    for target, rate in by_fmr.items():
        if rate is not None:
            found[target] = chosen[rate]
        else:
            found[target] = _for_rejections(
                side, target, fta, confidence=confidence, bound=bound, attempts=attempts
            )
    beyond: set[float] = set()
    if extrapolate:
        fitted = _extrapolated(side, chosen, confidence=confidence, ceiling=ceiling, seed=seed)
        chosen |= fitted
        beyond = {rate for rate, choice in fitted.items() if isinstance(choice, ChosenThreshold)}
        found |= {target: chosen[rate] for target, rate in by_fmr.items() if rate is not None}
    return Choices(
        targets=found,
        ladder={rate: chosen[rate] for rate in ladder},
        extrapolated=frozenset(target for target, rate in by_fmr.items() if rate in beyond),
        extrapolated_rungs=frozenset(beyond & set(ladder)),
    )


def _extrapolated(
    side: Side, chosen: Mapping[float, Choice], *, confidence: float, ceiling: float, seed: int
) -> dict[float, Choice]:
    """Thresholds from a fitted tail for the rates without one; the tail's own bound is at or below each."""
    missing = [rate for rate, choice in chosen.items() if isinstance(choice, InsufficientTrialsError)]
    if not missing:
        return {}
    try:
        tail = GeneralisedParetoTail.fit(side.non_mated, seed=seed)
    except InsufficientTrialsError as error:
        return {
            rate: InsufficientTrialsError(f"{chosen[rate]}; not even EXTRAPOLATED: {error}")
            for rate in missing
        }
    found: dict[float, Choice] = {}
    for rate in missing:
        try:
            threshold = tail.threshold_at_fmr(rate, confidence=confidence, ceiling=ceiling)
        except InsufficientTrialsError as error:
            found[rate] = InsufficientTrialsError(f"{chosen[rate]}; not even EXTRAPOLATED: {error}")
        else:
            found[rate] = ChosenThreshold(threshold, side.non_mated.rate(threshold, confidence=confidence))
    return found


def fmr_needed(target: Target, fta: Rate | None, *, attempts: int = 1) -> float | None:
    """The FMR whose bound holds the target: FAR = FMR (1 - FTA), so FMR <= target / (1 - lower FTA).

    A transaction of several attempts gives no score only if all of them fail, so its
    FTA is taken to the power of them. None for targets that limit rejections.
    """
    if not target.limits_false_matches:
        return None
    if target.kind is Kind.FAR and fta is not None:
        return min(target.rate / (1.0 - fta.lower**attempts), 1.0 - 1e-9)
    return target.rate


def _for_rejections(
    side: Side, target: Target, fta: Rate | None, *, confidence: float, bound: Bound, attempts: int
) -> Choice:
    """FRR = FTA + FNMR (1 - FTA), so FNMR <= (target - upper FTA) / (1 - upper FTA).

    With several attempts a transaction counts as failed if any of them does: more than the truth, never less.
    """
    rate = target.rate
    if target.kind is Kind.FRR and fta is not None:
        failing = 1.0 - (1.0 - fta.upper) ** attempts
        if failing >= rate:
            return InsufficientTrialsError(
                f"the data cannot support FRR {rate:g}: failures to acquire alone are bounded at {failing:.2g} by the "
                f"{bound} bound{_among_people(side, confidence, bound)} ({fta.errors:,} of {fta.trials:,} attempts of "
                "the calibration subjects); better captures or more subjects are needed"
            )
        rate = (rate - failing) / (1.0 - failing)
    return choose_for_fnmr(side, rate, confidence=confidence, bound=bound)


def _among_people(side: Side, confidence: float, bound: Bound) -> str:
    """The FTA's population bound, which reports give, where the promise is by another."""
    rate = None if bound == "population" else fta_of(side, confidence=confidence)
    return "" if rate is None else f", an attempt's at {rate.upper:.2g} by the population bound"
