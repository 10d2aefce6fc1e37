"""Write the committed subject lists of the development sets to data_splits/.

    python tools/data/write_splits.py [VERIFY_DATA]

The lists hold subject ids, their parts and a hash; never media. SET.csv records which subjects chose the
shipped thresholds and which measured them; `verify calibrate` on the same folders arrives at the same split.
SET.training.csv are for training: `verify split` with the fractions and seeds below gives the same. One person is
one subject within a set; over several sets nobody has checked, so that a part of one set is not to be tested on with
what learned from another part of another set before `verify split --audit --check` has looked.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from verify.data.manifest import read_manifest
from verify.data.splits import CALIBRATION, PARTS, TEST, Split, split_subjects, write_split

ROOT = Path(__file__).resolve().parents[2]
SETS = (
    "faces/celeba",
    "faces/lfw",
    "voices/arabic_commands",
    "voices/librispeech_cohort",
    "voices/librispeech_test_other",
)
# Seed and shares of train, validation, calibration and test. The seed of the thirty Arabic speakers is the
# first whose parts have about the shares asked for (16, 3, 3, 8), looked at before anything was trained.
TRAINING: dict[str, tuple[int, tuple[float, ...]]] = {
    "celeba": (0, (0.6, 0.1, 0.1, 0.2)),
    "lfw": (0, (0.7, 0.05, 0.05, 0.2)),
    "arabic_commands": (2, (0.6, 0.1, 0.1, 0.2)),
    "librispeech_cohort": (0, (0.6, 0.1, 0.1, 0.2)),
    "librispeech_test_other": (0, (0.0, 0.0, 0.0, 1.0)),  # ten speakers: nothing but a test on other speech
}


def main() -> None:
    data = Path(sys.argv[1] if len(sys.argv) > 1 else os.environ["VERIFY_DATA"])
    for place in SETS:
        manifest = read_manifest(data / place)
        split = split_subjects(manifest.subjects, name=manifest.name, seed=0)
        write_split(ROOT / "data_splits" / f"{manifest.name}.csv", split)
        told(manifest.name, split, (CALIBRATION, TEST))
        seed, shares = TRAINING[manifest.name]
        fractions = dict(zip(PARTS, shares, strict=True))
        split = split_subjects(manifest.subjects, name=manifest.name, seed=seed, fractions=fractions)
        write_split(ROOT / "data_splits" / f"{manifest.name}.training.csv", split)
        told(f"{manifest.name}, training", split, PARTS)


def told(name: str, split: Split, parts: tuple[str, ...]) -> None:
    counts = " + ".join(str(len(split.subjects(part))) for part in parts)
    print(f"{name}: {counts} subjects, {split.sha256}")


if __name__ == "__main__":
    main()
