"""Gradient caching gives the gradients of the whole batch."""

from __future__ import annotations

import copy
from functools import partial

import pytest

torch = pytest.importorskip("torch", reason="needs the training extra")

from verify.errors import UsageError  # noqa: E402
from verify.training.gradient_cache import cached_backward  # noqa: E402
from verify.training.objectives import make_objective  # noqa: E402

pytestmark = pytest.mark.train
ROWS, WIDE, DIM = 22, 10, 6


@pytest.fixture(autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def network(*more: torch.nn.Module):
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Linear(WIDE, 12), *more, torch.nn.ReLU(), torch.nn.Linear(12, DIM))


def batch():
    generator = torch.Generator().manual_seed(1)
    return torch.randn(ROWS, WIDE, generator=generator), torch.arange(ROWS) % 7


def grads(*modules: torch.nn.Module):
    return [parameter.grad.clone() for module in modules for parameter in module.parameters()]


@pytest.mark.parametrize("chunk", [1, 5, ROWS, 100])
@pytest.mark.parametrize("name", ["triplet", "supcon", "infonce", "arcface"])
def test_gradients_are_the_whole_batchs(name, chunk):
    net = network(torch.nn.LayerNorm(12))
    objective = make_objective(name, dim=DIM, identities=7)
    inputs, labels = batch()
    loss = objective(net(inputs), labels)
    loss.backward()
    expected = grads(net, objective)
    net.zero_grad()
    objective.zero_grad()
    found = cached_backward(net, inputs, loss_of=lambda raw: objective(raw, labels), chunk=chunk)
    torch.testing.assert_close(found, loss.detach(), rtol=1e-5, atol=1e-5)
    assert not found.requires_grad
    for one, other in zip(grads(net, objective), expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)


def test_gradients_add_up():
    net, objective = network(), make_objective("supcon", dim=DIM, identities=7)
    inputs, labels = batch()
    cached_backward(net, inputs, loss_of=lambda raw: objective(raw, labels), chunk=4)
    once = grads(net)
    cached_backward(net, inputs, loss_of=lambda raw: objective(raw, labels), chunk=4)
    for one, two in zip(once, grads(net), strict=True):
        torch.testing.assert_close(2 * one, two)


def test_dropout_draws_the_same_masks_twice():
    """By hand: one graph over the chunks in turn, which draws each mask once, in the same order."""
    net, objective = network(torch.nn.Dropout(0.5)), make_objective("supcon", dim=DIM, identities=7)
    inputs, labels = batch()
    torch.manual_seed(3)
    objective(torch.cat([net(part) for part in inputs.split(5)]), labels).backward()
    expected, stands = grads(net), torch.rand(3)
    net.zero_grad()
    torch.manual_seed(3)
    cached_backward(net, inputs, loss_of=lambda raw: objective(raw, labels), chunk=5)
    for one, other in zip(grads(net), expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)
    assert torch.equal(torch.rand(3), stands)  # the generator goes on where one pass would have left it


def test_running_statistics_move_once():
    net = network(torch.nn.BatchNorm1d(12))
    plain, objective = copy.deepcopy(net), make_objective("supcon", dim=DIM, identities=7)
    inputs, labels = batch()
    for part in inputs.split(5):
        plain(part)
    cached_backward(net, inputs, loss_of=lambda raw: objective(raw, labels), chunk=5)
    for (name, one), (_, other) in zip(net.named_buffers(), plain.named_buffers(), strict=True):
        torch.testing.assert_close(one, other, msg=name)


def test_a_function_of_the_network_will_do():
    net = network(torch.nn.BatchNorm1d(12))
    plain, objective = copy.deepcopy(net), make_objective("supcon", dim=DIM, identities=7)
    inputs, labels = batch()
    for part in inputs.split(11):
        plain(part)
    cached_backward(
        lambda part: net(part) * 2,
        inputs,
        loss_of=lambda raw: objective(raw, labels),
        chunk=11,
        network=net,
        autocast=partial(torch.autocast, "cpu", torch.bfloat16, enabled=False),
    )
    torch.testing.assert_close(net[1].running_mean, plain[1].running_mean)


def test_under_autocast():
    net, objective = network(), make_objective("supcon", dim=DIM, identities=7)
    inputs, labels = batch()
    mixed = partial(torch.autocast, "cpu", torch.bfloat16)
    with mixed():
        raw = net(inputs)
    objective(raw, labels).backward()
    expected = grads(net)
    net.zero_grad()
    cached_backward(net, inputs, loss_of=lambda raw: objective(raw, labels), chunk=6, autocast=mixed)
    for one, other in zip(grads(net), expected, strict=True):
        torch.testing.assert_close(one, other, rtol=0.05, atol=0.02)


def test_no_chunk_is_no_chunk():
    net, objective = network(), make_objective("supcon", dim=DIM, identities=7)
    inputs, labels = batch()
    with pytest.raises(UsageError, match="chunk = 0"):
        cached_backward(net, inputs, loss_of=lambda raw: objective(raw, labels), chunk=0)


def test_holds_the_activations_of_one_chunk():
    """What a deep network saves for its backward pass, counted: a chunk's, not the batch's."""
    net = torch.nn.Sequential(
        *[layer for _ in range(6) for layer in (torch.nn.Linear(WIDE, WIDE), torch.nn.Tanh())]
    )
    objective = make_objective("supcon", dim=WIDE, identities=7)
    inputs, labels = batch()
    peak, saved = 0, 0

    def pack(tensor):
        nonlocal peak, saved
        saved += len(tensor)
        peak = max(peak, saved)
        return tensor

    def run(part):
        nonlocal saved
        saved = 0
        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            return net(part)

    cached_backward(run, inputs, loss_of=lambda raw: objective(raw, labels), chunk=2)
    chunk = peak
    run(inputs)
    assert chunk < peak / 2
