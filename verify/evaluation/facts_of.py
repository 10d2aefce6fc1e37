"""A calibration as the facts of its report: everything that is known, in plain JSON values."""

from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING, Any

from verify import __version__
from verify.data.splits import CALIBRATION
from verify.evaluation.analysis import LADDER, curve, histogram, ladder, side_facts, transfer
from verify.evaluation.analysis.evidence import evidence
from verify.evaluation.analysis.planning import planning
from verify.evaluation.focus import closer_look
from verify.evaluation.joined_source import shared_subjects
from verify.evaluation.persons import on_both_sides, several_names
from verify.evaluation.prepare import among
from verify.evaluation.verdicts import target_of, verdicts
from verify.facts import SCHEMA
from verify.score_space import ScoreSpace

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from verify.evaluation.job import CalibrationJob
    from verify.evaluation.prepare import SplitSet
    from verify.facts import CalibrationFacts, SetFacts

ATTACKS = (
    "not measured: no presentation attacks (photos of photos, replayed or synthetic speech) were among the data, and "
    "matching alone is no defence against them"
)


def calibration_facts(
    job: CalibrationJob,
    *,
    title: str,
    command: str,
    created_at: datetime,
    model: Mapping[str, Any] | None = None,
) -> CalibrationFacts:
    """Everything that a report of this calibration states.

    Args:
        job: the finished calibration.
        title: of the report.
        command: that reproduces it.
        created_at: now, in UTC.
        model: name, modality and preprocessing of the model; None for score files.
    """
    made, recipe, method = job.calibration, job.spaces.recipe, job.method
    whole = made.whole
    supported = {rate: t for rate, t in made.rungs.items() if isinstance(t, float)}
    look = closer_look(job)
    torn = on_both_sides(made.sets)
    return {
        "schema": SCHEMA,
        "kind": "calibration",
        "title": title,
        "created_at": created_at.isoformat(timespec="seconds"),
        "verify_version": __version__,
        "command": command,
        "model": {**model, "model_id": recipe.model_id} if model else {},
        "score_space": str(recipe.space),
        "norm": _plain(recipe.norm) if recipe.norm else None,
        "mode": method.mode,
        "gallery_size": method.gallery_size,
        "attempts": recipe.attempts,
        "confidence": method.confidence,
        "bound": method.bound,
        "seed": method.seed,
        "sets": [
            set_facts(one, confidence=method.confidence, disjoint=one.name not in torn) for one in made.sets
        ],
        "verdicts": verdicts(made),
        "ladder": ladder(
            whole.calibration,
            whole.test,
            chosen=made.rungs,
            extrapolated=made.extrapolated,
            confidence=method.confidence,
            bound=method.bound,
        ),
        "curve": curve(whole.test, confidence=method.confidence),
        "histogram": histogram(whole.test),
        "transfer": transfer(whole.calibration, whole.test, supported, confidence=method.confidence),
        "evidence": evidence(
            whole.calibration,
            whole.test,
            llr_map=recipe.llr,
            scores_are_llrs=recipe.space is ScoreSpace.LLR,
            seed=method.seed,
        ),
        "dependence": look.dependence,
        "groups": look.groups,
        "strata": look.strata,
        "enrolment": look.enrolment,
        "one_to_n": look.one_to_n,
        "planning": planning(
            whole.calibration,
            targets=_planned(job),
            confidence=method.confidence,
            bound=method.bound,
        ),
        "presentation_attacks": ATTACKS,
        "notes": [*_notes(job), *look.notes],
    }


def set_facts(one: SplitSet, *, confidence: float, disjoint: bool) -> SetFacts:
    """Counts, hashes and warnings of one set.

    Args:
        one: the set.
        confidence: of the one-sided bounds.
        disjoint: no person and no file of it is on both sides, here or in another set.
    """
    calibration = side_facts(one.calibration, confidence=confidence)
    test = side_facts(one.test, confidence=confidence)
    calibration["possible_non_mated_trials"] = one.possible["calibration"]
    test["possible_non_mated_trials"] = one.possible["test"]
    return {
        "name": one.name,
        "kind": one.source.kind,
        "data_sha256": one.source.data_sha256,
        "split_sha256": one.split.sha256,
        "disjoint": disjoint,
        "cross_trials_dropped": one.source.crossing(among(one.source, one.split, CALIBRATION)),
        "calibration": calibration,
        "test": test,
        "copies_left_out": one.source.copies,
        "conflicts": [list(group) for group in one.source.conflicts],
        "warnings": list(one.source.warnings),
    }


def _notes(job: CalibrationJob) -> list[str]:
    notes = []
    for point in job.calibration.points:
        small = point.data["too_small_alone"]
        if small:
            notes.append(
                f"{target_of(point).words}: {', '.join(small)} alone could not support it, so it is no proof for data "
                f"like {'theirs' if len(small) > 1 else 'its'}; the other sets chose the threshold"
            )
    for one in job.calibration.sets:
        for part, side in (("calibration", one.calibration), ("test", one.test)):
            if side.non_mated.trials < one.possible[part]:
                notes.append(
                    f"{one.name}, {part}: {side.non_mated.trials:,} of {one.possible[part]:,} non-mated trials were "
                    "drawn at random; --trials all takes every one"
                )
        notes.extend(
            f"{one.name}: no subject has one label in column {column!r}, so there are no rates by it: see the warnings"
            for column, labels in one.source.groups.items()
            if not any(labels)
        )
    if len(job.calibration.sets) > 1:
        notes.append("no trial was made across two sets: one person may be in both")
        shared = shared_subjects([one.source for one in job.calibration.sets])
        if shared:
            notes.append(
                f"{len(shared)} subject ids are in several sets ({shared[0]} is one): they are taken as one person, "
                "whose trials are not independent"
            )
            notes.extend(
                f"{one.name}: {double} of its people are two subjects of it, by spelling or by files that they share "
                "with another set: their trials against each other are left out of all sets pooled"
                for one in job.calibration.sets
                if (double := several_names(one.source))
            )
    if job.method.attempts > 1:
        notes.append(
            f"all rates are per transaction of {job.method.attempts} attempts, whose best score is judged; "
            "failures to acquire are per attempt: FAR takes all of a transaction failing, FRR any of them, the worse "
            "of both each time"
        )
        notes.extend(_if_independent(job))
    return notes


def _if_independent(job: CalibrationJob) -> list[str]:
    """What several attempts would come to if they were independent: an estimate, beside the measurement."""
    points, raw = job.calibration.points, job.spaces.raw
    if not points or job.method.quality is not None or len(raw) > 1:
        return []
    k, threshold = job.method.attempts, points[0].threshold
    single = raw[0].test.non_mated.rate(threshold).value
    return [
        (
            f"estimate only: were attempts independent, the single-attempt FMR of {single:.3g} would make "
            f"1 - (1 - FMR)^{k} = {1 - (1 - single) ** k:.3g}; measured: {points[0].fmr.value:.3g}"
        )
    ]


def _planned(job: CalibrationJob) -> list[float]:
    """The FMRs whose price is told: those of the ladder, and those asked for."""
    asked = {point.target_fmr for point in job.calibration.points if point.asked_kind in ("fmr", "fpir")}
    missing = {target.rate for target in job.calibration.unsupported if target.limits_false_matches}
    return sorted({*LADDER, *asked, *missing}, reverse=True)


def _plain(value: Any) -> Any:
    return json.loads(json.dumps(dataclasses.asdict(value)))
