"""A training step of an objective, ours beside plain pytorch-metric-learning: time and peak memory.

    python tools/bench/objective_steps.py [--objectives arcface triplet supcon infonce] [--device cuda] [--threads 1]

A step is the loss of a batch of embeddings and its backward pass, down to the embeddings and to the class centres;
batch-hard mining is part of it. Every measurement is a process of its own. Time is the least of the rounds: of the
processor on a CPU (other processes do not count), by the clock and after waiting for the GPU on CUDA. Memory is what a
step needs on top of inputs and centres at its peak: resident pages on a CPU, allocated by torch on CUDA. On CUDA
float32 products may use TF32 on both sides. Ratios are to ours: above 1, ours needs less.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path

OBJECTIVES = ("arcface", "cosface", "subcenter_arcface", "triplet", "supcon", "infonce")
SIDES = ("verify", "library")

CHILD = r"""
import json, math, resource, sys, threading, time
import torch
side, name, plan = sys.argv[1], sys.argv[2], json.loads(sys.argv[3])
torch.set_num_threads(plan["threads"])
torch.set_float32_matmul_precision("high")
device, dim, identities = torch.device(plan["device"]), plan["dim"], plan["identities"]

def objective():
    if side == "verify":
        from verify.training.objectives import make_objective
        how = {"triplet": {"distance": "euclidean", "margin_distance": 0.2}}
        made = make_objective(name, dim=dim, identities=identities, **how.get(name, {})).to(device)
        return made, list(made.parameters())
    from pytorch_metric_learning import losses, miners
    if name == "triplet":
        loss, miner = losses.TripletMarginLoss(margin=0.2), miners.BatchHardMiner()
        return (lambda raw, labels: loss(raw, labels, miner(raw, labels))), []
    if name == "supcon":
        return losses.SupConLoss(0.1), []
    if name == "infonce":
        return losses.NTXentLoss(0.1), []
    sizes = {"num_classes": identities, "embedding_size": dim, "scale": 64}
    made = {
        "arcface": lambda: losses.ArcFaceLoss(margin=math.degrees(0.5), **sizes),
        "cosface": lambda: losses.CosFaceLoss(margin=0.35, **sizes),
        "subcenter_arcface": lambda: losses.SubCenterArcFaceLoss(margin=math.degrees(0.5), sub_centers=3, **sizes),
    }[name]().to(device)
    return made, list(made.parameters())

def page_count():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize()

def batch(count):
    generator = torch.Generator().manual_seed(0)
    raw = torch.randn(count, dim, generator=generator).to(device).requires_grad_()
    owners = torch.randperm(identities, generator=generator)[: max(1, count // 4)]
    return raw, owners.repeat(4)[:count].to(device)

loss, parameters = objective()

def step(raw, labels):
    raw.grad = None
    for parameter in parameters:
        parameter.grad = None
    value = loss(raw, labels)
    value.backward()
    return value.detach()

cuda = device.type == "cuda"
clock = time.perf_counter if cuda else time.process_time
wait = torch.cuda.synchronize if cuda else (lambda: None)
step(*batch(8))
raw, labels = batch(plan["batch"])
for parameter in parameters:
    parameter.grad = None
wait()
if cuda:
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    step(raw, labels)
    memory = torch.cuda.max_memory_allocated() - before
else:
    before, top, on = page_count(), 0, True
    def watch():
        global top
        while on:
            top = max(top, page_count())
            time.sleep(0.001)
    watcher = threading.Thread(target=watch)
    watcher.start()
    step(raw, labels)
    on = False
    watcher.join()
    memory = max(top, page_count()) - before
times = []
for _ in range(plan["rounds"]):
    wait()
    start = clock()
    value = step(raw, labels)
    wait()
    times.append(clock() - start)
print(json.dumps({"seconds": min(times), "bytes": memory, "loss": float(value)}))
"""


def measure(side: str, name: str, plan: dict[str, object]) -> dict[str, float]:
    root = Path(__file__).resolve().parents[2]
    environment = os.environ | {"PYTHONPATH": str(root), "OMP_NUM_THREADS": str(plan["threads"])}
    done = subprocess.run(
        [sys.executable, "-c", CHILD, side, name, json.dumps(plan)],
        capture_output=True, text=True, check=False, env=environment, cwd=root,
    )  # fmt: skip
    if done.returncode:
        raise SystemExit(done.stderr[-2000:])
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--objectives", nargs="+", default=["arcface", "triplet", "supcon", "infonce"], choices=OBJECTIVES
    )
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--batch", type=int, default=512)
    parser.add_argument("--identities", type=int, default=100_000)
    parser.add_argument("--dim", type=int, default=512)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    plan = {key: value for key, value in vars(options).items() if key not in ("objectives", "json")}
    rows = {name: {side: measure(side, name, plan) for side in SIDES} for name in options.objectives}
    if options.json:
        print(json.dumps({"plan": plan, "rows": rows}, indent=2))
        return
    print(f"batch {options.batch}, {options.identities} identities, {options.dim}-d, {options.device}")
    heads = ("ours ms", "library ms", "ratio", "ours MiB", "library MiB", "ratio")
    print(f"{'objective':18}" + "".join(f"{head:>13}" for head in heads))
    for name, sides in rows.items():
        cells = []
        for unit, factor in (("seconds", 1e3), ("bytes", 2**-20)):
            ours, library = (max(sides[side][unit] * factor, 1e-9) for side in SIDES)
            cells += [f"{ours:.1f}", f"{library:.1f}", f"{library / ours:.2f}"]
        print(f"{name:18}" + "".join(f"{cell:>13}" for cell in cells))


if __name__ == "__main__":
    main()
