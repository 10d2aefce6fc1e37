"""Write the committed subject lists of the development sets to data_splits/.

    python tools/data/write_splits.py [VERIFY_DATA]

The lists hold subject ids, their parts and a hash; never media. They record which subjects chose the
shipped thresholds and which measured them; `verify calibrate` on the same folders arrives at the same split.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from verify.data.manifest import read_manifest
from verify.data.splits import CALIBRATION, TEST, split_subjects, write_split

ROOT = Path(__file__).resolve().parents[2]
SETS = (
    "faces/celeba",
    "faces/lfw",
    "voices/arabic_commands",
    "voices/librispeech_cohort",
    "voices/librispeech_test_other",
)


def main() -> None:
    data = Path(sys.argv[1] if len(sys.argv) > 1 else os.environ["VERIFY_DATA"])
    for place in SETS:
        manifest = read_manifest(data / place)
        split = split_subjects(manifest.subjects, name=manifest.name, seed=0)
        write_split(ROOT / "data_splits" / f"{manifest.name}.csv", split)
        halves = " + ".join(str(len(split.subjects(part))) for part in (CALIBRATION, TEST))
        print(f"{manifest.name}: {halves} subjects, {split.sha256}")


if __name__ == "__main__":
    main()
