"""From embedded data sets to operating points: thresholds chosen on some subjects, measured on others."""

from __future__ import annotations

import dataclasses
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from verify import __version__
from verify.data.splits import CALIBRATION, TEST, Split, split_subjects
from verify.errors import InsufficientTrialsError, UsageError
from verify.evaluation.thresholds import ChosenThreshold, choose_thresholds
from verify.evaluation.trials import Trials, make_trials, pooled
from verify.metrics import mated_rate, non_mated_rate
from verify.types import OperatingPoint

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from verify.evaluation.embeddings import EmbeddedSet
    from verify.types import Modality, Rate

POOLED = "all sets"
MIN_CONFIDENCE = 0.5  # below, the bound would lie under the rate that was seen


@dataclass(frozen=True, slots=True)
class SplitTrials:
    """One data set's trials on calibration subjects and on test subjects, who share nobody.

    Attributes:
        name: of the data set.
        split: which subject is in which part.
        calibration: trials of the calibration subjects.
        test: trials of the test subjects.
        facts: counts and hashes for the operating point's `data`.
    """

    name: str
    split: Split
    calibration: Trials
    test: Trials
    facts: Mapping[str, Any] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Calibration:
    """What a calibration came to.

    Attributes:
        points: one for each target that the data supports, loosest first.
        unsupported: target -> what is missing, for the others.
        sets: the data behind it.
    """

    points: tuple[OperatingPoint, ...]
    unsupported: Mapping[float, str]
    sets: tuple[SplitTrials, ...] = field(repr=False)


def split_trials(embedded: EmbeddedSet, *, seed: int = 0, max_non_mated: int | None = None) -> SplitTrials:
    """Part the subjects of a set by hash, and make the trials of each part.

    Args:
        embedded: the set's captures.
        seed: of the split, and of the sample of trials.
        max_non_mated: sample that many non-mated trials in each part if there are more.
    """
    subject_ids = sorted({entry.subject_id for entry in embedded.entries})
    split = split_subjects(subject_ids, name=embedded.name, seed=seed)
    number = {subject_id: place for place, subject_id in enumerate(subject_ids)}
    owner = np.array([number[entry.subject_id] for entry in embedded.entries])
    part = np.array([split.parts[entry.subject_id] for entry in embedded.entries])
    usable = np.array([failure is None for failure in embedded.failures])
    trials: dict[str, Trials] = {}
    facts: dict[str, Any] = {"set": embedded.name, "split_sha256": split.sha256}
    for side in (CALIBRATION, TEST):
        chosen = usable & (part == side)
        trials[side] = make_trials(
            embedded.vectors[chosen], subjects=owner[chosen], max_non_mated=max_non_mated, seed=seed
        )
        facts[side] = {
            "subjects": trials[side].subjects,
            "samples": trials[side].samples,
            "mated_trials": int(trials[side].mated.size),
            "non_mated_trials": int(trials[side].non_mated.size),
            "possible_non_mated_trials": trials[side].possible_non_mated,
            "attempts": int(np.count_nonzero(part == side)),
            "failures_to_acquire": _failures(embedded, part == side),
        }
    facts["left_out"] = {
        "copies": len(embedded.copies),
        "files_under_several_subjects": sum(len(group) for group in embedded.conflicts),
    }
    return SplitTrials(
        name=embedded.name, split=split, calibration=trials[CALIBRATION], test=trials[TEST], facts=facts
    )


def calibrate(
    sets: Sequence[SplitTrials],
    *,
    model_id: str,
    modality: Modality,
    targets: Sequence[float],
    confidence: float = 0.95,
) -> Calibration:
    """Choose a threshold for each target and measure it on the test subjects.

    With several sets the threshold is the highest of those that the pooled trials ask for and that
    each set able to support the target asks for by itself; so a large easy set cannot hide a small hard one.
    The rates stated are those of the test subjects of the set that governed; all others
    stand in `data`. A stricter target never gets a lower threshold.

    Raises:
        UsageError: no targets, one outside (0, 1), or a confidence outside [0.5, 1).
        InsufficientTrialsError: a part has no mated or no non-mated trials at all.
    """
    if not targets or not all(0.0 < target < 1.0 for target in targets):
        msg = f"target FMRs must lie inside (0, 1), for example 1e-3, not {list(targets)}"
        raise UsageError(msg)
    if not MIN_CONFIDENCE <= confidence < 1.0:
        msg = f"confidence must lie in [{MIN_CONFIDENCE}, 1), for example 0.95, not {confidence}"
        raise UsageError(msg)
    ladder = sorted(set(targets), reverse=True)
    views = _views(sets)
    whole = next(iter(views))  # the pooled trials, or the only set
    _check_classes(views[whole])
    choices = {name: _choices(view.calibration, ladder, confidence) for name, view in views.items()}
    points: list[OperatingPoint] = []
    unsupported: dict[float, str] = {}
    for target in ladder:
        missing = choices[whole][target]
        if isinstance(missing, InsufficientTrialsError):
            unsupported[target] = str(missing)
            continue
        asked = {
            name: c.threshold for name, by in choices.items() if isinstance(c := by[target], ChosenThreshold)
        }
        governing = max(asked, key=lambda name: asked[name])
        threshold = max(asked[governing], points[-1].threshold if points else -1.0)
        views_at = {name: _at(view, threshold, confidence) for name, view in views.items()}
        rates = views_at[governing]
        points.append(
            OperatingPoint(
                name=f"{modality}-fmr-{short(target)}",
                model_id=model_id,
                modality=modality,
                threshold=threshold,
                target_fmr=target,
                fmr=_present(rates.fmr, views_at[whole].fmr),
                # a set of one sample a subject can govern, but tells no FNMR
                fnmr=_present(rates.fnmr, views_at[whole].fnmr),
                confidence=confidence,
                calibration_fmr=rates.calibration_fmr,
                data=_data(sets, views_at, asked, governing),
            )
        )
    return Calibration(points=tuple(points), unsupported=unsupported, sets=tuple(sets))


@dataclass(frozen=True, slots=True)
class _View:
    """The two sides of one set, or of all sets pooled."""

    calibration: Trials
    test: Trials


@dataclass(frozen=True, slots=True)
class _Rates:
    """The rates of one view at one threshold; None where the view has no such trials."""

    calibration_fmr: Rate | None
    fmr: Rate | None
    fnmr: Rate | None


def _views(sets: Sequence[SplitTrials]) -> dict[str, _View]:
    """The pooled view first, then each set's own; a single set is its own whole."""
    if not sets:
        msg = "there is no data set to calibrate on"
        raise UsageError(msg)
    single = {one.name: _View(one.calibration, one.test) for one in sets}
    if len(single) != len(sets) or POOLED in single:
        msg = f"data sets need names of their own, not {[one.name for one in sets]}"
        raise UsageError(msg)
    if len(sets) == 1:
        return single
    whole = _View(pooled([one.calibration for one in sets]), pooled([one.test for one in sets]))
    return {POOLED: whole, **single}


def _check_classes(whole: _View) -> None:
    for part, trials in ((CALIBRATION, whole.calibration), (TEST, whole.test)):
        if not trials.non_mated.size:
            msg = (
                f"there are no non-mated trials among the {part} subjects ({trials.subjects} with usable "
                "samples): two are needed in each part, and hundreds for a useful rate; bring more subjects"
            )
            raise InsufficientTrialsError(msg)
    if not whole.test.mated.size:
        msg = (
            "no test subject has two usable samples, so there is no mated trial and no FNMR can be measured: "
            "bring at least two samples of many subjects"
        )
        raise InsufficientTrialsError(msg)


def _choices(
    trials: Trials, targets: Sequence[float], confidence: float
) -> Mapping[float, ChosenThreshold | InsufficientTrialsError]:
    if not trials.non_mated.size:
        return dict.fromkeys(targets, InsufficientTrialsError("no non-mated trials"))
    return choose_thresholds(
        non_mated=trials.non_mated,
        subject_a=trials.subject_a,
        subject_b=trials.subject_b,
        targets=targets,
        confidence=confidence,
    )


def _at(view: _View, threshold: float, confidence: float) -> _Rates:
    return _Rates(
        calibration_fmr=fmr_with_bounds(view.calibration, threshold=threshold, confidence=confidence),
        fmr=fmr_with_bounds(view.test, threshold=threshold, confidence=confidence),
        fnmr=fnmr_with_bounds(view.test, threshold=threshold, confidence=confidence),
    )


def fmr_with_bounds(trials: Trials, *, threshold: float, confidence: float = 0.95) -> Rate | None:
    """FMR of the trials with dyadic bounds; None without non-mated trials."""
    if not trials.non_mated.size:
        return None
    return non_mated_rate(
        non_mated=trials.non_mated,
        subject_a=trials.subject_a,
        subject_b=trials.subject_b,
        threshold=threshold,
        confidence=confidence,
    )


def fnmr_with_bounds(trials: Trials, *, threshold: float, confidence: float = 0.95) -> Rate | None:
    """FNMR of the trials with cluster bounds; None without mated trials."""
    if not trials.mated.size:
        return None
    return mated_rate(
        mated=trials.mated, subject=trials.mated_subject, threshold=threshold, confidence=confidence
    )


def _present(own: Rate | None, whole: Rate | None) -> Rate:
    rate = own if own is not None else whole
    if rate is None:  # ruled out by _check_classes
        msg = "there are no trials to measure a rate on"
        raise InsufficientTrialsError(msg)
    return rate


def _data(
    sets: Sequence[SplitTrials], views_at: Mapping[str, _Rates], asked: Mapping[str, float], governing: str
) -> dict[str, Any]:
    """What the point was measured on, in plain JSON values; no date, so that a rerun is identical."""
    return {
        "claim": (
            "population bound: the one-sided upper bound on the FMR over all people like the calibration "
            "subjects is at or below target_fmr; fmr and fnmr are measured on test subjects who took no "
            "part. Calibration and test subjects are different people from the same data sets"
        ),
        "sets": [dict(one.facts) for one in sets],
        "governed_by": governing,
        "thresholds_asked": dict(asked),
        # these sets are measured at the threshold, but are no proof of the target for data like theirs
        "too_small_alone": [one.name for one in sets if one.name not in asked],
        "measured": {name: dataclasses.asdict(rates) for name, rates in views_at.items()},
        "seed": sets[0].split.seed,
        "trials": "within each set only: one person may be in two sets",
        "made_with": f"verify {__version__}",
    }


def _failures(embedded: EmbeddedSet, here: NDArray[np.bool_]) -> dict[str, int]:
    """Failures to acquire among the entries marked in `here`, by reason, most frequent first."""
    reasons = (embedded.failures[row] for row in np.flatnonzero(here))
    return dict(Counter(str(reason) for reason in reasons if reason is not None).most_common())


def short(rate: float) -> str:
    """A rate as it stands in names: ``1e-3``, ``2.5e-4``."""
    mantissa, exponent = f"{rate:.6e}".split("e")
    return f"{float(mantissa):g}e{int(exponent)}"
