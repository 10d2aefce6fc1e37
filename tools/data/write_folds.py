"""Split files for cross-validation over people: every subject is tested once, by a model that never saw it.

    python tools/data/write_folds.py DATA OUT --folds 3 [--seed 0] [--validation 0.15]

Writes OUT/fold-0.csv, fold-1.csv, ... with the parts train, validation and test. Subjects are ranked by hash and
dealt out in turn, so that folds differ by one subject at most; of those who are not tested a share validates.
"""

from __future__ import annotations

import argparse
import hashlib
from pathlib import Path

from verify.data.manifest import read_manifest
from verify.data.splits import Split, write_split


def folds(subjects: tuple[str, ...], *, name: str, count: int, seed: int, validation: float) -> list[Split]:
    ranked = sorted(subjects, key=lambda subject: hashlib.sha256(f"{seed}\0{subject}".encode()).digest())
    splits = []
    for fold in range(count):
        tested = set(ranked[fold::count])
        others = [subject for subject in ranked if subject not in tested]
        held = set(others[: max(2, round(validation * len(others)))])
        parts = {
            subject: "test" if subject in tested else "validation" if subject in held else "train"
            for subject in sorted(subjects)
        }
        splits.append(Split(name=name, seed=seed, parts=parts))
    return splits


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--folds", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--validation", type=float, default=0.15)
    options = parser.parse_args()
    manifest = read_manifest(options.data)
    options.out.mkdir(parents=True, exist_ok=True)
    made = folds(
        manifest.subjects,
        name=manifest.name,
        count=options.folds,
        seed=options.seed,
        validation=options.validation,
    )
    for number, split in enumerate(made):
        write_split(options.out / f"fold-{number}.csv", split)
        print(
            f"fold-{number}.csv: "
            + ", ".join(f"{len(split.subjects(part))} {part}" for part in ("train", "validation", "test"))
        )


if __name__ == "__main__":
    main()
