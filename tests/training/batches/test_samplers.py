"""P x K batches are exact for any data and any number of processes, and nothing comes twice out of turn."""

from __future__ import annotations

from collections import Counter
from itertools import chain, islice

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from verify.errors import UsageError
from verify.training.recipe import SamplerSection
from verify.training.samplers import Sampler, make_sampler

pytestmark = pytest.mark.train


@st.composite
def tasks(draw):
    """(labels, P, K, processes): from even sets to one identity with nearly all samples."""
    counts = draw(st.lists(st.integers(1, 12) | st.integers(1, 60), min_size=1, max_size=14))
    labels = np.repeat(np.arange(len(counts)) * 3 + 5, counts)  # neither dense nor from zero
    np.random.default_rng(draw(st.integers(0, 99))).shuffle(labels)
    processes = draw(st.integers(1, min(4, len(counts))))
    identities = processes * draw(st.integers(1, len(counts) // processes))
    return labels, identities, draw(st.integers(1, 6)), processes


def sampler_of(labels, *, identities=0, samples=0, batch=0, views=1, seed=3, rank=0, world=1) -> Sampler:
    section = SamplerSection(batch=batch, identities=identities, samples=samples, views=views)
    return make_sampler(section, labels, seed=seed, rank=rank, world_size=world)


@given(tasks(), st.integers(0, 5))
def test_each_joint_batch_is_p_identities_of_k_samples(task, epoch) -> None:
    labels, identities, samples, processes = task
    shares = [
        list(
            sampler_of(labels, identities=identities, samples=samples, rank=r, world=processes).batches(epoch)
        )
        for r in range(processes)
    ]
    sampler = sampler_of(labels, identities=identities, samples=samples)
    joint = list(sampler.batches(epoch))
    assert len(joint) == len(sampler) >= 1
    assert [list(chain(*parts)) for parts in zip(*shares, strict=True)] == joint
    sizes = Counter(labels.tolist())
    for batch in joint:
        of = Counter(labels[batch].tolist())
        assert len(of) == identities
        assert set(of.values()) == {samples}
        drawn = Counter(batch)
        for identity in of:
            times = [drawn[i] for i in np.flatnonzero(labels == identity).tolist()]
            if sizes[identity] >= samples:
                assert max(times) == 1
            else:  # all of them, as evenly as K allows
                assert max(times) - min(times) <= 1
                assert min(times) >= 1
    for parts in shares:  # an identity's samples are all in one process
        assert all(set(Counter(labels[b].tolist()).values()) == {samples} for b in parts)


@given(tasks(), st.integers(0, 5))
def test_no_sample_comes_twice_in_an_epoch_but_for_want_of_k(task, epoch) -> None:
    labels, identities, samples, _ = task
    sampler = sampler_of(labels, identities=identities, samples=samples)
    drawn = Counter(i for batch in sampler.batches(epoch) for i in batch)
    sizes = Counter(labels.tolist())
    for sample, times in drawn.items():
        own = sizes[int(labels[sample])]
        assert times <= (1 if own >= samples else -(-samples // own))


@given(tasks())
def test_an_epoch_leaves_out_no_group_that_would_have_fitted(task) -> None:
    labels, identities, samples, _ = task
    sampler = sampler_of(labels, identities=identities, samples=samples)
    groups = [max(1, n // samples) for n in Counter(labels.tolist()).values()]
    more = len(sampler) + 1
    assert (
        sum(min(n, more) for n in groups) < identities * more
    )  # one step more has no P identities each time
    assert sum(min(n, len(sampler)) for n in groups) - identities * len(sampler) < identities


@given(st.integers(1, 60), st.integers(1, 60), st.integers(0, 3))
def test_plain_batches_take_each_sample_at_most_once(count, batch, epoch) -> None:
    labels = np.zeros(count, np.int64)
    if batch > count:
        with pytest.raises(UsageError, match=f"the {count} training samples"):
            sampler_of(labels, batch=batch)
        return
    drawn = list(sampler_of(labels, batch=batch).batches(epoch))
    assert [len(b) for b in drawn] == [batch] * (count // batch)
    assert len(set(chain(*drawn))) == count // batch * batch


@given(tasks(), st.integers(0, 40))
def test_going_on_from_any_step_gives_the_same_batches(task, step) -> None:
    labels, identities, samples, processes = task
    make = {"identities": identities, "samples": samples, "rank": processes - 1, "world": processes}
    uninterrupted = list(islice(sampler_of(labels, **make).resume(0), step + 3))
    assert list(islice(sampler_of(labels, **make).resume(step), 3)) == uninterrupted[step:]
    assert sampler_of(labels, **make).state == sampler_of(labels, **make | {"rank": 0}).state
    assert sampler_of(labels, **make).state != sampler_of(labels, **make, seed=4).state


def test_all_samples_have_their_turn_over_some_epochs() -> None:
    labels = np.repeat(np.arange(6), [7, 5, 3, 9, 4, 1])
    sampler = sampler_of(labels, identities=3, samples=4)
    epochs = [Counter(i for b in sampler.batches(epoch) for i in b) for epoch in range(40)]
    times = sum(epochs, Counter())
    for identity, size in enumerate([7, 5, 3, 9, 4, 1]):
        own = [times[i] for i in np.flatnonzero(labels == identity).tolist()]
        assert min(own) > 0.5 * sum(own) / size  # nobody is favoured
    assert epochs[0] != epochs[1]


def test_identities_with_many_samples_are_spread_over_the_epoch() -> None:
    labels = np.repeat(np.arange(40), 20)
    steps = [
        step
        for step, batch in enumerate(sampler_of(labels, identities=5, samples=4).batches(0))
        if 7 in labels[batch]
    ]
    assert len(steps) == 5
    assert max(steps) - min(steps) > 5


def test_two_views_stand_beside_each_other() -> None:
    once = list(sampler_of(np.arange(12), batch=4).batches(2))
    twice = list(sampler_of(np.arange(12), batch=4, views=2).batches(2))
    assert twice == [[i for i in batch for _ in "ab"] for batch in once]
    assert sampler_of(np.arange(12), batch=4, views=2, world=2).batch_rows == 4


def test_the_order_is_that_of_every_machine_and_version() -> None:
    labels = np.repeat(np.arange(4), 3)
    assert next(sampler_of(labels, identities=2, samples=2, seed=1).batches(0)) == [8, 6, 4, 3]


@pytest.mark.parametrize(
    ("section", "world", "words"),
    [
        ({"identities": 9, "samples": 2}, 1, "more than the 8 identities"),
        ({"identities": 6, "samples": 2}, 4, "take 4 or 8"),
        ({"identities": 1, "samples": 2}, 2, "take 2"),
        ({"batch": 10}, 4, "take 8 or 12"),
        ({"batch": 100}, 1, "more than the 16 training samples"),
        ({"identities": 4, "samples": -1}, 1, "samples: must be at least 1, not -1"),
        ({"identities": -4, "samples": 2}, 1, "identities: must be at least 1, not -4"),
        ({"identities": 4, "samples": 2, "batch": 8}, 1, "either batch, or identities"),
        ({}, 1, "either batch, or identities"),
    ],
)
def test_what_cannot_be_drawn_is_refused_with_numbers_that_can(section, world, words) -> None:
    with pytest.raises(UsageError, match=words):
        sampler_of(np.repeat(np.arange(8), 2), world=world, **section)


def test_a_rank_beyond_the_processes_is_refused() -> None:
    with pytest.raises(UsageError, match="rank 2 is none of the 2"):
        sampler_of(np.arange(8), batch=4, rank=2, world=2)
