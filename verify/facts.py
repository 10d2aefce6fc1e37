"""The facts of a calibration report: what `verify calibrate` writes as JSON and `verify report` draws.

Plain dictionaries of JSON values, so that a program in any language can read them; the published
JSON schema is ``verify/report/calibration.schema.json``. Rates are in [0, 1]. NaN and infinity never
occur: what is not known is null.
"""

from __future__ import annotations

from typing import Any, NotRequired, TypedDict

SCHEMA = 1


class RateFacts(TypedDict):
    """A rate with its one-sided bounds; see `verify.types.Rate`."""

    value: float
    errors: int
    trials: int
    lower: float
    upper: float
    bound: str
    n_eff: float


class SideFacts(TypedDict):
    """Counts of one side of the split (calibration or test)."""

    subjects: int
    samples: int
    mated_trials: int
    non_mated_trials: int
    possible_non_mated_trials: int
    attempts: int
    failures_to_acquire: dict[str, int]
    fta: RateFacts | None
    fte: RateFacts | None


class SetFacts(TypedDict):
    """One data set."""

    name: str
    kind: str  # manifest, folder, trial list, score file, protocol
    data_sha256: str  # over all file hashes, or of the score file
    split_sha256: str
    disjoint: bool  # no subject on both sides; the proof is the split's hash and the counts
    cross_trials_dropped: int
    calibration: SideFacts
    test: SideFacts
    copies_left_out: int
    conflicts: list[list[str]]  # same bytes under several subjects: "subject: file"
    warnings: list[str]


class Verdict(TypedDict):
    """The answer for one target."""

    asked_kind: str
    asked_rate: float
    target_fmr: float | None
    threshold: float | None
    calibration: RateFacts | None
    fmr: RateFacts | None  # test side
    fnmr: RateFacts | None
    far: float | None
    frr: float | None
    verdict: str  # PASS, FAIL, INSUFFICIENT DATA
    extrapolated: bool
    governed_by: str
    message: str


class Rung(TypedDict):
    """One line of the ladder FMR 1e-1 ... 1e-6."""

    target_fmr: float
    threshold: float | None
    support: str  # supported, extrapolated, insufficient
    calibration: RateFacts | None
    fmr: RateFacts | None
    fnmr: RateFacts | None
    message: str


class Curve(TypedDict):
    """Rates over ascending thresholds (at most 1,001), test side, with two-sided bounds for plots."""

    thresholds: list[float]
    fmr: list[float]
    fnmr: list[float]
    fmr_lower: list[float]
    fmr_upper: list[float]
    fnmr_lower: list[float]
    fnmr_upper: list[float]


class Histogram(TypedDict):
    """Counts of scores in `edges` (B + 1), B <= 200."""

    edges: list[float]
    mated: list[int]
    non_mated: list[int]


class Transfer(TypedDict):
    """From calibration to test: the same threshold on both sides."""

    target_fmr: float
    threshold: float
    calibration_fmr: RateFacts
    test_fmr: RateFacts
    calibration_fnmr: RateFacts | None
    test_fnmr: RateFacts | None


class Reliability(TypedDict):
    """Bins of predicted against seen log-odds, and the costs, on the test side."""

    llr_predicted: list[float]
    llr_seen: list[float | None]
    trials: list[int]


class Evidence(TypedDict):
    """Calibration of the llrs, test side."""

    cllr: float
    min_cllr: float
    eer: float
    eer_method: str
    auc: float
    d_prime: float
    dcf: list[dict[str, float]]  # prior, cost_miss, cost_false_accept, actual, minimum
    reliability: Reliability
    llr_map: dict[str, Any] | None


class Suspect(TypedDict):
    """A subject, or a pair, that errs most: look here first for a wrong label."""

    subjects: list[str]  # one or two
    samples: list[str]  # file names where there are any
    errors: int
    trials: int
    score: float | None  # the extreme score
    kind: str  # non_mated: looks like another; mated: unlike the rest
    note: str
    side: NotRequired[str]  # calibration or test, where both were searched


class Dependence(TypedDict):
    """How far the trials are from independent."""

    threshold: float
    n_eff: float
    design_effect: float
    independent_upper: float
    dyadic_upper: float
    bootstrap_upper: float | None
    subjects: list[Suspect]
    pairs: list[Suspect]


class GroupFacts(TypedDict):
    """One group column of the manifest, at the threshold of the first verdict."""

    column: str
    groups: list[dict[str, Any]]  # name, subjects, fmr: RateFacts|None, fnmr: RateFacts|None
    across: list[dict[str, Any]]  # a, b, fmr: RateFacts|None
    worst_fmr: str | None
    worst_fnmr: str | None
    fmr_max_over_geometric_mean: float | None
    fnmr_max_over_geometric_mean: float | None
    fmr_gini: float | None
    fnmr_gini: float | None
    worst_threshold: float | None  # that would hold the target for the worst group
    note: str


class Stratum(TypedDict):
    """One stratum of a quality measure: the pair's lower value lies in [low, high)."""

    low: float
    high: float
    fmr: RateFacts | None
    fnmr: RateFacts | None
    fnmr_constant: RateFacts | None  # with one constant cosine threshold of the same overall FMR


class StrataFacts(TypedDict):
    """Rates by a quality measure."""

    measure: str
    strata: list[Stratum]


class EnrolmentCount(TypedDict):
    """Rates with several templates a subject (mean score), at the threshold of the first verdict."""

    templates: int
    fmr: RateFacts
    fnmr: RateFacts


class OneToN(TypedDict):
    """1:N rates at a gallery size, at the threshold of the first verdict."""

    gallery_size: int
    threshold: float
    fpir: RateFacts | None
    fnir: RateFacts | None
    fpir_independent: float
    fpir_union_upper: NotRequired[float]  # gallery_size times the upper bound on the FMR, at most 1
    rank_1: float | None
    measured: bool


class Planning(TypedDict):
    """What more subjects would buy."""

    target_fmr: float
    subjects_zero_errors: int
    subjects_expected: int | None
    note: str


class CalibrationFacts(TypedDict):
    """The whole report."""

    schema: int
    kind: str  # calibration, evaluation
    title: str
    created_at: str  # ISO 8601, UTC
    verify_version: str
    command: str
    model: dict[str, Any]  # name, model_id, modality, preprocessing; empty for score files
    score_space: str
    norm: dict[str, Any] | None
    mode: str
    gallery_size: int
    attempts: int
    confidence: float
    bound: str
    seed: int
    sets: list[SetFacts]
    verdicts: list[Verdict]
    ladder: list[Rung]
    curve: Curve
    histogram: Histogram
    transfer: list[Transfer]
    evidence: Evidence | None
    dependence: Dependence | None
    groups: list[GroupFacts]
    strata: list[StrataFacts]
    enrolment: list[EnrolmentCount]
    one_to_n: list[OneToN]
    planning: list[Planning]
    presentation_attacks: str  # "not measured: ..." or what was measured
    notes: list[str]
    protocol: NotRequired[dict[str, Any]]  # evaluation: what was run and its own figures
