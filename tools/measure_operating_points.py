"""Measure the operating points that ship with the default bundles.

    VERIFY_DATA=... python tools/measure_operating_points.py [face] [voice]

Faces: celeba (colour) and lfw (grey). Voices: LibriSpeech (one clip of 251 readers, 10 readers of six)
and Arabic command words joined by `JOIN`. Subjects are halved by hash as committed in data_splits/;
trials are made within a set only, because a person may be in two of them. Each threshold must hold on the pooled
calibration subjects and on those of every set that can support the target alone, by the prediction bound. A rung that
the test subjects of any set exceed is printed and not shipped. Writes verify/models/operating_points/<bundle>.json.
"""

from __future__ import annotations

import os
import shlex
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path

from data.join_words import join_words

from verify.capture import Capturer
from verify.cli.calibration import COLUMNS, rows
from verify.cli.output import print_table, progress
from verify.data.splits import read_split
from verify.evaluation.facts_of import calibration_facts
from verify.evaluation.job import run_calibration
from verify.models import write_operating_points
from verify.types import OperatingPoint, Rate

ROOT = Path(__file__).resolve().parents[1]
# 1, 2, 5 steps: a search over G subjects needs a rung of the asked rate / G
TARGETS = {
    "face": (1e-2, 5e-3, 2e-3, 1e-3, 5e-4, 2e-4, 1e-4, 5e-5, 2e-5, 1e-5),
    "voice": (5e-2, 2e-2, 1e-2, 5e-3, 2e-3, 1e-3, 1e-4),
}
JOIN = 4
FACES = ("faces/celeba", "faces/lfw")
VOICES = ("voices/librispeech_cohort", "voices/librispeech_test_other")


def measure(model: str, folders: list[Path]) -> None:
    capturer = Capturer.open(model)
    name = capturer.bundle.name
    job = run_calibration(
        capturer,
        folders,
        targets=TARGETS[model],
        progress=lambda captures, total: progress(captures, total=total, label=name),
    )
    for one in job.calibration.sets:
        committed = read_split(ROOT / "data_splits" / f"{one.name.split('-')[0]}.csv")
        if committed.sha256 != one.split.sha256:
            sys.exit(f"{one.name}: the subjects differ from data_splits/{committed.name}.csv")
        print(f"{one.name}: split {one.split.sha256[:12]} as committed")
    facts = calibration_facts(job, title=name, command=shlex.join(sys.argv), created_at=datetime.now(UTC))
    print_table(COLUMNS, rows(facts), title=f"{name} ({capturer.model_id[:12]}), {facts['bound']} bound")
    for point in job.calibration.points:
        show_each_set(point)
    for message in job.calibration.unsupported.values():
        print(f"insufficient: {message}")
    target = ROOT / "verify" / "models" / "operating_points" / f"{name}.json"
    target.parent.mkdir(exist_ok=True)
    kept = [point for point in job.calibration.points if holds_on_every_set(point)]
    write_operating_points(target, kept)
    print(f"{len(kept)} of {len(job.calibration.points)} written to {target.relative_to(ROOT)}")


def holds_on_every_set(point: OperatingPoint) -> bool:
    """Whether the test subjects of each set, not only of the one that governed, stay within the target."""
    rates = [Rate(**rates["fmr"]) for rates in point.data["measured"].values() if rates["fmr"]]
    return all(rate.value <= point.target_fmr for rate in rates)


def show_each_set(point: OperatingPoint) -> None:
    asked = ", ".join(f"{key} {value:.4f}" for key, value in point.data["thresholds_asked"].items())
    print(f"{point.name}: governed by {point.data['governed_by']} ({asked})")
    for name, rates in point.data["measured"].items():
        for kind in ("fmr", "fnmr"):
            if rates[kind]:
                rate = Rate(**rates[kind])
                print(
                    f"    {name}: test {kind} {rate.value:.2e} <= {rate.upper:.2e} ({rate.errors:,} of {rate.trials:,})"
                )


def main() -> None:
    data = Path(os.environ["VERIFY_DATA"])
    wanted = sys.argv[1:] or ["face", "voice"]
    if "face" in wanted:
        measure("face", [data / place for place in FACES])
    if "voice" in wanted:
        with tempfile.TemporaryDirectory() as folder:
            joined = Path(folder) / f"arabic_commands-joined-by-{JOIN}"
            join_words(data / "voices/arabic_commands", joined, join=JOIN)
            measure("voice", [*(data / place for place in VOICES), joined])


if __name__ == "__main__":
    main()
