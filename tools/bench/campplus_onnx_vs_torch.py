"""CAM++ as verify's ONNX graph against the same network in torch: one thread, same weights, side by side.

    python tools/bench/campplus_onnx_vs_torch.py [--weights campplus_cn_en_common.pt] [--rounds 15]

Needs torch (pip install 'verify[train]'). Without --weights the network has random ones: its speed does
not depend on them. Prints the real-time factor (seconds of computing a second of speech, best and median
of the rounds, torch and ONNX taking turns), their ratio, and the largest difference of a cosine.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

SPEECH_S = (2, 4, 8)
FRAMES_A_SECOND = 100


def main() -> None:
    import numpy as np
    import torch

    from verify.models.bundle import load_session
    from verify.models.graphs.campplus import to_onnx
    from verify.nets.campplus import CAMPPlus

    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--weights", type=Path)
    parser.add_argument("--rounds", type=int, default=15)
    options = parser.parse_args()
    torch.set_num_threads(1)
    net = CAMPPlus().eval()
    with tempfile.TemporaryDirectory() as folder:
        weights = options.weights or Path(folder) / "random.pt"
        if options.weights:
            net.load_state_dict(torch.load(weights, weights_only=True, map_location="cpu"))
        else:
            torch.save(net.state_dict(), weights)
        model = to_onnx(weights)["model.onnx"].SerializeToString()
    session = load_session(model, threads=1)

    def run_onnx(features: np.ndarray) -> np.ndarray:
        return session.run(None, {"features": features})[0]

    def run_torch(features: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            return net(torch.from_numpy(features)).numpy()

    print(f"torch {torch.__version__}, one thread each, {options.rounds} rounds in turns")
    print(f"{'speech':>7} {'torch RTF':>20} {'ONNX RTF':>20} {'ONNX / torch':>13} {'1 - cosine':>11}")
    rng = np.random.default_rng(0)
    for speech_s in SPEECH_S:
        features = rng.standard_normal((1, speech_s * FRAMES_A_SECOND, 80)).astype(np.float32)
        times: dict[str, list[float]] = {"torch": [], "onnx": []}
        for _ in range(options.rounds + 1):
            for name, run in (("torch", run_torch), ("onnx", run_onnx)):
                started = time.perf_counter()
                run(features)
                times[name].append((time.perf_counter() - started) / speech_s)
        best = {name: min(values[1:]) for name, values in times.items()}
        median = {name: statistics.median(values[1:]) for name, values in times.items()}
        shown = {name: f"{best[name]:.4f} ({median[name]:.4f})" for name in times}
        apart = abs(1.0 - float((run_onnx(features) * run_torch(features)).sum()))
        ratio = median["onnx"] / median["torch"]
        print(f"{speech_s:>5} s {shown['torch']:>21} {shown['onnx']:>20} {ratio:>13.2f} {apart:>11.1e}")
    print(f"ONNX file: {len(model) / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
