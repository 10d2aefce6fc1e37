"""A batch as it is stored to what the network takes, on the device: augmentation, then features.

Without training it gives exactly what the engine gives the exported network.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from verify.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from verify.training.loader import Batch

FULL_SCALE = 32768.0  # int16 to [-1, 1)


def make_pipeline(
    contract: Mapping[str, Any],
    augment: Mapping[str, Any] | None = None,
    *,
    seed: int = 0,
    rank: int = 0,
    training: bool = True,
) -> Pipeline:
    """The pipeline for a network's input.

    Args:
        contract: a prepared set's or a card's input contract.
        augment: the recipe's ``augment`` table.
        seed: of the augmentation.
        rank: of this process.
        training: whether to augment.

    Raises:
        UsageError: a contract that networks cannot be trained for, or an augmentation that is not known
            (the message has the nearest).
    """
    del augment, seed, rank  # follows
    kind = contract.get("kind")
    if kind == "aligned-face":
        return FacePipeline()
    if kind == "speech-features" and contract.get("features", "kaldi-fbank") == "kaldi-fbank":
        return VoicePipeline(contract, training=training)
    asked = f"{kind!r} of features {contract.get('features')!r}"
    msg = f"no network is trained on {asked}; on aligned-face and kaldi-fbank they are"
    raise UsageError(msg)


class Pipeline(nn.Module):
    """Batch (on the device) and step -> (inputs, labels)."""

    identity_factor: int = 1  # speed as new speaker: so many labels for each identity

    def samples_needed(self, count: int) -> int:
        """How many samples the loader must give for `count` to reach the network."""
        return count

    def forward(self, batch: Batch, step: int) -> tuple[Tensor, Tensor]:
        """See the class."""
        raise NotImplementedError


class FacePipeline(Pipeline):
    """Faces: (B, 3, H, W) float32 RGB in 0..255."""

    @torch.no_grad()
    def forward(self, batch: Batch, step: int) -> tuple[Tensor, Tensor]:  # noqa: ARG002
        """See the class."""
        return batch.media.permute(0, 3, 1, 2).float(), batch.labels


class VoicePipeline(Pipeline):
    """Voices: (B, T, bins) float32 log-mel features, the mean over time subtracted."""

    def __init__(self, contract: Mapping[str, Any], *, training: bool) -> None:
        super().__init__()
        from verify.nets.fbank import KaldiFbank

        self.features = KaldiFbank(
            int(contract.get("bins", 80)),
            float(contract.get("level_dbfs", -25.0)),
            dtype=torch.float32 if training else torch.float64,
        )

    @torch.no_grad()
    def forward(self, batch: Batch, step: int) -> tuple[Tensor, Tensor]:  # noqa: ARG002
        """See the class."""
        return self.features(batch.media.float() / FULL_SCALE), batch.labels
