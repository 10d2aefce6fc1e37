"""Hold models against each other on the same unseen people, with intervals for the differences.

    python tools/measure_models.py DATA NAME=MODEL [NAME=MODEL...] --split FILE [--part test] [--min-speech-s 0.3]

DATA is a folder or CSV that `verify split` made FILE from; only the subjects of the part take part. Every MODEL is a
bundle's name or path; all pairs of samples are trials, and only samples that every model could capture count. The
first model is the one to beat: differences to it come with one-sided 95 % bounds from 500 resamplings of subjects.

For cross-validation over people, give several split files; ``{fold}`` in MODEL becomes 0, 1, ... in their order, and
the trials of all folds are judged at one threshold:

    python tools/measure_models.py words/ published=campplus tuned=runs/bundle-{fold} --split 0.csv --split 1.csv

DATA may also be a prepared set (`verify prepare`): its chips and speech go straight to the encoders, nothing is
located, and no locator need be installed.

--markdown prints a table for the README.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from verify.capture import CapturePolicy, Capturer, usable_cpus
from verify.cli.output import progress
from verify.data.manifest import Entry, Manifest, read_manifest
from verify.data.splits import read_split
from verify.evaluation.cache import EmbeddingCache, default_cache_path
from verify.evaluation.embeddings import embed_all
from verify.face.embed import open_embedder
from verify.metrics import paired_rates
from verify.metrics.folds import fold_accuracy
from verify.models import open_bundle
from verify.training.shards import PreparedSet
from verify.types import Modality, Sample, SpeechRegion
from verify.voice.embed import VoiceEmbedder, average
from verify.voice.normalise import chunks

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

FOLDS = 10


@dataclasses.dataclass
class Trials:
    """All pairs of the samples of one fold: scores of each model, and whose they are."""

    mated: dict[str, Floats]
    own: NDArray[np.int64]
    non_mated: dict[str, Floats]
    a: NDArray[np.int64]
    b: NDArray[np.int64]
    samples: int
    lost: int


def embedded(name: str, model: str, manifest: Manifest, *, least_s: float | None) -> tuple[Floats, list[str]]:
    """(n, D) one row a sample, NaN where it could not be captured, and whose each is: through the whole engine."""
    capturer = Capturer.open(model)
    if least_s is not None:
        capturer.policy = CapturePolicy(min_net_speech_s=least_s)
    with EmbeddingCache(default_cache_path()) as cache:
        found = embed_all(
            capturer,
            manifest,
            cache=cache,
            progress=lambda items, total: progress(items, total=total, label=f"{name}: embedding"),
        )
    return found.vectors.astype(np.float64), [entry.subject_id for entry in found.entries]


def embedded_prepared(
    name: str, model: str, data: PreparedSet, subjects: set[str]
) -> tuple[Floats, list[str]]:
    """The same of a prepared set's samples, by the encoder alone."""
    bundle = open_bundle(model)
    rows = [i for i in range(len(data)) if data.subjects[data.owner[i]] in subjects]
    vectors: list[Floats] = []
    if bundle.modality is Modality.FACE:
        embedder = open_embedder(bundle, threads=usable_cpus())
        groups = np.array_split(rows, max(1, len(rows) // 64))
        vectors = [
            embedder.embed([data.media(int(i)) for i in group])
            for group in progress(groups, total=len(groups), label=f"{name}: embedding")
        ]
    else:
        voice = VoiceEmbedder(bundle, threads=usable_cpus())
        for i in progress(rows, total=len(rows), label=f"{name}: embedding"):
            wave = data.media(i).astype(np.float32) / 32768
            sample = Sample(Modality.VOICE, wave, source=data.paths[i], sha256="", facts={})
            pieces = chunks(
                sample, [SpeechRegion(0.0, len(wave) / 16_000, score=1.0)], contract=bundle.card.input
            )
            weights = [piece.net_speech_s for piece in pieces]
            vectors.append(average(voice.embed([piece.features for piece in pieces]), weights)[None])
    return np.concatenate(vectors).astype(np.float64), [data.subjects[data.owner[i]] for i in rows]


def trials_of(
    data: Manifest | PreparedSet,
    subjects: set[str],
    models: dict[str, str],
    *,
    first_subject: int,
    least_s: float | None,
) -> Trials:
    """Embed some subjects' samples with each model and pair up what all of them could capture."""
    vectors: dict[str, Floats] = {}
    for name, model in models.items():
        if isinstance(data, Manifest):
            vectors[name], names = embedded(name, model, data, least_s=least_s)
        else:
            vectors[name], names = embedded_prepared(name, model, data, subjects)
    usable = np.all([np.isfinite(rows[:, 0]) for rows in vectors.values()], axis=0)
    places = {subject: number for number, subject in enumerate(sorted(subjects), first_subject)}
    owner = np.array([places[name] for name in names])[usable]
    a, b = np.triu_indices(owner.size, 1)
    same = owner[a] == owner[b]
    scores = {}
    for name, rows in vectors.items():
        kept = rows[usable]
        scores[name] = (kept @ kept.T)[a, b]
    return Trials(
        mated={name: values[same] for name, values in scores.items()},
        own=owner[a][same],
        non_mated={name: values[~same] for name, values in scores.items()},
        a=owner[a][~same],
        b=owner[b][~same],
        samples=owner.size,
        lost=int(np.count_nonzero(~usable)),
    )


def accuracy(trials: Trials, name: str, *, seed: int = 0) -> tuple[float, float]:
    """LFW-style: as many non-mated pairs as mated ones, ten folds over people, the threshold from the other nine."""
    rng = np.random.default_rng(seed)
    subjects = np.unique(np.concatenate([trials.a, trials.b]))
    fold_of = dict(zip(subjects.tolist(), rng.permutation(subjects.size) % FOLDS, strict=True))
    fold = np.vectorize(fold_of.get)
    mated_fold, fold_a, fold_b = fold(trials.own), fold(trials.a), fold(trials.b)
    pool = np.flatnonzero(fold_a == fold_b)
    count = min(pool.size, trials.own.size)
    chosen = rng.choice(pool, count, replace=False)
    kept = rng.choice(trials.own.size, count, replace=False)
    result = fold_accuracy(
        np.concatenate([trials.mated[name][kept], trials.non_mated[name][chosen]]),
        mated=np.arange(2 * count) < count,
        folds=np.concatenate([mated_fold[kept], fold_a[chosen]]),
    )
    return result.mean, result.standard_error


def joined(parts: list[Trials]) -> Trials:
    return Trials(
        mated={name: np.concatenate([part.mated[name] for part in parts]) for name in parts[0].mated},
        own=np.concatenate([part.own for part in parts]),
        non_mated={name: np.concatenate([part.non_mated[name] for part in parts]) for name in parts[0].mated},
        a=np.concatenate([part.a for part in parts]),
        b=np.concatenate([part.b for part in parts]),
        samples=sum(part.samples for part in parts),
        lost=sum(part.lost for part in parts),
    )


def limited(manifest: Manifest, subjects: set[str], *, most: int) -> tuple[Entry, ...]:
    """The entries of some subjects, at most so many of each; 0: all."""
    counts: Counter[str] = Counter()
    kept = []
    for entry in manifest.entries:
        counts[entry.subject_id] += 1
        if entry.subject_id in subjects and (not most or counts[entry.subject_id] <= most):
            kept.append(entry)
    return tuple(kept)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=Path)
    parser.add_argument("models", nargs="+", metavar="NAME=MODEL")
    parser.add_argument("--split", type=Path, action="append", required=True)
    parser.add_argument("--part", default="test")
    parser.add_argument("--min-speech-s", type=float)
    parser.add_argument("--max-samples", type=int, default=0, help="of a subject; 0: all")
    parser.add_argument("--accuracy", action="store_true", help="LFW-style accuracy too")
    parser.add_argument("--markdown", action="store_true")
    options = parser.parse_args()
    whole = PreparedSet.open(options.data) if (options.data / "index.json").is_file() else None
    whole = whole or read_manifest(options.data)
    parts, subjects = [], 0
    for fold, path in enumerate(options.split):
        chosen = set(read_split(path).subjects(options.part)) & set(whole.subjects)
        data = whole
        if isinstance(whole, Manifest):
            data = Manifest(name=whole.name, entries=limited(whole, chosen, most=options.max_samples))
        models = {}
        for spec in options.models:
            name, _, model = spec.rpartition("=")
            models[name or model] = model.replace("{fold}", str(fold))
        parts.append(trials_of(data, chosen, models, first_subject=subjects, least_s=options.min_speech_s))
        subjects += len(chosen)
    trials = joined(parts)
    del parts
    rates = paired_rates(
        mated=trials.mated,
        mated_subject=trials.own,
        non_mated=trials.non_mated,
        subject_a=trials.a,
        subject_b=trials.b,
    )
    print(
        f"{whole.name}: {subjects} unseen subjects, {trials.samples} samples ({trials.lost} not captured), "
        f"{trials.own.size} mated and {trials.a.size} non-mated trials"
    )
    first = next(iter(trials.mated))
    head = ["model", "EER", "FNMR at FMR 1e-2", "FNMR at FMR 1e-3"] + ["accuracy"] * options.accuracy
    print("| " + " | ".join(head) + " |\n|" + "---|" * len(head) if options.markdown else "\t".join(head))
    for name in trials.mated:
        upper = rates.upper(name)
        cells = [
            f"{100 * value:.2f} % (<= {100 * bound:.2f})"
            for value, bound in zip(rates.measured[name], upper, strict=True)
        ]
        if options.accuracy:
            mean, error = accuracy(trials, name)
            cells.append(f"{100 * mean:.2f} +- {100 * error:.2f} %")
        print("| " + " | ".join([name, *cells]) + " |" if options.markdown else "\t".join([name, *cells]))
        if name != first:
            gain, low, high = rates.difference(name, to=first)
            cells = [
                f"{100 * g:+.2f} ({100 * lo:+.2f} to {100 * hi:+.2f})"
                for g, lo, hi in zip(gain, low, high, strict=True)
            ]
            label = f"... minus {first}"
            row = [label, *cells] + [""] * options.accuracy
            print("| " + " | ".join(row) + " |" if options.markdown else "\t".join(row))


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "2")
    sys.exit(main())
