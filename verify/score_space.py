"""How a raw cosine becomes the score that a threshold judges: the recipe, without the arithmetic.

An operating point holds in one *score space*, and scores of two spaces are never compared:

- ``cosine``: the raw comparison score.
- ``z-norm``, ``t-norm``, ``s-norm``, ``as-norm``: a cosine normalised by a cohort of strangers.
- ``llr``: the natural-log likelihood ratio that a logistic map makes of a score and of the
  quality of the two captures; positive speaks for one subject, negative for two.
- ``fused-llr``: several models' llrs, weighted and summed.
- ``foreign``: the scores of another matcher, in its own units; no verifier of ours judges them.

The arithmetic is in `verify.metrics.evidence` and `verify.metrics.normalisation`.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class ScoreSpace(StrEnum):
    """In which space a threshold lies."""

    COSINE = "cosine"
    Z_NORM = "z-norm"
    T_NORM = "t-norm"
    S_NORM = "s-norm"
    AS_NORM = "as-norm"
    LLR = "llr"
    FUSED_LLR = "fused-llr"
    FOREIGN = "foreign"


class Combine(StrEnum):
    """How the measures of two captures become one of the pair."""

    MIN = "min"
    MAX = "max"
    MEAN = "mean"


class Transform(StrEnum):
    """What is done to a measure before it is combined."""

    IDENTITY = "identity"
    LOG = "log"


@dataclass(frozen=True, slots=True)
class ScoreNorm:
    """A cohort normalisation, see `verify.metrics.normalisation`.

    Attributes:
        method: one of the norm spaces of `ScoreSpace`.
        cohort_sha256: hex hash of the cohort's (K, D) little-endian float32 bytes, rows in order.
        cohort_size: K, one template a cohort subject.
        top_k: as-norm: how many of the highest cohort scores are used; 0 for the others.
    """

    method: ScoreSpace
    cohort_sha256: str
    cohort_size: int
    top_k: int = 0


@dataclass(frozen=True, slots=True)
class QualityTerm:
    """One quality measure in a logistic map.

    For a pair of captures with measures x and y: f = (combine(transform(x), transform(y)) - centre) / scale.
    Above `high` (in f's units of transformed x) a measure counts as `high`; below `low` no calibrated capture was, and
    there is no decision. Only measures of which more is better are used.

    Attributes:
        measure: key of `Quality.measures`, for example ``net_speech_s``.
        centre: mean of the combined transformed measure over the calibration trials.
        scale: its standard deviation, > 0.
        weight: what a unit of f adds to the llr.
        slope: what a unit of f times the score adds to the llr.
        low: the smallest untransformed measure of a calibrated capture.
        high: the largest.
    """

    measure: str
    transform: Transform
    combine: Combine
    centre: float
    scale: float
    weight: float
    slope: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class LlrMap:
    """llr = intercept + slope * s + sum_k (weight_k + slope_k * s) f_k, in nats.

    Attributes:
        slope: per unit of score, > 0 without terms.
        intercept: in nats.
        terms: quality terms, maybe none.
        norm: the normalisation that makes s of a cosine; None if s is the cosine itself.
    """

    slope: float
    intercept: float
    terms: tuple[QualityTerm, ...] = ()
    norm: ScoreNorm | None = None


@dataclass(frozen=True, slots=True)
class FusionPart:
    """One model's share in a fusion: fused = intercept + sum_k weight_k * llr_k."""

    model_id: str
    modality: str
    weight: float
    llr: LlrMap


@dataclass(frozen=True, slots=True)
class Fusion:
    """Several models' llrs as one.

    Attributes:
        parts: in a fixed order; the model_id of the fusion is `verify.metrics.evidence.fusion_id(parts)`.
        intercept: in nats.
    """

    parts: tuple[FusionPart, ...]
    intercept: float
