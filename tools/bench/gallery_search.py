"""Exact identify against the bare BLAS product, and index memory against the matrix, in one run.

    python tools/bench/gallery_search.py --subjects 100000 --dim 512

Fills a gallery in a temporary folder through its public API's storage functions, then times, in
turns on the same process and threads: the bare product ``matrix @ probe``, the bare product plus
numpy's top-k, and `SqliteGallery.search`. Both medians and their ratio are printed.
"""

from __future__ import annotations

import argparse
import gc
import os
import statistics
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from verify.gallery import SqliteGallery
from verify.gallery.entry import Addition, Entry
from verify.gallery.rows import add
from verify.types import Modality

MODEL = "bench"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--subjects", type=int, default=100_000)
    parser.add_argument("--templates", type=int, default=1, help="templates a subject")
    parser.add_argument("--dim", type=int, default=512)
    parser.add_argument("--rounds", type=int, default=60)
    parser.add_argument("--top-k", type=int, default=5)
    args = parser.parse_args()
    rng = np.random.default_rng(1)
    with tempfile.TemporaryDirectory() as folder, SqliteGallery(Path(folder) / "gallery.db") as gallery:
        began = time.perf_counter()
        fill(gallery, rng=rng, subjects=args.subjects, templates=args.templates, dim=args.dim)
        filled = time.perf_counter()
        before = resident_bytes()
        live = gallery.live_index(MODEL)
        loaded = time.perf_counter()
        grown = resident_bytes() - before
        if live is None:
            sys.exit("the gallery stayed empty")
        matrix_bytes = len(live) * args.dim * 4
        print(f"gallery        {len(live)} templates of {args.dim} numbers, {args.subjects} subjects")
        print(f"written in     {filled - began:.1f} s; loaded into memory in {loaded - filled:.2f} s")
        print(
            f"index memory   {live.nbytes / matrix_bytes:.3f} x matrix set aside, {grown / matrix_bytes:.3f} x resident"
        )
        compare(gallery, rng=rng, dim=args.dim, rows=len(live), rounds=args.rounds, top_k=args.top_k)


def fill(
    gallery: SqliteGallery, *, rng: np.random.Generator, subjects: int, templates: int, dim: int
) -> None:
    now = datetime.now(UTC)
    for start in range(0, subjects, 2000):
        with gallery.write() as db:  # many subjects in a transaction: only searching is measured here
            for number in range(start, min(start + 2000, subjects)):
                vectors = unit(rng, templates, dim)
                entries = tuple(Entry(v, MODEL, Modality.FACE, "", str(number), now, {}) for v in vectors)
                add(db, Addition(f"subject {number}", entries, None), cap=templates)


def compare(
    gallery: SqliteGallery, *, rng: np.random.Generator, dim: int, rows: int, rounds: int, top_k: int
) -> None:
    matrix = unit(rng, rows, dim)
    out = np.empty(rows, np.float32)
    probes = unit(rng, rounds + 3, dim)
    times: dict[str, list[float]] = {"product": [], "product and top-k": [], "identify": []}
    gc.disable()
    for probe in probes:
        started = time.perf_counter()
        np.dot(matrix, probe, out=out)
        times["product"].append(time.perf_counter() - started)
        started = time.perf_counter()
        np.argpartition(matrix @ probe, -top_k)
        times["product and top-k"].append(time.perf_counter() - started)
        started = time.perf_counter()
        gallery.search(probe, model_id=MODEL, top_k=top_k)
        times["identify"].append(time.perf_counter() - started)
    medians = {name: statistics.median(values[3:]) * 1e3 for name, values in times.items()}
    threads = os.environ.get("OPENBLAS_NUM_THREADS", f"one a core ({os.cpu_count()})")
    print(f"BLAS threads   {threads}")
    for name, value in medians.items():
        print(f"p50 {name:<18} {value:7.2f} ms   {value / medians['product']:.3f} x bare product")


def unit(rng: np.random.Generator, count: int, dim: int) -> np.ndarray:
    vectors = rng.standard_normal((count, dim), dtype=np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors


def resident_bytes() -> int:
    status = Path("/proc/self/statm")  # Linux; elsewhere the resident ratio reads 0
    return int(status.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") if status.exists() else 0


if __name__ == "__main__":
    main()
