"""Every augmentation as a picture or a sound, made from real faces and voices, to be judged by eye and ear.

With --measure also how much of the identity stays: cosines of changed to unchanged samples with the default
models, and how many still match at the threshold of FMR 1e-3.

    python tools/draw_augmentations.py OUT [--faces PREPARED] [--voices PREPARED] [--measure]
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from verify.training.augment.showing import draw_faces, write_voices
from verify.training.shards import PreparedSet

COLUMNS = 8
VOICE_S = 3.0


def first_of_each(prepared: PreparedSet, count: int) -> list[int]:
    """One sample of each of the first subjects."""
    _, first = np.unique(prepared.owner, return_index=True)
    return [int(i) for i in first[:count]]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("out", type=Path)
    parser.add_argument("--faces", type=Path, help="folder that `verify prepare` wrote")
    parser.add_argument("--voices", type=Path, help="folder that `verify prepare` wrote")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    if options.faces:
        faces = PreparedSet.open(options.faces)
        chips = np.stack([faces.media(i) for i in first_of_each(faces, COLUMNS)])
        print(draw_faces(chips, options.out, seed=options.seed))
    if options.voices:
        voices = PreparedSet.open(options.voices)
        count = round(VOICE_S * 16_000)
        waves = np.stack([np.resize(voices.media(i), count) for i in first_of_each(voices, COLUMNS // 2)])
        sheet, sounds = write_voices(waves, options.out, seed=options.seed)
        print(sheet, *sounds, sep="\n")


if __name__ == "__main__":
    main()
