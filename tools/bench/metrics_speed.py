"""Error curve, FNMR at FMR 1e-3 and EER beside scikit-learn, pyeer and bob.measure: time and peak memory.

    python tools/bench/metrics_speed.py [--sizes 1e6 1e7 1e8] [--rivals PYTHON]

Every measurement is a process of its own, on the same float32 scores (a hundredth of them mated), so that memory is its
own too; time is of the call, without making the scores, after one on a few scores that lets it import and compile (the
best of about three, where they take less than five seconds). scikit-learn must be installed beside verify; pyeer and
bob.measure are looked for in the interpreter given with --rivals (they ask for other versions of numpy). What is not
installed, or does not fit into memory, is said so. Ratios are to verify: above 1, verify needs less.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path

TASKS = ("error curve", "FNMR at FMR 1e-3", "EER")
TOOLS = ("verify", "scikit-learn roc_curve", "scikit-learn det_curve", "pyeer", "bob.measure")
LIMIT_S = 900

CHILD = r"""
import json, resource, sys, time
import numpy as np
tool, task, size = sys.argv[1], sys.argv[2], int(float(sys.argv[3]))
rng = np.random.default_rng(0)
mated = (rng.standard_normal(size // 100, dtype=np.float32) * np.float32(0.15) + np.float32(0.6))
non_mated = (rng.standard_normal(size - size // 100, dtype=np.float32) * np.float32(0.1))
def labelled():
    return (np.concatenate([np.ones(mated.size, np.int8), np.zeros(non_mated.size, np.int8)]),
            np.concatenate([mated, non_mated]))
def eer_of(fmr, fnmr):
    at = int(np.argmin(np.abs(fmr - fnmr)))
    return float(fmr[at] + fnmr[at]) / 2
if tool == "verify":
    import verify.metrics as m
    def curve():
        return float(m.error_curve(mated=mated, non_mated=non_mated).fmr.sum())
    def fnmr_at():
        return m.fnmr(mated=mated, threshold=m.threshold_at_fmr(non_mated=non_mated, target=1e-3))
    def eer():
        return m.eer_min_difference(mated=mated, non_mated=non_mated).value
elif tool.startswith("scikit-learn"):
    from sklearn.metrics import det_curve, roc_curve
    def rates():
        if tool.endswith("roc_curve"):
            fpr, tpr, _ = roc_curve(*labelled(), drop_intermediate=False)
            return fpr, 1 - tpr
        fpr, fnr, _ = det_curve(*labelled())
        return fpr, fnr
    def curve():
        return float(rates()[0].sum())
    def fnmr_at():
        fpr, fnr = rates()
        return float(fnr[fpr <= 1e-3].min())
    def eer():
        return eer_of(*rates())
elif tool == "pyeer":
    from pyeer.eer_info import get_eer_stats
    def stats():
        return get_eer_stats(mated, non_mated)
    def curve():
        return float(np.sum(stats().fmr))
    def fnmr_at():
        return float(stats().fmr1000)
    def eer():
        return float(stats().eer)
else:
    import bob.measure as b
    g, n = mated.astype(np.float64), non_mated.astype(np.float64)
    def curve():
        return float(b.roc(n, g, n_points=1000)[0].sum())
    def fnmr_at():
        return float(b.farfrr(n, g, b.far_threshold(n, g, 1e-3))[1])
    def eer():
        return float(b.eer(n, g))
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
call = {"error curve": curve, "FNMR at FMR 1e-3": fnmr_at, "EER": eer}[task]
everything = mated, non_mated
mated, non_mated = mated[:1000], non_mated[:9000]
if tool == "bob.measure":
    doubles = g, n
    g, n = g[:1000], n[:9000]
call()  # compiles and imports what it will
mated, non_mated = everything
if tool == "bob.measure":
    g, n = doubles
best, spent = float("inf"), 0.0
while spent == 0 or (spent < 5 and spent < 3 * best):
    start = time.perf_counter()
    value = call()
    took = time.perf_counter() - start
    best, spent = min(best, took), spent + took
print(json.dumps({"s": best, "mb": peak(), "value": value}))
"""


def main() -> None:
    parser = argparse.ArgumentParser(description="metrics beside other libraries: time and peak memory")
    parser.add_argument("--sizes", type=float, nargs="*", default=[1e6, 1e7, 1e8])
    parser.add_argument("--rivals", default=sys.executable, help="interpreter with pyeer and bob.measure")
    options = parser.parse_args()
    print("| scores | task | tool | seconds | peak MB | time ratio | memory ratio | value |")
    print("|---|---|---|---|---|---|---|---|")
    for size in options.sizes:
        for task in TASKS:
            own: dict[str, float] = {}
            for tool in TOOLS:
                python = options.rivals if tool in {"pyeer", "bob.measure"} else sys.executable
                seen = measured(python, tool, task, size)
                if isinstance(seen, str):
                    print(f"| {size:.0e} | {task} | {tool} | {seen} | | | | |", flush=True)
                    continue
                own = own or seen
                print(
                    f"| {size:.0e} | {task} | {tool} | {seen['s']:.2f} | {seen['mb']:.0f} | "
                    f"{seen['s'] / own['s']:.1f} | {seen['mb'] / own['mb']:.1f} | {seen['value']:.6g} |",
                    flush=True,
                )


def measured(python: str, tool: str, task: str, size: float) -> dict[str, float] | str:
    """Seconds, peak memory and result of one call in a process of its own, or why there is none."""
    if size * needed_bytes(tool) > available_bytes():
        return f"left out: about {size * needed_bytes(tool) / 2**30:.0f} GiB"
    root = str(Path(__file__).resolve().parents[2])
    environment = {**os.environ, "PYTHONPATH": root, "OMP_NUM_THREADS": "1"}
    try:
        done = subprocess.run(
            [python, "-c", CHILD, tool, task, str(size)],
            capture_output=True,
            text=True,
            timeout=LIMIT_S,
            env=environment,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return f"over {LIMIT_S} s"
    if done.returncode:
        last = (done.stderr.strip().splitlines() or [f"ended with {done.returncode}"])[-1]
        return f"not measured: {last[:70]}"
    seen: dict[str, float] = json.loads(done.stdout)
    return seen


def needed_bytes(tool: str) -> int:
    """A generous guess of the bytes that a tool needs for each score."""
    return {"verify": 60, "pyeer": 250, "bob.measure": 80}.get(tool, 120)


def available_bytes() -> int:
    for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    return 8 << 30


if __name__ == "__main__":
    main()
