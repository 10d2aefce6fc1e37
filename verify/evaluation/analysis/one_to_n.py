"""Open-set search, measured: what a probe meets in galleries of a given size, enrolled in them or not.

A search holds a probe against the references (mean scores) of G subjects. Each probe is used twice:

- *non-mated*: its subject is left out of the gallery. The best score is a false alarm if it
  reaches the threshold: FPIR(t) is the share of best scores >= t.
- *mated*: its subject is one of the G. The search misses if the subject's own score is below the threshold, or if
  another subject scores at least as high.

Galleries are random subjects of the side, drawn anew in each round. G + 1 are drawn, so that a probe
whose own subject is among them leaves it out and still meets G strangers: S subjects measure
galleries of up to S - 1.

**What the bounds cover.** A non-mated search is taken as one dyad of the probe's subject and the gallery
subject it came closest to, and FPIR gets the dyadic bound. So it allows for probe subjects who look like
many and for gallery subjects whom many look like, and speaks of all people like these. More rounds make the
rate steadier but are no new people: trials of the same subjects are counted together, never as independent.
In a simulation with look-alikes (tools/measure_search_bound.py) the 95 % bound covers the true FPIR in 95 % of
populations of 60 and in 90 % of populations of 200; with clusters of probe subjects alone these are
87 % and 72 %. FNIR clusters by the probe's subject.

Beyond the galleries that a side can fill nothing is measured: there is the independence estimate
1 - (1 - FMR)^G and, as its cautious end, the union bound G * upper(FMR), which holds however the comparisons
depend on each other.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from verify.errors import InsufficientTrialsError, UsageError
from verify.evaluation.analysis.rates import rate_facts
from verify.evaluation.analysis.references import Samples, shuffled_samples
from verify.metrics.dyadic import mated_rate, non_mated_rate
from verify.metrics.one_to_n import fpir_if_independent

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import ArrayLike, NDArray

    from verify.facts import OneToN
    from verify.types import Rate

SIZES = (1, 10, 100, 1_000, 10_000, 100_000, 1_000_000)
_BLOCK_CELLS = 1 << 23  # scores in memory at once: 32 MB of float32
_ROUND_CELLS = 2_000_000  # comparisons after which a further round is not worth it


@dataclass(frozen=True, slots=True)
class SearchScores:
    """What searches at one gallery size came to, as cosines; probe and reference of one side.

    Attributes:
        gallery_size: G, subjects searched.
        best_non_mated: (P,) float64 best score of a probe whose subject is not enrolled.
        probe_subject: (P,) int64 whose probe it is.
        nearest_subject: (P,) int64 the gallery subject with the best score; never the probe's.
        mated_score: (Q,) float64 score of an enrolled probe's own subject.
        mated_rank: (Q,) int64 1 + the number of other subjects that score at least as high.
        mated_subject: (Q,) int64 whose probe it is.
    """

    gallery_size: int
    best_non_mated: NDArray[np.float64] = field(repr=False)
    probe_subject: NDArray[np.int64] = field(repr=False)
    nearest_subject: NDArray[np.int64] = field(repr=False)
    mated_score: NDArray[np.float64] = field(repr=False)
    mated_rank: NDArray[np.int64] = field(repr=False)
    mated_subject: NDArray[np.int64] = field(repr=False)

    def fpir(self, threshold: float, *, confidence: float = 0.95) -> Rate:
        """False-positive identification rate with the dyadic bound described above."""
        return non_mated_rate(
            non_mated=self.best_non_mated,
            subject_a=self.probe_subject,
            subject_b=self.nearest_subject,
            threshold=threshold,
            confidence=confidence,
        )

    def fnir(self, threshold: float, *, confidence: float = 0.95) -> Rate | None:
        """False-negative identification rate at rank 1; None without mated searches."""
        if not self.mated_score.size:
            return None
        found = (self.mated_score >= threshold) & (self.mated_rank == 1)
        return mated_rate(
            mated=found.astype(np.float64), subject=self.mated_subject, threshold=0.5, confidence=confidence
        )

    @property
    def rank_1(self) -> float | None:
        """Share of enrolled probes whose subject came first, whatever the score; None without any."""
        return float(np.mean(self.mated_rank == 1)) if self.mated_rank.size else None


def search_scores(
    vectors: NDArray[np.float32],
    owner: ArrayLike,
    among: NDArray[np.bool_] | None = None,
    *,
    gallery_size: int,
    templates: int = 1,
    seed: int = 0,
    rounds: int | None = None,
    max_probes: int = 20_000,
) -> SearchScores:
    """Search random galleries of `gallery_size` subjects with the samples of the same side.

    Args:
        vectors: (n, D) float32 of unit norm, NaN where a capture failed.
        owner: (n,) subject numbers.
        among: (S,) which subjects are on the side; None takes all.
        gallery_size: G >= 1.
        templates: samples in a reference; subjects with fewer are probes only.
        seed: of references and galleries.
        rounds: galleries drawn; None draws 3, and up to 24 small ones.
        max_probes: probes of each round, drawn at random if there are more.

    Raises:
        InsufficientTrialsError: fewer than G + 1 subjects can be enrolled.
        UsageError: sizes below 1.
        ScoreError: vectors that are not of unit norm.
    """
    if rounds is None:
        cells = max(1, gallery_size) * max(1, min(len(vectors), max_probes))
        rounds = min(24, max(3, _ROUND_CELLS // cells))
    if min(gallery_size, templates, rounds) < 1:
        msg = f"gallery_size, templates and rounds start at 1, not {gallery_size}, {templates}, {rounds}"
        raise UsageError(msg)
    rng = np.random.default_rng([seed, gallery_size])
    found = []
    for _ in range(rounds):
        samples = shuffled_samples(vectors, owner, among=among, rng=rng)
        enrollable = np.flatnonzero(samples.counts >= templates)
        if enrollable.size <= gallery_size:
            msg = (
                f"a gallery of {gallery_size:,} needs {gallery_size + 1:,} subjects with {templates} samples, one of "
                f"whom stays outside; there are {enrollable.size:,}: ask for a smaller one or bring more subjects"
            )
            raise InsufficientTrialsError(msg)
        gallery = rng.choice(enrollable, gallery_size + 1, replace=False)
        probes = np.sort(rng.permutation(samples.number.size)[:max_probes])
        found.append(_round(samples, gallery, probes, templates=templates))
    best, probe, nearest, mated, rank, mate = (np.concatenate(part) for part in zip(*found, strict=True))
    return SearchScores(gallery_size, best, probe, nearest, mated, rank, mate)


def one_to_n(
    vectors: NDArray[np.float32],
    owner: ArrayLike,
    among: NDArray[np.bool_] | None = None,
    *,
    threshold: float,
    fmr: Rate,
    sizes: Sequence[int] = SIZES,
    templates: int = 1,
    seed: int = 0,
    rounds: int | None = None,
    confidence: float = 0.95,
    to_score: Callable[[NDArray[np.float64]], NDArray[np.float64]] | None = None,
) -> list[OneToN]:
    """1:N rates over gallery sizes: measured as far as the side goes, projected beyond.

    Args:
        vectors: (n, D) float32 of unit norm, NaN where a capture failed.
        owner: (n,) subject numbers.
        among: (S,) which subjects are on the side; None takes all.
        threshold: in the score space that is judged.
        fmr: the 1:1 rate of this side at the threshold; after no error its upper bound is projected.
        sizes: gallery sizes; the largest that can be measured is added.
        templates: samples in a reference.
        seed: of references and galleries.
        rounds: galleries drawn at each size; None draws 3, and up to 24 small ones.
        confidence: of the one-sided bounds.
        to_score: never-falling map of cosines into the score space of `threshold`; None: cosines.
    """
    usable = shuffled_samples(vectors, owner, among=among, rng=np.random.default_rng(seed))
    largest = int(np.count_nonzero(usable.counts >= templates)) - 1
    every = sorted({*sizes, largest} if largest > 1 else set(sizes))
    one = fmr.value if fmr.errors else fmr.upper
    rows: list[OneToN] = []
    for size in every:
        scores = None
        if size <= largest:
            scores = search_scores(
                vectors, owner, among, gallery_size=size, templates=templates, seed=seed, rounds=rounds
            )
            scores = _mapped(scores, to_score)
        rows.append(
            {
                "gallery_size": size,
                "threshold": threshold,
                "fpir": rate_facts(scores.fpir(threshold, confidence=confidence)) if scores else None,
                "fnir": rate_facts(scores.fnir(threshold, confidence=confidence)) if scores else None,
                "fpir_independent": fpir_if_independent(fmr=one, gallery_size=size),
                "fpir_union_upper": min(1.0, size * fmr.upper),
                "rank_1": scores.rank_1 if scores else None,
                "measured": scores is not None,
            }
        )
    return rows


def _mapped(
    scores: SearchScores, to_score: Callable[[NDArray[np.float64]], NDArray[np.float64]] | None
) -> SearchScores:
    if to_score is None:
        return scores
    return SearchScores(
        gallery_size=scores.gallery_size,
        best_non_mated=to_score(scores.best_non_mated),
        probe_subject=scores.probe_subject,
        nearest_subject=scores.nearest_subject,
        mated_score=to_score(scores.mated_score),
        mated_rank=scores.mated_rank,
        mated_subject=scores.mated_subject,
    )


def _round(
    samples: Samples, gallery: NDArray[np.intp], probes: NDArray[np.intp], *, templates: int
) -> tuple[NDArray[np.generic], ...]:
    """All searches in one gallery of G + 1 subjects, the last of whom is there to fill a gap."""
    references = samples.references(gallery, templates=templates)
    column = np.full(samples.counts.size, -1)
    column[gallery] = np.arange(gallery.size)
    enrolled = np.flatnonzero(samples.counts > templates)  # with a sample left to be a probe
    own = np.full(samples.counts.size, -1)
    own[enrolled] = np.arange(enrolled.size)
    own_references = samples.references(enrolled, templates=templates)
    parts = []
    step = max(1, _BLOCK_CELLS // gallery.size)
    for start in range(0, probes.size, step):
        rows = probes[start : start + step]
        scores = np.clip(samples.vectors[rows] @ references.T, -1.0, 1.0)
        number = samples.number[rows]
        left_out = np.where(column[number] >= 0, column[number], gallery.size - 1)
        scores[np.arange(rows.size), left_out] = -np.inf  # now G strangers are left
        nearest = np.argmax(scores, axis=1)
        mated = np.flatnonzero((own[number] >= 0) & (samples.place[rows] >= templates))
        theirs = own_references[own[number[mated]]]
        score = np.clip(np.einsum("qd,qd->q", samples.vectors[rows[mated]], theirs), -1.0, 1.0)
        others = scores[mated]
        # the subject's own reference takes the place of one more of the G
        last = gallery.size - 1
        others[np.arange(mated.size), np.where(left_out[mated] == last, last - 1, last)] = -np.inf
        rank = 1 + np.count_nonzero(others >= score[:, None], axis=1)
        parts.append(
            (
                scores[np.arange(rows.size), nearest].astype(np.float64),
                samples.subjects[number],
                samples.subjects[gallery[nearest]],
                score.astype(np.float64),
                rank.astype(np.int64),
                samples.subjects[number[mated]],
            )
        )
    return tuple(np.concatenate(part) for part in zip(*parts, strict=True))
