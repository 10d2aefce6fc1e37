"""Made-up facts of every kind a report may have to draw: whole, thin, extrapolated, without a model, hostile."""

from __future__ import annotations

import copy
import math
from itertools import pairwise
from statistics import NormalDist
from typing import Any

from verify.facts import CalibrationFacts, RateFacts

MATED, STRANGERS = NormalDist(0.60, 0.13), NormalDist(0.06, 0.105)
TRIALS, MATED_TRIALS = 307_578, 4_077
HOSTILE = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>&amp;\u202e</style></title>"


def rate(errors: int, trials: int, *, n_eff: float | None = None, bound: str = "wilson-dyadic") -> RateFacts:
    """A rate with Wilson bounds at one-sided 95 %."""
    value, n, z = errors / trials, n_eff or trials / 40, 1.645
    n = min(n, trials)
    middle, half = value + z * z / (2 * n), z * math.sqrt(value * (1 - value) / n + z * z / (4 * n * n))
    low, high = (middle - half) / (1 + z * z / n), (middle + half) / (1 + z * z / n)
    return {
        "value": value,
        "errors": errors,
        "trials": trials,
        "lower": max(0.0, min(low, value)),
        "upper": min(1.0, max(high, value)),
        "bound": bound if errors else "zero-errors-dyadic",
        "n_eff": float(n),
    }


def fmr_at(threshold: float, *, trials: int = TRIALS) -> RateFacts:
    return rate(round((1 - STRANGERS.cdf(threshold)) * trials), trials)


def fnmr_at(threshold: float, *, trials: int = MATED_TRIALS) -> RateFacts:
    return rate(round(MATED.cdf(threshold) * trials), trials, n_eff=trials / 8, bound="wilson-cluster")


def curve(points: int = 1001, *, trials: int = TRIALS) -> dict[str, list[float]]:
    thresholds = [-0.4 + 1.4 * i / (points - 1) for i in range(points)]
    fmr, fnmr = [fmr_at(t, trials=trials) for t in thresholds], [fnmr_at(t) for t in thresholds]
    return {
        "thresholds": thresholds,
        "fmr": [r["value"] for r in fmr],
        "fnmr": [r["value"] for r in fnmr],
        "fmr_lower": [r["lower"] for r in fmr],
        "fmr_upper": [r["upper"] for r in fmr],
        "fnmr_lower": [r["lower"] for r in fnmr],
        "fnmr_upper": [r["upper"] for r in fnmr],
    }


def histogram(bins: int = 120, *, trials: int = TRIALS) -> dict[str, list[Any]]:
    edges = [-0.4 + 1.4 * i / bins for i in range(bins + 1)]
    pairs = list(pairwise(edges))
    return {
        "edges": edges,
        "mated": [round((MATED.cdf(b) - MATED.cdf(a)) * MATED_TRIALS) for a, b in pairs],
        "non_mated": [round((STRANGERS.cdf(b) - STRANGERS.cdf(a)) * trials) for a, b in pairs],
    }


def side(*, subjects: int = 76, samples: int = 806, trials: int = TRIALS) -> dict[str, Any]:
    return {
        "subjects": subjects,
        "samples": samples,
        "mated_trials": MATED_TRIALS,
        "non_mated_trials": trials,
        "possible_non_mated_trials": trials,
        "attempts": samples + 6,
        "failures_to_acquire": {"no_face": 3, "several_faces": 2, "face_too_small": 1},
        "fta": rate(6, samples + 6, n_eff=samples + 6, bound="clopper-pearson"),
        "fte": rate(0, subjects, n_eff=subjects, bound="clopper-pearson"),
    }


def threshold_for(target: float) -> float:
    return STRANGERS.inv_cdf(1 - target * 0.62)


def verdict(target: float, *, word: str = "PASS", extrapolated: bool = False) -> dict[str, Any]:
    threshold = threshold_for(target)
    fmr, fnmr = fmr_at(threshold), fnmr_at(threshold)
    if word == "FAIL":
        fmr = rate(fmr["errors"] * 4, TRIALS)
    return {
        "asked_kind": "fmr",
        "asked_rate": target,
        "target_fmr": target,
        "threshold": threshold,
        "calibration": fmr_at(threshold + 0.003),
        "fmr": fmr,
        "fnmr": fnmr,
        "far": fmr["value"] * 0.993,
        "frr": 0.007 + fnmr["value"] * 0.993,
        "verdict": word,
        "extrapolated": extrapolated,
        "governed_by": "celeba",
        "message": "",
    }


def rung(target: float) -> dict[str, Any]:
    supported = target >= 1e-4
    if not supported:
        return {
            "target_fmr": target,
            "threshold": None,
            "support": "insufficient",
            "calibration": None,
            "fmr": None,
            "fnmr": None,
            "message": f"needs about {round(3 / target / 40):,} subjects",
        }
    threshold = threshold_for(target)
    return {
        "target_fmr": target,
        "threshold": threshold,
        "support": "supported",
        "calibration": fmr_at(threshold + 0.002),
        "fmr": fmr_at(threshold),
        "fnmr": fnmr_at(threshold),
        "message": "",
    }


def transfer(target: float) -> dict[str, Any]:
    threshold = threshold_for(target)
    return {
        "target_fmr": target,
        "threshold": threshold,
        "calibration_fmr": fmr_at(threshold + 0.002),
        "test_fmr": fmr_at(threshold),
        "calibration_fnmr": fnmr_at(threshold + 0.01),
        "test_fnmr": fnmr_at(threshold),
    }


def evidence() -> dict[str, Any]:
    predicted = [-9 + i * 1.2 for i in range(16)]
    return {
        "cllr": 0.183,
        "min_cllr": 0.161,
        "eer": 0.0379,
        "eer_method": "roc-convex-hull",
        "auc": 0.9921,
        "d_prime": 4.57,
        "dcf": [
            {"prior": 0.01, "cost_miss": 1.0, "cost_false_accept": 1.0, "actual": 0.291, "minimum": 0.284},
            {"prior": 0.001, "cost_miss": 1.0, "cost_false_accept": 1.0, "actual": 0.372, "minimum": 0.351},
            {"prior": 0.5, "cost_miss": 1.0, "cost_false_accept": 10.0, "actual": 0.122, "minimum": 0.119},
        ],
        "reliability": {
            "llr_predicted": predicted,
            "llr_seen": [None, *[p * 0.93 + 0.4 * math.sin(p) for p in predicted[1:-1]], None],
            "trials": [4 ** abs(i - 8) + 40 for i in range(16)],
        },
        "llr_map": {"slope": 31.2, "intercept": -10.4, "terms": [{"measure": "face_size_px", "weight": 0.4}]},
    }


def dependence() -> dict[str, Any]:
    return {
        "threshold": threshold_for(1e-3),
        "n_eff": 9_120.0,
        "design_effect": 33.7,
        "independent_upper": 7.1e-4,
        "dyadic_upper": 9.3e-4,
        "bootstrap_upper": 9.0e-4,
        "subjects": [
            {
                "subjects": [f"{1200 + i * 37}"],
                "samples": [f"{1200 + i * 37}/0{i}4213.jpg"],
                "errors": 31 - 4 * i,
                "trials": 8_100,
                "score": None,
                "kind": "non_mated" if i % 2 else "mated",
                "note": "likely label error: its own photos disagree" if i == 0 else "",
            }
            for i in range(6)
        ],
        "pairs": [
            {
                "subjects": [f"{2000 + i}", f"{3000 + 7 * i}"],
                "samples": [f"{2000 + i}/000{i}.jpg", f"{3000 + 7 * i}/011{i}.jpg"],
                "errors": 12 - i,
                "trials": 121,
                "score": 0.93 - 0.04 * i,
                "kind": "non_mated",
                "note": "are these one person?" if i < 2 else "",
            }
            for i in range(8)
        ],
    }


def group_facts() -> dict[str, Any]:
    threshold = threshold_for(1e-3)
    return {
        "column": "age",
        "groups": [
            {"name": name, "subjects": n, "fmr": fmr_at(threshold + d), "fnmr": fnmr_at(threshold - d)}
            for name, n, d in (("under 30", 31, 0.02), ("30 to 50", 28, -0.01), ("over 50", 17, -0.04))
        ],
        "across": [
            {"a": "under 30", "b": "over 50", "fmr": rate(0, 60_200)},
            {"a": "30 to 50", "b": "over 50", "fmr": rate(14, 58_000)},
        ],
        "worst_fmr": "over 50",
        "worst_fnmr": "under 30",
        "fmr_max_over_geometric_mean": 1.92,
        "fnmr_max_over_geometric_mean": 1.31,
        "fmr_gini": 0.29,
        "fnmr_gini": 0.12,
        "worst_threshold": threshold + 0.042,
        "note": "",
    }


def strata() -> dict[str, Any]:
    edges = [24.0, 48.0, 72.0, 112.0, 320.0]
    return {
        "measure": "face_size_px",
        "strata": [
            {
                "low": low,
                "high": high,
                "fmr": rate(20 + 5 * i, 70_000),
                "fnmr": rate(180 - 45 * i, 1000, n_eff=160),
                "fnmr_constant": rate(240 - 55 * i, 1000, n_eff=160),
            }
            for i, (low, high) in enumerate(pairwise(edges))
        ],
    }


def full() -> CalibrationFacts:
    """Everything measured."""
    facts: Any = {
        "schema": 1,
        "kind": "calibration",
        "title": "SFace on our door cameras",
        "created_at": "2026-11-22T09:41:07+00:00",
        "verify_version": "0.3.0",
        "command": "verify calibrate people/ --model face --target-fmr 1e-3 --groups age -o operating_points.json",
        "model": {
            "name": "sface",
            "model_id": "4f7c" * 16,
            "modality": "face",
            "preprocessing": {"locator": "yunet", "size_px": [112, 112], "colour": "BGR"},
        },
        "score_space": "cosine",
        "norm": None,
        "mode": "1:1",
        "gallery_size": 0,
        "attempts": 1,
        "confidence": 0.95,
        "bound": "population",
        "seed": 0,
        "sets": [
            {
                "name": "celeba",
                "kind": "folder",
                "data_sha256": "a1" * 32,
                "split_sha256": "b2" * 32,
                "disjoint": True,
                "cross_trials_dropped": 0,
                "calibration": side(subjects=74, samples=796),
                "test": side(),
                "copies_left_out": 2,
                "conflicts": [["1204: 1204/004213.jpg", "2001: 2001/0001.jpg"]],
                "warnings": ["subject 'Ann ' and 'ann' differ in case or spaces only"],
            }
        ],
        "verdicts": [verdict(1e-3), verdict(1e-2)],
        "ladder": [rung(10.0**-k) for k in range(1, 7)],
        "curve": curve(),
        "histogram": histogram(),
        "transfer": [transfer(1e-2), transfer(1e-3), transfer(1e-4)],
        "evidence": evidence(),
        "dependence": dependence(),
        "groups": [group_facts()],
        "strata": [strata()],
        "enrolment": [
            {
                "templates": k,
                "fmr": rate(max(1, 190 // (k * k)), 26_288, n_eff=2_000),
                "fnmr": rate(35 // k, 424, n_eff=63),
            }
            for k in (1, 2, 3, 5)
        ],
        "one_to_n": [
            {
                "gallery_size": g,
                "threshold": threshold_for(1e-3),
                "fpir": rate(round(800 * (1 - (1 - 5.6e-4) ** g) * 0.7), 800, n_eff=76) if g <= 50 else None,
                "fnir": rate(98 + g // 5, 800, n_eff=76) if g <= 50 else None,
                "fpir_independent": 1 - (1 - 5.6e-4) ** g,
                "rank_1": 0.97 - g / 2000 if g <= 50 else None,
                "measured": g <= 50,
                **({"fpir_union_upper": min(1.0, 9.3e-4 * g)} if g > 50 else {}),
            }
            for g in (5, 10, 20, 50, 100, 1000, 10_000)
        ],
        "planning": [
            {
                "target_fmr": 10.0**-k,
                "subjects_zero_errors": round(math.sqrt(6 * 10**k / 30)),
                "subjects_expected": round(10**k / 60) if k < 6 else None,
                "note": "at ten samples a subject",
            }
            for k in (3, 4, 5, 6)
        ],
        "presentation_attacks": "not measured: matching alone is no defence against a photo held to the camera",
        "notes": ["CelebA holds label errors: about one photo in fifty shows somebody else."],
    }
    return facts


def failing() -> CalibrationFacts:
    facts: Any = full()
    facts["verdicts"] = [verdict(1e-3, word="FAIL")]
    facts["verdicts"][0]["message"] = "the test subjects of celeba exceed the target at their lower bound"
    return facts


def insufficient() -> CalibrationFacts:
    """Nothing but counts: six people cannot prove a thing."""
    facts: Any = full()
    facts["verdicts"] = [
        verdict(1e-5, word="INSUFFICIENT DATA")
        | dict.fromkeys(("threshold", "calibration", "fmr", "fnmr", "far", "frr"))
        | {"message": "6 subjects: about 780 subjects of ten samples each would do"}
    ]
    facts["ladder"] = [rung(1e-5), rung(1e-6)]
    facts["curve"] = {name: [] for name in facts["curve"]}
    facts["histogram"] = {"edges": [], "mated": [], "non_mated": []}
    for name in ("transfer", "groups", "strata", "enrolment", "one_to_n", "planning", "notes"):
        facts[name] = []
    facts["evidence"] = facts["dependence"] = None
    return facts


def extrapolated() -> CalibrationFacts:
    """The target lies beyond the trials: a fitted tail stands in."""
    facts: Any = full()
    facts["verdicts"] = [verdict(1e-6, extrapolated=True)]
    facts["verdicts"][0]["fmr"] = rate(0, TRIALS)
    for one in facts["ladder"]:
        if one["support"] == "insufficient":
            threshold = threshold_for(one["target_fmr"])
            one |= {
                "support": "extrapolated",
                "threshold": threshold,
                "fmr": rate(0, TRIALS),
                "fnmr": fnmr_at(threshold),
                "message": "generalised Pareto tail, shape -0.12",
            }
    return facts


def score_file() -> CalibrationFacts:
    """Scores of somebody else's matcher: no model, no media, no captures."""
    facts: Any = full()
    facts |= {"model": {}, "title": "scores.csv", "command": "verify calibrate scores.csv --target-fmr 1e-3"}
    facts["sets"][0] |= {"name": "scores.csv", "kind": "score file", "copies_left_out": 0, "conflicts": []}
    for half in ("calibration", "test"):
        facts["sets"][0][half] |= {
            "failures_to_acquire": {},
            "fta": None,
            "fte": None,
            "samples": 0,
            "attempts": 0,
        }
    facts["verdicts"][0] |= {"far": None, "frr": None}
    for one in (*facts["dependence"]["subjects"], *facts["dependence"]["pairs"]):
        one["samples"] = []
    facts |= {"strata": [], "enrolment": [], "groups": []}
    return facts


def hostile() -> CalibrationFacts:
    """Every text is an attack; numbers and the words of the contract stay as they are."""
    keep = {"schema", "kind", "mode", "verdict", "support", "asked_kind", "score_space", "bound"}

    def poison(value: Any, key: str = "") -> Any:
        if isinstance(value, dict):
            return {name: poison(item, name) for name, item in value.items()}
        if isinstance(value, list):
            return [poison(item, key) for item in value]
        return HOSTILE if isinstance(value, str) and key not in keep else value

    facts: Any = poison(copy.deepcopy(full()))
    facts["sets"][0]["kind"] = facts["dependence"]["pairs"][0]["kind"] = HOSTILE
    facts["sets"][0]["test"]["failures_to_acquire"] = {HOSTILE: 3}
    facts["score_space"] = facts["bound"] = facts["verdicts"][0]["asked_kind"] = HOSTILE
    facts["model"][HOSTILE] = HOSTILE
    return facts


def crowded() -> CalibrationFacts:
    """More of everything than a page can hold."""
    facts: Any = full()
    long = "x" * 2_000
    facts["dependence"]["pairs"] = facts["dependence"]["pairs"] * 500
    facts["dependence"]["subjects"] = facts["dependence"]["subjects"] * 500
    facts["groups"] = [facts["groups"][0] | {"groups": facts["groups"][0]["groups"] * 200}] * 20
    facts["strata"] = facts["strata"] * 100
    facts["notes"] = [long] * 500
    facts["sets"] = [facts["sets"][0] | {"warnings": [long] * 50, "conflicts": [[long] * 5] * 50}] * 30
    facts["one_to_n"] = facts["one_to_n"] * 300
    facts["verdicts"] = facts["verdicts"] * 100
    facts["ladder"] = facts["ladder"] * 100
    facts["transfer"] = facts["transfer"] * 200
    facts["planning"] = facts["planning"] * 200
    facts["enrolment"] = facts["enrolment"] * 200
    facts["evidence"]["dcf"] = facts["evidence"]["dcf"] * 500
    facts["command"] = long * 40
    return facts
