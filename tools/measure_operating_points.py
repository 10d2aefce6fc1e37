"""Measure the operating points that ship with the default bundles.

    VERIFY_DATA=... python tools/measure_operating_points.py [face] [voice] [--ship]

Faces: celeba (colour) and lfw (grey). Voices: LibriSpeech (one clip of 251 readers, 10 readers of six)
and Arabic command words, joined by four and joined into recordings of 3 to 12 words: within each of the two sets no two
recordings of a speaker share a word, and their speakers are taken as the same people, which they are. Subjects
are halved by hash as committed in data_splits/; trials are made within a set only, because a person may be in two of
them. Each threshold must hold on the pooled calibration subjects and on those of every set that can support the target
alone. A rung that the test subjects of any set exceed is printed and not shipped.

Two ladders of each: raw cosines, and llrs that know how good the captures are (voices: how long). A rung is promised
by the prediction bound, what as many further people will show; where the data supports none, by the population bound,
the rate over all people like these, and the point says so. --ship writes verify/models/operating_points/<bundle>.json;
without, everything is printed only.
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from data.join_words import MIXED, join_words

from verify.capture import Capturer
from verify.cli.calibration import columns, rows
from verify.cli.output import print_table, progress
from verify.data.splits import read_split
from verify.evaluation.job import Method, run_calibration
from verify.evaluation.verdicts import verdicts
from verify.models import write_operating_points
from verify.types import OperatingPoint, Rate

if TYPE_CHECKING:
    from collections.abc import Iterable

    from verify.evaluation.job import CalibrationJob

ROOT = Path(__file__).resolve().parents[1]
# 1, 2, 5 steps: a search over G subjects needs a rung of the asked rate / G
TARGETS = {
    "face": (1e-2, 5e-3, 2e-3, 1e-3, 5e-4, 2e-4, 1e-4, 5e-5, 2e-5, 1e-5),
    "voice": (5e-2, 2e-2, 1e-2, 5e-3, 2e-3, 1e-3, 1e-4),
}
SPACES = {"cosine": None, "llr": ()}  # quality measures of each: none, the modality's default ones
SHIPPED = {"face": ("cosine",), "voice": ("cosine", "llr")}
# voices are too few for the union bound: searches are measured as such, at a gallery size that each half can fill
SEARCHES = {"face": None, "voice": (10, (1e-1, 5e-2))}
BOUNDS = ("prediction", "population")  # in order of preference
FACES = ("faces/celeba", "faces/lfw")
VOICES = ("voices/librispeech_cohort", "voices/librispeech_test_other")


def measure(model: str, folders: list[Path], *, ship: bool) -> None:
    capturer = Capturer.open(model)
    shipped: list[OperatingPoint] = []
    for space, quality in SPACES.items():
        by_bound = []
        for bound in BOUNDS:
            job = run_calibration(
                capturer,
                folders,
                targets=TARGETS[model],
                method=Method(bound=bound, quality=quality),
                progress=lambda captures, total: progress(captures, total=total, label=model),
            )
            check_splits(job)
            show(job, title=f"{capturer.bundle.name} ({capturer.model_id[:12]})")
            by_bound.append([point for point in job.calibration.points if holds_on_every_set(point)])
        ladder = preferred(by_bound)
        print(f"{space} ladder: {', '.join(f'{one.name} ({one.bound})' for one in ladder) or 'no rung'}\n")
        if space in SHIPPED[model]:
            shipped += ladder
    if SEARCHES[model] is not None:
        shipped += searched(capturer, folders, *SEARCHES[model])
    target = ROOT / "verify" / "models" / "operating_points" / f"{capturer.bundle.name}.json"
    if not ship:
        print(f"{len(shipped)} points would go to {target.relative_to(ROOT)}: --ship")
        return
    write_operating_points(target, shipped)
    print(f"{len(shipped)} points written to {target.relative_to(ROOT)}")


def searched(
    capturer: Capturer, folders: list[Path], gallery_size: int, targets: tuple[float, ...]
) -> list[OperatingPoint]:
    """Points for searches among `gallery_size`, by the prediction bound, of the sets whose halves have as many."""
    job = run_calibration(
        capturer,
        [folder for folder in folders if "test_other" not in folder.name],
        targets=targets,
        method=Method(mode="1:N", gallery_size=gallery_size),
    )
    check_splits(job)
    show(job, title=f"searches among {gallery_size}")
    return [point for point in job.calibration.points if holds_on_every_set(point)]


def check_splits(job: CalibrationJob) -> None:
    """End the run unless every subject is on the side that data_splits/ says."""
    for one in job.calibration.sets:
        committed = read_split(ROOT / "data_splits" / f"{one.name.split('-')[0]}.csv")
        if committed.sha256 != one.split.sha256:
            sys.exit(f"{one.name}: the subjects differ from data_splits/{committed.name}.csv")


def show(job: CalibrationJob, *, title: str) -> None:
    title = f"{title}, {job.spaces.recipe.space} scores, {job.method.bound} bound"
    print_table(columns(job.method.bound), rows(verdicts(job.calibration)), title=title)
    for point in job.calibration.points:
        show_each_set(point)
    for message in job.calibration.unsupported.values():
        print(f"insufficient: {message}")


def preferred(by_bound: Iterable[list[OperatingPoint]]) -> list[OperatingPoint]:
    """One point a target, by the first bound that supports it; a stricter target never gets a lower threshold."""
    chosen: dict[float, OperatingPoint] = {}
    for points in by_bound:
        for point in points:
            chosen.setdefault(point.target_fmr, point)
    ladder: list[OperatingPoint] = []
    for _, point in sorted(chosen.items(), reverse=True):
        if ladder and point.threshold < ladder[-1].threshold:
            print(f"{point.name} ({point.bound}) is not shipped: its threshold is below {ladder[-1].name}'s")
        else:
            ladder.append(point)
    return ladder


def holds_on_every_set(point: OperatingPoint) -> bool:
    """Whether the test subjects of each set, not only of the one that governed, stay within the target."""
    rates = [Rate(**rates["fmr"]) for rates in point.data["measured"].values() if rates["fmr"]]
    return all(rate.value <= point.target_fmr for rate in rates)


def show_each_set(point: OperatingPoint) -> None:
    asked = ", ".join(f"{key} {value:.4f}" for key, value in point.data["thresholds_asked"].items())
    kept = "" if holds_on_every_set(point) else "; not shipped: the test subjects of a set exceed it"
    print(f"{point.name}: governed by {point.data['governed_by']} ({asked}){kept}")
    for name, rates in point.data["measured"].items():
        for kind in ("fmr", "fnmr"):
            if rates[kind]:
                rate = Rate(**rates[kind])
                print(
                    f"    {name}: test {kind} {rate.value:.2e} <= {rate.upper:.2e} ({rate.errors:,} of {rate.trials:,})"
                )


def main() -> None:
    data = Path(os.environ["VERIFY_DATA"])
    wanted = [one for one in sys.argv[1:] if one != "--ship"] or ["face", "voice"]
    ship = "--ship" in sys.argv
    if "face" in wanted:
        measure("face", [data / place for place in FACES], ship=ship)
    if "voice" in wanted:
        with tempfile.TemporaryDirectory() as folder:
            joined = {"arabic_commands-joined-by-4": 4, "arabic_commands-mixed": MIXED}
            for name, join in joined.items():
                join_words(data / "voices/arabic_commands", Path(folder) / name, join=join)
            measure("voice", [*(data / p for p in VOICES), *(Path(folder) / n for n in joined)], ship=ship)


if __name__ == "__main__":
    main()
