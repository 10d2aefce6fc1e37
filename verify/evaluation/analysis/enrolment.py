"""What more enrolled samples buy: rates with references of one, two, three and five templates.

A reference scores the mean over its templates, as the engine does. All counts are measured on the same subjects
with the same probes, so that a difference is the templates' doing and not that of subjects who happen
to have many samples; probes are never among the templates of any count.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from verify.evaluation.analysis.rates import facts_of
from verify.evaluation.analysis.references import Samples, shuffled_samples
from verify.metrics.dyadic import mated_rate, non_mated_rate

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import ArrayLike, NDArray

    from verify.facts import EnrolmentCount

TEMPLATES = (1, 2, 3, 5)
_MIN_SUBJECTS = 10  # fewer tell nothing about a rate
_MAX_TRIALS = 2_000_000


def enrolment_counts(
    vectors: NDArray[np.float32],
    owner: ArrayLike,
    among: NDArray[np.bool_] | None = None,
    *,
    threshold: float,
    templates: Sequence[int] = TEMPLATES,
    confidence: float = 0.95,
    seed: int = 0,
    to_score: Callable[[NDArray[np.float64]], NDArray[np.float64]] | None = None,
) -> list[EnrolmentCount]:
    """Rates at `threshold` with references of several templates.

    Args:
        vectors: (n, D) float32 of unit norm, NaN where a capture failed.
        owner: (n,) subject numbers.
        among: (S,) which subjects are on the side; None takes all.
        threshold: in the score space that is judged.
        templates: counts to try; those are left out for which fewer than 10 subjects have a sample to
            spare.
        confidence: of the one-sided bounds.
        seed: of the choice of templates, and of the probes if there are too many.
        to_score: never-falling map of mean cosines into the score space of `threshold`.

    Returns:
        One entry for each count that could be measured; none where subjects have one sample each.

    Raises:
        ScoreError: vectors that are not of unit norm, or owners that do not fit.
    """
    rng = np.random.default_rng(seed)
    samples = shuffled_samples(vectors, owner, among=among, rng=rng)
    possible = [k for k in sorted(set(templates)) if np.count_nonzero(samples.counts > k) >= _MIN_SUBJECTS]
    if not possible:
        return []
    most = possible[-1]
    enrolled = np.flatnonzero(samples.counts > most)
    probes = np.flatnonzero((samples.place >= most) & (samples.counts[samples.number] > most))
    at_most = max(_MIN_SUBJECTS, _MAX_TRIALS // enrolled.size)
    if probes.size > at_most:
        probes = np.sort(rng.permutation(probes)[:at_most])
    return [
        _counted(
            samples,
            enrolled,
            probes,
            templates=k,
            threshold=threshold,
            confidence=confidence,
            to_score=to_score,
        )
        for k in possible
    ]


def _counted(
    samples: Samples,
    enrolled: NDArray[np.intp],
    probes: NDArray[np.intp],
    *,
    templates: int,
    threshold: float,
    confidence: float,
    to_score: Callable[[NDArray[np.float64]], NDArray[np.float64]] | None,
) -> EnrolmentCount:
    references = samples.references(enrolled, templates=templates)
    scores = np.clip(samples.vectors[probes] @ references.T, -1.0, 1.0).astype(np.float64)
    if to_score is not None:
        scores = to_score(scores.ravel()).reshape(scores.shape)
    probe, reference = np.broadcast_arrays(samples.number[probes][:, None], enrolled[None, :])
    mated = probe == reference
    fmr = non_mated_rate(
        non_mated=scores[~mated],
        subject_a=probe[~mated],
        subject_b=reference[~mated],
        threshold=threshold,
        confidence=confidence,
    )
    fnmr = mated_rate(mated=scores[mated], subject=probe[mated], threshold=threshold, confidence=confidence)
    return {"templates": templates, "fmr": facts_of(fmr), "fnmr": facts_of(fnmr)}
