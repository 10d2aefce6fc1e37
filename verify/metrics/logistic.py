"""Fitting the maps from scores to evidence: prior-weighted logistic regression.

Minimised is (Brümmer and du Preez, Application-independent evaluation of speaker detection, 2006)

    P mean_mated log(1 + exp(-l - logit P)) + (1 - P) mean_non_mated log(1 + exp(l + logit P)) + ridge

over the coefficients of l, so the balance of mated and non-mated trials in the data does not matter, and
the result is a log-likelihood ratio, without a prior in it. The ridge is a Gaussian prior of standard
deviation 10 on every coefficient but the intercept, per standard deviation of its input: next to nothing
where the data speak, and a finite answer where they are separable.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np

from verify.errors import ScoreError
from verify.metrics.evidence import combined
from verify.metrics.scores import checked_scores
from verify.metrics.weighted_logistic import WeightedTrials, minimise, standardised
from verify.score_space import Combine, Fusion, LlrMap, QualityTerm, Transform

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import ArrayLike, NDArray

    from verify.score_space import FusionPart, ScoreNorm

    Measures = Mapping[str, tuple[ArrayLike, ArrayLike]]

_SURELY_RISING = 1e-6  # of the slope: a map must still rise when it is checked elsewhere, rounded otherwise

# Where quality-aware maps are best fitted: thresholds lie where mated trials are rare and the llr is high.
# With 0.5 the bulk of easy trials decides the coefficients, and the tail pays for it.
QUALITY_PRIOR = 0.01


@dataclass(frozen=True, slots=True)
class TermSpec:
    """A quality measure to be fitted; see `verify.score_space.QualityTerm` for what becomes of it.

    Attributes:
        measure: key of `Quality.measures`; one of which more is better.
        transform: done to the measure of each capture.
        combine: makes one of the two captures' measures.
        interacts: whether the measure may change the slope; False only moves the llr up and down.
    """

    measure: str
    transform: Transform = Transform.IDENTITY
    combine: Combine = Combine.MIN
    interacts: bool = True


# What helps on people never seen (halves of the subjects, fitted on one and measured on the other):
# - Voices of 0.5 to 10 s of net speech (tools/measure_durations.py): at FMR 1e-2 the FNMR falls from 24 % with one
#   constant cosine to 13 %, at 1e-3 from 45 % to 33 %. The shorter recording alone gives 14.5 % and 35 %; its SNR
#   adds nothing on clean recordings.
# - Faces: of size, eye distance, sharpness, contrast, brightness, pose and the detector's score only the last
#   helps at every rate (SFace, FNMR at FMR 1e-2 and 1e-3: CelebA 6.3 to 6.1 % and 9.5 to 9.2 %, LFW 0.59 to
#   0.56 % and 1.30 to 1.24 %; dlib-resnet on CelebA gains in Cllr and at FMR 1e-1 only, and loses 0.1 and 0.3 points
#   there). Sharpness or size beside it gain in Cllr and lose in the tail.
DEFAULT_TERMS: Mapping[str, tuple[TermSpec, ...]] = MappingProxyType(
    {
        "voice": (
            TermSpec("net_speech_s", Transform.LOG, Combine.MIN),
            TermSpec("net_speech_s", Transform.LOG, Combine.MAX),
        ),
        "face": (TermSpec("detector_score", Transform.IDENTITY, Combine.MIN),),
    }
)


def fit_llr(
    *,
    mated: ArrayLike,
    non_mated: ArrayLike,
    prior: float = 0.5,
    terms: Sequence[TermSpec] = (),
    mated_quality: Measures | None = None,
    non_mated_quality: Measures | None = None,
    mated_weight: ArrayLike | None = None,
    non_mated_weight: ArrayLike | None = None,
    norm: ScoreNorm | None = None,
) -> LlrMap:
    """Fit llr = intercept + slope s + sum_k (weight_k + slope_k s) f_k.

    The llr must rise with the score whatever the quality. Where a fitted interaction would turn it round
    somewhere in the calibrated range, that interaction is left out (slope_k = 0) and the rest fitted again.

    All trials of a class weigh alike unless told otherwise: weighing them so that every subject counts alike
    moved no error rate beyond chance on LFW, whose subjects have between 1 and 66 mated trials.

    Args:
        mated: (M,) scores.
        non_mated: (N,) scores.
        prior: effective prior of a mated trial in (0, 1): where the map is to be at its best.
        terms: quality measures to use.
        mated_quality: measure -> (x, y), each (M,): the untransformed measures of both captures.
        non_mated_quality: likewise, each (N,).
        mated_weight: (M,) weights >= 0 of the trials among the mated; None counts all alike.
        non_mated_weight: (N,) likewise.
        norm: the normalisation that made the scores, recorded in the map.

    Raises:
        ScoreError: bad scores or measures, constant scores, a prior outside (0, 1), or mated scores that
            are not higher than non-mated ones.
    """
    data = WeightedTrials.of(
        mated, non_mated, prior=prior, mated_weight=mated_weight, non_mated_weight=non_mated_weight
    )
    scores = data.joined(checked_scores(mated, name="mated"), checked_scores(non_mated, name="non_mated"))
    s, centre, scale = standardised(scores, data.weight)
    if not scale > 0:
        msg = f"mated and non_mated: all scores are {scores[0]:.6g}; constant scores carry no evidence"
        raise ScoreError(msg)
    fitted = [_term(spec, mated_quality or {}, non_mated_quality or {}, data) for spec in terms]
    with_slope = [spec.interacts and bool(f.any()) for spec, (_, f) in zip(terms, fitted, strict=True)]
    while True:
        columns = [np.ones_like(s), s, *(f for _, f in fitted)]
        columns += [s * f for (_, f), used in zip(fitted, with_slope, strict=True) if used]
        found = minimise(np.stack(columns, axis=1), data)
        mapping = _as_map(found, [term for term, _ in fitted], with_slope, centre=centre, scale=scale)
        lowest = [_lowest_slope(term) for term in mapping.terms]
        if mapping.slope + sum(lowest) > _SURELY_RISING * abs(mapping.slope):
            return replace(mapping, norm=norm)
        if not any(with_slope):
            msg = (
                f"mated scores are not higher than non-mated ones (slope {mapping.slope:.4g}): "
                "higher must mean more alike; check the labels, and negate distances"
            )
            raise ScoreError(msg)
        with_slope[int(np.argmin(lowest))] = False


def fit_fusion(
    *,
    mated_llrs: Sequence[ArrayLike],
    non_mated_llrs: Sequence[ArrayLike],
    parts: Sequence[FusionPart],
    prior: float = 0.5,
) -> Fusion:
    """Fit fused = intercept + sum_k weight_k llr_k.

    No weight is negative: evidence for one subject from any model must never speak against it in sum.
    A model whose weight would be, gets 0.

    Args:
        mated_llrs: for each part (M,) llrs of the same mated trials.
        non_mated_llrs: for each part (N,) llrs of the same non-mated trials.
        parts: the models; their weights are replaced.
        prior: effective prior of a mated trial in (0, 1).

    Raises:
        ScoreError: arrays that do not fit, NaN, a prior outside (0, 1), or llrs that speak the wrong way.
    """
    if not len(mated_llrs) == len(non_mated_llrs) == len(parts) > 0:
        msg = (
            f"parts: {len(parts)} models, {len(mated_llrs)} mated and {len(non_mated_llrs)} non-mated arrays"
        )
        raise ScoreError(msg)
    data = WeightedTrials.of(mated_llrs[0], non_mated_llrs[0], prior=prior)
    columns: list[NDArray[np.float64]] = []
    scales: list[float] = []
    middle: list[float] = []
    for k, (of_mated, of_non_mated) in enumerate(zip(mated_llrs, non_mated_llrs, strict=True)):
        column = data.joined(
            checked_scores(of_mated, name=f"mated_llrs[{k}]"),
            checked_scores(of_non_mated, name=f"non_mated_llrs[{k}]"),
        )
        z, centre, scale = standardised(column, data.weight)
        columns.append(z)
        middle.append(centre)
        scales.append(scale)
    used = [k for k, scale in enumerate(scales) if scale > 0]
    while used:
        found = minimise(np.stack([np.ones_like(columns[0]), *(columns[k] for k in used)], axis=1), data)
        worst = int(np.argmin(found[1:]))
        if found[1 + worst] > 0:
            break
        del used[worst]
    if not used:
        msg = (
            "mated_llrs and non_mated_llrs: no model's evidence is higher for mated than for non-mated trials"
        )
        raise ScoreError(msg)
    weights = dict.fromkeys(range(len(parts)), 0.0) | {
        k: float(b / scales[k]) for k, b in zip(used, found[1:], strict=True)
    }
    intercept = float(found[0]) - sum(weights[k] * middle[k] for k in used)
    return Fusion(
        parts=tuple(replace(part, weight=weights[k]) for k, part in enumerate(parts)), intercept=intercept
    )


def _term(
    spec: TermSpec, of_mated: Measures, of_non_mated: Measures, data: WeightedTrials
) -> tuple[QualityTerm, NDArray[np.float64]]:
    """A term without its coefficients yet, and its f (T,)."""
    sides: list[NDArray[np.float64]] = []
    for side in (0, 1):
        for name, quality in (("mated_quality", of_mated), ("non_mated_quality", of_non_mated)):
            if spec.measure not in quality:
                msg = f"{name}: no {spec.measure!r}; it has {', '.join(quality) or 'no measures'}"
                raise ScoreError(msg)
            sides.append(checked_scores(quality[spec.measure][side], name=f"{name}[{spec.measure!r}]"))
    x, y = data.joined(sides[0], sides[1]), data.joined(sides[2], sides[3])
    low, high = float(min(x.min(), y.min())), float(max(x.max(), y.max()))
    if spec.transform is Transform.LOG and not low > 0:
        msg = f"{spec.measure}: a logarithm needs measures above 0, not {low}"
        raise ScoreError(msg)
    raw = combined(x, y, transform=spec.transform, combine=spec.combine)
    f, centre, scale = standardised(raw, data.weight)
    term = QualityTerm(
        measure=spec.measure,
        transform=spec.transform,
        combine=spec.combine,
        centre=centre,
        scale=scale or 1.0,  # a constant measure tells nothing, but still what was calibrated
        weight=0.0,
        slope=0.0,
        low=low,
        high=high,
    )
    return term, f


def _as_map(
    found: NDArray[np.float64],
    terms: Sequence[QualityTerm],
    with_slope: Sequence[bool],
    *,
    centre: float,
    scale: float,
) -> LlrMap:
    """Coefficients of standardised scores as coefficients of scores."""
    intercept, slope = float(found[0]), float(found[1]) / scale
    slopes = iter(found[2 + len(terms) :].tolist())
    made = []
    for term, weight, used in zip(terms, found[2 : 2 + len(terms)].tolist(), with_slope, strict=True):
        slope_k = next(slopes) / scale if used else 0.0
        made.append(replace(term, weight=weight - slope_k * centre, slope=slope_k))
    return LlrMap(slope=slope, intercept=intercept - slope * centre, terms=tuple(made))


def _lowest_slope(term: QualityTerm) -> float:
    """The least that the term adds to the slope anywhere in the calibrated range."""
    ends = np.array([term.low, term.high])
    f = (combined(ends, ends, transform=term.transform, combine=term.combine) - term.centre) / term.scale
    return float((term.slope * f).min())
