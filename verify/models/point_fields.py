"""One operating point as JSON: which fields it has, what they may be, and which belong together."""

from __future__ import annotations

import dataclasses
import json
import math
import sys
from typing import TYPE_CHECKING, Any

from verify.errors import ModelIntegrityError
from verify.score_space import (
    Combine,
    Fusion,
    FusionPart,
    LlrMap,
    QualityTerm,
    ScoreNorm,
    ScoreSpace,
    Transform,
)
from verify.types import Modality, OperatingPoint, Rate

if TYPE_CHECKING:
    from verify.models.checked import Fields

NORM_SPACES = (ScoreSpace.Z_NORM, ScoreSpace.T_NORM, ScoreSpace.S_NORM, ScoreSpace.AS_NORM)
ASKED_KINDS = ("fmr", "far", "fnmr", "frr", "fpir", "fnir")
BOUNDS = ("population", "prediction")
_ANY = sys.float_info.max
_ONLY_COSINES = 1  # the schema that knew nothing else


def plain_point(point: OperatingPoint) -> dict[str, Any]:
    """The point as JSON values, as a reader will see it.

    Raises:
        ModelIntegrityError: it holds what JSON cannot, for example NaN.
    """
    plain = dataclasses.asdict(point)
    try:
        # One round trip: tuples become lists and enums text, so that the hash is over what a reader will see.
        result: dict[str, Any] = json.loads(json.dumps(plain, allow_nan=False))
    except (TypeError, ValueError) as error:
        msg = f"operating point {point.name!r} cannot be written as JSON: {error}"
        raise ModelIntegrityError(msg) from error
    return result


def read_point(fields: Fields, *, schema: int) -> OperatingPoint:
    """Check and read one point.

    Raises:
        ModelIntegrityError: a field is missing, of the wrong type, out of range or at odds with
            another one; the message names it.
    """
    mode = fields.text("mode", choices=("1:1", "1:N"))
    spaces = ("cosine",) if schema == _ONLY_COSINES else tuple(ScoreSpace)
    space = fields.text("score_space", choices=spaces)
    widest = 1.0 if space == ScoreSpace.COSINE else _ANY
    point = OperatingPoint(
        name=fields.text("name"),
        model_id=fields.sha256("model_id"),
        modality=Modality(fields.text("modality", choices=tuple(Modality))),
        threshold=fields.number("threshold", low=-widest, high=widest),
        target_fmr=fields.number("target_fmr", low=0.0, high=1.0),
        fmr=_read_rate(fields.fields("fmr")),
        fnmr=_read_rate(fields.fields("fnmr")),
        mode=mode,
        gallery_size=fields.integer("gallery_size", low=1 if mode == "1:N" else 0),
        confidence=fields.number("confidence", low=0.5, high=1.0),
        score_space=space,
        calibration_fmr=_read_rate(fields.fields("calibration_fmr"))
        if fields.has("calibration_fmr")
        else None,
        data=fields.mapping("data", default={}),
    )
    if schema == _ONLY_COSINES:
        return point
    point = dataclasses.replace(
        point,
        bound=fields.text("bound", choices=BOUNDS),
        asked_kind=fields.text("asked_kind", choices=ASKED_KINDS),
        asked_rate=fields.number("asked_rate", low=0.0, high=1.0) if fields.has("asked_rate") else None,
        attempts=fields.integer("attempts", low=1),
        extrapolated=fields.truth("extrapolated"),
        norm=_read_norm(fields.fields("norm")) if fields.has("norm") else None,
        llr=_read_llr(fields.fields("llr")) if fields.has("llr") else None,
        fusion=_read_fusion(fields.fields("fusion")) if fields.has("fusion") else None,
    )
    _check_recipe(point, fields)
    return point


def _check_recipe(point: OperatingPoint, fields: Fields) -> None:
    """A score space comes with its recipe, and with no other one."""
    space = ScoreSpace(point.score_space)
    norm, llr = point.norm, point.llr
    normed, fused = space in NORM_SPACES, space is ScoreSpace.FUSED_LLR
    told = f"in the score space {space.value}"
    fields.hold(
        "norm",
        f"{f'a normalisation of the method {space.value}' if normed else 'null'} {told}",
        truth=(norm is not None and norm.method is space) if normed else norm is None,
    )
    fields.hold(
        "fusion",
        f"{'the recipe of the fusion' if fused else 'null'} {told}",
        truth=fused == (point.fusion is not None),
    )
    if space is ScoreSpace.LLR:
        fields.hold("llr", f"a logistic map {told}", truth=llr is not None)
    elif fused:
        fields.hold("llr", f"null {told}: each part of the fusion has its own", truth=llr is None)
    elif llr is not None:
        fields.hold("llr", f"a map of the point's own scores {told}, with its 'norm'", truth=llr.norm == norm)


def _read_rate(fields: Fields) -> Rate:
    return Rate(
        errors=fields.integer("errors"),
        trials=fields.integer("trials"),
        upper=fields.number("upper", low=0.0, high=1.0),
        lower=fields.number("lower", low=0.0, high=1.0),
        bound=fields.text("bound"),
        n_eff=fields.number("n_eff", low=0.0, high=1e18),
    )


def _read_norm(fields: Fields) -> ScoreNorm:
    method = ScoreSpace(fields.text("method", choices=NORM_SPACES))
    size = fields.integer("cohort_size", low=2)
    top_k = fields.integer("top_k")
    # a deviation needs two scores
    fields.hold(
        "top_k",
        f"2 to {size} (the cohort's size) for as-norm, 0 for the others",
        truth=1 < top_k <= size if method is ScoreSpace.AS_NORM else top_k == 0,
    )
    return ScoreNorm(
        method=method, cohort_sha256=fields.sha256("cohort_sha256"), cohort_size=size, top_k=top_k
    )


def _read_llr(fields: Fields) -> LlrMap:
    terms = tuple(_read_term(term) for term in fields.each("terms"))
    kinds = {(term.measure, term.combine) for term in terms}
    fields.hold("terms", "terms that differ in measure or combination", truth=len(kinds) == len(terms))
    slope = fields.number("slope", low=-_ANY, high=_ANY)
    fields.hold(
        "slope",
        "above 0 together with the terms' slopes all over the calibrated range",
        truth=slope + sum(_lowest_slope(term) for term in terms) > 0.0,
    )
    return LlrMap(
        slope=slope,
        intercept=fields.number("intercept", low=-_ANY, high=_ANY),
        terms=terms,
        norm=_read_norm(fields.fields("norm")) if fields.has("norm") else None,
    )


def _read_term(fields: Fields) -> QualityTerm:
    transform = Transform(fields.text("transform", choices=tuple(Transform)))
    low = fields.number("low", low=-_ANY, high=_ANY)
    fields.hold(
        "low", "above 0 where the transform is log", truth=low > 0.0 or transform is not Transform.LOG
    )
    return QualityTerm(
        measure=fields.text("measure"),
        transform=transform,
        combine=Combine(fields.text("combine", choices=tuple(Combine))),
        centre=fields.number("centre", low=-_ANY, high=_ANY),
        scale=fields.number("scale", low=sys.float_info.min, high=_ANY),
        weight=fields.number("weight", low=-_ANY, high=_ANY),
        slope=fields.number("slope", low=-_ANY, high=_ANY),
        low=low,
        high=fields.number("high", low=low, high=_ANY),
    )


def _lowest_slope(term: QualityTerm) -> float:
    """The least that a term adds to the slope: a higher score must speak for one subject at any quality."""
    ends = (math.log(end) if term.transform is Transform.LOG else end for end in (term.low, term.high))
    return min(term.slope * (end - term.centre) / term.scale for end in ends)


def _read_fusion(fields: Fields) -> Fusion:
    parts = tuple(
        FusionPart(
            model_id=part.sha256("model_id"),
            modality=part.text("modality", choices=tuple(Modality)),
            weight=part.number("weight", low=-_ANY, high=_ANY),
            llr=_read_llr(part.fields("llr")),
        )
        for part in fields.each("parts")
    )
    distinct = len({part.model_id for part in parts}) == len(parts)
    fields.hold("parts", "two models or more, each once", truth=distinct and len(parts) > 1)
    return Fusion(parts=parts, intercept=fields.number("intercept", low=-_ANY, high=_ANY))
