"""How long a person waits: `verify --help` and `verify compare a.jpg b.jpg`, each in a new process.

Run: python tools/bench/start_up.py [PHOTO PHOTO]   (default: the demonstration's sample portraits)

Bars: --help under 150 ms, importing neither numpy, torch nor cv2; compare under 1.0 s on 2 cores.
"""

from __future__ import annotations

import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path


def seconds(command: list[str], *, rounds: int) -> list[float]:
    times = []
    for _ in range(rounds + 1):  # the first round warms the file cache and is not counted
        start = time.perf_counter()
        subprocess.run(command, check=False, capture_output=True)
        times.append(time.perf_counter() - start)
    return times[1:]


def main() -> None:
    console = shutil.which("verify", path=str(Path(sys.executable).parent))
    verify = [console] if console else [sys.executable, "-m", "verify"]
    photos = sys.argv[1:3]
    if len(photos) < 2:
        from verify.models.samples import pull_samples

        folder = pull_samples()[0] / "faces" / "jacinda-ardern"
        photos = [str(path) for path in sorted(folder.iterdir())]
    loaded = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "verify", "--help"],
        check=True,
        capture_output=True,
        text=True,
    ).stderr
    heavy = [name for name in ("numpy", "torch", "cv2") if f"| {name}\n" in loaded]
    bare = statistics.median(seconds([sys.executable, "-c", "pass"], rounds=10))
    shown = seconds([*verify, "--help"], rounds=20)
    compared = seconds([*verify, "compare", *photos, "--uncalibrated", "0.3"], rounds=7)
    print(f"bare Python start          {bare * 1e3:7.0f} ms")
    print(
        f"verify --help              {statistics.median(shown) * 1e3:7.0f} ms   (worst {max(shown) * 1e3:.0f}, bar 150)"
    )
    print(f"  heavy imports            {', '.join(heavy) or 'none'}")
    worst = max(compared) * 1e3
    print(
        f"verify compare, two photos {statistics.median(compared) * 1e3:7.0f} ms   (worst {worst:.0f}, bar 1000)"
    )


if __name__ == "__main__":
    main()
