"""Small prepared sets and recipes to train on in seconds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
from numpy.typing import NDArray

from tests.training.made import made_face, made_voice
from verify.config import build
from verify.data.splits import Split, write_split
from verify.training.extraction import contract_of
from verify.training.prepare import Preparation, write_prepared
from verify.training.recipe import Recipe, check
from verify.types import Modality


def small_set(
    folder: Path,
    *,
    modality: str = "face",
    train: int = 16,
    validation: int = 8,
    samples: int = 6,
    seed: int = 0,
    alignment: str = "arcface-112",
    name: str = "made",
) -> tuple[Path, Path]:
    """A prepared set of made people and its split: (folder, split file)."""
    folder.mkdir(parents=True, exist_ok=True)
    prepared, split = folder / "prepared", folder / "split.csv"
    contract = contract_of(Modality(modality), alignment=alignment)

    def made(person: int, sample: int) -> NDArray[Any]:
        if modality == "voice":
            return made_voice(person, sample, seed=seed)
        face = made_face(person, sample, seed=seed)
        side = contract["size_px"][0]
        return face if side == len(face) else cv2.resize(face, (side, side))

    people = [(f"p{person:03d}", person) for person in range(train + validation)]
    write_prepared(
        prepared,
        (
            (subject, f"{subject}/{sample}", made(person, sample))
            for subject, person in people
            for sample in range(samples)
        ),
        name=name,
        how=Preparation(modality=Modality(modality), contract=contract),
    )
    parts = {subject: "train" if person < train else "validation" for subject, person in people}
    write_split(split, Split(name=name, seed=0, parts=parts))
    return prepared, split


def small_recipe(prepared: Path, split: Path, **sections: Any) -> Recipe:
    """A recipe that trains a narrow MobileFaceNet in seconds; sections are merged over it.

    A section replaces the values that it names; ``model`` is replaced as a whole.
    """
    table: dict[str, Any] = {
        "name": "small",
        "modality": "face",
        "data": {"sets": [{"prepared": str(prepared), "split": str(split)}], "workers": 0, "crop_s": 0.5},
        "model": {"network": "mobilefacenet", "dim": 32, "options": {"width": 0.25}},
        "objective": [{"name": "arcface", "margin_rad": 0.2, "scale": 16.0}],
        "sampler": {"batch": 24},
        "optimiser": {"name": "adamw", "lr": 3e-3, "weight_decay": 1e-3},
        "schedule": {"epochs": 2, "warmup_epochs": 0.5},
        "run": {"precision": "fp32"},
    }
    for name, values in sections.items():
        merged = isinstance(values, dict) and name in table and name != "model"
        table[name] = {**table[name], **values} if merged else values
    return check(build(Recipe, table, where="small"), where="small")
