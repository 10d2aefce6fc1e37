"""Write the committed subject lists of the development sets to data_splits/.

    python tools/data/write_splits.py [VERIFY_DATA]

The lists hold subject ids, their parts and a hash; never media. SET.csv records which subjects chose the
shipped thresholds and which measured them; `verify calibrate` on the same folders arrives at the same split.
SET.training.csv are for training: `verify split` with the fractions, seeds and pairs below gives the same. Over
several sets one person may be in two parts: of LFW and CelebA `verify split --audit --check` finds one such person,
CelebA's 7398 (test), who is LFW's Oxana_Fedorova (train).
"""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from pathlib import Path

from verify.data.manifest import read_manifest
from verify.data.splits import CALIBRATION, PARTS, TEST, TRAIN, Split, split_subjects, write_split

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


# Whom `verify split --audit` (SFace) suspects in LFW: spellings of one name, files under a wrong name, twins. Nobody
# is on two sides if each pair is kept in one part, and nothing is lost where they are two people after all.
SAME: dict[str, tuple[tuple[str, str], ...]] = {
    "lfw": (
        ("Angelica_Romero", "Jenny_Romero"),
        ("Carolina_Moraes", "Isabela_Moraes"),
        ("Chyung_Dai-chul", "Dai_Chul_Chyung"),
        ("Diana_Taurasi", "Shavon_Earp"),
        ("Faisal_Saleh_Hayat", "Rashid_Qureshi"),
        ("Felipe_De_Borbon", "Prince_Felipe"),
        ("Gabrielle_Rose", "Martha_Bowen"),
        ("Hasan_Wirayuda", "Hassan_Wirajuda"),
        ("Jeff_Bridges", "Kurt_Russell"),
        ("John_Barnett", "John_Burnett"),
        ("Johnny_Htu", "Luther_Htu"),
        ("Joseph_Blatter", "Sepp_Blatter"),
        ("Marcus_Garrettson", "Tristan_Gretzky"),
        ("Marie_Haghal", "Rosalie_Perkov"),
        ("Mireya_Elisa_Moscoso_Rodriguez", "Mireya_Moscoso"),
        ("Nan_Wang", "Wang_Nan"),
        ("Odai_Hussein", "Uday_Hussein"),
    )
}

# Who is suspected across sets: this one of CelebA is a training subject of LFW, so she trains there as well.
MOVED: dict[str, dict[str, str]] = {"celeba": {"7398": TRAIN}}


def main() -> None:
    data = Path(sys.argv[1] if len(sys.argv) > 1 else os.environ["VERIFY_DATA"])
    for place in SETS:
        manifest = read_manifest(data / place)
        split = split_subjects(manifest.subjects, name=manifest.name, seed=0)
        write_split(ROOT / "data_splits" / f"{manifest.name}.csv", split)
        told(manifest.name, split, (CALIBRATION, TEST))
        seed, shares = TRAINING[manifest.name]
        fractions = dict(zip(PARTS, shares, strict=True))
        split = split_subjects(
            manifest.subjects,
            name=manifest.name,
            seed=seed,
            fractions=fractions,
            same=SAME.get(manifest.name, ()),
        )
        split = replace(split, parts={**split.parts, **MOVED.get(manifest.name, {})})
        write_split(ROOT / "data_splits" / f"{manifest.name}.training.csv", split)
        told(f"{manifest.name}, training", split, PARTS)


def told(name: str, split: Split, parts: tuple[str, ...]) -> None:
    counts = " + ".join(str(len(split.subjects(part))) for part in parts)
    print(f"{name}: {counts} subjects, {split.sha256}")


if __name__ == "__main__":
    main()
