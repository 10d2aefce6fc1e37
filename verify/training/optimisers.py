"""The optimiser of a recipe: which parameters decay, how gradients are clipped, how its state travels."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from verify.errors import UsageError
from verify.training import distributed

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from torch import Tensor, nn

    from verify.training.recipe import OptimiserSection, Recipe


def freeze(net: nn.Module, prefixes: Sequence[str]) -> tuple[nn.Module, ...]:
    """Stop gradients of every parameter whose name begins with a prefix; return the modules to keep in eval mode.

    Raises:
        UsageError: a prefix that no parameter has, or nothing is left to train.
    """
    names = [name for name, _ in net.named_parameters()]
    for prefix in prefixes:
        if not any(_under(name, prefix) for name in names):
            from verify.config import unknown

            tops = {name.split(".")[0] for name in names}
            raise UsageError(f"model, freeze: {unknown(prefix, tops, what='parameters under')}")  # noqa: TRY003, EM102
    for name, parameter in net.named_parameters():
        if any(_under(name, prefix) for prefix in prefixes):
            parameter.requires_grad_(False)  # noqa: FBT003  torch's own signature
    if not any(parameter.requires_grad for parameter in net.parameters()):
        msg = f"model, freeze: {list(prefixes)} leaves nothing of the network to train"
        raise UsageError(msg)
    return tuple(
        module for name, module in net.named_modules() if any(_under(name, prefix) for prefix in prefixes)
    )


def normalisations(net: nn.Module) -> tuple[nn.Module, ...]:
    """Modules that gather statistics over batches; in eval mode they normalise with what they have gathered."""
    return tuple(module for module in net.modules() if getattr(module, "running_mean", None) is not None)


def make_optimiser(
    section: OptimiserSection, net: nn.Module, objectives: nn.Module, *, device: torch.device
) -> torch.optim.Optimizer:
    """SGD or AdamW over network and objectives, in groups.

    Matrices and kernels decay; biases, normalisation and temperatures (all with fewer than two dimensions) do
    not. Each group carries ``factor``, by which the schedule's rate is multiplied.
    """
    groups: list[dict[str, Any]] = []
    for module, factor in ((net, 1.0), (objectives, section.objective_lr)):
        trained = [p for p in module.parameters() if p.requires_grad]
        for decays in (True, False):
            some = [p for p in trained if (p.dim() > 1) is decays]
            if some:
                decay = section.weight_decay if decays else 0.0
                groups.append({"params": some, "weight_decay": decay, "factor": factor})
    if section.name == "sgd":
        return torch.optim.SGD(groups, lr=section.lr, momentum=section.momentum)
    return torch.optim.AdamW(groups, lr=section.lr, fused=device.type == "cuda")


def set_lr(optimiser: torch.optim.Optimizer, lr: float) -> None:
    """Set the schedule's rate, times each group's factor."""
    for group in optimiser.param_groups:
        group["lr"] = lr * group["factor"]


def state_of(optimiser: torch.optim.Optimizer, names: Mapping[nn.Parameter, str]) -> dict[str, Tensor]:
    """Momenta and counters as named tensors: ``<parameter>/<key>``."""
    return {
        f"{names[parameter]}/{key}": torch.as_tensor(value)
        for parameter, values in optimiser.state.items()
        for key, value in values.items()
        if value is not None
    }


def restore_state(
    optimiser: torch.optim.Optimizer, names: Mapping[nn.Parameter, str], state: Mapping[str, Tensor]
) -> None:
    """Take them back, in each parameter's memory layout and on its device."""
    parameters = {name: parameter for parameter, name in names.items()}
    optimiser.state.clear()
    for place, value in state.items():
        name, _, key = place.rpartition("/")
        parameter = parameters[name]
        like = torch.empty_like(parameter) if value.shape == parameter.shape else torch.empty_like(value)
        if key == "step" and parameter.device.type == "cuda":
            like = like.to(parameter.device)
        optimiser.state[parameter][key] = like.copy_(value)


@torch.no_grad()
def clip(
    replicated: Iterable[nn.Parameter], *, sharded: Iterable[nn.Parameter] = (), max_norm: float
) -> Tensor:
    """Scale gradients down to an L2 norm of at most `max_norm` (0: leave them); return the norm before. No waiting.

    The norm is the same number on every process, to the last bit: else their copies of the network would drift apart.

    Args:
        replicated: parameters that all processes have alike, their gradients averaged.
        sharded: parameters of this process alone; with several processes a collective call if there are any.
        max_norm: of all gradients together.
    """
    grads = [parameter.grad for parameter in replicated if parameter.grad is not None]
    own = [parameter.grad for parameter in sharded if parameter.grad is not None]
    square = _square(grads)
    if own:
        shards = _square(own)
        if distributed.size() > 1:
            torch.distributed.all_reduce(shards)
        square = square + shards
    norm = square.sqrt()
    if max_norm > 0:
        torch._foreach_mul_([*grads, *own], (max_norm / (norm + 1e-6)).clamp(max=1.0))
    return norm


def _square(grads: list[Tensor]) -> Tensor:
    """Squared L2 norm of all of them, in one kernel."""
    return torch.stack(torch._foreach_norm(grads)).square().sum()  # noqa: SLF001


def check_precision(recipe: Recipe, device: torch.device) -> None:
    """Refuse bf16 where the GPU has none.

    Raises:
        UsageError: says what to set.
    """
    if recipe.run.precision == "bf16" and device.type == "cuda" and not torch.cuda.is_bf16_supported():
        msg = f"run, precision: {torch.cuda.get_device_name(device)} has no bf16; set run.precision = 'fp32'"
        raise UsageError(msg)


def _under(name: str, prefix: str) -> bool:
    return name == prefix or name.startswith(prefix.rstrip(".") + ".")
