"""How fast prepared sets are read at random, in one process.

    python tools/bench/prepared_reading.py PREPARED...

For each set: processor time to open it, to read a whole sample (faces: checked and decoded), and of voices a crop
of two seconds; the best of three passes over up to 4,000 samples in random order.
"""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING

import cv2
import numpy as np

from verify.training.shards import PreparedSet
from verify.types import Modality

if TYPE_CHECKING:
    from collections.abc import Callable

CROP = 32_000


def main() -> None:
    cv2.setNumThreads(1)
    print("| set | samples | MB | open, ms | whole sample, us | samples/s | 2 s crop, us |")
    print("|---|---|---|---|---|---|---|")
    for place in sys.argv[1:]:
        start = time.process_time()
        data = PreparedSet.open(place)
        opened = time.process_time() - start
        order = np.random.default_rng(0).permutation(len(data))[:4000].tolist()
        size = sum(path.stat().st_size for path in data.path.glob("*.arrow"))
        whole = timed(data.media, order)
        crop = f"{timed(middle(data), order) * 1e6:.0f}" if data.modality is Modality.VOICE else ""
        cells = (
            data.name,
            f"{len(data):,}",
            f"{size / 1e6:.1f}",
            f"{opened * 1e3:.0f}",
            f"{whole * 1e6:.0f}",
        )
        print(f"| {' | '.join(cells)} | {1 / whole:,.0f} | {crop} |")


def middle(data: PreparedSet) -> Callable[[int], object]:
    """Reads two seconds from a sample's middle."""
    starts = (np.maximum(data.lengths - CROP, 0) // 2).tolist()
    return lambda i: data.media(i, start=starts[i], count=CROP)


def timed(one: Callable[[int], object], order: list[int]) -> float:
    """Processor seconds of one call."""
    best = np.inf
    for _ in range(3):
        start = time.process_time()
        for i in order:
            one(i)
        best = min(best, (time.process_time() - start) / len(order))
    return float(best)


if __name__ == "__main__":
    main()
