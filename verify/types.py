"""The values that travel between the rooms: frozen, standard library only.

Arrays are numpy arrays; numpy is imported for type checkers only, so that this module loads in
a millisecond. Vocabulary after ISO/IEC 2382-37 and ISO/IEC 19795-1.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from enum import StrEnum
from typing import IO, TYPE_CHECKING, Any, NoReturn, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime
    from os import PathLike

    import numpy as np
    from numpy.typing import NDArray

    from verify.score_space import Fusion, LlrMap, ScoreNorm

    Source: TypeAlias = str | PathLike[str] | bytes | IO[bytes] | NDArray[Any]

MAX_SUBJECT_ID_BYTES = 256


class Modality(StrEnum):
    """What a sample shows of its subject."""

    FACE = "face"
    VOICE = "voice"


class Outcome(StrEnum):
    """What a 1:1 comparison came to."""

    ACCEPT = "accept"
    REJECT = "reject"
    NO_DECISION = "no_decision"


class IdentifyOutcome(StrEnum):
    """What an open-set 1:N search came to."""

    MATCH = "match"
    UNKNOWN = "unknown"
    AMBIGUOUS = "ambiguous"
    NO_DECISION = "no_decision"


class Reason(StrEnum):
    """Why a decision fell as it did, or why there is none."""

    # decided
    SCORE_AT_OR_ABOVE_THRESHOLD = "score_at_or_above_threshold"
    SCORE_BELOW_THRESHOLD = "score_below_threshold"
    SEVERAL_SUBJECTS_ABOVE_THRESHOLD = "several_subjects_above_threshold"
    # the sample could not be read
    MISSING_FILE = "missing_file"
    NOT_A_FILE = "not_a_file"
    EMPTY_FILE = "empty_file"
    UNSUPPORTED_FORMAT = "unsupported_format"
    TRUNCATED = "truncated"
    OVER_LIMITS = "over_limits"
    INVALID_SAMPLES = "invalid_samples"
    # face captures
    NO_FACE = "no_face"
    SEVERAL_FACES = "several_faces"
    FACE_TOO_SMALL = "face_too_small"
    FACE_CUT_OFF = "face_cut_off"
    BLURRED = "blurred"
    TOO_DARK = "too_dark"
    TOO_BRIGHT = "too_bright"
    LOW_CONTRAST = "low_contrast"
    TURNED_AWAY = "turned_away"
    UNCERTAIN_FACE = "uncertain_face"
    # voice captures
    NO_SPEECH = "no_speech"
    TOO_LITTLE_SPEECH = "too_little_speech"
    CLIPPED = "clipped"
    NOISY = "noisy"
    NARROW_BAND = "narrow_band"
    SEVERAL_SPEAKERS = "several_speakers"
    # engine
    NO_OPERATING_POINT = "no_operating_point"
    MODEL_MISMATCH = "model_mismatch"
    EMPTY_GALLERY = "empty_gallery"
    UNKNOWN_SUBJECT = "unknown_subject"
    GALLERY_OUTGREW_OPERATING_POINT = "gallery_outgrew_operating_point"
    OUTSIDE_CALIBRATED_RANGE = "outside_calibrated_range"
    # enrolment checks
    INCONSISTENT_WITH_REFERENCE = "inconsistent_with_reference"
    LOOKS_LIKE_ANOTHER_SUBJECT = "looks_like_another_subject"
    TEMPLATE_CAP_REACHED = "template_cap_reached"
    ALREADY_ENROLLED = "already_enrolled"


@dataclass(frozen=True, slots=True)
class Sample:
    """One decoded photo or recording.

    Attributes:
        modality: face or voice.
        media: face: (H, W, 3) uint8, RGB, upright. Voice: (N,) float32 in [-1, 1], mono.
        source: what to call it in messages: the path as given, or ``<bytes>``, ``<array>``.
        sha256: hex hash of the encoded bytes (of shape, dtype and content for arrays).
        rate_hz: voice: sample rate of `media`; 0 for faces.
        facts: what decoding saw: original format, size, rate, channels, EXIF orientation.
    """

    modality: Modality
    media: NDArray[Any] = field(repr=False)
    source: str
    sha256: str
    rate_hz: int = 0
    facts: Mapping[str, Any] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True)
class FaceRegion:
    """Where one face is in its photo.

    Attributes:
        box_px: (left, top, right, bottom) in pixels of the upright photo; may leave the frame.
        score: detector score in [0, 1].
        landmarks_px: (5, 2) float32, x and y in pixels: the subject's right eye, left eye, nose
            tip, right and left mouth corner (that is, left to right as seen in the photo).
    """

    box_px: tuple[float, float, float, float]
    score: float
    landmarks_px: NDArray[np.float32] = field(repr=False)

    @property
    def size_px(self) -> float:
        """Side of the square with the box's area, in pixels."""
        left, top, right, bottom = self.box_px
        return math.sqrt(max(0.0, right - left) * max(0.0, bottom - top))


@dataclass(frozen=True, slots=True)
class SpeechRegion:
    """One stretch of speech, in seconds from the recording's start."""

    start_s: float
    end_s: float
    score: float


@dataclass(frozen=True, slots=True)
class Quality:
    """How fit a capture is, and why not.

    Attributes:
        measures: named measurements with their units in the names (``face_size_px``, ``snr_db``).
        reasons: every check that failed, worst first; empty means fit for use.
    """

    measures: Mapping[str, float]
    reasons: tuple[Reason, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether no check failed."""
        return not self.reasons


@dataclass(frozen=True, slots=True)
class Template:
    """One embedding of unit L2 norm, and the model that made it.

    Attributes:
        vector: (D,) float32, unit L2 norm. Not shown by repr.
        model_id: sha256 over weights, preprocessing and embedding post-processing.
    """

    vector: NDArray[np.float32] = field(repr=False, compare=False)
    model_id: str
    modality: Modality


@dataclass(frozen=True, slots=True)
class Capture:
    """A sample brought through locate, normalise, quality and embed.

    Either `template` is there and `failure` is None, or the other way round. A failed capture
    has no score, ever.

    Attributes:
        source: what the sample is called in messages.
        sha256: hash of the sample's bytes; empty if it could not be read.
        quality: measures and the failed checks; None if it failed before they could be taken.
        failure: why there is no template.
        message: the failure in words, with the way out.
        region: the face that was used; None for voices and failures before locating.
    """

    source: str
    sha256: str
    modality: Modality
    template: Template | None = None
    quality: Quality | None = None
    failure: Reason | None = None
    message: str = ""
    region: FaceRegion | None = None
    facts: Mapping[str, Any] = field(default_factory=dict, repr=False)

    @property
    def ok(self) -> bool:
        """Whether there is a template."""
        return self.template is not None


@dataclass(frozen=True, slots=True)
class Rate:
    """An error rate with its count and bounds.

    Attributes:
        errors: number of errors among `trials`.
        trials: number of trials.
        upper: one-sided upper bound at the stated confidence (see `bound`).
        lower: one-sided lower bound at the same confidence.
        bound: how the bounds were made: ``clopper-pearson``, ``wilson-dyadic``, ``wilson-cluster``,
            ``hoeffding-dyadic``, ``hoeffding-cluster``, ``zero-errors-dyadic``, ``zero-errors-cluster``;
            with ``-prediction`` behind it they are for what a further group of subjects will show,
            without it for all people like these.
        n_eff: effective number of independent trials behind the bound.
    """

    errors: int
    trials: int
    upper: float
    lower: float = 0.0
    bound: str = "clopper-pearson"
    n_eff: float = 0.0

    @property
    def value(self) -> float:
        """The point estimate; NaN without trials."""
        return self.errors / self.trials if self.trials else math.nan


@dataclass(frozen=True, slots=True)
class OperatingPoint:
    """A threshold and the proof that stands behind it.

    A comparison is accepted if and only if ``score >= threshold``.

    Attributes:
        name: short name, for example ``face-fmr-1e-3``.
        model_id: the only model whose scores this threshold may judge; of a fusion, its fusion_id.
        threshold: in `score_space`; raw cosines and their thresholds lie in [-1, 1].
        target_fmr: the FMR that the bound on the calibration subjects meets (mode ``1:N``: the FPIR).
            For a point chosen for an FNMR it is that bound itself.
        fmr: FMR (mode ``1:N``: FPIR) measured on the test subjects, who took no part in choosing.
        fnmr: FNMR (mode ``1:N``: FNIR) measured on the test subjects.
        mode: ``1:1`` or ``1:N``; for ``1:N`` at `gallery_size` subjects.
        confidence: of the one-sided bounds.
        calibration_fmr: FMR on the calibration subjects, with the bound that met the target.
        data: what it was measured on, in words and hashes (data, split, subjects, samples, FTA).
        bound: ``population`` (the rate over all people like these) or ``prediction`` (the rate that a
            further group of as many subjects will show).
        asked_kind: what the user asked to hold: ``fmr``, ``far``, ``fnmr``, ``frr``, ``fpir`` or ``fnir``.
        asked_rate: and at which rate; None means `target_fmr`.
        attempts: how many attempts a transaction allows; the rates are then per transaction.
        extrapolated: True if a fitted tail, not trials, supports the target; never chosen unasked.
        norm: the cohort normalisation behind a norm score space (an llr's is in `llr`).
        llr: maps scores to evidence; in the score space ``llr`` the threshold lies on its result.
        fusion: in the score space ``fused-llr``: which models' llrs are summed.
    """

    name: str
    model_id: str
    modality: Modality
    threshold: float
    target_fmr: float
    fmr: Rate
    fnmr: Rate
    mode: str = "1:1"
    gallery_size: int = 0
    confidence: float = 0.95
    score_space: str = "cosine"
    calibration_fmr: Rate | None = None
    data: Mapping[str, Any] = field(default_factory=dict, repr=False)
    bound: str = "population"
    asked_kind: str = "fmr"
    asked_rate: float | None = None
    attempts: int = 1
    extrapolated: bool = False
    norm: ScoreNorm | None = None
    llr: LlrMap | None = None
    fusion: Fusion | None = None

    @property
    def limits_false_matches(self) -> bool:
        """Whether the threshold was chosen to keep strangers out, not to let people in (FNMR, FRR, FNIR)."""
        return self.asked_kind in {"fmr", "far", "fpir"}

    @property
    def failed_its_test(self) -> bool:
        """Whether the test subjects exceeded what the point was chosen to hold, on any set that can tell."""
        return self.fmr.value > self.target_fmr or bool(self.data.get("failed", False))


class _NoTruthValue:
    """Makes ``if decision:`` an error, because it must never open a door."""

    __slots__ = ()

    def __bool__(self) -> NoReturn:
        msg = (
            f"a {type(self).__name__} has no truth value: read .accepted (or .outcome), "
            "so that no decision at all can never be taken for an accept"
        )
        raise TypeError(msg)


@dataclass(frozen=True, slots=True)
class PartScore:
    """One model's share in a fused decision; no cosine and a reason where its capture failed."""

    model_id: str
    modality: Modality
    cosine: float | None = None
    llr: float | None = None
    failure: Reason | None = None


@dataclass(frozen=True, slots=True)
class Decision(_NoTruthValue):
    """What a 1:1 comparison came to, with everything needed to defend it.

    Attributes:
        outcome: accept, reject or no decision.
        reason: why, as a code; `message` says it in words.
        score: what was held against the threshold, in `score_space`; None when there is no decision
            for want of one.
        threshold: what the score was held against; None when there was none.
        operating_point: where the threshold comes from; None only for uncalibrated decisions
            and some no-decisions.
        calibrated: False if the threshold was given by hand and proves nothing.
        score_space: of `score` and `threshold`, see `verify.score_space`.
        cosine: the raw comparison score in [-1, 1]; None for fusions and without one.
        llr: natural-log likelihood ratio, where the operating point records a map to it.
        parts: in a fusion, each model's own cosine and llr.
    """

    outcome: Outcome
    reason: Reason
    message: str
    modality: Modality
    model_id: str
    score: float | None = None
    threshold: float | None = None
    operating_point: OperatingPoint | None = None
    calibrated: bool = True
    subject_id: str | None = None
    probe: Capture | None = None
    reference: Capture | None = None
    score_space: str = "cosine"
    cosine: float | None = None
    llr: float | None = None
    parts: tuple[PartScore, ...] = ()

    @property
    def accepted(self) -> bool:
        """True only for an accept; False for a reject and for no decision."""
        return self.outcome is Outcome.ACCEPT


@dataclass(frozen=True, slots=True)
class Candidate:
    """One subject found by a 1:N search, with the best score over the subject's templates."""

    subject_id: str
    score: float


@dataclass(frozen=True, slots=True)
class Identification(_NoTruthValue):
    """What an open-set 1:N search came to.

    Attributes:
        outcome: match (exactly one subject at or above the threshold), unknown (none),
            ambiguous (several) or no decision.
        candidates: the best subjects, highest score first, whether above the threshold or not.
        gallery_size: number of subjects searched.
    """

    outcome: IdentifyOutcome
    reason: Reason
    message: str
    modality: Modality
    model_id: str
    gallery_size: int
    candidates: tuple[Candidate, ...] = ()
    threshold: float | None = None
    operating_point: OperatingPoint | None = None
    calibrated: bool = True
    probe: Capture | None = None

    @property
    def subject_id(self) -> str | None:
        """The subject found; None unless the outcome is a match."""
        return self.candidates[0].subject_id if self.outcome is IdentifyOutcome.MATCH else None


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that an enrolment check saw: a code, words, the other subject and the sample if any."""

    reason: Reason
    message: str
    subject_id: str | None = None
    score: float | None = None
    source: str = ""


@dataclass(frozen=True, slots=True)
class TemplateRecord:
    """A stored template's provenance, without the template itself.

    Attributes:
        template_id: unique within the gallery, never reused.
        source: name of the sample as given at enrolment.
        source_sha256: hash of the sample's bytes.
        created_at: UTC.
        idempotency_key: the caller's key for this enrolment, if any.
    """

    template_id: int
    subject_id: str
    modality: Modality
    model_id: str
    source: str
    source_sha256: str
    created_at: datetime
    quality: Mapping[str, float] = field(default_factory=dict)
    idempotency_key: str | None = None


@dataclass(frozen=True, slots=True)
class Enrolment:
    """What one enrolment did.

    Attributes:
        added: the templates written by this call, in the order of the samples.
        replayed: True if the idempotency key had been seen: nothing was written again.
        failures: captures that gave no template.
        left_out: usable samples that the checks refused.
        findings: what the checks saw without refusing.
    """

    subject_id: str
    modality: Modality
    model_id: str
    added: tuple[TemplateRecord, ...] = ()
    replayed: bool = False
    failures: tuple[Capture, ...] = ()
    left_out: tuple[Finding, ...] = ()
    findings: tuple[Finding, ...] = ()
