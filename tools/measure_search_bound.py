"""Does the bound on FPIR hold? Searches in made-up populations in which a few people look like many.

    python tools/measure_search_bound.py [POPULATIONS]

One subject in ten leans towards a common face. The true FPIR at a gallery of 20 is that of a population of
4,000; small populations are then drawn, and it is counted how often the one-sided 95 % bound of their searches
lies at or above it: with each search as a dyad of the probe's subject and the nearest gallery subject, as
verify does, and with clusters of probe subjects alone.
"""

from __future__ import annotations

import sys
from statistics import median

import numpy as np

from verify.evaluation.analysis import search_scores
from verify.metrics import mated_rate

GALLERY, DIM, SAMPLES, TRUTH = 20, 24, 3, 0.05


def main() -> None:
    populations = int(sys.argv[1]) if len(sys.argv) > 1 else 200
    rng = np.random.default_rng(0)
    common = rng.standard_normal(DIM)
    everybody = search_scores(
        *drawn(4000, common, rng), gallery_size=GALLERY, rounds=60, max_probes=4000 * SAMPLES
    )
    threshold = float(np.quantile(everybody.best_non_mated, 1 - TRUTH))
    truth = float(np.mean(everybody.best_non_mated >= threshold))
    print(f"gallery of {GALLERY}, true FPIR {truth:.3f}, {populations} populations each")
    print("subjects   covered: dyads  probe clusters   bound / truth: dyads  probe clusters")
    for subjects in (60, 200):
        bounds = []
        for seed in range(populations):
            scores = search_scores(*drawn(subjects, common, rng), gallery_size=GALLERY, seed=seed)
            clusters = mated_rate(
                mated=-scores.best_non_mated, subject=scores.probe_subject, threshold=-threshold
            )
            bounds.append((scores.fpir(threshold).upper / truth, clusters.upper / truth))
        dyads, probes = zip(*bounds, strict=True)
        print(
            f"{subjects:8} {np.mean(np.array(dyads) >= 1):15.1%} {np.mean(np.array(probes) >= 1):15.1%} "
            f"{median(dyads):22.2f} {median(probes):15.2f}"
        )


def drawn(subjects: int, common: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Embeddings of a population, and whose they are."""
    leaning = np.where(rng.random(subjects) < 0.1, 1.2, 0.3)[:, None]
    faces = rng.standard_normal((subjects, DIM)) + leaning * common
    vectors = np.repeat(faces, SAMPLES, axis=0) + 0.7 * rng.standard_normal((subjects * SAMPLES, DIM))
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return unit.astype(np.float32), np.repeat(np.arange(subjects), SAMPLES)


if __name__ == "__main__":
    main()
