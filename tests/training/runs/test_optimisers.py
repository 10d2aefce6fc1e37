"""What decays, what moves at which rate, and that an optimiser's state comes back whole."""

from __future__ import annotations

import pytest

pytest.importorskip("torch", reason="needs the training extra")

import torch

from verify.training.optimisers import make_optimiser, restore_state, set_lr, state_of
from verify.training.parts import Objectives
from verify.training.recipe import ObjectiveSection, OptimiserSection

pytestmark = pytest.mark.train
CPU = torch.device("cpu")


def small() -> tuple[torch.nn.Module, Objectives]:
    torch.manual_seed(0)
    net = torch.nn.Sequential(
        torch.nn.Conv1d(2, 3, 1), torch.nn.BatchNorm1d(3), torch.nn.PReLU(3), torch.nn.Flatten()
    )
    sections = (ObjectiveSection(name="arcface"), ObjectiveSection(name="infonce"))
    return net, Objectives(sections, dim=3, identities=4, modality="face")


def named(net: torch.nn.Module, objectives: Objectives) -> dict[torch.nn.Parameter, str]:
    both = (*net.named_parameters(prefix="net"), *objectives.named_parameters(prefix="objective"))
    return {parameter: name for name, parameter in both}


@pytest.mark.parametrize("name", ["sgd", "adamw"])
def test_kernels_and_centres_decay_and_nothing_else(name) -> None:
    net, objectives = small()
    names = named(net, objectives)
    section = OptimiserSection(name=name, weight_decay=0.25)
    optimiser = make_optimiser(section, net, objectives, device=CPU)
    decay = {names[p]: group["weight_decay"] for group in optimiser.param_groups for p in group["params"]}
    assert decay.keys() == set(names.values())
    assert {name for name, share in decay.items() if share} == {"net.0.weight", "objective.terms.0.centres"}
    assert set(decay.values()) == {0.0, 0.25}


def test_objectives_have_a_rate_of_their_own() -> None:
    net, objectives = small()
    section = OptimiserSection(objective_lr=10.0)
    optimiser = make_optimiser(section, net, objectives, device=CPU)
    set_lr(optimiser, 0.5)
    own = set(objectives.parameters())
    for group in optimiser.param_groups:
        assert group["lr"] == (5.0 if own & set(group["params"]) else 0.5)


@pytest.mark.parametrize("name", ["sgd", "adamw"])
def test_state_comes_back_to_the_last_bit(name) -> None:
    """Two more steps after a restore are those of the optimiser that went on."""

    def trained(*, stop: int | None) -> list[torch.Tensor]:
        net, objectives = small()
        names = named(net, objectives)
        section = OptimiserSection(name=name, lr=0.1)
        optimiser = make_optimiser(section, net, objectives, device=CPU)
        for step in range(5):
            if step == stop:
                kept = {key: value.clone() for key, value in state_of(optimiser, names).items()}
                optimiser = make_optimiser(section, net, objectives, device=CPU)
                restore_state(optimiser, names, kept)
            generator = torch.Generator().manual_seed(step)
            for parameter in names:
                parameter.grad = torch.randn(parameter.shape, generator=generator)
            optimiser.step()
        return [parameter.detach() for parameter in names]

    for one, other in zip(trained(stop=None), trained(stop=3), strict=True):
        assert torch.equal(one, other)
