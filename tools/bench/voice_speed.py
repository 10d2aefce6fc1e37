"""Voice capture against the bare sum of its model runs, against Resemblyzer, and on an hour of audio.

    python tools/bench/voice_speed.py --data ../shared/data
    python tools/bench/voice_speed.py --data ../shared/data --resemblyzer VENV/bin/python
    python tools/bench/voice_speed.py --data ../shared/data --hour

Everything on one thread, from files on disk, in turns within one run. `--resemblyzer` names the interpreter of an
environment in which the Resemblyzer package works (its own: it needs torch and librosa). `--hour` writes
an hour of 48 kHz stereo made of shared speech to a temporary file (690 MB) and captures it.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from verify.capture import CapturePolicy, Capturer
from verify.voice.decode import RATE_HZ, open_audio
from verify.voice.locate import SileroLocator, frames_with_context
from verify.voice.normalise import chunks

if TYPE_CHECKING:
    from collections.abc import Callable

ANY = CapturePolicy(gate=False)
Spent = tuple[float, float]  # seconds by the wall, seconds of CPU
RIVAL = """
import json, sys, time
import numpy as np
import torch
torch.set_num_threads(1)
from resemblyzer import VoiceEncoder, preprocess_wav
paths, rounds = json.load(sys.stdin)
encoder = VoiceEncoder("cpu", verbose=False)
encoder.embed_utterance(preprocess_wav(paths[0]))
for _ in range(rounds):
    began, worked = time.perf_counter(), time.process_time()
    for path in paths:
        encoder.embed_utterance(preprocess_wav(path))
    print(time.perf_counter() - began, time.process_time() - worked, flush=True)
"""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--model", default="voice")
    parser.add_argument("--models-dir", type=Path)
    parser.add_argument("--files", type=int, default=30)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--resemblyzer", type=Path, help="interpreter that has the Resemblyzer package")
    parser.add_argument("--hour", action="store_true", help="capture an hour of 48 kHz stereo instead")
    parser.add_argument("--hour-file", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    capturer = Capturer.open(args.model, models_dir=args.models_dir, threads=1)
    paths = sorted((args.data / "voices/librispeech_test_other").glob("*/*.flac"))[: args.files]
    if args.hour_file:
        capture_hour(capturer, args.hour_file, warm=paths[0])
    elif args.hour:
        write_and_capture_hour(paths)
    else:
        compare(capturer, paths, rounds=args.rounds, rival=args.resemblyzer)


def compare(capturer: Capturer, paths: list[Path], *, rounds: int, rival: Path | None) -> None:
    bare = bare_runs(capturer, paths)
    seconds = sum(float(open_audio(path).facts["duration_s"]) for path in paths)
    ours: list[Spent] = []
    theirs: list[Spent] = []
    alone: list[Spent] = []

    def whole() -> None:
        for path in paths:
            capturer.capture(path, policy=ANY)

    whole()
    bare()
    for number in range(rounds):
        for run, times in ((whole, ours), (bare, alone)) if number % 2 else ((bare, alone), (whole, ours)):
            times.append(timed(run))
        if rival:
            theirs.extend(rival_times(rival, paths, rounds=1))
    print(
        f"model {capturer.bundle.name}, {len(paths)} files, {seconds:.0f} s of audio, 1 thread, {rounds} rounds"
    )
    print("medians               wall s   CPU s   real-time factor (CPU)")
    rows = {"capture": ours, "bare model runs": alone} | ({"Resemblyzer": theirs} if theirs else {})
    wall = {name: statistics.median(spent[0] for spent in times) for name, times in rows.items()}
    cpu = {name: statistics.median(spent[1] for spent in times) for name, times in rows.items()}
    for name in rows:
        print(f"{name:20} {wall[name]:7.3f} {cpu[name]:7.3f}   {cpu[name] / seconds:.4f}")
    print(f"capture / bare        {ratio(wall, 'bare model runs')} of the models' throughput")
    if theirs:
        print(
            f"capture / Resemblyzer {ratio(wall, 'Resemblyzer')} by wall, {ratio(cpu, 'Resemblyzer')} by CPU"
        )
    print(f"capture / bare (CPU)  {ratio(cpu, 'bare model runs')}: what holds when the machine is busy")


def ratio(medians: dict[str, float], other: str) -> str:
    return f"{medians[other] / medians['capture']:.1%}"


def bare_runs(capturer: Capturer, paths: list[Path]) -> Callable[[], None]:
    """What the two networks are given for these files, run with nothing around it."""
    bundle = capturer.bundle
    locator = SileroLocator(bundle.locator())
    vad, encoder = bundle.locator().session(threads=1), bundle.session(threads=1)
    state = np.zeros((1, 1, 128), np.float32)
    feeds = []
    for path in paths:
        for block in open_audio(path):
            feeds.append((vad, {"input": frames_with_context(block.media), "h": state, "c": state}))
            parts = [c.features for c in chunks(block, locator.locate(block), contract=bundle.card.input)]
            for length in sorted({len(part) for part in parts}):
                batch = np.stack([part for part in parts if len(part) == length])
                feeds.append((encoder, {"features": batch}))

    def run() -> None:
        for session, feed in feeds:
            session.run(None, feed)

    return run


def timed(run: Callable[[], None]) -> Spent:
    began, worked = time.perf_counter(), time.process_time()
    run()
    return time.perf_counter() - began, time.process_time() - worked


def rival_times(interpreter: Path, paths: list[Path], *, rounds: int) -> list[Spent]:
    done = subprocess.run(
        [interpreter, "-W", "ignore", "-c", RIVAL],
        input=json.dumps([[str(path.resolve()) for path in paths], rounds]),
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        print(done.stderr[-2000:], file=sys.stderr)
        sys.exit("Resemblyzer does not run in that environment")
    return [(float(wall), float(cpu)) for wall, cpu in map(str.split, done.stdout.splitlines())]


def write_and_capture_hour(paths: list[Path]) -> None:
    import soundfile
    import soxr

    speech = np.concatenate([block.media for path in paths for block in open_audio(path)])
    speech = speech[: 120 * RATE_HZ]
    wide = soxr.resample(speech, RATE_HZ, 48_000)
    stereo = np.stack([wide, 0.7 * wide], axis=1)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "hour.wav"
        with soundfile.SoundFile(path, "w", 48_000, 2, "PCM_16") as file:
            for _ in range(-(-3600 * 48_000 // len(stereo))):
                file.write(stereo)
        # a process of its own, so that the high-water mark of its memory is of this capture
        subprocess.run([sys.executable, *sys.argv, "--hour-file", path], check=True)


def capture_hour(capturer: Capturer, path: Path, *, warm: Path) -> None:
    capturer.capture(warm, policy=ANY)
    before = peak_mib()
    began = time.perf_counter()
    capture = capturer.capture(path, policy=ANY)
    took = time.perf_counter() - began
    duration_s = capture.facts["duration_s"]
    print(f"audio              {duration_s:.0f} s, {path.stat().st_size / 2**20:.0f} MiB, 48 kHz stereo")
    print(f"captured in        {took:.1f} s, real-time factor {took / duration_s:.4f}")
    print(f"peak memory        {peak_mib():.0f} MiB, {peak_mib() - before:.0f} MiB above a 15 s recording's")
    print(f"measures           {dict(capture.quality.measures) if capture.quality else capture.message}")


def peak_mib() -> float:
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**20


if __name__ == "__main__":
    main()
