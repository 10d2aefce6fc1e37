"""Published protocols and own data, measured with thresholds that were set before: nothing is chosen here.

Three protocols over one kind of result, the facts of a report:

- *pairs*: the trials of a list (LFW with its folds, VoxCeleb, CSV), or all pairs of a folder or score file;
- *identification*: open-set search in galleries drawn from a folder's subjects;
- both hold the model's operating points against people that they may never have seen, and say PASS or FAIL.

A trial whose capture failed has no score. It is left out of FMR and FNMR, counts as a reject in LFW's accuracy, and
turns up in FAR and FRR. Figures whose threshold is set on the very trials that it is judged by (EER, FNMR at an FMR,
minimum costs) are there to be held against published ones, and are named so.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import numpy as np

from verify import __version__
from verify.errors import InsufficientTrialsError, UsageError
from verify.evaluation.analysis import (
    curve,
    dependence,
    evidence,
    fnmr_of,
    histogram,
    side_facts,
)
from verify.evaluation.breakdowns import by_group, by_quality
from verify.evaluation.facts_of import ATTACKS
from verify.evaluation.familiar import tested_only, told, whom
from verify.evaluation.figures import Figure
from verify.evaluation.prepare import possible_non_mated, prepare
from verify.evaluation.promises import judged_by, verdict, why_left_out
from verify.evaluation.retrieval import retrieval_figures
from verify.evaluation.search_protocol import identification
from verify.evaluation.trial_lists import TrialListSource
from verify.facts import SCHEMA
from verify.metrics.folds import fold_accuracy
from verify.score_space import ScoreSpace

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from verify.evaluation.side import Side
    from verify.evaluation.sources import TrialSource
    from verify.facts import CalibrationFacts, SetFacts, SideFacts
    from verify.types import OperatingPoint

AT_FMR = (1e-1, 1e-2, 1e-3, 1e-4)
_SAME_TRIALS = "threshold set on these very trials: for comparison with published figures"
_NOBODY: SideFacts = {
    "subjects": 0,
    "samples": 0,
    "mated_trials": 0,
    "non_mated_trials": 0,
    "possible_non_mated_trials": 0,
    "attempts": 0,
    "failures_to_acquire": {},
    "fta": None,
    "fte": None,
}


def evaluate(
    source: TrialSource,
    *,
    points: Sequence[OperatingPoint] = (),
    gallery_sizes: Sequence[int] = (),
    groups: Sequence[str] = (),
    quality: Sequence[str] = (),
    title: str,
    command: str,
    created_at: datetime,
    model: Mapping[str, Any] | None = None,
    confidence: float = 0.95,
    seed: int = 0,
    test_half: bool = False,
    retrieval: bool = False,
) -> CalibrationFacts:
    """Measure a source's trials, all of its subjects taken together.

    People who took part in the calibration of a point are no strangers to it: its verdict and the first note say so.

    Args:
        source: of raw scores.
        points: thresholds to hold the trials against; those of 1:1 comparisons, and of searches where
            `gallery_sizes` are given. Points in a normalised space are named and left out.
        gallery_sizes: of open-set searches to measure as well; needs embedded media.
        groups: columns to give rates by; () takes every one there is.
        quality: measures to give rates by; () takes the usual ones.
        title: of the report.
        command: that reproduces it.
        created_at: now, in UTC.
        model: name, modality and preprocessing of the model; None for score files.
        confidence: of the one-sided bounds.
        seed: of whatever is sampled.
        test_half: of people who calibrated the points, take only those who chose no threshold.
        retrieval: measure Recall@K and the like as well; needs embedded media.

    Raises:
        InsufficientTrialsError: no mated or no non-mated trials.
        UsageError: searches or retrieval over a source that is no embedded media, a group or measure it does not have,
            or `test_half` of people who did not calibrate the points, or of listed trials.
    """
    everyone = np.ones(len(source.subjects), dtype=bool)
    if test_half:
        if isinstance(source, TrialListSource):
            msg = f"{source.name}: --test-half goes with all pairs; a list's pairs may cross the halves"
            raise UsageError(msg)
        everyone = tested_only(points, source)
    side = prepare(source, everyone, part="listed" if isinstance(source, TrialListSource) else "given")
    if not side.mated.size:
        msg = f"{source.name}: there is no mated trial, so no FNMR can be measured: bring two samples of a subject"
        raise InsufficientTrialsError(msg)
    usable = [point for point in points if not why_left_out(point)]
    verdicts = [
        verdict(
            point, judged, source.name, confidence=confidence, whom=whom(point, source, test_half=test_half)
        )
        for point, judged in judged_by(source, side, usable)
    ]
    found = evidence(side, side, seed=seed)
    figures = _figures(source, side, found)
    searches, search_figures, more = identification(
        source, points=usable, sizes=gallery_sizes, confidence=confidence, seed=seed, among=everyone,
        whom=lambda point: whom(point, source, test_half=test_half),
    )  # fmt: skip
    if retrieval:
        figures += retrieval_figures(source, among=everyone, confidence=confidence, seed=seed)
    plain = _plain_threshold(usable, fallback=side.non_mated.threshold_at_fmr(1e-3))
    notes = [
        *told(usable, source, test_half=test_half),
        "nothing was chosen on these trials, unless a line says so: the thresholds of the verdicts are the model's own",
        "Cllr, DCF and reliability are of a map fitted to these same trials: at their best, not at their most honest",
        *(f"{point.name} was left out: {why}" for point in points if (why := why_left_out(point))),
    ]  # fmt: skip
    return {
        "schema": SCHEMA,
        "kind": "evaluation",
        "title": title,
        "created_at": created_at.isoformat(timespec="seconds"),
        "verify_version": __version__,
        "command": command,
        "model": {**model, "model_id": source.model_id} if model else {},
        "score_space": "cosine" if source.model_id else "score",
        "norm": None,
        "mode": "1:1",
        "gallery_size": 0,
        "attempts": 1,
        "confidence": confidence,
        "bound": "population",
        "seed": seed,
        "sets": [_set_facts(source, side, confidence=confidence)],
        "verdicts": verdicts + more,
        "ladder": [],
        "curve": curve(side, confidence=confidence),
        "histogram": histogram(side),
        "transfer": [],
        "evidence": found,
        "dependence": dependence(side, threshold=plain, confidence=confidence, seed=seed),
        "groups": by_group(source, side, columns=groups, threshold=plain, confidence=confidence),
        "strata": by_quality(
            source, side, measures=quality, threshold=plain, confidence=confidence, seed=seed
        ),
        "enrolment": [],
        "one_to_n": searches,
        "planning": [],
        "presentation_attacks": ATTACKS,
        "notes": notes,
        "protocol": {
            "name": _protocol(source, gallery_sizes),
            "figures": [dataclasses.asdict(figure) for figure in [*figures, *search_figures]],
        },
    }


def _protocol(source: TrialSource, gallery_sizes: Sequence[int]) -> str:
    if gallery_sizes:
        return "open-set identification"
    if isinstance(source, TrialListSource):
        return "listed pairs" if source.folds is None else "listed pairs in folds"
    return "all pairs"


def _plain_threshold(points: Sequence[OperatingPoint], *, fallback: float) -> float:
    """A threshold on plain scores for the look at who errs."""
    cosine = [p.threshold for p in points if p.mode == "1:1" and p.score_space == ScoreSpace.COSINE]
    return cosine[len(cosine) // 2] if cosine else fallback


def _figures(source: TrialSource, side: Side, found: Mapping[str, Any] | None) -> list[Figure]:
    figures = []
    if isinstance(source, TrialListSource):
        failed = sum(source.failed)
        figures.append(
            Figure("trials without a score", failed, f"of {source.mated.size:,} listed: a capture failed")
        )
        if source.folds is not None:
            scores = np.where(np.isnan(source.scores()), -np.inf, source.scores())
            folds = fold_accuracy(scores, mated=source.mated, folds=source.folds)
            note = (
                f"mean of {folds.accuracy.size} folds, standard error {folds.standard_error:.2%}; each judged by the "
                "threshold that is best on the others; a trial without a score is a reject"
            )
            figures.append(Figure("accuracy", folds.mean, note))
    if found is not None:
        figures.append(Figure("EER", found["eer"], f"{found['eer_method']}; {_SAME_TRIALS}"))
        figures.extend(
            Figure(f"minDCF at prior {cost['prior']:g}", cost["minimum"], _SAME_TRIALS)
            for cost in found["dcf"]
        )
        figures.append(Figure("AUC", found["auc"]))
    for target in AT_FMR:
        if target * side.non_mated.trials < 1:
            continue
        threshold = side.non_mated.threshold_at_fmr(target)
        rate = fnmr_of(side, threshold=threshold)
        if rate is not None:
            counts = f"{rate.errors:,} of {rate.trials:,}, at most {rate.upper:.3g}"
            note = f"{counts}; threshold {threshold:.4f}; {_SAME_TRIALS}"
            figures.append(Figure(f"FNMR at FMR {target:g}", rate.value, note))
    return figures


def _set_facts(source: TrialSource, side: Side, *, confidence: float) -> SetFacts:
    given = side_facts(side, confidence=confidence, possible=possible_non_mated(source, side))
    return {
        "name": source.name,
        "kind": source.kind,
        "data_sha256": source.data_sha256,
        "split_sha256": "",
        "disjoint": True,  # nobody chose a threshold here
        "cross_trials_dropped": 0,
        "calibration": _NOBODY,
        "test": given,
        "copies_left_out": source.copies,
        "conflicts": [list(group) for group in source.conflicts],
        "warnings": list(source.warnings),
    }
