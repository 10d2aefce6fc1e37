"""Several templates a subject: what the mean, and what the maximum, of their scores does to FMR and FNMR.

    VERIFY_DATA=... python tools/measure_references.py

CelebA test subjects (those who took no part in choosing the shipped thresholds) with seven usable photos or more:
the first T are the reference, the others probe it and every other reference. All at the shipped thresholds.
"""

from __future__ import annotations

import os
from collections import defaultdict
from pathlib import Path

import numpy as np

from verify.capture import Capturer
from verify.cli.output import progress
from verify.data.manifest import read_manifest
from verify.data.splits import TEST, read_split
from verify.evaluation.cache import EmbeddingCache, default_cache_path
from verify.evaluation.embeddings import embed_all

SIZES = (1, 2, 3, 5)
LEAST = 7
ROOT = Path(__file__).resolve().parents[1]


def main() -> None:
    capturer = Capturer.open("face")
    data = Path(os.environ.get("VERIFY_DATA", "../shared/data")) / "faces" / "celeba"
    with EmbeddingCache(default_cache_path()) as cache:
        embedded = embed_all(
            capturer,
            read_manifest(data),
            cache=cache,
            progress=lambda captures, total: progress(captures, total=total, label="photos"),
        )
    parts = read_split(ROOT / "data_splits" / "celeba.csv").parts
    vectors: dict[str, list[np.ndarray]] = defaultdict(list)
    for entry, vector, failure in zip(embedded.entries, embedded.vectors, embedded.failures, strict=True):
        if failure is None and parts[entry.subject_id] == TEST:
            vectors[entry.subject_id].append(vector)
    people = {name: np.array(rows) for name, rows in vectors.items() if len(rows) >= LEAST}
    probes = {name: rows[max(SIZES) :] for name, rows in people.items()}
    print(f"{len(people)} subjects, {sum(map(len, probes.values()))} probes, model {capturer.model_id[:12]}")
    print("target FMR  templates  score   FMR                        FNMR")
    for point in capturer.bundle.operating_points():
        for size in SIZES:
            for name, pool in (("mean", np.mean), ("max", np.max)):
                mated, non_mated = scores(people, probes, size=size, pool=pool)
                wrong, missed = (
                    int((non_mated >= point.threshold).sum()),
                    int((mated < point.threshold).sum()),
                )
                false_match = f"{wrong / non_mated.size:.2e} ({wrong} of {non_mated.size:,})"
                print(
                    f"{point.target_fmr:<10g}  {size:<9}  {name:<5}  {false_match:<26} "
                    f"{missed / mated.size:.1%} ({missed} of {mated.size})"
                )


def scores(people: dict, probes: dict, *, size: int, pool) -> tuple[np.ndarray, np.ndarray]:  # noqa: ANN001
    mated, non_mated = [], []
    for owner, rows in people.items():
        for asker, vectors in probes.items():
            pooled = pool(vectors @ rows[:size].T, axis=1)
            (mated if owner == asker else non_mated).append(pooled)
    return np.concatenate(mated), np.concatenate(non_mated)


if __name__ == "__main__":
    main()
