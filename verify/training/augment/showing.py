"""Every augmentation as a picture or a sound: what a recipe does to people, to be looked at and listened to."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from verify.nets.fbank import KaldiFbank
from verify.training.augment.bank import RATE_HZ
from verify.training.augment.dice import Dice
from verify.training.augment.face import FACE
from verify.training.augment.kinds import Scene, read
from verify.training.augment.voice import VOICE, Speed, played

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path
    from typing import Any

    from numpy.typing import NDArray

    from verify.training.augment.kinds import Augmentation

LABEL_PX = 92
INK = (40, 40, 40)


def draw_faces(
    faces: NDArray[np.uint8], folder: Path, *, table: Mapping[str, Any] | None = None, seed: int = 0
) -> Path:
    """A sheet with a row for each augmentation, the first without any.

    Args:
        faces: (B, H, W, 3) uint8 RGB, one column each.
        folder: where ``augmentations_face.png`` is written.
        table: options as in a recipe; the defaults if not given. Every face is changed whatever the probability.
        seed: of the changes.
    """
    rows = {"original": faces}
    whole = torch.from_numpy(faces).permute(0, 3, 1, 2).float()
    for name, augmentation in _all(FACE, table).items():
        changed = applied(augmentation, whole, name=name, seed=seed)
        rows[name] = changed.round().clamp(0, 255).byte().permute(0, 2, 3, 1).numpy()
    return _sheet(rows, folder / "augmentations_face.png")


def write_voices(
    waves: NDArray[np.int16], folder: Path, *, table: Mapping[str, Any] | None = None, seed: int = 0
) -> tuple[Path, tuple[Path, ...]]:
    """A sheet of spectrograms with a row for each augmentation, and each as sound: the first voice's.

    Args:
        waves: (B, N) int16 at 16 kHz, one column each.
        folder: where ``augmentations_voice.png`` and ``augmentation_<name>.wav`` are written.
        table: options as in a recipe; the defaults if not given. Every voice is changed whatever the probability.
        seed: of the changes.

    Returns:
        The sheet, and the sounds in the order of its rows; ``spec`` changes features and makes none.
    """
    import soundfile

    whole = torch.from_numpy(waves).float() / 32768
    heard = {"original": whole}
    augmentations = _all(VOICE, table)
    for name, augmentation in augmentations.items():
        if isinstance(augmentation, Speed):
            heard |= {f"speed {factor:g}": played(whole, factor) for factor in augmentation.factors}
        elif name != "spec":
            heard[name] = applied(augmentation, whole, name=name, seed=seed)
    fbank = KaldiFbank()
    features = {name: fbank(wave) for name, wave in heard.items()}
    if "spec" in augmentations:
        features["spec"] = applied(augmentations["spec"], features["original"], name="spec", seed=seed)
    sounds = []
    for name, wave in heard.items():
        sounds.append(folder / f"augmentation_{name.replace(' ', '_')}.wav")
        soundfile.write(sounds[-1], wave[0].clamp(-1, 1).numpy(), RATE_HZ, subtype="PCM_16")
    frames = features["original"].shape[1]
    pictures = {name: _spectrograms(found.numpy(), frames) for name, found in features.items()}
    return _sheet(pictures, folder / "augmentations_voice.png"), tuple(sounds)


def applied(augmentation: Augmentation, whole: torch.Tensor, *, name: str, seed: int = 0) -> torch.Tensor:
    """All samples of a batch (B, ...) changed by one augmentation; the batch stays as it is."""
    dice = Dice(seed=seed, rank=0, step=0, name=name, device=whole.device)
    return augmentation.change(whole.clone(), Scene(dice, whole, augmentation.material()))


def _all(known: Mapping[str, type[Augmentation]], table: Mapping[str, Any] | None) -> dict[str, Augmentation]:
    return read(dict.fromkeys(known, True) if table is None else table, known)


def _spectrograms(features: NDArray[np.float32], frames: int) -> NDArray[np.uint8]:
    """(B, T, F) -> (B, F, `frames`, 3): low bands at the bottom, loud parts dark; nothing where there is no time."""
    tall = np.full((features.shape[0], features.shape[2], frames), -np.inf, np.float32)
    count = min(frames, features.shape[1])
    tall[:, :, :count] = features.transpose(0, 2, 1)[:, ::-1, :count]
    light = 255 - 255 * np.clip((tall + 4) / 8, 0, 1)
    return np.repeat(light.astype(np.uint8)[..., None], 3, axis=3)


def _sheet(rows: Mapping[str, NDArray[np.uint8]], path: Path) -> Path:
    """Rows (B, H, W, 3) RGB with their names before them, as one PNG."""
    import cv2

    lines = []
    for name, pictures in rows.items():
        label = np.full((pictures.shape[1], LABEL_PX, 3), 255, np.uint8)
        cv2.putText(label, name, (4, 20), cv2.FONT_HERSHEY_SIMPLEX, 0.45, INK, 1, cv2.LINE_AA)
        line: Sequence[NDArray[np.uint8]] = [
            label,
            *(np.pad(one, ((2, 2), (2, 2), (0, 0)), constant_values=255) for one in pictures),
        ]
        lines.append(np.hstack([np.pad(label, ((2, 2), (0, 0), (0, 0)), constant_values=255), *line[1:]]))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(cv2.imencode(".png", np.vstack(lines)[:, :, ::-1])[1].tobytes())
    return path
