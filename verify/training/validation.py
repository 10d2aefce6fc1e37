"""Validation is verification: unseen people, all their pairs, error rates. Never loss alone.

Samples reach the network as they reach the exported one in the engine, without augmentation and in
float32. With several processes each embeds its share; the pairs are then compared in all of them, so that all come
to the same decision without a word.
"""

from __future__ import annotations

import dataclasses
import hashlib
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from verify.errors import DataError
from verify.metrics import eer, fnmr, retrieval_measures, threshold_at_fmr
from verify.training.loader import Batch

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from numpy.typing import NDArray
    from torch import nn

    from verify.training.distributed import World
    from verify.training.pipeline import Pipeline
    from verify.training.recipe import ValidationSection
    from verify.training.training_set import TrainingSet

MOST_SAMPLES = 10_000  # 5 * 10^7 pairs, the most that are compared while a GPU waits
BATCH = 64
STEP_SAMPLES = 1600  # voices are cut to whole tenths of a second, so that many share a batch
ROWS = 512  # compared with all others at once
KEPT_BYTES = 1 << 30  # decoded samples are kept in memory up to that
HIGHER_IS_BETTER = ("recall_at_1",)


@dataclass(frozen=True, slots=True, kw_only=True)
class Validated:
    """How well a network tells unseen people apart.

    Attributes:
        eer: equal error rate of all pairs, in [0, 1].
        fnmr_at_fmr_1e_2: false-non-match rate where at most 1 % of non-mated pairs match.
        fnmr_at_fmr_1e_3: where at most 0.1 % do.
        recall_at_1: share of samples with a mate whose most similar other sample is one.
        spread: total variance on the unit sphere, see `verify.training.alarms`.
        gap: mean cosine of mated minus that of non-mated pairs.
        subjects: people.
        samples: of them.
        mated: pairs.
        non_mated: pairs.
    """

    eer: float
    fnmr_at_fmr_1e_2: float
    fnmr_at_fmr_1e_3: float
    recall_at_1: float
    spread: float
    gap: float
    subjects: int
    samples: int
    mated: int
    non_mated: int

    def value(self, metric: str) -> float:
        """The metric of a recipe's ``validation.metric``."""
        return float(getattr(self, metric.replace("-", "_")))

    @property
    def rank(self) -> tuple[float, ...]:
        """What tells equals apart, higher is better: rates from the strictest on, then the gap."""
        return -self.fnmr_at_fmr_1e_3, -self.fnmr_at_fmr_1e_2, -self.eer, self.recall_at_1, self.gap

    def as_dict(self) -> dict[str, Any]:
        """For logs and checkpoints."""
        return dataclasses.asdict(self)


def is_better(value: float, than: float | None, *, metric: str) -> bool:
    """Whether a value is the best so far; NaN never is."""
    if math.isnan(value):
        return False
    if than is None:
        return True
    return value > than if metric in HIGHER_IS_BETTER else value < than


class Validation:
    """The validation part of a split, chosen once, embedded whenever asked.

    Args:
        data: opened on the validation part.
        section: of the recipe.
        pipeline: that of the runtime (`make_pipeline` with ``training=False``).
        seed: of the choice where there are too many samples.
        world: the processes that share the work.

    Raises:
        DataError: no two samples of one subject, or one subject only: nothing to verify.
    """

    def __init__(
        self, data: TrainingSet, section: ValidationSection, *, pipeline: Pipeline, seed: int, world: World
    ) -> None:
        self._data, self._pipeline, self._world = data, pipeline, world
        self._limit = round(section.crop_s * 16_000) if data.modality == "voice" else 1
        most = min(section.max_samples or MOST_SAMPLES, MOST_SAMPLES)
        self.chosen = choose(data.labels, most=most, seed=seed)
        self.labels = np.asarray(data.labels)[self.chosen]
        self._sets = data.set_numbers[self.chosen]
        subjects, counts = np.unique(self.labels, return_counts=True)
        if len(subjects) < 2 or counts.max() < 2:  # noqa: PLR2004  two people, two samples
            msg = (
                f"the validation part has {len(subjects)} subjects and {len(self.chosen)} samples: verification needs"
                " at least two subjects, and two samples of one of them; make another split"
            )
            raise DataError(msg)
        self.sha256 = hashlib.sha256(b"\n".join(data.sha256s[self.chosen].tolist())).hexdigest()
        self._kept: list[tuple[NDArray[np.int64], torch.Tensor]] | None = None

    def run(self, net: nn.Module) -> Validated:
        """Embed and compare; the same in every process.

        Raises:
            DataError: a sample cannot be read; the message names it.
        """
        was_training = net.training
        net.eval()
        try:
            embeddings = self._embed(net)
        finally:
            net.train(was_training)
        return compare(embeddings, self.labels, sets=self._sets)

    @torch.inference_mode()
    def _embed(self, net: nn.Module) -> NDArray[np.float32]:
        """(n, D) unit embeddings of the chosen samples, of all processes."""
        found: torch.Tensor | None = None
        device = self._world.device
        for rows, media in self._batches():
            numbers = torch.from_numpy(rows)
            batch = Batch(media, torch.zeros_like(numbers), numbers).to(device)
            inputs, _ = self._pipeline(batch, 0)
            unit = net(inputs).float()
            if found is None:
                found = torch.zeros(len(self.chosen), unit.shape[1], device=device)
            found[numbers.to(device)] = unit
        if found is None:  # more processes than batches
            found = torch.zeros(len(self.chosen), int(getattr(net, "dim", 0)), device=device)
        if self._world.size > 1:
            torch.distributed.all_reduce(found)
        array: NDArray[np.float32] = found.cpu().numpy()
        return array

    def _batches(self) -> Iterator[tuple[NDArray[np.int64], torch.Tensor]]:
        """This process's samples: places in `chosen`, and media of one length."""
        if self._kept is not None:
            yield from self._kept
            return
        kept: list[tuple[NDArray[np.int64], torch.Tensor]] = []
        size = 0
        for rows in self._groups()[self._world.rank :: self._world.size]:
            media = torch.from_numpy(np.stack([self._media(int(row)) for row in rows]))
            size += media.numel() * media.element_size()
            kept.append((rows, media))
            yield rows, media
            if size > KEPT_BYTES:
                kept = []
        if size <= KEPT_BYTES:
            self._kept = kept

    def _groups(self) -> list[NDArray[np.int64]]:
        """Places in `chosen`, batch by batch; those of a batch have one length."""
        lengths = self._lengths()
        order = np.argsort(-lengths, kind="stable")
        edges = np.flatnonzero(np.diff(lengths[order])) + 1
        groups = np.split(order, edges)
        return [group[at : at + BATCH] for group in groups for at in range(0, len(group), BATCH)]

    def _lengths(self) -> NDArray[np.int64]:
        lengths = np.minimum(np.asarray(self._data.lengths)[self.chosen], self._limit)
        long = lengths >= STEP_SAMPLES
        return np.where(long, lengths // STEP_SAMPLES * STEP_SAMPLES, lengths)

    def _media(self, row: int) -> NDArray[Any]:
        sample = int(self.chosen[row])
        if self._data.modality != "voice":
            return self._data.media(sample)
        return self._data.media(sample, start=0, count=int(self._lengths()[row]))


def choose(labels: NDArray[np.int64], *, most: int, seed: int) -> NDArray[np.int64]:
    """At most so many samples that verify as many people as they can: sample numbers, ascending.

    Two samples of each subject that has them come first, then each one's third and so on; subjects of one sample,
    who can only be impostors, fill what is left. Who comes first is drawn.
    """
    labels = np.asarray(labels)
    draw = np.random.default_rng(seed)
    order = draw.permutation(len(labels))
    by_subject = order[np.argsort(labels[order], kind="stable")]
    _, first, counts = np.unique(labels[by_subject], return_index=True, return_counts=True)
    nth = np.arange(len(labels)) - np.repeat(first, counts)
    turn = np.where(np.repeat(counts, counts) == 1, len(labels), np.maximum(nth, 1))
    whose = np.repeat(draw.permutation(len(counts)), counts)
    wanted = np.lexsort((nth, whose, turn))[:most]
    return np.sort(by_subject[wanted])


def compare(
    embeddings: NDArray[np.float32],
    labels: NDArray[np.int64],
    *,
    sets: NDArray[np.integer[Any]] | None = None,
) -> Validated:
    """Compare pairs of (n, D) unit embeddings of (n,) subjects, `ROWS` samples at a time.

    With `sets`, (n,) the data set of each sample, people are held against those of their own set: strangers of two
    sets differ by camera and light as well, and telling them apart proves little. (Where no set has two people, all
    are held against all.)

    Recall@1 counts equal cosines as every order of them does: a network that maps all to one point gets what guessing
    gets, however the samples are sorted.

    Raises:
        ScoreError: embeddings are not finite.
    """
    subjects, counts = np.unique(labels, return_counts=True)
    mated = np.empty(_pairs(counts), np.float32)
    groups = np.zeros(len(labels), np.int32) if sets is None else sets
    if _pairs(np.unique(groups, return_counts=True)[1]) == mated.size:
        groups = np.zeros(len(labels), np.int32)
    non_mated = np.empty(_pairs(np.unique(groups, return_counts=True)[1]) - mated.size, np.float32)
    at = [0, 0]
    for first in range(0, len(labels), ROWS):
        rows = slice(first, first + ROWS)
        cosines = embeddings[rows] @ embeddings[first:].T  # (b, n - first)
        later = np.triu(np.ones(cosines.shape, dtype=bool), 1)  # each pair once
        same = labels[rows, None] == labels[None, first:]
        strange = later & ~same & (groups[rows, None] == groups[None, first:])
        for number, (scores, chosen) in enumerate(((mated, later & same), (non_mated, strange))):
            found = cosines[chosen]
            scores[at[number] : at[number] + found.size] = found
            at[number] += found.size
    threshold = {rate: threshold_at_fmr(non_mated=non_mated, target=rate) for rate in (1e-2, 1e-3)}
    retrieval = retrieval_measures(embeddings, subjects=labels, at=(1,), neighbours=(1,))
    return Validated(
        eer=float(eer(mated=mated, non_mated=non_mated)),
        fnmr_at_fmr_1e_2=fnmr(mated=mated, threshold=threshold[1e-2]),
        fnmr_at_fmr_1e_3=fnmr(mated=mated, threshold=threshold[1e-3]),
        recall_at_1=retrieval.recall_at[1],
        spread=float(1 - np.square(embeddings.mean(0, dtype=np.float64)).sum()),
        gap=float(mated.mean(dtype=np.float64) - non_mated.mean(dtype=np.float64)),
        subjects=len(subjects),
        samples=len(labels),
        mated=mated.size,
        non_mated=non_mated.size,
    )


def _pairs(counts: NDArray[np.integer[Any]]) -> int:
    """Pairs within groups of these sizes."""
    sizes = counts.astype(np.int64)
    return int((sizes * (sizes - 1) // 2).sum())


def shows(non_mated: int, *, fmr: float) -> bool:
    """Whether there are pairs enough that a false match at such a rate could be seen at all."""
    return non_mated * fmr >= 1


def summary(validated: Validated | Mapping[str, Any]) -> str:
    """One line for people."""
    values = validated.as_dict() if isinstance(validated, Validated) else validated
    pairs = values["non_mated"]
    missed = [
        f"{100 * values[key]:.1f} % at FMR {name}"
        for key, name, fmr in (("fnmr_at_fmr_1e_2", "1e-2", 1e-2), ("fnmr_at_fmr_1e_3", "1e-3", 1e-3))
        if shows(pairs, fmr=fmr)
    ]
    fnmr_there = f"FNMR {' and '.join(missed)}, " if missed else ""
    return (
        f"EER {100 * values['eer']:.2f} %, {fnmr_there}Recall@1 {100 * values['recall_at_1']:.1f} %"
        f" ({values['subjects']} unseen subjects, {values['mated']} mated and {pairs} non-mated pairs)"
    )
