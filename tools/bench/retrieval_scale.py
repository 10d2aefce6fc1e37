"""Retrieval measures at scale: time, peak memory, and the bare matrix product beside them.

    python tools/bench/retrieval_scale.py --gallery 1000000 --dim 512 --queries 2000

Made-up embeddings, `--per-subject` samples of each subject. `--queries` of them search the whole gallery; the time of
all searching all is that of a further query times all, and said to be so. The bare product of the same blocks is
timed after it on the same threads: what the ranks cost beyond it is the difference. Memory is the process's peak.
"""

from __future__ import annotations

import argparse
import os
import resource
import time

import numpy as np

from verify.metrics.retrieval import CELLS, retrieval_measures

BLOCK = 1 << 14


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--gallery", type=int, default=100_000)
    parser.add_argument("--dim", type=int, default=512)
    parser.add_argument("--queries", type=int, default=2000)
    parser.add_argument("--per-subject", type=int, default=10)
    parser.add_argument("--noise", type=float, default=2.5, help="of a sample, beside its subject's 1")
    args = parser.parse_args()
    rng = np.random.default_rng(0)
    subjects = np.arange(args.gallery) // args.per_subject
    gallery = embeddings(rng, subjects, dim=args.dim, noise=args.noise)
    chosen = rng.choice(len(gallery), size=min(args.queries, len(gallery)), replace=False)
    centre = embeddings(rng, subjects, dim=args.dim, noise=args.noise, rows=chosen, of=gallery)
    quarter = max(1, len(chosen) // 4)
    held = peak_gib()
    print(
        f"gallery {len(gallery):,} x {args.dim}, {gallery.nbytes / 2**30:.2f} GiB; peak so far {held:.2f} GiB"
    )
    clock = Clock()
    asked = {"gallery": gallery, "gallery_subjects": subjects}
    retrieval_measures(centre[:quarter], subjects=subjects[chosen[:quarter]], **asked)
    few = clock.read()
    clock = Clock()
    found = retrieval_measures(centre, subjects=subjects[chosen], **asked)
    many = clock.read()
    clock = Clock()
    product(centre, gallery, rows=max(1, CELLS // len(gallery)))
    bare = clock.read()
    print(
        f"{len(chosen):,} queries: {many[0]:.1f} s, {many[1]:.1f} s of CPU; bare product {bare[0]:.1f} s, {bare[1]:.1f}"
    )
    wall, cpu = ((b - a) / (len(chosen) - quarter) for a, b in zip(few, many, strict=True))
    print(
        f"a further query: {1e3 * wall:.2f} ms, {1e3 * cpu:.2f} ms of CPU ({cpu * len(chosen) / bare[1]:.2f} x product)"
    )
    hours = len(gallery) / 3600
    print(f"all {len(gallery):,} against all, scaled up: {wall * hours:.2f} h, {cpu * hours:.2f} h of CPU")
    print(f"peak memory {peak_gib():.2f} GiB, {peak_gib() - held:.2f} beyond the embeddings")
    threads = os.environ.get("OMP_NUM_THREADS", f"one a core ({os.cpu_count()})")
    print(
        f"BLAS threads {threads}; " + ", ".join(f"{name} {value:.4f}" for name, value in found.values.items())
    )


class Clock:
    """Wall and CPU time since it was made: on a busy machine only the second means much."""

    def __init__(self) -> None:
        self._began = time.perf_counter(), time.process_time()

    def read(self) -> tuple[float, float]:
        """Both, in seconds."""
        return time.perf_counter() - self._began[0], time.process_time() - self._began[1]


def embeddings(
    rng: np.random.Generator,
    subjects: np.ndarray,
    *,
    dim: int,
    noise: float,
    rows: np.ndarray | None = None,
    of: np.ndarray | None = None,
) -> np.ndarray:
    """(n, dim) float32 of unit norm, a block at a time; with `rows` another sample of the subjects `of` these rows."""
    if rows is not None and of is not None:
        fresh = of[rows] + noise * rng.standard_normal((rows.size, dim), dtype=np.float32) / np.sqrt(dim)
        return (fresh / np.linalg.norm(fresh, axis=1, keepdims=True)).astype(np.float32)
    centres = rng.standard_normal((int(subjects[-1]) + 1, dim), dtype=np.float32)
    vectors = np.empty((subjects.size, dim), dtype=np.float32)
    for start in range(0, subjects.size, BLOCK):
        part = subjects[start : start + BLOCK]
        block = centres[part] + noise * rng.standard_normal((part.size, dim), dtype=np.float32)
        vectors[start : start + BLOCK] = block / np.linalg.norm(block, axis=1, keepdims=True)
    return vectors


def product(queries: np.ndarray, gallery: np.ndarray, *, rows: int) -> None:
    out = np.empty((min(rows, len(queries)), len(gallery)), dtype=np.float32)
    for start in range(0, len(queries), rows):
        part = queries[start : start + rows]
        np.matmul(part, gallery.T, out=out[: len(part)])


def peak_gib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


if __name__ == "__main__":
    main()
