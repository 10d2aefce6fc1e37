"""Every augmentation as a picture or a sound, made from real faces and voices, to be judged by eye and ear.

    python tools/draw_augmentations.py OUT [--faces PREPARED] [--voices PREPARED] [--measure]

With --measure also how much of the identity stays: cosines of changed to unchanged samples with the default
models (VERIFY_MODELS), beside those of different people.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch

from verify.face.embed import FaceEmbedder
from verify.models import open_bundle
from verify.nets.fbank import KaldiFbank
from verify.training.augment.face import FACE
from verify.training.augment.kinds import read
from verify.training.augment.showing import applied, draw_faces, write_voices
from verify.training.augment.voice import VOICE, Speed, played
from verify.training.shards import PreparedSet
from verify.voice.embed import VoiceEmbedder

COLUMNS = 8
MEASURED = 60
VOICE_S = 3.0


def chosen(prepared: PreparedSet, count: int) -> list[int]:
    """Samples of as many subjects as there are, in turn."""
    rank = np.zeros(len(prepared), int)
    for subject in range(len(prepared.subjects)):
        own = np.flatnonzero(prepared.owner == subject)
        rank[own] = np.arange(len(own))
    return [int(i) for i in np.argsort(rank, kind="stable")[:count]]


def chips_of(prepared: PreparedSet, count: int) -> np.ndarray:
    """(count, H, W, 3) uint8."""
    return np.stack([prepared.media(i) for i in chosen(prepared, count)])


def waves_of(prepared: PreparedSet, count: int) -> np.ndarray:
    """(count, N) int16; short ones repeated."""
    return np.stack([np.resize(prepared.media(i), round(VOICE_S * 16_000)) for i in chosen(prepared, count)])


def show(name: str, before: np.ndarray, after: np.ndarray, owner: np.ndarray) -> None:
    """A line: cosines to the unchanged self, and to other people's samples."""
    scores = after @ before.T
    own, others = np.diag(scores), scores[owner[:, None] != owner[None, :]]
    low, middle = np.quantile(own, [0.05, 0.5])
    print(f"{name:12s} own 5 % {low:.3f}  median {middle:.3f}   others 99 % {np.quantile(others, 0.99):.3f}")


def measure_faces(prepared: PreparedSet) -> None:
    embedder = FaceEmbedder(open_bundle("face"))
    faces = torch.from_numpy(chips_of(prepared, MEASURED)).permute(0, 3, 1, 2).float()
    owner = prepared.owner[chosen(prepared, MEASURED)]

    def embed(faces: torch.Tensor) -> np.ndarray:
        return embedder.embed(list(faces.round().clamp(0, 255).byte().permute(0, 2, 3, 1).numpy()))

    before = embed(faces)
    for name, augmentation in read(dict.fromkeys(FACE, True), FACE).items():
        show(name, before, embed(applied(augmentation, faces, name=name)), owner)


def measure_voices(prepared: PreparedSet) -> None:
    embedder, features = VoiceEmbedder(open_bundle("voice")), KaldiFbank()
    waves = torch.from_numpy(waves_of(prepared, MEASURED)).float() / 32768
    owner = prepared.owner[chosen(prepared, MEASURED)]

    def embed(features: torch.Tensor) -> np.ndarray:
        return embedder.embed(list(features.numpy()))

    before = embed(features(waves))
    for name, augmentation in read(dict.fromkeys(VOICE, True), VOICE).items():
        if isinstance(augmentation, Speed):
            for factor in augmentation.factors:
                show(f"{name} {factor:g}", before, embed(features(played(waves, factor))), owner)
        elif name == "spec":
            show(name, before, embed(applied(augmentation, features(waves), name=name)), owner)
        else:
            show(name, before, embed(features(applied(augmentation, waves, name=name))), owner)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("out", type=Path)
    parser.add_argument("--faces", type=Path, help="folder that `verify prepare` wrote")
    parser.add_argument("--voices", type=Path, help="folder that `verify prepare` wrote")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--measure", action="store_true")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    if options.faces:
        faces = PreparedSet.open(options.faces)
        print(draw_faces(chips_of(faces, COLUMNS), options.out, seed=options.seed))
        if options.measure:
            measure_faces(faces)
    if options.voices:
        voices = PreparedSet.open(options.voices)
        sheet, sounds = write_voices(waves_of(voices, COLUMNS // 2), options.out, seed=options.seed)
        print(sheet, *sounds, sep="\n")
        if options.measure:
            measure_voices(voices)


if __name__ == "__main__":
    main()
