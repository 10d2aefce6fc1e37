"""What reading, decoding, augmentation and features cost beside the same model and batch with data in memory.

    python tools/bench/input_pipeline.py PREPARED [--network mobilefacenet] [--batch 256] [--workers 8] [--device cuda]

A step is forward, backward and SGD of the network, in bf16 on CUDA. It runs on one batch that lies ready on the
device ("in memory"), and on what the sampler, the loader and the pipeline give, augmented in every way with the
defaults; both in turns, the median of the rounds. On a CPU, where all of it shares the same cores, the processor's
time is taken instead of the clock's, with reading in the same process: other processes do not count.
The goal is a cost under 10 %.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from verify.nets.registry import make_network
from verify.training.loader import Batch, Loader
from verify.training.pipeline import make_pipeline
from verify.training.recipe import SamplerSection
from verify.training.samplers import make_sampler
from verify.training.shards import PreparedSet

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

CROP_S = 2.0
AUGMENT: dict[str, dict[str, Any]] = {
    "face": {
        "flip": True, "crop": True, "colour": True, "grey": True, "occlusion": True, "downscale": True, "blur": True,
        "grain": True, "jpeg": True,
    },
    "voice": {"speed": True, "room": True, "noise": True, "codec": True, "gain": True, "spec": True},
}  # fmt: skip


@dataclass(frozen=True)
class WholeSet:
    """A prepared set as the loader takes it, all subjects."""

    prepared: PreparedSet

    def __getattr__(self, name: str) -> Any:
        return getattr(object.__getattribute__(self, "prepared"), name)

    @property
    def labels(self) -> np.ndarray:
        """(n,) int64."""
        return self.prepared.owner.astype(np.int64)

    def name(self, i: int) -> str:
        """For messages."""
        return self.prepared.name_of(i)


class Bench:
    """The parts of a training step, to be run together or alone."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.device = torch.device(options.device)
        self.data = WholeSet(PreparedSet.open(options.prepared))
        modality = str(self.data.modality)
        self.pipeline = make_pipeline(
            self.data.contract,
            {} if options.plain else AUGMENT[modality],
            identities=len(self.data.subjects),
        ).to(self.device)
        crop = round(CROP_S * 16_000)
        self.loader = Loader(
            self.data,
            self._order(options),
            crop_samples=None if modality == "face" else self.pipeline.samples_needed(crop),
            workers=options.workers,
            pin=self.device.type == "cuda",
        )
        self.net = make_network(options.network).to(self.device)
        if modality == "face":
            self.net = self.net.to(memory_format=torch.channels_last)
        self.optimiser = torch.optim.SGD(self.net.parameters(), lr=1e-3)
        self.ready = self.inputs(next(iter(self.loader)), 0)

    def _order(self, options: argparse.Namespace) -> Iterator[list[int]]:
        section = SamplerSection(batch=min(options.batch, len(self.data.labels)))
        return make_sampler(section, self.data.labels, seed=0).resume(0)

    def inputs(self, batch: Batch, step: int) -> torch.Tensor:
        """What the network takes."""
        return self.pipeline(batch.to(self.device), step)[0]

    def step(self, inputs: torch.Tensor) -> None:
        """Forward, backward, update."""
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.device.type == "cuda"):
            raw = self.net.raw(inputs)
        raw.float().square().mean().backward()
        self.optimiser.step()
        self.optimiser.zero_grad(set_to_none=True)

    def seconds(self, one: Callable[[int], Any], count: int) -> float:
        """Of one run: the processor's on a CPU, the clock's on CUDA."""
        on_cpu = self.device.type == "cpu"
        clock = time.process_time if on_cpu else time.perf_counter
        begun = clock()
        for step in range(count):
            one(step)
        if not on_cpu:
            torch.cuda.synchronize()
        return (clock() - begun) / count


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("prepared", help="folder that `verify prepare` wrote")
    parser.add_argument("--network", default="mobilefacenet")
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--workers", type=int, default=8, help="on a CPU: always 0")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--steps", type=int, default=20, help="of a round")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--plain", action="store_true", help="no augmentation")
    options = parser.parse_args()
    if options.device == "cpu":
        torch.set_num_threads(1)
        options.workers = 0
    bench = Bench(options)
    reading = iter(bench.loader)
    parts: dict[str, Callable[[int], Any]] = {
        "in memory": lambda _: bench.step(bench.ready),
        "whole": lambda step: bench.step(bench.inputs(next(reading), step)),
        "reading alone": lambda _: next(reading),
        "pipeline alone": lambda step: bench.inputs(stored, step),
    }
    stored = next(reading)
    bench.seconds(parts["whole"], 3)  # kernels are chosen, readers get ahead
    taken: dict[str, list[float]] = {name: [] for name in parts}
    for _ in range(options.rounds):
        for name, part in parts.items():
            taken[name].append(bench.seconds(part, options.steps))
    found = {name: statistics.median(times) for name, times in taken.items()}
    rows = len(stored)
    print(json.dumps({
        "network": options.network, "batch": rows, "device": options.device, "workers": options.workers,
        **{f"{name}, ms": round(1e3 * value, 2) for name, value in found.items()},
        "samples_per_s": round(rows / found["whole"]),
        "cost": round(found["whole"] / found["in memory"] - 1, 4),
    }, indent=1))  # fmt: skip
    bench.loader.close()


if __name__ == "__main__":
    main()
