"""From data sets in halves to operating points: thresholds chosen on some subjects, measured on others.

With several sets, a threshold that limits false matches is the highest of those that the pooled
trials ask for and that each set able to support the target asks for by itself; so a large easy set
cannot hide a small hard one. One that limits rejections is, in the same way, the lowest. The rates stated are
those of the test subjects of the set that governed; all others stand in `data`. A stricter limit on
false matches never gets a lower threshold.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from verify import __version__
from verify.errors import InsufficientTrialsError, UsageError
from verify.evaluation.analysis import LADDER, fmr_of, fnmr_of, fta_of
from verify.evaluation.choosing import View, choices_of, fmr_needed, views_of
from verify.evaluation.persons import given_split
from verify.evaluation.prepare import failures
from verify.evaluation.targets import Target, checked_targets
from verify.evaluation.thresholds import ChosenThreshold
from verify.score_space import ScoreSpace
from verify.types import OperatingPoint

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from verify.evaluation.choosing import Choice, Choices
    from verify.evaluation.prepare import SplitSet
    from verify.evaluation.side import Side
    from verify.metrics.prediction import Bound
    from verify.score_space import LlrMap, ScoreNorm
    from verify.types import Modality, Rate

MIN_CONFIDENCE = 0.5  # below, the bound would lie under the rate that was seen
CLAIMS: Mapping[str, str] = {
    "population": "population bound: the one-sided upper bound on the rate over all people like the calibration "
    "subjects is at or below the target",
    "prediction": "prediction bound: the one-sided upper bound on the rate that as many further people like the "
    "calibration subjects will show is at or below the target",
}
MEASURED = (
    "; fmr and fnmr are measured on test subjects who took no part. Calibration and test subjects are "
    "different people from the same data sets"
)


@dataclass(frozen=True, slots=True)
class Recipe:
    """Whose scores are judged, and how a cosine became one of them.

    Attributes:
        model_id: of the model that made the scores.
        modality: face or voice.
        space: the score space of the trials.
        norm: behind a norm space.
        llr: from the scores to evidence; in the space ``llr`` it made the scores.
        attempts: attempts of a transaction, whose best score is judged.
        mode: ``1:1``, or ``1:N`` for searches among `gallery_size` subjects.
    """

    model_id: str
    modality: Modality
    space: ScoreSpace = ScoreSpace.COSINE
    norm: ScoreNorm | None = None
    llr: LlrMap | None = None
    attempts: int = 1
    mode: str = "1:1"
    gallery_size: int = 0

    @property
    def ceiling(self) -> float:
        """The highest threshold that a score can reach."""
        return 1.0 if self.space is ScoreSpace.COSINE else math.inf


@dataclass(frozen=True, slots=True)
class Calibration:
    """What a calibration came to.

    Attributes:
        points: one for each target that the data supports: limits on false matches first, loosest first.
        unsupported: target -> what is missing, for the others.
        sets: the data behind it.
        views: the pooled view first, then each set's own.
        rungs: FMR of the report's ladder -> threshold, or why there is none.
        extrapolated: the rungs that a fitted tail, not trials, stands behind.
    """

    points: tuple[OperatingPoint, ...]
    unsupported: Mapping[Target, str]
    sets: tuple[SplitSet, ...] = field(repr=False)
    views: Mapping[str, View] = field(repr=False)
    rungs: Mapping[float, float | str] = field(repr=False)
    extrapolated: frozenset[float] = frozenset()

    @property
    def whole(self) -> View:
        """All sets pooled, or the only one."""
        return next(iter(self.views.values()))


def calibrate(
    sets: Sequence[SplitSet],
    *,
    recipe: Recipe,
    targets: Iterable[Target | float],
    confidence: float = 0.95,
    bound: Bound = "prediction",
    extrapolate: bool = False,
    seed: int = 0,
) -> Calibration:
    """Choose a threshold for each target and measure it on the test subjects.

    Args:
        sets: the data; no trial is made across two of them.
        recipe: what the scores are.
        targets: rates to hold; plain numbers are FMRs (mode ``1:N``: FPIRs).
        confidence: of the one-sided bounds.
        bound: ``prediction``: the bound is on what as many further people will show; ``population``:
            on the rate over all people like these.
        extrapolate: let a fitted tail choose where trials cannot; such points say so.
        seed: of the tail's resampled subjects.

    Raises:
        UsageError: no targets, one outside (0, 1), or a confidence outside [0.5, 1).
        InsufficientTrialsError: there are no mated test trials at all.
    """
    asked = checked_targets(targets, mode=recipe.mode)
    check_confidence(confidence, bound=bound)
    views = views_of(sets, searched=recipe.mode == "1:N")
    whole = next(iter(views))
    if not views[whole].test.mated.size:
        msg = (
            "no test subject has two usable samples, so there is no mated trial and no FNMR can be measured: "
            "every operating point states what it costs the right people, so bring at least two samples of many "
            "subjects"
        )
        raise InsufficientTrialsError(msg)
    choices = {
        name: choices_of(
            view,
            asked,
            ladder=LADDER,
            confidence=confidence,
            bound=bound,
            ceiling=recipe.ceiling,
            attempts=recipe.attempts,
            extrapolate=extrapolate,
            seed=seed,
        )
        for name, view in views.items()
    }
    points: list[OperatingPoint] = []
    unsupported: dict[Target, str] = {}
    least = -math.inf
    for target in _strictest_last(asked, views[whole].calibration, confidence=confidence, bound=bound):
        by_view = {name: found.targets[target] for name, found in choices.items()}
        missing = by_view[whole]
        if isinstance(missing, InsufficientTrialsError):
            unsupported[target] = str(missing)
            continue
        governing, threshold, wanted = governed(by_view, highest=target.limits_false_matches)
        if target.limits_false_matches:
            threshold = least = max(threshold, least)
        measured = {
            name: rates_at(view, threshold, confidence=confidence, bound=bound)
            for name, view in views.items()
        }
        by_tail = any(target in choices[name].extrapolated for name in (governing, whole))
        made = _point(target, threshold, measured[governing], measured[whole], recipe)
        points.append(
            dataclasses.replace(
                made,
                confidence=confidence,
                bound=bound,
                extrapolated=by_tail,
                target_fmr=target.rate if by_tail else made.target_fmr,
                data=_data(sets, measured, wanted, governing, bound=bound),
            )
        )
    rungs, beyond = _ladder(choices, whole=whole, missing=_too_few(views[whole].calibration))
    return Calibration(
        points=tuple(points),
        unsupported=unsupported,
        sets=tuple(sets),
        views=views,
        rungs=rungs,
        extrapolated=beyond,
    )


@dataclass(frozen=True, slots=True)
class Rates:
    """The rates of one view at one threshold; None where the view has no such trials."""

    calibration_fmr: Rate | None
    fmr: Rate | None
    fnmr: Rate | None
    fta: Rate | None


def check_confidence(confidence: float, *, bound: str) -> None:
    """Raise UsageError if the bounds are to be none that can be."""
    if not MIN_CONFIDENCE <= confidence < 1.0:
        msg = f"confidence must lie in [{MIN_CONFIDENCE}, 1), for example 0.95, not {confidence}"
        raise UsageError(msg)
    if bound not in CLAIMS:
        msg = f"bound must be one of {', '.join(CLAIMS)}, not {bound!r}"
        raise UsageError(msg)


def governed(by_view: Mapping[str, Choice], *, highest: bool) -> tuple[str, float, dict[str, float]]:
    """(the view whose threshold rules, that threshold, what each view asked for)."""
    asked = {
        name: choice.threshold for name, choice in by_view.items() if isinstance(choice, ChosenThreshold)
    }
    name = (max if highest else min)(asked, key=lambda one: asked[one])
    return name, asked[name], asked


def rates_at(view: View, threshold: float, *, confidence: float, bound: Bound) -> Rates:
    """Calibration FMR with the bound of the promise; test rates with population bounds: they are measurements."""
    return Rates(
        calibration_fmr=fmr_of(view.calibration, threshold=threshold, confidence=confidence, bound=bound),
        fmr=fmr_of(view.test, threshold=threshold, confidence=confidence),
        fnmr=fnmr_of(view.test, threshold=threshold, confidence=confidence),
        fta=fta_of(view.test, confidence=confidence),
    )


def _strictest_last(
    targets: Sequence[Target], side: Side, *, confidence: float, bound: Bound
) -> list[Target]:
    """Limits on false matches by the FMR that they need, loosest first; then those on rejections."""
    fta = fta_of(side, confidence=confidence, bound=bound)

    def key(target: Target) -> tuple[bool, float]:
        needed = fmr_needed(target, fta)
        return (needed is None, -(target.rate if needed is None else needed))

    return sorted(targets, key=key)


def _too_few(side: Side) -> str:
    """In short, for rungs that nobody asked for; how many it takes is in the report's plan."""
    return f"too few: {side.non_mated.trials:,} non-mated trials among {side.non_mated.subjects:,} calibration subjects"


def _ladder(
    choices: Mapping[str, Choices], *, whole: str, missing: str
) -> tuple[dict[float, float | str], frozenset[float]]:
    """FMR -> threshold by the same rule as for targets, or `missing` where the data supports none; the extrapolated."""
    found: dict[float, float | str] = {}
    beyond: set[float] = set()
    least = -math.inf
    for rate in sorted(choices[whole].ladder, reverse=True):
        by_view = {name: one.ladder[rate] for name, one in choices.items()}
        if isinstance(by_view[whole], InsufficientTrialsError):
            found[rate] = missing
            continue
        governing, threshold, _ = governed(by_view, highest=True)
        least = max(threshold, least)
        found[rate] = least
        if any(rate in choices[name].extrapolated_rungs for name in (governing, whole)):
            beyond.add(rate)
    return found, frozenset(beyond)


def _point(target: Target, threshold: float, rates: Rates, whole: Rates, recipe: Recipe) -> OperatingPoint:
    calibration_fmr = _present(rates.calibration_fmr, whole.calibration_fmr)
    target_fmr = calibration_fmr.upper
    if target.limits_false_matches:  # at least what it asks of the FMR; a FAR leaves room for failed captures
        target_fmr = max(target.rate, calibration_fmr.upper)
    return OperatingPoint(
        name=f"{_kind_of_score(recipe)}-{target.name}",
        model_id=recipe.model_id,
        modality=recipe.modality,
        threshold=threshold,
        target_fmr=target_fmr,
        fmr=_present(rates.fmr, whole.fmr),
        # a set of one sample a subject can govern, but tells no FNMR
        fnmr=_present(rates.fnmr, whole.fnmr),
        score_space=str(recipe.space),
        calibration_fmr=calibration_fmr,
        asked_kind=str(target.kind),
        asked_rate=target.rate,
        attempts=recipe.attempts,
        mode=recipe.mode,
        gallery_size=recipe.gallery_size,
        norm=None if recipe.space is ScoreSpace.LLR else recipe.norm,
        llr=recipe.llr,
    )


def _kind_of_score(recipe: Recipe) -> str:
    """What a point's name begins with: points of several score spaces may stand in one file."""
    if recipe.space is ScoreSpace.FOREIGN:
        return "scores"
    if recipe.space in (ScoreSpace.COSINE, ScoreSpace.FUSED_LLR):  # a fusion's points are named by its parts
        return str(recipe.modality)
    return f"{recipe.modality}-{recipe.space}"


def _present(own: Rate | None, whole: Rate | None) -> Rate:
    rate = own if own is not None else whole
    if rate is None:  # ruled out before
        msg = "there are no trials to measure a rate on"
        raise InsufficientTrialsError(msg)
    return rate


def _data(
    sets: Sequence[SplitSet],
    measured: Mapping[str, Rates],
    asked: Mapping[str, float],
    governing: str,
    *,
    bound: str,
) -> dict[str, Any]:
    """What the point was measured on, in plain JSON values; no date, so that a rerun is identical."""
    return {
        "claim": CLAIMS[bound] + MEASURED,
        "sets": [set_data(one) for one in sets],
        "governed_by": governing,
        "thresholds_asked": dict(asked),
        # these sets are measured at the threshold, but are no proof of the target for data like theirs
        "too_small_alone": [one.name for one in sets if one.name not in asked],
        "measured": {name: dataclasses.asdict(rates) for name, rates in measured.items()},
        "seed": sets[0].split.seed,
        "trials": "within each set only: one person may be in two sets",
        "made_with": f"verify {__version__}",
    }


def set_data(one: SplitSet) -> dict[str, Any]:
    """Counts and hashes of one set."""
    sides = {}
    for part, side in (("calibration", one.calibration), ("test", one.test)):
        failed = failures(side)
        sides[part] = {
            "subjects": side.subjects_seen,
            "samples": side.samples_seen,
            "mated_trials": int(side.mated.size),
            "non_mated_trials": int(side.non_mated.trials),
            "possible_non_mated_trials": one.possible[part],
            "attempts": (side.mated.size if side.mated_left_out.size else side.samples_seen)
            + sum(failed.values()),
            "failures_to_acquire": failed,
        }
    return {
        "set": one.name,
        "kind": one.source.kind,
        "data_sha256": one.source.data_sha256,
        "split_sha256": one.split.sha256,
        **({"split": "given"} if given_split(one.source) is not None else {}),
        **sides,
        "left_out": {
            "copies": one.source.copies,
            "files_under_several_subjects": sum(len(group) for group in one.source.conflicts),
        },
    }
