"""Objectives on two views: against their formulas and against pytorch-metric-learning."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch", reason="needs the training extra")

from torch.nn import functional  # noqa: E402

from verify.errors import UsageError  # noqa: E402
from verify.training.objectives import make_objective  # noqa: E402

pytestmark = pytest.mark.train
DIM, SAMPLES = 6, 9


def views(seed=0):
    generator = torch.Generator().manual_seed(seed)
    one, other = torch.randn(2, SAMPLES, DIM, generator=generator)
    return one, one + 0.5 * other


def interleaved(one, other):
    """Rows in an order of their own: the views of a sample stand apart, A before B."""
    raw, labels = torch.cat([one, other]), torch.arange(2 * SAMPLES) % SAMPLES
    order = torch.tensor([3, 0, 12, 1, 9, 2, 4, 5, 13, 6, 10, 7, 8, 11, 14, 15, 16, 17])
    return raw[order], labels[order], order


def test_vicreg_agrees_with_pytorch_metric_learning():
    from pytorch_metric_learning.losses import VICRegLoss

    one, other = views()
    raw, labels, _ = interleaved(one, other)
    mine = make_objective("vicreg", dim=DIM, identities=2)(raw, labels)
    torch.testing.assert_close(mine, VICRegLoss()(one, ref_emb=other), rtol=1e-5, atol=1e-5)


def test_byol_predicts_the_other_views_target():
    one, other = views()
    raw, labels, order = interleaved(one, other)
    objective = make_objective("byol", dim=DIM, identities=2)
    target = torch.cat(views(seed=5))
    guess = functional.normalize(objective.predictor(torch.cat([one, other])[order]))[order.argsort()]
    truth = functional.normalize(target)
    cosines = (guess[:SAMPLES] * truth[SAMPLES:]).sum(1), (guess[SAMPLES:] * truth[:SAMPLES]).sum(1)
    expected = (2 - 2 * cosines[0]).mean() / 2 + (2 - 2 * cosines[1]).mean() / 2
    torch.testing.assert_close(objective(raw, labels, target=target[order]), expected)


def test_no_gradient_goes_to_the_target():
    raw, labels, _ = interleaved(*views())
    target = raw.clone().requires_grad_()
    for name in ("byol", "moco"):
        objective = make_objective(name, dim=DIM, identities=2)
        objective(raw.clone().requires_grad_(), labels, target=target).backward()
        assert target.grad is None


def test_simsiam_stops_the_gradient_of_what_it_predicts():
    one, other = views()
    raw, labels, _ = interleaved(one, other)
    objective = make_objective("simsiam", dim=DIM, identities=2)
    raw.requires_grad_()
    guess = functional.normalize(objective.predictor(raw))
    order = labels.argsort(stable=True).view(-1, 2)
    truth = functional.normalize(raw.detach())
    expected = -(guess[order[:, 0]] * truth[order[:, 1]]).sum(1).mean() / 2
    expected = expected - (guess[order[:, 1]] * truth[order[:, 0]]).sum(1).mean() / 2
    found = objective(raw, labels)
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(torch.autograd.grad(found, raw), torch.autograd.grad(expected, raw))


def test_clip_is_cross_entropy_in_both_directions():
    one, other = views()
    raw, labels, _ = interleaved(one, other)
    logits = functional.normalize(one) @ functional.normalize(other).t() / 0.1
    partner = torch.arange(SAMPLES)
    expected = (functional.cross_entropy(logits, partner) + functional.cross_entropy(logits.t(), partner)) / 2
    torch.testing.assert_close(make_objective("clip", dim=DIM, identities=2)(raw, labels), expected)


def test_moco_holds_queries_against_keys_and_the_queue():
    objective = make_objective("moco", dim=DIM, identities=2, memory=4 * SAMPLES)
    queue = []
    for step in range(2):
        one, other = views(seed=step)
        raw, labels, order = interleaved(one, other)
        keys = functional.normalize(torch.cat(views(seed=step + 7)))
        expected = 0.0
        queries = functional.normalize(torch.cat([one, other]))
        for row in range(2 * SAMPLES):
            mate = (row + SAMPLES) % (2 * SAMPLES)
            others = [keys[column] for column in range(2 * SAMPLES) if column % SAMPLES != row % SAMPLES]
            past = list(queue)
            logits = torch.stack([keys[mate], *others, *past]) @ queries[row] / 0.1
            expected = expected + functional.cross_entropy(logits[None], torch.tensor([0])) / (2 * SAMPLES)
        found = objective(raw, labels, target=torch.cat(views(seed=step + 7))[order])
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)
        queue = keys
    assert objective.memory.filled == 4 * SAMPLES


@pytest.mark.parametrize("name", ["byol", "moco"])
def test_an_averaged_network_is_asked_for(name):
    raw, labels, _ = interleaved(*views())
    with pytest.raises(UsageError, match="averaged network"):
        make_objective(name, dim=DIM, identities=2)(raw, labels)


@pytest.mark.parametrize("name", ["simsiam", "vicreg", "clip"])
@pytest.mark.parametrize("labels", [[0, 1, 2], [0, 1, 2, 3], [0, 0, 0, 1]])
def test_samples_that_do_not_come_twice(name, labels):
    with pytest.raises(UsageError, match=r"must come twice in a batch; set sampler.views = 2"):
        make_objective(name, dim=DIM, identities=2)(torch.randn(len(labels), DIM), torch.tensor(labels))


@pytest.mark.parametrize(
    ("name", "options", "said"),
    [
        ("byol", {"hidden": -1}, "hidden = -1"),
        ("vicreg", {"variance": -1.0}, "variance = -1"),
        ("moco", {"memory": -5}, "memory = -5"),
        ("clip", {"temperature": 100.0}, "temperature = 100: must be 0.01 to 10"),
    ],
)
def test_values_out_of_range(name, options, said):
    with pytest.raises(UsageError, match=said):
        make_objective(name, dim=DIM, identities=2, **options)
