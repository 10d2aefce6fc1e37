"""One process of two: `test_distributed.py` starts this file twice and compares with one process.

Runs every objective on this rank's share of a joint batch, ragged on purpose, behind DistributedDataParallel, and
writes the gradients.
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from tests.training.objectives.made import CLASSES, DIM, ROWS, VARIANTS, batch, make, target_of
from verify.training import distributed
from verify.training.gradient_cache import cached_backward
from verify.training.objectives import make_objective

SHARE = (14, ROWS - 14)  # rows of each rank
SAMPLED = {"sharded": True, "sample_rate": 0.5}


def network() -> nn.Module:
    torch.manual_seed(5)
    return nn.Linear(DIM, DIM)


def own(rows: Tensor, rank: int) -> Tensor:
    return rows[: SHARE[0]] if rank == 0 else rows[SHARE[0] :]


def steps(variant: str, *, rank: int | None) -> dict[str, Tensor]:
    """Loss and gradients of three steps; `rank` None takes the joint batch in one process."""
    objective, net = make(variant), network()
    sharded = {id(parameter) for parameter in getattr(objective, "sharded_parameters", tuple)()}
    whole = whole_start(objective) if sharded else None
    wrapped = net if rank is None else DistributedDataParallel(net)
    found: dict[str, Tensor] = {}
    for step in range(3):
        inputs, labels = batch(objective, step=step)
        target = target_of(objective, inputs)
        if rank is not None:
            inputs, labels = own(inputs, rank), own(labels, rank)
            target = {key: own(value, rank) for key, value in target.items()}
        net.zero_grad()
        objective.zero_grad()
        loss = objective(wrapped(inputs), labels, **target)
        loss.backward()
        distributed.average_gradients(p for p in objective.parameters() if id(p) not in sharded)
        found[f"{step} loss"] = torch.tensor(distributed.mean(loss.detach()), dtype=torch.float64)
        for name, parameter in [*net.named_parameters(), *objective.named_parameters()]:
            grad = parameter.grad
            found[f"{step} {name}"] = (
                distributed.gather_labels(grad) if id(parameter) in sharded else grad.clone()
            )
    if whole is not None:
        assert torch.equal(objective.whole_state()["centres"], whole)
    return found


def whole_start(objective: nn.Module) -> Tensor:
    """Give a head the same centres however it is split; return them."""
    generator = torch.Generator().manual_seed(11)
    whole = torch.randn(CLASSES * objective.sub, DIM, generator=generator)
    objective.load_state_dict(objective.state_dict() | {"centres": whole})
    return whole


def cached(*, rank: int | None) -> dict[str, Tensor]:
    """Gradient caching of a pair loss behind DDP."""
    objective, net = make("infonce"), network()
    wrapped = net if rank is None else DistributedDataParallel(net)
    inputs, labels = batch(objective)
    if rank is not None:
        inputs, labels = own(inputs, rank), own(labels, rank)
    loss = cached_backward(wrapped, inputs, loss_of=lambda raw: objective(raw, labels), chunk=4)
    distributed.average_gradients(objective.parameters())
    found = {name: p.grad.clone() for name, p in [*net.named_parameters(), *objective.named_parameters()]}
    return found | {"loss": torch.tensor(distributed.mean(loss))}


def sampled() -> dict[str, Tensor]:
    """Classes drawn on each rank, and that resuming draws the same again."""
    head = make_objective("arcface", dim=DIM, identities=40, **SAMPLED)
    inputs, labels = torch.randn(6, DIM, generator=torch.Generator().manual_seed(2)), torch.arange(6)
    labels = labels + 20 * distributed.rank()
    first = head(inputs, labels)
    first.backward()
    touched = (head.centres.grad.norm(dim=1) > 0).sum()
    state = {key: value.clone() for key, value in head.state_dict().items()}
    again = head(inputs, labels).detach()
    head.load_state_dict(state)
    return {
        "touched": distributed.gather_labels(touched[None]),
        "again": torch.stack([again, head(inputs, labels).detach()]),
    }


def agreements(rank: int) -> dict[str, Tensor]:
    here = distributed.world()
    labels = torch.arange(3 - rank) + 10 * rank
    nothing = distributed.gather(torch.zeros(2 if rank else 0, 4))
    distributed.barrier()
    return {
        "world": torch.tensor([here.rank, here.size, here.is_main, here.device.type == "cpu"]),
        "labels": distributed.gather_labels(labels),
        "counts": torch.tensor(distributed.counts(3 - rank)),
        "any": torch.tensor([distributed.any_of(flag) for flag in (rank == 1, rank > 1)]),
        "mean": torch.tensor(distributed.mean(float(rank))),
        "share": torch.tensor(distributed.share(3 - rank)),
        "nothing": torch.tensor(nothing.shape),
    }


def main(folder: Path) -> None:
    torch.set_num_threads(1)
    here = distributed.start("cpu", timeout_s=120)
    found = {"agreements": agreements(here.rank), "cached": cached(rank=here.rank), "sampled": sampled()}
    found |= {variant: steps(variant, rank=here.rank) for variant in VARIANTS}
    flat = {
        f"{case}|{key}": value.contiguous() for case, values in found.items() for key, value in values.items()
    }
    save_file(flat, folder / f"rank{here.rank}.safetensors")
    distributed.stop()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
