"""Join one-second words of a speaker into samples long enough to decide on.

    python tools/data/join_words.py VERIFY_DATA/voices/arabic_commands OUT [--join 4 | --mixed]

Reads ``<subject>/<word>_<take>.flac`` and writes ``<subject>/take<take>_<n>.flac`` under OUT, which must
lie outside the repository: recordings are never committed. Words of different takes are never mixed, and
no word is used twice, so that the samples of a speaker share no recording; the words left over at the end of a
take are dropped. Every speaker and take has its own order of words (fixed by hash), so that two samples hardly
ever say the same: with one order for all, scores would also measure that the text is the same.

With --mixed the samples of a speaker have 3, 4, ... 12, 3, 4, ... words in turn, through all takes: recordings as
long as they come, from two seconds of speech to ten.
"""

from __future__ import annotations

import argparse
import hashlib
from collections import defaultdict
from itertools import cycle
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import soundfile

if TYPE_CHECKING:
    from collections.abc import Sequence

MIXED = tuple(range(3, 13))


def join_words(source: Path, target: Path, *, join: int | Sequence[int]) -> int:
    """Write the joined recordings, of `join` words or of each number of words in turn; return how many."""
    written = 0
    for subject in sorted(path for path in source.iterdir() if path.is_dir()):
        takes: defaultdict[str, list[Path]] = defaultdict(list)
        for word in sorted(subject.glob("*.flac")):
            takes[word.stem.rsplit("_", 1)[1]].append(word)
        lengths = cycle((join,) if isinstance(join, int) else join)
        length = next(lengths)
        for take, words in takes.items():
            words.sort(key=lambda word: hashlib.sha256(f"{word.parent.name}/{word.stem}".encode()).digest())
            first = number = 0
            while first + length <= len(words):
                parts = [soundfile.read(word, dtype="int16") for word in words[first : first + length]]
                rates = {rate for _, rate in parts}
                if len(rates) > 1:
                    msg = f"{subject}: words of different sample rates {sorted(rates)}"
                    raise SystemExit(msg)
                file = target / subject.name / f"take{take}_{number:02d}.flac"
                file.parent.mkdir(parents=True, exist_ok=True)
                soundfile.write(file, np.concatenate([samples for samples, _ in parts]), rates.pop())
                first, number, length = first + length, number + 1, next(lengths)
                written += 1
    return written


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("source", type=Path)
    parser.add_argument("target", type=Path)
    parser.add_argument(
        "--join", type=int, default=4, help="words in each sample (default 4: about four seconds)"
    )
    parser.add_argument("--mixed", action="store_true", help="samples of 3 to 12 words in turn")
    options = parser.parse_args()
    repository = Path(__file__).resolve().parents[2]
    if options.target.resolve().is_relative_to(repository):
        parser.error(f"{options.target} lies inside the repository; recordings are never committed")
    join = MIXED if options.mixed else options.join
    print(f"{join_words(options.source, options.target, join=join)} recordings in {options.target}")


if __name__ == "__main__":
    main()
