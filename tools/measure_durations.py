"""What one constant threshold costs when recordings differ in length, and what quality-aware evidence saves.

    VERIFY_DATA=... python tools/measure_durations.py FOLDER [HALVINGS]

Words of Arabic Speech Commands are joined by 1 to 12 into FOLDER (outside the repository), and every pair of one
speaker that shares no word is a mated trial. The speakers are halved at random (seeds 0, 1, ...); maps are fitted
on one half and measured on the other, where each score space gets the threshold that holds the same FMR: first over
all trials, then in every stratum of net speech (the shorter of the two recordings).
"""

from __future__ import annotations

import dataclasses
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from data.join_words import join_words

from verify.capture import CapturePolicy, Capturer
from verify.cli.output import progress
from verify.data.manifest import read_manifest
from verify.evaluation.cache import EmbeddingCache, default_cache_path
from verify.evaluation.embeddings import embed_all
from verify.metrics import DEFAULT_TERMS, QUALITY_PRIOR, fit_llr, llr_of, threshold_at_fmr

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Places = NDArray[np.intp]

JOINS = (1, 2, 3, 4, 6, 8, 12)
A_TAKE = 10  # recordings of each length, about
STRATA_S = (0.5, 1.0, 2.0, 3.0, 5.0, 30.0)
TARGETS = (1e-2, 1e-3)
NON_MATED = 400_000


@dataclasses.dataclass(frozen=True)
class Pairs:
    """Trials: scores, the two places in the pool, and the net speech of each (n,), in seconds."""

    score: Floats
    a: Places
    b: Places
    x: Floats
    y: Floats

    def among(self, of_a: NDArray[np.bool_], of_b: NDArray[np.bool_]) -> Pairs:
        """Those with both captures marked."""
        keep = of_a[self.a] & of_b[self.b]
        return Pairs(*(getattr(self, field.name)[keep] for field in dataclasses.fields(self)))

    @property
    def quality(self) -> dict[str, tuple[Floats, Floats]]:
        """As `fit_llr` takes it."""
        return {"net_speech_s": (self.x, self.y)}

    @property
    def stratum(self) -> Places:
        """By the shorter of the two."""
        return np.digitize(np.minimum(self.x, self.y), STRATA_S) - 1


def pool(folder: Path) -> tuple[Places, Pairs, Pairs]:
    """The speaker of each recording, all mated trials, and a sample of non-mated ones."""
    source = Path(os.environ.get("VERIFY_DATA", "../shared/data")) / "voices" / "arabic_commands"
    capturer = Capturer.open("voice")
    capturer.policy = CapturePolicy(min_net_speech_s=STRATA_S[0])
    speakers, spans, vectors, speech = [], [], [], []
    for join in JOINS:
        joined = folder / f"joined-by-{join}"
        if not joined.exists():
            join_words(source, joined, join=join)
        manifest = read_manifest(joined)
        every = max(1, 40 // join // A_TAKE)
        some = tuple(e for e in manifest.entries if int(e.path.stem[-2:]) % every == 0)
        with EmbeddingCache(default_cache_path()) as cache:
            embedded = embed_all(
                capturer,
                dataclasses.replace(manifest, entries=some),
                cache=cache,
                progress=lambda captures, total: progress(captures, total=total, label="recordings"),
            )
        for row, entry in enumerate(embedded.entries):
            if embedded.failures[row] is None:
                take, number = int(entry.path.stem[4:6]), int(entry.path.stem[-2:])
                first = 1000 * take + number * join
                speakers.append(entry.subject_id)
                spans.append((first, first + join))
                vectors.append(embedded.vectors[row])
                speech.append(embedded.quality["net_speech_s"][row])
    owner = np.unique(speakers, return_inverse=True)[1]
    return owner, *pairs(owner, np.array(spans), np.array(vectors), np.array(speech))


def pairs(owner: Places, spans: Places, vectors: NDArray[np.float32], speech: Floats) -> tuple[Pairs, Pairs]:
    i, j = np.triu_indices(owner.size, 1)
    apart = (spans[i, 0] >= spans[j, 1]) | (spans[j, 0] >= spans[i, 1])  # no word in both
    mated = np.flatnonzero((owner[i] == owner[j]) & apart)
    non_mated = np.flatnonzero(owner[i] != owner[j])
    drawn = np.random.default_rng(0).choice(non_mated, NON_MATED, replace=False)

    def trials(at: Places) -> Pairs:
        a, b = i[at], j[at]
        scores = [np.einsum("nd,nd->n", vectors[p], vectors[q]) for p, q in batches(a, b)]
        return Pairs(np.concatenate(scores).astype(np.float64), a, b, speech[a], speech[b])

    return trials(mated), trials(drawn)


def batches(a: Places, b: Places, size: int = 1 << 14) -> Iterator[tuple[Places, Places]]:
    return ((a[k : k + size], b[k : k + size]) for k in range(0, a.size, size))


def figures(
    mated: Floats, non_mated: Floats, of_mated: Places, of_non_mated: Places, target: float
) -> list[list[float]]:
    """Three rows, each over all trials and then by stratum.

    FNMR and FMR with the threshold that holds the target over all; FNMR with that which holds it in every stratum.
    """
    strata = range(len(STRATA_S) - 1)
    mated_in = [mated, *(mated[of_mated == k] for k in strata)]
    non_mated_in = [non_mated, *(non_mated[of_non_mated == k] for k in strata)]
    over_all, *within = (threshold_at_fmr(non_mated=scores, target=target) for scores in non_mated_in)
    return [
        [float(np.mean(scores < over_all)) for scores in mated_in],
        [float(np.mean(scores >= over_all)) for scores in non_mated_in],
        [float(np.mean(scores < max(within))) for scores in mated_in],
    ]


def judged(fit: tuple[Pairs, Pairs], test: tuple[Pairs, Pairs]) -> list[Floats]:
    """The llrs of the unseen half by the map of the other; no decision counts as a rejection."""
    found = fit_llr(
        mated=fit[0].score,
        non_mated=fit[1].score,
        prior=QUALITY_PRIOR,
        terms=DEFAULT_TERMS["voice"],
        mated_quality=fit[0].quality,
        non_mated_quality=fit[1].quality,
    )
    llrs = [llr_of(found, one.score, quality=one.quality) for one in test]
    return [np.where(np.isnan(llr), -1e9, llr) for llr in llrs]


def main() -> None:
    folder, halvings = Path(sys.argv[1]).resolve(), int(sys.argv[2]) if len(sys.argv) > 2 else 10
    if folder.is_relative_to(Path(__file__).resolve().parents[1]):
        sys.exit(f"{folder} lies inside the repository; recordings are never committed")
    owner, mated, non_mated = pool(folder)
    seen: dict[tuple[float, str], list[list[list[float]]]] = {}
    for seed in range(halvings):
        half = np.isin(owner, np.random.default_rng(seed).permutation(owner.max() + 1)[::2])
        fit = mated.among(half, half), non_mated.among(half, half)
        test = mated.among(~half, ~half), non_mated.among(~half, ~half)
        strata = test[0].stratum, test[1].stratum
        for name, scores in (("cosine", [one.score for one in test]), ("llr", judged(fit, test))):
            for target in TARGETS:
                seen.setdefault((target, name), []).append(figures(*scores, *strata, target))
    print(
        f"{mated.score.size} mated, {NON_MATED} non-mated trials, {halvings} halvings, means over the unseen halves"
    )
    print(" " * 45, "     all", *(f"{low:6g} s" for low in STRATA_S[:-1]))
    for (target, name), rows in sorted(seen.items(), reverse=True):
        for what, row in zip(
            ("FNMR", "FMR", "FNMR, FMR held by every stratum"), np.mean(rows, axis=0), strict=True
        ):
            print(f"FMR {target:g} {name:6s} {what:31s}", *(f"{value:8.2%}" for value in row))


if __name__ == "__main__":
    main()
