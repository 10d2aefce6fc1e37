"""What several models together gain: FNMR at FMR 1e-3 and 1e-4 on people who took no part in the fit.

    VERIFY_DATA=... python tools/measure_fusion.py [faces] [voices] [ship] [--halvings N]

faces: SFace, once as it is and once with the mirror image, and dlib's ResNet on CelebA in colour, label errors left in:
the same trials for every row, all photos, and those in which dlib's own detector finds a face (needs dlib-bin).
Subjects are halved by hash, seeds 1, 2, ...; maps and weights are fitted on one half, rates are read off the other
half's own curve, and means over the halvings are given.
voices: SFace on CelebA with CAM++ on Arabic words joined by four and on LibriSpeech. SYNTHETIC PAIRING: nobody
publishes faces and voices of the same people, so a face is given the voice of somebody else.
ship: chooses and measures the operating points of sface+dlib-resnet on CelebA and LFW, as
tools/measure_operating_points.py does for single models, and writes them to verify/models/operating_points.
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

import numpy as np
from data.join_words import join_words

from verify.capture import Capturer
from verify.cli.output import progress
from verify.data.manifest import read_manifest
from verify.data.splits import CALIBRATION, TEST, split_subjects
from verify.evaluation.cache import EmbeddingCache, default_cache_path
from verify.evaluation.embedded_source import EmbeddedSource
from verify.evaluation.embeddings import EmbeddedSet, embed_all
from verify.evaluation.fused_job import run_fused_calibration
from verify.evaluation.fusion import FUSION_PRIOR
from verify.evaluation.pairing import SYNTHETIC, aligned_sets, paired_sets
from verify.metrics import fnmr, threshold_at_fmr
from verify.metrics.evidence import fused_llr, llr_of
from verify.metrics.logistic import TermSpec, fit_fusion, fit_llr
from verify.models import write_operating_points
from verify.score_space import FusionPart

ROOT = Path(__file__).resolve().parents[1]
FACES = ("sface", "dlib-resnet")
FMRS = (1e-2, 1e-3, 1e-4)
SHIPPED_FMRS = (1e-2, 5e-3, 2e-3, 1e-3, 5e-4, 2e-4, 1e-4, 5e-5, 2e-5, 1e-5)
JOIN = 4
QUALITY = (TermSpec("detector_score"), TermSpec("sharpness"))
VOICES = ("voices/librispeech_test_other",)


class Trials:
    """Every pair of samples of one data set, scored by every model."""

    def __init__(
        self, sets: tuple[EmbeddedSet, ...], keep: np.ndarray | None = None, *, one_photo: bool = True
    ) -> None:
        sources = [EmbeddedSource.of(one, model_id=f"{k}" * 64) for k, one in enumerate(sets)]
        usable = np.isfinite(sets[0].vectors[:, 0])
        rows = np.flatnonzero(usable if keep is None else usable & keep)
        i, j = (rows[side] for side in np.triu_indices(rows.size, 1))
        self.name, self.subjects = sets[0].name, sources[0].subjects
        self.scores = []
        for one in sets:
            products = one.vectors[rows].astype(np.float64) @ one.vectors[rows].T
            self.scores.append(products[np.triu_indices(rows.size, 1)])
        owner = sources[0].owner
        self.a, self.b = owner[i], owner[j]
        self.mated = self.a == self.b
        # of faces both encoders look at the same photo; a voice has measures of its own
        measures = [spec.measure for spec in QUALITY] if one_photo else []
        self.quality = {
            name: (values[i], values[j]) for name, values in sets[0].quality.items() if name in measures
        }

    def among(self, part: str, seed: int) -> np.ndarray:
        """(T,) bool: trials whose subjects are both in a part of the halving."""
        parts = split_subjects(self.subjects, name=self.name, seed=seed).parts
        chosen = np.array([parts[subject] == part for subject in self.subjects])
        return chosen[self.a] & chosen[self.b]


def embedded(model: str, folders: list[Path]) -> EmbeddedSet:
    capturer = Capturer.open(model)
    with EmbeddingCache(default_cache_path()) as cache:
        sets = [
            embed_all(
                capturer,
                read_manifest(folder),
                cache=cache,
                progress=lambda captures, total: progress(captures, total=total, label=model),
            )
            for folder in folders
        ]
    first = sets[0]
    names = first.quality.keys()
    return EmbeddedSet(
        name="+".join(one.name for one in sets),
        entries=tuple(entry for one in sets for entry in one.entries),
        vectors=np.concatenate([one.vectors for one in sets]),
        failures=tuple(failure for one in sets for failure in one.failures),
        quality={name: np.concatenate([one.quality[name] for one in sets]) for name in names},
        sha256s=tuple(digest for one in sets for digest in one.sha256s),
    )


def fused(
    trials: Trials, fit: np.ndarray, test: np.ndarray, *, prior: float, with_quality: bool
) -> np.ndarray:
    """The product's own fit on one half, its fused llr on the other; NaN (no decision) counts as lowest."""
    maps, fit_llrs, test_llrs = [], [], []
    mated, non_mated = fit & trials.mated, fit & ~trials.mated
    for scores in trials.scores:

        def of(chosen: np.ndarray) -> dict[str, tuple[np.ndarray, np.ndarray]]:
            return {name: (x[chosen], y[chosen]) for name, (x, y) in trials.quality.items()}

        mapping = fit_llr(
            mated=scores[mated],
            non_mated=scores[non_mated],
            prior=prior,
            terms=QUALITY if with_quality else (),
            mated_quality=of(mated),
            non_mated_quality=of(non_mated),
        )
        maps.append(FusionPart(f"{len(maps)}" * 64, "face", 1.0, mapping))
        fit_llrs.append([llr_of(mapping, scores[side], quality=of(side)) for side in (mated, non_mated)])
        test_llrs.append(llr_of(mapping, scores[test], quality=of(test)))
    fusion = fit_fusion(
        mated_llrs=[one[0] for one in fit_llrs],
        non_mated_llrs=[one[1] for one in fit_llrs],
        parts=maps,
        prior=prior,
    )
    return np.nan_to_num(fused_llr(fusion, test_llrs), nan=-1e9)


def normalised_sum(trials: Trials, fit: np.ndarray, test: np.ndarray) -> np.ndarray:
    """The plain rival: scores in standard deviations of the non-mated ones, added."""
    total = np.zeros(int(test.sum()))
    for scores in trials.scores:
        strangers = scores[fit & ~trials.mated]
        total += (scores[test] - strangers.mean()) / strangers.std()
    return total


def table(trials: Trials, names: tuple[str, ...], *, halvings: int, fmrs: tuple[float, ...]) -> None:
    found: dict[str, list[list[float]]] = {}
    counts = []
    for seed in progress(range(1, halvings + 1), total=halvings, label="halvings"):
        fit, test = trials.among(CALIBRATION, seed), trials.among(TEST, seed)
        mated = trials.mated[test]
        counts.append((int(mated.sum()), int((~mated).sum())))
        columns = {name: scores[test] for name, scores in zip(names, trials.scores, strict=True)}
        columns["sum of normalised scores"] = normalised_sum(trials, fit, test)
        for prior in dict.fromkeys((0.5, FUSION_PRIOR)):
            columns[f"fused llr, prior {prior:g}"] = fused(trials, fit, test, prior=prior, with_quality=False)
        if trials.quality:
            columns["with quality"] = fused(trials, fit, test, prior=FUSION_PRIOR, with_quality=True)
        for name, scores in columns.items():
            rates = [
                fnmr(mated=scores[mated], threshold=threshold_at_fmr(non_mated=scores[~mated], target=target))
                for target in fmrs
            ]
            found.setdefault(name, []).append(rates)
    mean = np.mean(counts, axis=0)
    people = len({*trials.a.tolist(), *trials.b.tolist()})
    print(
        f"{trials.name}: {people} subjects, {halvings} halvings; a test half has on average {mean[0]:,.0f} mated and"
    )
    print(
        f"{mean[1]:,.0f} non-mated trials. Mean FNMR of the test halves in % (and standard deviation over halvings)"
    )
    print(
        "| score | "
        + " | ".join(f"FMR {target:g}" for target in fmrs)
        + " |\n|---"
        + "|---" * len(fmrs)
        + "|"
    )
    for name, rates in found.items():
        cells = (
            f"{100 * m:.2f} ({100 * s:.2f})" for m, s in zip(np.mean(rates, 0), np.std(rates, 0), strict=True)
        )
        print(f"| {name} | " + " | ".join(cells) + " |")


def frontal(one: EmbeddedSet) -> np.ndarray:
    """In which photos dlib's own detector finds a face."""
    import dlib

    from verify.face.decode import decode

    detector = dlib.get_frontal_face_detector()
    entries = progress(one.entries, total=len(one.entries), label="dlib's detector")
    return np.array(
        [len(detector(np.ascontiguousarray(decode(entry.path).media), 1)) > 0 for entry in entries]
    )


def faces(data: Path, halvings: int) -> None:
    models = (*FACES, "sface-mirror")
    sets = dict(
        zip(models, aligned_sets([embedded(model, [data / "faces/celeba"]) for model in models]), strict=True)
    )
    for pair in (FACES, ("sface-mirror", "dlib-resnet")):
        table(Trials(tuple(sets[model] for model in pair)), pair, halvings=halvings, fmrs=FMRS)
        print()
    keep = frontal(sets["sface"])
    print(f"Only the {int(keep.sum())} of {keep.size} photos in which dlib's frontal detector finds a face:")
    table(Trials(tuple(sets[model] for model in FACES), keep), FACES, halvings=halvings, fmrs=FMRS)


def voices(data: Path, halvings: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        joined = Path(folder) / f"arabic_commands-joined-by-{JOIN}"
        join_words(data / "voices/arabic_commands", joined, join=JOIN)
        voice = embedded("campplus", [joined, *(data / place for place in VOICES)])
    face = embedded("sface", [data / "faces/celeba"])
    print(f"\n{SYNTHETIC}")
    for pairing in (1, 2, 3):
        sets = paired_sets(face, voice, seed=pairing)
        print(f"\npairing {pairing}")
        table(Trials(sets, one_photo=False), ("sface", "campplus"), halvings=halvings, fmrs=FMRS[:2])


def ship(data: Path) -> None:
    capturers = [Capturer.open(model) for model in FACES]
    job = run_fused_calibration(
        capturers,
        [data / "faces/celeba", data / "faces/lfw"],
        targets=SHIPPED_FMRS,
        progress=lambda captures, total: progress(captures, total=total, label="photos"),
    )
    kept = []
    for point in job.calibration.points:
        rates = [one["fmr"] for one in point.data["measured"].values() if one["fmr"]]
        holds = all(rate["errors"] <= point.target_fmr * rate["trials"] for rate in rates)
        kept += [point] if holds else []
        print(
            f"{point.name}: threshold {point.threshold:.4f}, test FMR {point.fmr.value:.2e} <= {point.fmr.upper:.2e}, "
            f"FNMR {point.fnmr.value:.2%} <= {point.fnmr.upper:.2%}, {'kept' if holds else 'NOT SHIPPED'}"
        )
    for target, why in job.calibration.unsupported.items():
        print(f"{target.words}: {why}")
    place = ROOT / "verify" / "models" / "operating_points" / f"{'+'.join(FACES)}.json"
    write_operating_points(place, kept)
    print(f"{len(kept)} of {len(job.calibration.points)} written to {place.relative_to(ROOT)}")


def main() -> None:
    asked = sys.argv[1:]
    halvings = int(asked.pop(asked.index("--halvings") + 1)) if "--halvings" in asked else 100
    wanted = [name for name in asked if name != "--halvings"] or ["faces", "voices"]
    data = Path(os.environ.get("VERIFY_DATA", "../shared/data"))
    if "faces" in wanted:
        faces(data, halvings)
    if "voices" in wanted:
        voices(data, halvings)
    if "ship" in wanted:
        ship(data)


if __name__ == "__main__":
    main()
