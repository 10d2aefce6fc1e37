"""Two speakers in one recording: how many enrolment refuses, and how many recordings of one speaker it refuses wrongly.

    VERIFY_DATA=... python tools/measure_two_speakers.py

LibriSpeech test-other: every file alone, and 60 pairs of two speakers with equal shares of 3 to 10 s. Arabic words:
three runs of ten words a speaker, and 60 pairs with five words each. The limit in `verify.voice.embed` was set on
recordings of these same sets, so the counts are optimistic.
"""

from __future__ import annotations

import io
import os
import random
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import soundfile

from verify.capture import CapturePolicy, Capturer, Profile
from verify.types import Reason

if TYPE_CHECKING:
    from collections.abc import Iterable

RATE_HZ, PAIRS = 16_000, 60


def main() -> None:
    data = Path(os.environ.get("VERIFY_DATA", "../shared/data")) / "voices"
    capturer = Capturer.open("voice", threads=1)
    rng = random.Random(1)
    libri = speakers(data / "librispeech_test_other")
    arabic = speakers(data / "arabic_commands")

    def libri_pair() -> np.ndarray:
        one, other = (wave(rng.choice(libri[name])) for name in rng.sample(sorted(libri), 2))
        length = min(len(one), len(other), rng.choice([3, 4, 6, 10]) * RATE_HZ)
        return np.concatenate([one[:length], other[:length]])

    def arabic_pair() -> np.ndarray:
        return joined(path for name in rng.sample(sorted(arabic), 2) for path in arabic[name][:5])

    tell("LibriSpeech, one speaker", capturer, (wave(path) for files in libri.values() for path in files))
    tell("LibriSpeech, two speakers", capturer, (libri_pair() for _ in range(PAIRS)))
    runs = (joined(files[at : at + 10]) for files in arabic.values() for at in (0, 10, 20))
    tell("Arabic words, one speaker", capturer, runs)
    tell("Arabic words, two speakers", capturer, (arabic_pair() for _ in range(PAIRS)))


def speakers(folder: Path) -> dict[str, list[Path]]:
    return {path.name: sorted(path.iterdir()) for path in sorted(folder.iterdir()) if path.is_dir()}


def wave(path: Path) -> np.ndarray:
    return soundfile.read(path, dtype="float32")[0]


def joined(paths: Iterable[Path]) -> np.ndarray:
    return np.concatenate([wave(path) for path in paths])


def tell(name: str, capturer: Capturer, recordings: Iterable[np.ndarray]) -> None:
    policy = CapturePolicy(profile=Profile.ENROLMENT)
    outcomes: Counter[Reason | None] = Counter()
    for recording in recordings:
        media = io.BytesIO()
        soundfile.write(media, recording, RATE_HZ, format="WAV")
        outcomes[capturer.capture(media.getvalue(), policy=policy).failure] += 1
    other = outcomes.total() - outcomes[None] - outcomes[Reason.SEVERAL_SPEAKERS]
    print(
        f"{name:<27} {outcomes[Reason.SEVERAL_SPEAKERS]:3} refused as two, {outcomes[None]:3} passed, "
        f"{other} refused for other reasons"
    )


if __name__ == "__main__":
    main()
