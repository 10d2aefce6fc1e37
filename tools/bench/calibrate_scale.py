"""Calibration at scale: 10^4 subjects and 10^8 trials, from vectors and from a score file, with time and peak memory.

    python tools/bench/calibrate_scale.py vectors [SUBJECTS]
    python tools/bench/calibrate_scale.py scores [ROWS]

`vectors` makes SUBJECTS people (default 10,000) of two unit vectors of 128 dimensions; the halves have
about 5 x 10^7 non-mated trials each, all of them scored. `scores` writes ROWS rows (default 10^8) of
score,mated,subject_a,subject_b as CSV to the temporary folder first, which is not part of calibrating, and
calibrates on the file alone. Both make the facts of the report too. Threads: set OMP_NUM_THREADS.
"""

from __future__ import annotations

import resource
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from verify.data.manifest import Entry
from verify.evaluation.calibrate import Recipe, calibrate
from verify.evaluation.embedded_source import EmbeddedSource
from verify.evaluation.embeddings import EmbeddedSet
from verify.evaluation.facts_of import calibration_facts
from verify.evaluation.job import CalibrationJob, Method, calibrate_scores
from verify.evaluation.pipeline import into_space
from verify.types import Modality

DIM, SAMPLES = 128, 2
TARGETS = (1e-2, 1e-3, 1e-4, 1e-5)
CHUNK = 1_000_000


def people(subjects: int) -> EmbeddedSet:
    """Made-up captures: each sample is its subject's vector and as much noise."""
    rng = np.random.default_rng(0)
    owner = np.repeat(np.arange(subjects), SAMPLES)
    vectors = rng.standard_normal((subjects, DIM), dtype=np.float32)[owner]
    vectors += 0.7 * rng.standard_normal(vectors.shape, dtype=np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return EmbeddedSet(
        name="people",
        entries=tuple(Entry(f"p{who:06d}", Path(f"{row}.jpg")) for row, who in enumerate(owner.tolist())),
        vectors=vectors,
        failures=(None,) * len(owner),
        sha256s=tuple(f"{row:064x}" for row in range(len(owner))),
    )


def write_scores(path: Path, *, rows: int, subjects: int = 10_000) -> None:
    """Random pairs of subjects, one in a hundred mated."""
    rng = np.random.default_rng(1)
    with path.open("w", encoding="ascii") as file:
        file.write("score,mated,subject_a,subject_b\n")
        for start in range(0, rows, CHUNK):
            n = min(CHUNK, rows - start)
            a = rng.integers(0, subjects, n)
            mated = rng.random(n) < 0.01
            b = np.where(mated, a, (a + rng.integers(1, subjects, n)) % subjects)
            score = rng.standard_normal(n) * 0.1 + 0.6 * mated
            text = np.char.add(np.char.mod("%.5f,", score), np.char.mod("%d,", mated))
            text = np.char.add(text, np.char.add(np.char.mod("p%d,", a), np.char.mod("p%d", b)))
            file.write("\n".join(text.tolist()) + "\n")


def on_vectors(subjects: int) -> CalibrationJob:
    source = EmbeddedSource.of(people(subjects), model_id="ab" * 32)
    method = Method()
    lap("made")
    spaces = into_space([source], recipe=Recipe("ab" * 32, Modality.FACE))
    lap("trials scored and gathered")
    made = calibrate(spaces.judged, recipe=spaces.recipe, targets=TARGETS)
    lap("thresholds chosen and measured")
    return CalibrationJob(calibration=made, method=method, spaces=spaces)


def on_scores(rows: int) -> CalibrationJob:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "scores.csv"
        write_scores(path, rows=rows)
        lap(f"written, {path.stat().st_size / 1e9:.1f} GB")
        job = calibrate_scores([path], targets=TARGETS)
        lap("read, thresholds chosen and measured")
    return job


def lap(what: str, *, started: list[float] = []) -> None:  # noqa: B006  remembers the last lap
    """Print the seconds since the last lap and the peak memory so far."""
    now = time.perf_counter()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    cpu = time.process_time()
    if started:
        print(
            f"{now - started[0]:8.1f} s wall {cpu - started[1]:8.1f} s CPU  peak {peak:.2f} GiB  {what}",
            flush=True,
        )
    started[:] = [now, cpu]


def main() -> None:
    what, *size = sys.argv[1:] or ["vectors"]
    lap("")
    job = (
        on_scores(int(float(size[0])) if size else 10**8)
        if what == "scores"
        else on_vectors(int(size[0]) if size else 10_000)
    )
    calibration_facts(job, title=what, command=" ".join(sys.argv), created_at=datetime.now(UTC))
    lap("facts of the report")
    for one in job.calibration.sets:
        for part, side in (("calibration", one.calibration), ("test", one.test)):
            counts = f"{side.non_mated.trials:,} non-mated, {side.mated.size:,} mated"
            print(f"{part}: {side.subjects_seen:,} subjects, {counts}")
    for point in job.calibration.points:
        rate = point.fmr
        print(
            f"FMR {point.target_fmr:g}: threshold {point.threshold:.4f}, test {rate.value:.3g} <= {rate.upper:.3g}"
        )
    print(*job.calibration.unsupported.values(), sep="\n")


if __name__ == "__main__":
    main()
