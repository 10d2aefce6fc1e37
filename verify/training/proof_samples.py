"""Real samples as the exported network will be given them, and what torch and ONNX Runtime make of them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from verify.errors import DataError
from verify.models.bundle import load_session
from verify.training.loader import Batch
from verify.training.pipeline import make_pipeline
from verify.training.shards import PreparedSet
from verify.training.validation import choose
from verify.types import Modality

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path
    from typing import Self

    import onnx
    from numpy.typing import NDArray
    from torch import nn

    from verify.training.pipeline import Pipeline
    from verify.training.recipe import Recipe
    from verify.training.training_set import TrainingSet

RATE_HZ = 16_000
_BATCH = 32
_STEP_SAMPLES = 1600  # voices are cut to whole tenths of a second, so that many share a batch


@dataclass(frozen=True, slots=True, kw_only=True)
class ProofSamples:
    """Chosen samples of a set, on the CPU, through the pipeline of the runtime (no augmentation).

    Attributes:
        labels: (n,) int64, whose each sample is.
        counts: (n,) int64: how many samples of a voice are taken, 1 for a face.
    """

    labels: NDArray[np.int64]
    counts: NDArray[np.int64]
    _read: Callable[[int], NDArray[Any]] = field(repr=False)
    _pipeline: Pipeline = field(repr=False)

    def __len__(self) -> int:
        return len(self.labels)

    @classmethod
    def choose(cls, data: TrainingSet, recipe: Recipe, *, most: int) -> Self:
        """Samples that verify as many people as they can: the choice of validation while training."""
        chosen = choose(data.labels, most=most, seed=recipe.seed)
        return cls._of(data, chosen, recipe)

    @classmethod
    def of_training(cls, data: TrainingSet, recipe: Recipe, *, most: int) -> Self:
        """Samples of the training part, drawn."""
        drawn = np.random.default_rng(recipe.seed).permutation(len(data))[:most]
        return cls._of(data, np.sort(drawn), recipe)

    @classmethod
    def of_prepared(cls, path: Path, *, like: TrainingSet, recipe: Recipe, most: int) -> Self:
        """Samples of a prepared set, drawn, whoever they are.

        Raises:
            DataError: it was prepared for another input than `like`.
        """
        data = PreparedSet.open(path)
        differing = [
            key
            for key in {**like.contract, **data.contract}
            if like.contract.get(key) != data.contract.get(key)
        ]
        if data.modality is not like.modality or differing:
            what = ", ".join(differing) or "modality"
            msg = f"{path}: was prepared for another input than the model takes ({what}): prepare it in the same way"
            raise DataError(msg)
        drawn = np.sort(np.random.default_rng(recipe.seed).permutation(len(data))[:most])
        counts = _counts(np.asarray(data.lengths)[drawn], data.modality, recipe)

        def read(place: int) -> NDArray[Any]:
            if data.modality is Modality.FACE:
                return data.media(int(drawn[place]))
            return data.media(int(drawn[place]), start=0, count=int(counts[place]))

        owners = np.asarray(data.owner)[drawn].astype(np.int64)
        return cls(labels=owners, counts=counts, _read=read, _pipeline=_pipeline(data.contract))

    @classmethod
    def _of(cls, data: TrainingSet, chosen: NDArray[np.int64], recipe: Recipe) -> Self:
        counts = _counts(np.asarray(data.lengths)[chosen], data.modality, recipe)

        def read(place: int) -> NDArray[Any]:
            if data.modality is Modality.FACE:
                return data.media(int(chosen[place]))
            return data.media(int(chosen[place]), start=0, count=int(counts[place]))

        labels = np.asarray(data.labels)[chosen]
        return cls(labels=labels, counts=counts, _read=read, _pipeline=_pipeline(data.contract))

    def batches(self) -> Iterator[tuple[NDArray[np.int64], torch.Tensor]]:
        """Places of samples of one length, and what the network takes: (B, 3, H, W) or (B, T, bins) float32."""
        order = np.argsort(-self.counts, kind="stable")
        edges = np.flatnonzero(np.diff(self.counts[order])) + 1
        for group in np.split(order, edges):
            for at in range(0, len(group), _BATCH):
                rows = group[at : at + _BATCH]
                yield rows, self._inputs(rows)

    def one_by_one(self) -> Iterator[NDArray[np.float32]]:
        """What the network takes, sample by sample: (1, ...) float32."""
        for place in range(len(self)):
            yield np.ascontiguousarray(self._inputs(np.array([place])).numpy(), dtype=np.float32)

    def _inputs(self, rows: NDArray[np.int64]) -> torch.Tensor:
        media = torch.from_numpy(np.stack([self._read(int(row)) for row in rows]))
        numbers = torch.from_numpy(rows)
        with torch.inference_mode():
            inputs, _ = self._pipeline(Batch(media, torch.zeros_like(numbers), numbers), 0)
        return inputs.float()


def embedded_by_torch(net: nn.Module, samples: ProofSamples) -> NDArray[np.float32]:
    """(n, D) float32 unit embeddings of the network in torch, float32, eval mode, on the CPU."""
    found: list[NDArray[np.float32]] = []
    places: list[NDArray[np.int64]] = []
    with torch.inference_mode():
        for rows, inputs in samples.batches():
            found.append(net(inputs).float().numpy())
            places.append(rows)
    return _in_order(found, places)


def embedded_by_graph(model: onnx.ModelProto, samples: ProofSamples) -> NDArray[np.float32]:
    """(n, D) float32 unit embeddings of the graph in ONNX Runtime, on one thread as the engine's workers run it.

    Raises:
        ModelIntegrityError: ONNX Runtime cannot load the graph.
    """
    session = load_session(model.SerializeToString())
    (entry,) = session.get_inputs()
    found: list[NDArray[np.float32]] = []
    places: list[NDArray[np.int64]] = []
    for rows, inputs in samples.batches():
        found.append(session.run(None, {entry.name: np.ascontiguousarray(inputs.numpy())})[0])
        places.append(rows)
    return _in_order(found, places)


def _in_order(found: list[NDArray[np.float32]], places: list[NDArray[np.int64]]) -> NDArray[np.float32]:
    stacked = np.concatenate(found)
    ordered = np.empty_like(stacked)
    ordered[np.concatenate(places)] = stacked
    return ordered


def _pipeline(contract: Mapping[str, Any]) -> Pipeline:
    return make_pipeline(contract, {}, training=False)


def _counts(lengths: NDArray[np.int64], modality: Modality, recipe: Recipe) -> NDArray[np.int64]:
    if modality is Modality.FACE:
        return np.ones(len(lengths), dtype=np.int64)
    counts = np.minimum(lengths, round(recipe.validation.crop_s * RATE_HZ))
    return np.where(counts >= _STEP_SAMPLES, counts // _STEP_SAMPLES * _STEP_SAMPLES, counts)
