"""Face accuracy from raw photos: the LFW 6,000-pair protocol and all pairs of the colour subjects.

    python tools/bench/face_lfw.py --data ../shared/data --models ~/models

Every photo goes through the product's own path (decode, locate, choose, normalise, quality,
embed). A photo that gives no template is a failure to acquire: it is counted, and the pairs that
need it are left out of FMR and FNMR. Accuracy is the mean over ten folds, each judged by the
threshold that is best on the other nine. Bounds are one-sided, 95 %; subjects are taken as the
independent units.
"""

from __future__ import annotations

import argparse
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from verify.errors import VerifyError
from verify.face.decode import decode
from verify.face.embed import open_embedder
from verify.face.locate import choose, open_locator
from verify.face.normalise import normalise
from verify.face.quality import FaceQualityLimits, assess
from verify.metrics import eer_rocch, fmr, fnmr, mated_rate, non_mated_rate, threshold_at_fmr
from verify.models import ModelBundle, open_bundle

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from numpy.typing import NDArray

PAIRS_A_FOLD = 300
TARGET_FMR = 1e-3


@dataclass(frozen=True)
class Pair:
    """Two photos, as paths below the data folder, and the fold of the protocol that they are in."""

    first: str
    second: str
    mated: bool
    fold: int


def read_pairs(path: Path, *, folds: int) -> list[Pair]:
    """The published list: per fold 300 lines `name i j`, then 300 lines `name i other j`."""
    pairs = []
    lines = [line.split("\t") for line in path.read_text().splitlines()[1:] if line.strip()]
    for number, (name, i, *rest) in enumerate(lines):
        fold = number // (2 * PAIRS_A_FOLD)
        other, j = (name, rest[0]) if len(rest) == 1 else rest
        photos = [f"{who}/{who}_{int(which):04d}.jpg" for who, which in ((name, i), (other, j))]
        pairs.append(Pair(photos[0], photos[1], mated=len(rest) == 1, fold=fold))
    return [pair for pair in pairs if pair.fold < folds]


def embed_all(
    photos: Iterable[Path], *, bundle: ModelBundle, workers: int, gate: bool
) -> Iterator[tuple[Path, NDArray[np.float32] | str]]:
    """Template or reason of failure of each photo, in order."""
    locator, embedder = open_locator(bundle.locator()), open_embedder(bundle)
    limits = FaceQualityLimits.for_probe()

    def one(photo: Path) -> tuple[Path, NDArray[np.float32] | str]:
        try:
            sample = decode(photo)
            region = choose(locator.locate(sample))
        except VerifyError as error:
            return photo, str(getattr(error, "reason", error))
        chip = normalise(sample, region, contract=bundle.card.input)
        quality = assess(sample, region, chip, limits=limits)
        if gate and not quality.ok:
            return photo, str(quality.reasons[0])
        return photo, embedder.embed([chip])[0]

    with ThreadPoolExecutor(workers) as pool:
        yield from pool.map(one, photos)


def collect(
    photos: list[Path], *, bundle: ModelBundle, workers: int, gate: bool
) -> dict[Path, NDArray[np.float32]]:
    started, templates, failures = time.perf_counter(), {}, {}
    for done, (photo, result) in enumerate(embed_all(photos, bundle=bundle, workers=workers, gate=gate), 1):
        if isinstance(result, str):
            failures[photo] = result
        else:
            templates[photo] = result
        if done % 500 == 0:
            print(f"  {done} of {len(photos)} photos", file=sys.stderr)
    rate = len(photos) / (time.perf_counter() - started)
    print(
        f"  photos {len(photos)}, failures to acquire {len(failures)}, {rate:.1f} photos/s, {workers} workers"
    )
    for photo, reason in failures.items():
        print(f"    {photo.parent.name}/{photo.name}: {reason}")
    return templates


def show(
    mated: NDArray[np.float64],
    non_mated: NDArray[np.float64],
    *,
    who: NDArray[np.int64],
    a: NDArray[np.int64],
    b: NDArray[np.int64],
) -> None:
    threshold = threshold_at_fmr(non_mated=non_mated, target=TARGET_FMR)
    misses = mated_rate(mated=mated, subject=who, threshold=threshold)
    false = non_mated_rate(non_mated=non_mated, subject_a=a, subject_b=b, threshold=threshold)
    print(f"  pairs: {len(mated)} mated, {len(non_mated)} non-mated")
    print(f"  EER {100 * eer_rocch(mated=mated, non_mated=non_mated).value:.2f} %")
    print(
        f"  at threshold {threshold:.4f}: FMR {100 * false.value:.3f} % (at most {100 * false.upper:.3f} %), "
        f"FNMR {100 * misses.value:.2f} % ({100 * misses.lower:.2f} to {100 * misses.upper:.2f} %)"
    )


def best_threshold(mated: NDArray[np.float64], non_mated: NDArray[np.float64]) -> float:
    candidates = np.unique(np.concatenate([mated, non_mated]))
    right = (
        len(mated)
        - np.searchsorted(np.sort(mated), candidates)
        + np.searchsorted(np.sort(non_mated), candidates)
    )
    return float(candidates[right.argmax()])


def lfw(data: Path, *, bundle: ModelBundle, workers: int, folds: int, gate: bool) -> None:
    pairs = read_pairs(data / "pairs.txt", folds=folds)
    names = sorted({name for pair in pairs for name in (pair.first, pair.second)})
    print(f"LFW, {len(pairs)} pairs of {folds} folds:")
    templates = collect([data / name for name in names], bundle=bundle, workers=workers, gate=gate)
    used = [pair for pair in pairs if data / pair.first in templates and data / pair.second in templates]
    score = np.array([float(templates[data / p.first] @ templates[data / p.second]) for p in used])
    mated, fold = np.array([p.mated for p in used]), np.array([p.fold for p in used])
    accuracies = []
    for held_out in range(folds):
        train = fold != held_out if folds > 1 else fold == held_out
        threshold = best_threshold(score[train & mated], score[train & ~mated])
        test = fold == held_out
        errors = (
            fnmr(mated=score[test & mated], threshold=threshold),
            fmr(non_mated=score[test & ~mated], threshold=threshold),
        )
        accuracies.append(1 - sum(errors) / 2)
    print(f"  accuracy {100 * np.mean(accuracies):.2f} % +- {100 * np.std(accuracies):.2f}")
    number = {who: i for i, who in enumerate(sorted({Path(name).parts[0] for name in names}))}
    first, second = (
        np.array([number[Path(n).parts[0]] for n in column])
        for column in zip(*((p.first, p.second) for p in used), strict=True)
    )
    show(score[mated], score[~mated], who=first[mated], a=first[~mated], b=second[~mated])


def all_pairs(data: Path, *, bundle: ModelBundle, workers: int, subjects: int, gate: bool) -> None:
    folders = sorted(path for path in data.iterdir() if path.is_dir())[:subjects]
    print(f"CelebA, all pairs of {len(folders)} subjects:")
    photos = [photo for folder in folders for photo in sorted(folder.glob("*.jpg"))]
    templates = collect(photos, bundle=bundle, workers=workers, gate=gate)
    number = {folder.name: i for i, folder in enumerate(folders)}
    who = np.array([number[photo.parent.name] for photo in templates])
    vectors = np.stack(list(templates.values()))
    i, j = np.triu_indices(len(who), 1)
    score = (vectors @ vectors.T)[i, j].astype(np.float64)
    mated = who[i] == who[j]
    show(score[mated], score[~mated], who=who[i][mated], a=who[i][~mated], b=who[j][~mated])


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help="folder with faces/lfw and faces/celeba")
    parser.add_argument("--models", type=Path, help="folder of model bundles (default: as verify finds it)")
    parser.add_argument("--model", default="face", help="face model to measure")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--folds", type=int, default=10, choices=range(1, 11), metavar="1..10")
    parser.add_argument("--subjects", type=int, default=150, help="colour subjects; 0 leaves them out")
    parser.add_argument(
        "--no-gate", action="store_true", help="compare photos that fail the probe's quality limits too"
    )
    options = parser.parse_args()
    bundle = open_bundle(options.model, models_dir=options.models)
    print(f"{bundle.name}, model_id {bundle.model_id[:12]}, locator {bundle.card.locator_name}")
    common = {"bundle": bundle, "workers": options.workers, "gate": not options.no_gate}
    lfw(options.data / "faces" / "lfw", folds=options.folds, **common)
    if options.subjects:
        all_pairs(options.data / "faces" / "celeba", subjects=options.subjects, **common)


if __name__ == "__main__":
    main()
