"""Which samples make up each batch: P x K or plain, exact under several processes, resumable at any step.

A sampler is a pure function of (seed, epoch): nothing has to be remembered to go on after a crash, and
the joint batch of a step is the same for any number of processes, each of which takes its own share.

What holds within an epoch, for P x K (Hermans et al., In defense of the triplet loss, 2017):

- each joint batch has exactly P identities, and K samples of each;
- an identity of n >= K samples gives n // K groups of K different ones: no sample comes twice. The n % K
  that are over, other ones in each epoch, wait for the next;
- an identity of n < K gives one group in which all of its samples come, each ⌊K / n⌋ or ⌈K / n⌉ times;
- there are as many steps as groups allow without an identity twice in a batch: fewer than P groups are left
  over beside those of identities that alone have more groups than there are steps.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from verify.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from numpy.typing import ArrayLike, NDArray

    from verify.training.recipe import SamplerSection


def make_sampler(
    section: SamplerSection, labels: ArrayLike, *, seed: int, rank: int = 0, world_size: int = 1
) -> Sampler:
    """The sampler that a recipe asks for.

    Args:
        section: ``batch``, or ``identities`` x ``samples``, counted over all processes; ``views``.
        labels: (n,) whole numbers: identity of each training sample.
        seed: of the order.
        rank: this process, 0 to `world_size` - 1.
        world_size: number of processes.

    Raises:
        UsageError: more identities or samples asked for than there are, or batches that the processes
            cannot share evenly; the message has numbers that can.
    """
    owner = np.asarray(labels, np.int64)
    if not 0 <= rank < world_size:
        msg = f"rank {rank} is none of the {world_size} processes"
        raise UsageError(msg)
    if bool(section.batch) == bool(section.identities or section.samples):
        msg = f"sampler: give either batch, or identities and samples; not {section}"
        raise UsageError(msg)
    plan: _Plan
    if section.batch:
        _check_shares("sampler, batch", section.batch, world_size=world_size)
        plan = _plain(owner, batch=section.batch)
    else:
        _check_shares("sampler, identities", section.identities, world_size=world_size)
        plan = _by_identity(owner, identities=section.identities, samples=section.samples)
    return Sampler(
        plan,
        seed=seed,
        views=section.views,
        rank=rank,
        world_size=world_size,
        labels_sha256=hashlib.sha256(owner.astype("<i8").tobytes()).hexdigest(),
    )


class Sampler:
    """One process's batches; see `make_sampler`."""

    def __init__(
        self, plan: _Plan, *, seed: int, views: int, rank: int, world_size: int, labels_sha256: str
    ) -> None:
        self._plan, self._seed, self._views = plan, seed, views
        self._rank, self._world_size = rank, world_size
        self._labels_sha256 = labels_sha256

    def __len__(self) -> int:
        """Steps of an epoch; the same in every epoch."""
        return self._plan.steps

    @property
    def batch_rows(self) -> int:
        """Rows of this process's batch, views counted."""
        return self._plan.rows * self._views // self._world_size

    @property
    def state(self) -> Mapping[str, Any]:
        """What a checkpoint keeps: only a sampler of equal state continues the same run.

        The number of processes is not in it: the joint batches do not depend on it.
        """
        return {
            "seed": self._seed,
            "rows": self._plan.rows,
            "steps": self._plan.steps,
            "views": self._views,
            "plan": self._plan.name,
            "labels_sha256": self._labels_sha256,
        }

    def batches(self, epoch: int, *, start: int = 0) -> Iterator[list[int]]:
        """This process's samples of each step of an epoch, from step `start` of it on.

        Samples of one identity stand together and are all in one process; with two views each sample
        comes twice in a row.
        """
        drawn = self._plan.draw(_Shuffle(self._seed, epoch))  # (steps, rows)
        share = self._plan.rows // self._world_size
        mine = drawn[start:, self._rank * share : (self._rank + 1) * share]
        for row in np.repeat(mine, self._views, axis=1):
            yield row.tolist()

    def resume(self, step: int) -> Iterator[list[int]]:
        """Batches from a step of the whole run on, epoch after epoch without end."""
        epoch, start = divmod(step, len(self))
        while True:
            yield from self.batches(epoch, start=start)
            epoch, start = epoch + 1, 0


class _Shuffle:
    """Random orders out of (seed, epoch), the same with every version of numpy: raw words, sorted."""

    def __init__(self, seed: int, epoch: int) -> None:
        self._words = np.random.PCG64(np.random.SeedSequence([seed, epoch]))

    def keys(self, count: int) -> NDArray[np.uint64]:
        return self._words.random_raw(count)

    def order(self, count: int) -> NDArray[np.int64]:
        return np.argsort(self.keys(count), kind="stable")


@dataclass(frozen=True, slots=True)
class _Plain:
    """Samples without regard to identity, each at most once an epoch; the last, part-full batch is left out."""

    name: str
    rows: int
    steps: int
    count: int

    def draw(self, shuffle: _Shuffle) -> NDArray[np.int64]:
        """(steps, rows) sample numbers of one epoch."""
        return shuffle.order(self.count)[: self.steps * self.rows].reshape(self.steps, self.rows)


@dataclass(frozen=True, slots=True)
class _ByIdentity:
    """P x K batches.

    Attributes:
        by_identity: (n,) sample numbers, those of one identity together.
        counts: (I,) samples of each identity.
        groups: (I,) groups that each identity gives an epoch, at most `steps`.
        per_batch: P.
        per_identity: K.
    """

    name: str
    rows: int
    steps: int
    by_identity: NDArray[np.int64] = field(repr=False)
    counts: NDArray[np.int64] = field(repr=False)
    groups: NDArray[np.int64] = field(repr=False)
    per_batch: int
    per_identity: int

    def draw(self, shuffle: _Shuffle) -> NDArray[np.int64]:
        """(steps, rows) sample numbers of one epoch."""
        identities = self._seats(shuffle).T.reshape(-1)  # (S P,) step after step
        firsts = np.cumsum(self.counts) - self.counts
        owner = np.repeat(np.arange(len(self.counts)), self.counts)
        shuffled = self.by_identity[np.lexsort((shuffle.keys(len(owner)), owner))]
        places = _nth(identities)[:, None] * self.per_identity + np.arange(self.per_identity)  # (S P, K)
        samples = shuffled[firsts[identities, None] + places % self.counts[identities, None]]
        return samples.reshape(self.steps, self.rows)

    def _seats(self, shuffle: _Shuffle) -> NDArray[np.int64]:
        """(P, S) identity of each seat and step, none twice in a step.

        Groups are dealt in a row, identity by identity in random order, and the row is cut into P lanes
        of S steps. An identity has at most S groups: within a lane they fall on different steps whatever
        the lane's order. Only one that runs over a lane's end must be kept off the steps that it
        already has.
        """
        order = shuffle.order(len(self.groups))
        row = np.repeat(order, self.groups[order])[: self.per_batch * self.steps]
        lanes = row.reshape(self.per_batch, self.steps)
        seats = np.empty_like(lanes)
        for number, lane in enumerate(lanes):
            steps = shuffle.order(self.steps)
            if number and lane[0] == lanes[number - 1, -1]:
                free = seats[number - 1, steps] != lane[0]
                first = np.zeros(self.steps, bool)
                first[np.flatnonzero(free)[: np.count_nonzero(lane == lane[0])]] = True
                steps = np.concatenate([steps[first], steps[~first]])
            seats[number, steps] = lane
        return seats


_Plan = _Plain | _ByIdentity


def _plain(labels: NDArray[np.int64], *, batch: int) -> _Plain:
    if len(labels) < batch:
        msg = f"sampler, batch: {batch} is more than the {len(labels)} training samples; set at most that"
        raise UsageError(msg)
    return _Plain(name="plain", rows=batch, steps=len(labels) // batch, count=len(labels))


def _by_identity(labels: NDArray[np.int64], *, identities: int, samples: int) -> _ByIdentity:
    if samples < 1:
        msg = f"sampler, samples: must be at least 1, not {samples}"
        raise UsageError(msg)
    _, owner, counts = np.unique(labels, return_inverse=True, return_counts=True)
    if len(counts) < identities:
        msg = (
            f"sampler, identities: {identities} is more than the {len(counts)} identities of the training part; "
            "set at most that"
        )
        raise UsageError(msg)
    wanted = np.maximum(1, counts // samples)
    steps = _most_steps(wanted, identities)
    return _ByIdentity(
        name=f"{identities} x {samples}",
        rows=identities * samples,
        steps=steps,
        by_identity=np.argsort(owner, kind="stable"),
        counts=counts,
        groups=np.minimum(wanted, steps),
        per_batch=identities,
        per_identity=samples,
    )


def _most_steps(groups: NDArray[np.int64], identities: int) -> int:
    """The most steps S of `identities` different ones each: the largest S with sum(min(groups, S)) >= P S."""
    low, high = 1, int(groups.sum()) // identities  # P identities are there, so one step is possible
    while low < high:
        middle = (low + high + 1) // 2
        if int(np.minimum(groups, middle).sum()) >= identities * middle:
            low = middle
        else:
            high = middle - 1
    return low


def _nth(values: NDArray[np.int64]) -> NDArray[np.int64]:
    """How many equal values stand before each value."""
    order = np.argsort(values, kind="stable")
    ordered = values[order]
    starts = np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]])
    lengths = np.diff(np.r_[starts, len(values)])
    nth = np.empty_like(values)
    nth[order] = np.arange(len(values)) - np.repeat(starts, lengths)
    return nth


def _check_shares(where: str, count: int, *, world_size: int) -> None:
    if count < 1:
        msg = f"{where}: must be at least 1, not {count}"
        raise UsageError(msg)
    if count % world_size:
        below, above = count // world_size * world_size, -(-count // world_size) * world_size
        near = f"{below} or {above}" if below else str(above)
        msg = f"{where}: {world_size} processes cannot share {count} evenly; take {near}"
        raise UsageError(msg)
