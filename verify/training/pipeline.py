"""A batch as it is stored to what the network takes, on the device: augmentation, then features.

Without training it gives exactly what the engine gives the exported network.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from verify.errors import UsageError
from verify.nets.fbank import KaldiFbank
from verify.training.augment.dice import Dice
from verify.training.augment.face import FACE
from verify.training.augment.kinds import Augmentation, Scene, read
from verify.training.augment.voice import VOICE, Speed, played

if TYPE_CHECKING:
    from collections.abc import Mapping

    from verify.training.loader import Batch

FULL_SCALE = 32768.0  # int16 to [-1, 1)
LEVEL_DBFS = -25.0  # of kaldi-fbank, where the contract does not say


def make_pipeline(
    contract: Mapping[str, Any],
    augment: Mapping[str, Any] | None = None,
    *,
    seed: int = 0,
    rank: int = 0,
    identities: int = 0,
    training: bool = True,
) -> Pipeline:
    """The pipeline for a network's input.

    Args:
        contract: a prepared set's or a card's input contract.
        augment: the recipe's ``augment`` table, see `verify.training.augment`.
        seed: of the augmentation.
        rank: of this process: each augments otherwise.
        identities: how many there are; wanted where ``speed`` makes new ones.
        training: whether to augment; without, the table is checked and nothing else.

    Raises:
        UsageError: a contract that networks cannot be trained for, or an augmentation or option that is
            not known (the message has the nearest) or out of its range.
        DataError: a recording of a noise or room folder that cannot be read.
    """
    kind, features = contract.get("kind"), contract.get("features")
    if kind == "aligned-face":
        chosen = read(augment or {}, FACE)
        return FacePipeline(chosen if training else {}, seed=seed, rank=rank)
    if kind == "speech-features" and features == "kaldi-fbank":
        chosen = read(augment or {}, VOICE)
        if not training:
            chosen = {}
        if "speed" in chosen and identities < 1:
            msg = "augment, speed: new speakers are numbered after the others; give `identities`, how many there are"
            raise UsageError(msg)
        return VoicePipeline(
            chosen,
            seed=seed,
            rank=rank,
            identities=identities,
            bins=int(contract.get("bins", 80)),
            level_dbfs=float(contract.get("level_dbfs", LEVEL_DBFS)),
            training=training,
        )
    asked = f"{kind!r} inputs" + (f" of features {features!r}" if features else "")
    msg = f"no network is trained for {asked}: only for aligned-face, and for speech-features of kaldi-fbank"
    raise UsageError(msg)


class Pipeline(nn.Module):
    """Batch (on the device) and step -> (inputs, labels). What it does depends on seed, rank and step alone.

    Attributes:
        identity_factor: labels for each identity: more than 1 where speed makes new speakers.
        augmentations: by name, in the order of their work.
    """

    identity_factor: int = 1

    def __init__(self, augmentations: Mapping[str, Augmentation], *, seed: int, rank: int) -> None:
        super().__init__()
        self.augmentations = dict(augmentations)
        self._seed, self._rank = seed, rank
        for name, augmentation in self.augmentations.items():
            for key, tensor in augmentation.material().items():
                self.register_buffer(f"{name}_{key}", tensor, persistent=False)

    def samples_needed(self, count: int) -> int:
        """How many samples of a voice the loader must give for `count` to reach the network."""
        return count

    def _augmented(self, whole: Tensor, name: str, *, step: int) -> Tensor:
        dice = Dice(seed=self._seed, rank=self._rank, step=step, name=name, device=whole.device)
        prefix = f"{name}_"
        material = {key.removeprefix(prefix): t for key, t in self.named_buffers() if key.startswith(prefix)}
        return self.augmentations[name](Scene(dice, whole, material))


class FacePipeline(Pipeline):
    """Faces: (B, H, W, 3) uint8 -> (B, 3, H, W) float32 RGB in 0..255; see `Pipeline`."""

    @torch.no_grad()
    def forward(self, batch: Batch, step: int) -> tuple[Tensor, Tensor]:
        """Inputs (B, 3, H, W) and labels (B,) int64."""
        faces = batch.media.permute(0, 3, 1, 2).float()
        if self.augmentations:
            faces = faces.contiguous()
        with torch.autocast(faces.device.type, enabled=False):
            for name in self.augmentations:
                faces = self._augmented(faces, name, step=step)
        return faces, batch.labels


class VoicePipeline(Pipeline):
    """Voices: (B, N) int16 -> (B, T, bins) log-mel features, the mean over time subtracted; see `Pipeline`.

    In training the features are computed in float32: a quiet band beside a loud one differs by up to 5e-3
    from the runtime's, which computes in float64.

    Args:
        augmentations: by name.
        seed: of the augmentation.
        rank: of this process.
        identities: how many there are without new speakers.
        bins: of the features.
        level_dbfs: that quieter samples are raised to.
        training: see `make_pipeline`.
    """

    def __init__(
        self,
        augmentations: Mapping[str, Augmentation],
        *,
        seed: int,
        rank: int,
        identities: int,
        bins: int,
        level_dbfs: float,
        training: bool,
    ) -> None:
        super().__init__(augmentations, seed=seed, rank=rank)
        self._features = KaldiFbank(bins, level_dbfs, dtype=torch.float32 if training else torch.float64)
        speed = self.augmentations.get("speed")
        self._speed = speed if isinstance(speed, Speed) else None
        self._identities = identities
        self._fastest = max(1.0, *self._speed.factors) if self._speed else 1.0
        self.identity_factor = 1 + len(self._speed.factors) if self._speed else 1

    def samples_needed(self, count: int) -> int:
        """How many samples the loader must give for `count` to reach the network at the highest speed."""
        return math.ceil(count * self._fastest)

    @torch.no_grad()
    def forward(self, batch: Batch, step: int) -> tuple[Tensor, Tensor]:
        """Features (B, T, bins) and labels (B,) int64: a new speaker's is n x identities + label."""
        waves, labels = batch.media.float() / FULL_SCALE, batch.labels
        with torch.autocast(waves.device.type, enabled=False):
            if self._speed:
                number = self._speed.chosen(labels, seed=self._seed, step=step)
                waves = self._played(waves, number)
                labels = labels + number * self._identities
            for name in self.augmentations:
                if name not in ("speed", "spec"):
                    waves = self._augmented(waves, name, step=step)
            features = self._features(waves)
            if "spec" in self.augmentations:
                features = self._augmented(features, "spec", step=step)
        return features, labels

    def _played(self, waves: Tensor, number: Tensor) -> Tensor:
        """(B, N) waves, each at the speed of its number, cut to what the fastest leaves.

        Every speed is computed for the whole batch: which rows take which one is known on the device only,
        and asking for it would wait for all that is queued there.
        """
        samples = int(waves.shape[1] / self._fastest + 1e-6)
        found = waves[:, :samples].clone()
        for n, factor in enumerate(self._speed.factors if self._speed else (), start=1):
            found = torch.where((number == n)[:, None], played(waves, factor)[:, :samples], found)
        return found
