"""Pair objectives and mining: against pytorch-metric-learning, and against loops that spell the definition out."""

from __future__ import annotations

from collections import deque

import pytest

torch = pytest.importorskip("torch", reason="needs the training extra")

from hypothesis import given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402

from tests.training.objectives.made import Sizes  # noqa: E402
from verify.errors import UsageError  # noqa: E402
from verify.training.objectives import make_objective, mining  # noqa: E402
from verify.training.objectives.memory import Memory  # noqa: E402

pytestmark = pytest.mark.train
DIM = 6


def drawn(labels, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(len(labels), DIM, generator=generator).requires_grad_(), torch.tensor(labels)


MANY = [0, 1, 2, 3, 4, 0, 1, 2, 3, 4, 0, 0, 1, 7]  # one has no mate


def library(name, raw, labels):
    from pytorch_metric_learning import losses, miners

    hard = miners.BatchHardMiner()
    match name:
        case "supcon":
            return losses.SupConLoss(temperature=0.1)(raw, labels)
        case "infonce":
            return losses.NTXentLoss(temperature=0.1)(raw, labels)
        case _:
            soft = name == "batch_hard_soft"
            return losses.TripletMarginLoss(margin=0.2, smooth_loss=soft)(raw, labels, hard(raw, labels))


@pytest.mark.parametrize(
    ("name", "ours"),
    [
        ("batch_hard", ("triplet", {"distance": "euclidean", "margin_distance": 0.2})),
        ("batch_hard_soft", ("triplet", {"distance": "euclidean", "margin_distance": 0.2, "soft": True})),
        ("supcon", ("supcon", {})),
        ("infonce", ("infonce", {})),
    ],
)
def test_agrees_with_pytorch_metric_learning(name, ours):
    objective, options = ours
    raw, labels = drawn(MANY)
    mine = make_objective(objective, dim=DIM, identities=8, **options)(raw, labels)
    its = library(name, raw, labels)
    torch.testing.assert_close(mine, its, rtol=1e-5, atol=1e-6)
    for one, other in zip(torch.autograd.grad(mine, raw), torch.autograd.grad(its, raw), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)


def test_memory_agrees_with_pytorch_metric_learning():
    """Theirs holds the batch among what it remembers: 64 rows there are 50 past ones and the batch's 14 here."""
    from pytorch_metric_learning import losses

    theirs = losses.CrossBatchMemory(losses.NTXentLoss(0.1), embedding_size=DIM, memory_size=64)
    ours = make_objective("infonce", dim=DIM, identities=8, memory=50)
    for step in range(8):  # both rings go round
        raw, labels = drawn(MANY, seed=step)
        torch.testing.assert_close(ours(raw, labels), theirs(raw, labels), rtol=1e-5, atol=1e-5)


labelled = st.lists(st.integers(0, 4), min_size=2, max_size=14)


def angles_of(raw):
    unit = torch.nn.functional.normalize(raw.detach().double())
    return (unit @ unit.t()).clamp(-1, 1)


@given(labelled, st.integers(0, 10**6))
@settings(max_examples=60)
def test_batch_hard_is_its_definition(labels, seed):
    raw, tensor = drawn(labels, seed)
    cosines = angles_of(raw)
    mated = tensor[:, None] == tensor[None]
    own = torch.eye(len(labels), dtype=torch.bool)
    found = mining.batch_hard(cosines, mated=mated, self_mated=own)
    for row, label in enumerate(labels):
        positives = [j for j, other in enumerate(labels) if other == label and j != row]
        negatives = [j for j, other in enumerate(labels) if other != label]
        assert bool(found.valid[row]) == bool(positives and negatives)
        if positives and negatives:
            assert int(found.positives[row]) == min(positives, key=lambda j: cosines[row, j])
            assert int(found.negatives[row]) == max(negatives, key=lambda j: cosines[row, j])


@given(labelled, st.integers(0, 10**6), st.sampled_from([1, 20, 10**6]))
@settings(max_examples=60)
def test_semi_hard_is_its_definition(labels, seed, buffer):
    raw, tensor = drawn(labels, seed)
    cosines = angles_of(raw)
    mated = tensor[:, None] == tensor[None]
    own = torch.eye(len(labels), dtype=torch.bool)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(mining, "BUFFER", buffer)
        found = mining.semi_hard(cosines, mated=mated, self_mated=own)
    expected = set()
    for row, label in enumerate(labels):
        negatives = [j for j, other in enumerate(labels) if other != label]
        for positive, other in enumerate(labels):
            if other != label or positive == row or not negatives:
                continue
            below = [j for j in negatives if cosines[row, j] < cosines[row, positive]]
            choose = (
                max(below, key=lambda j: cosines[row, j])
                if below
                else min(negatives, key=lambda j: cosines[row, j])
            )
            expected.add((row, positive, choose))
    triplets = zip(found.anchors.tolist(), found.positives.tolist(), found.negatives.tolist(), strict=True)
    assert set(triplets) == expected
    assert found.valid.all()


@given(labelled, st.integers(0, 10**6), st.floats(0, 1))
@settings(max_examples=60)
def test_a_curriculum_goes_from_the_median_to_the_hardest(labels, seed, fraction):
    raw, tensor = drawn(labels, seed)
    cosines = angles_of(raw)
    mated = tensor[:, None] == tensor[None]
    own = torch.eye(len(labels), dtype=torch.bool)
    found = mining.curriculum(cosines, mated=mated, self_mated=own, fraction=fraction)
    hard = mining.batch_hard(cosines, mated=mated, self_mated=own)
    assert torch.equal(found.valid, hard.valid)
    for row in found.valid.nonzero()[:, 0].tolist():
        negatives = sorted(cosines[row][~mated[row]].tolist())
        positives = sorted(cosines[row][mated[row] & ~own[row]].tolist(), reverse=True)
        for chosen, ranked in ((found.negatives, negatives), (found.positives, positives)):
            place = ranked.index(float(cosines[row, chosen[row]]))
            assert place == pytest.approx((1 + fraction) / 2 * (len(ranked) - 1), abs=0.501)
    if fraction == 1:
        assert torch.equal(found.negatives[found.valid], hard.negatives[found.valid])
        assert torch.equal(found.positives[found.valid], hard.positives[found.valid])


def test_angles_between_near_duplicates_are_exact():
    """1 - cosine has no digits left at 1e-4 radians in float32; the distances of what was chosen do."""
    angles = torch.tensor([0.0, 1e-4, 1.0, 1.0 + 1e-4], dtype=torch.float64)
    raw = torch.stack([angles.cos(), angles.sin()], dim=1).float()
    loss = make_objective("triplet", dim=2, identities=2, margin_rad=1.5)(raw, torch.tensor([0, 0, 1, 1]))
    assert float(loss) == pytest.approx(1.5 + 1e-4 - (1.0 - 0.5e-4), abs=1e-6)


def test_identical_samples_do_no_harm():
    raw = torch.ones(4, DIM, requires_grad=True)
    for name in ("triplet", "supcon", "infonce", "siamese"):
        loss = make_objective(name, dim=DIM, identities=2)(raw, torch.tensor([0, 0, 1, 1]))
        (grad,) = torch.autograd.grad(loss, raw)
        assert torch.isfinite(loss)
        assert torch.isfinite(grad).all()


def test_the_curriculums_margin_stays():
    raw, labels = drawn(MANY)
    one = make_objective("triplet", dim=DIM, identities=8, mining="curriculum")
    other = make_objective("triplet", dim=DIM, identities=8)
    assert torch.equal(one(raw, labels), other(raw, labels))
    one.advance(0.0)
    other.advance(0.0)
    assert float(one(raw, labels).detach()) < float(
        make_objective("triplet", dim=DIM, identities=8)(raw, labels).detach()
    )


@pytest.mark.parametrize("how", ["batch_hard", "semi_hard", "curriculum"])
def test_nothing_of_the_size_of_all_triplets_is_made(how):
    raw, labels = drawn([n % 64 for n in range(256)])
    with Sizes() as sizes:
        make_objective("triplet", dim=DIM, identities=64, mining=how)(raw, labels).backward()
    pairs = 3 if how == "semi_hard" else 1  # mated pairs of an anchor
    assert sizes.largest <= pairs * 256 * 256


def test_temperature_is_learnt_and_bounded():
    objective = make_objective("infonce", dim=DIM, identities=4, temperature=0.02)
    raw = torch.nn.functional.one_hot(torch.tensor([0, 1, 2, 3, 0, 1, 2, 3]), DIM).float()
    labels = torch.arange(8) % 4
    optimiser = torch.optim.SGD(objective.parameters(), lr=3000.0)
    for _ in range(3):  # all told apart: colder is better
        optimiser.zero_grad()
        objective(raw, labels).backward()
        optimiser.step()
    objective.temperature.log_scale.data.fill_(9.0)
    assert float(objective.temperature) == pytest.approx(0.01)
    optimiser.zero_grad()
    objective(raw, torch.arange(8) // 2).backward()  # wrong labels: warmer is better, and the bound lets it
    assert float(objective.temperature.log_scale.grad) > 0
    fixed = make_objective("infonce", dim=DIM, identities=4, learn_temperature=False)
    assert not fixed.temperature.log_scale.requires_grad


def test_a_memory_holds_past_batches_against_this_one():
    objective = make_objective("supcon", dim=DIM, identities=9, memory=100)
    plain = make_objective("supcon", dim=DIM, identities=9)
    first, later = drawn([0, 0, 1, 1], seed=1), drawn([0, 0, 2, 2], seed=2)
    assert torch.equal(objective(*first), plain(*first))
    assert not torch.equal(objective(*later), plain(*later))
    assert objective.memory.filled == 8
    assert not objective.memory.rows.requires_grad


@given(st.integers(1, 9), st.lists(st.integers(0, 12), max_size=8))
def test_a_memory_is_a_ring(size, batches):
    memory, model, number = Memory(size, dim=2), deque(maxlen=size), 0
    for count in batches:
        labels = torch.arange(number, number + count)
        memory.remember(labels[:, None].float().expand(-1, 2), labels)
        model.extend(labels.tolist())
        number += count
    rows, labels = memory.recall()
    assert sorted(labels.tolist()) == sorted(model)
    assert torch.equal(rows[:, 0].long(), labels)


@pytest.mark.parametrize("name", ["triplet", "supcon", "infonce", "siamese", "circle"])
def test_a_batch_that_teaches_nothing(name):
    with pytest.raises(UsageError, match=r"no identity occurs twice in a batch of 4.*sampler.identities"):
        make_objective(name, dim=DIM, identities=9)(*drawn([0, 1, 2, 3]))
    with pytest.raises(UsageError, match="all 3 samples of a batch are of one identity"):
        make_objective(name, dim=DIM, identities=9)(*drawn([5, 5, 5]))


@pytest.mark.parametrize("labels", [[0, 1, 2, 3], [5, 5, 5], [5], []])
@pytest.mark.parametrize(
    "name", ["triplet", "triplet_semi_hard", "supcon", "infonce", "siamese", "multi_similarity"]
)
def test_a_later_batch_that_teaches_nothing_does_no_harm(name, labels):
    name, _, how = name.partition("_") if name.startswith("triplet") else (name, "", "")
    objective = make_objective(name, dim=DIM, identities=9, **({"mining": how} if how else {}))
    objective(*drawn(MANY))
    raw, labels = drawn(labels)
    loss = objective(raw, labels.long())
    (grad,) = torch.autograd.grad(loss, raw)
    assert torch.isfinite(loss)
    assert torch.isfinite(grad).all()
    if name in ("triplet", "infonce"):
        assert float(loss.detach()) == 0.0


@pytest.mark.parametrize(
    ("name", "options", "said"),
    [
        ("triplet", {"mining": "batchhard"}, "no mining 'batchhard'; did you mean 'batch_hard'"),
        ("triplet", {"distance": "cosine"}, "no distance 'cosine'"),
        ("triplet", {"margin_rad": 17.0}, "17 degrees are 0.297"),
        ("triplet", {"margin_distance": 0.2}, "takes its margin as margin_rad"),
        ("triplet", {"distance": "euclidean", "margin_rad": 0.2}, "takes its margin as margin_distance"),
        ("triplet", {"memory": -1}, "memory = -1"),
        ("supcon", {"temperature": 0.0}, "temperature = 0"),
        ("infonce", {"views": 3}, "views = 3: must be 1 to 2"),
        ("siamese", {"margin_rad": 45.0}, "45 degrees are 0.785"),
        ("circle", {"scale": 0.0}, "scale = 0"),
    ],
)
def test_values_out_of_range(name, options, said):
    with pytest.raises(UsageError, match=said):
        make_objective(name, dim=DIM, identities=9, **options)
