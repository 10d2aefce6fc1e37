"""Kill two enrolling processes with SIGKILL, again and again: is anything acknowledged ever lost?

    python tools/bench/kill9.py --rounds 300

In each round two processes enrol random templates into one gallery and report every subject whose
`add` has returned through a pipe. Both are killed at a random moment. Then the gallery is opened
again: every acknowledged enrolment must be there with its very vector, SQLite's integrity check
must be clean, and a retry of each writer's last enrolment under its idempotency key must leave
exactly one. Half the enrolments of the two writers race for the same key. At the end the whole
gallery is checked. Exits 1 if anything was lost.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from verify.gallery import SqliteGallery
from verify.gallery.check import check_path
from verify.types import Modality, Template, TemplateRecord

MODEL = "kill9"
DIM = 128
WRITERS = 2


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=300)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--folder", type=Path, help="where to put the gallery [default: a temporary folder]")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=args.folder) as folder:
        began = time.monotonic()
        counts = run(Path(folder) / "gallery.db", rounds=args.rounds, seed=args.seed)
    print(f"{args.rounds} rounds, {args.rounds * WRITERS} processes killed, {time.monotonic() - began:.0f} s")
    for name in ("acknowledged", "lost", "altered", "doubled", "unacknowledged but kept", "unsound"):
        print(f"{name:<24} {counts[name]}")
    sys.exit(1 if counts["lost"] + counts["altered"] + counts["doubled"] + counts["unsound"] else 0)


def run(path: Path, *, rounds: int, seed: int) -> Counter[str]:
    rng = random.Random(seed)
    counts: Counter[str] = Counter()
    acknowledged: set[str] = set()
    for number in range(rounds):
        fresh = kill_round(path, number=number, after_s=rng.uniform(0.02, 0.25))
        acknowledged |= fresh
        verify_round(path, fresh, number=number, counts=counts)
    counts["acknowledged"] = len(acknowledged)
    with SqliteGallery(path) as gallery:
        stored = set(gallery.subjects())
    counts["lost"] += len(acknowledged - stored)
    counts["unacknowledged but kept"] = len(stored - acknowledged)
    report = check_path(path)
    counts["unsound"] += len(report.problems)
    return counts


def kill_round(path: Path, *, number: int, after_s: float) -> set[str]:
    """Let the writers run for a while, kill them, and return what they acknowledged."""
    readable, writable = os.pipe()
    children = []
    for writer in range(WRITERS):
        child = os.fork()
        if child == 0:
            os.close(readable)
            try:
                enrol_for_ever(path, number=number, writer=writer, pipe=writable)
            except BaseException:  # noqa: BLE001  a child of fork must never return
                traceback.print_exc()
            os._exit(70)
        children.append(child)
    os.close(writable)
    with os.fdopen(readable, "rb") as reports:
        first = reports.readline()  # both are under way when the first enrolment is in
        time.sleep(after_s)
        for child in children:
            os.kill(child, signal.SIGKILL)
        statuses = [os.waitpid(child, 0)[1] for child in children]
        if not all(os.WIFSIGNALED(status) for status in statuses):
            sys.exit(f"round {number}: a writer ended by itself; its error is above")
        lines = [first, *reports.readlines()]
    return {line.decode().strip() for line in lines if line.endswith(b"\n")}


def enrol_for_ever(path: Path, *, number: int, writer: int, pipe: int) -> None:
    step = 0
    while True:
        with SqliteGallery(path) as gallery:
            for _ in range(5 + 2 * writer):  # each also closes cleanly now and then while the other goes on
                # even steps belong to one writer, odd ones are raced for by both
                subject = f"r{number} s{step}" + ("" if step % 2 else f" w{writer}")
                enrol(gallery, subject)
                os.write(pipe, f"{subject}\n".encode())  # one write of a short line is atomic
                step += 1


def enrol(gallery: SqliteGallery, subject: str) -> None:
    record = TemplateRecord(0, subject, Modality.FACE, MODEL, "", subject, datetime.now(UTC))
    template = Template(vector_of(subject), MODEL, Modality.FACE)
    gallery.add(subject, [template], records=[record], idempotency_key=f"key of {subject}")


def vector_of(subject: str) -> np.ndarray:
    """Return a random vector that belongs to this subject, so that what is stored can be compared."""
    vector = np.random.default_rng(list(subject.encode())).standard_normal(DIM).astype(np.float32)
    return vector / np.linalg.norm(vector)


def verify_round(path: Path, fresh: set[str], *, number: int, counts: Counter[str]) -> None:
    with SqliteGallery(path) as gallery:
        with gallery.snapshot() as db:
            counts["unsound"] += db.execute("PRAGMA integrity_check").fetchall() != [("ok",)]
        of_round = {name for name in gallery.subjects() if name.startswith(f"r{number} ")}
        for subject in fresh | of_round:
            enrol(gallery, subject)  # the retry of a writer that never heard back, or of one that did
            stored = gallery.templates(subject, model_id=MODEL)
            if subject not in of_round:
                counts["lost"] += 1
            counts["doubled"] += len(stored) > 1
            counts["altered"] += not np.array_equal(stored[0], vector_of(subject))


if __name__ == "__main__":
    main()
