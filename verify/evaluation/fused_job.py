"""The whole way of `verify calibrate` for several models: embed by each, align, fit the fusion, calibrate.

Face and voice are taken from one data set: a subject's photos and recordings under one name, the k-th
usable photo with the k-th usable recording.
"""

from __future__ import annotations

import dataclasses
from contextlib import nullcontext
from typing import TYPE_CHECKING

from verify.capture import guess_modality
from verify.data.splits import CALIBRATION
from verify.errors import UsageError
from verify.evaluation.acquaintance import refuse_acquainted
from verify.evaluation.cache import EmbeddingCache, default_cache_path
from verify.evaluation.calibrate import Recipe, calibrate
from verify.evaluation.embedded_source import EmbeddedSource
from verify.evaluation.embeddings import embed_all
from verify.evaluation.fusion import FUSION_PRIOR, FusedSource, fit_fused
from verify.evaluation.given_split import manifest_of, splits_for
from verify.evaluation.job import CalibrationJob, Method, non_mated_limit
from verify.evaluation.pairing import aligned_sets, joined_sets
from verify.evaluation.persons import with_persons
from verify.evaluation.pipeline import Spaces
from verify.evaluation.prepare import among, split_of, split_set
from verify.evaluation.targets import checked_targets
from verify.score_space import ScoreSpace

if TYPE_CHECKING:
    import os
    from collections.abc import Sequence
    from pathlib import Path

    from verify.data.manifest import Layout, Manifest
    from verify.evaluation.embeddings import Captures, EmbeddedSet
    from verify.evaluation.job import Progress
    from verify.evaluation.targets import Target
    from verify.score_space import Fusion
    from verify.types import Modality


def run_fused_calibration(
    capturers: Sequence[Captures],
    data: Sequence[str | os.PathLike[str]],
    *,
    targets: Sequence[Target | float],
    method: Method = Method(),  # noqa: B008  immutable
    splits: Sequence[str | os.PathLike[str]] = (),
    layout: Layout | str | None = None,
    max_samples_per_subject: int | None = None,
    trials: str = "auto",
    prior: float = FUSION_PRIOR,
    cache: Path | None = None,
    keep_cache: bool = True,
    workers: int | None = None,
    progress: Progress = lambda captures, _: captures,
) -> CalibrationJob:
    """Calibrate several models together on media, several data sets apart from each other.

    Args:
        capturers: one a model, two or more.
        data: folders and CSV files, each a set.
        targets: rates to hold; plain numbers are FMRs.
        method: how; plain 1:1 claims only, without normalisation, quality terms or several attempts.
        splits: split files, one for each data set, see `verify.evaluation.job.run_calibration`.
        layout: of the data; None guesses each.
        max_samples_per_subject: takes that many files of each subject.
        trials: ``all`` non-mated trials of each half, a number to sample, or ``auto``.
        prior: where the maps are to be at their best, see `verify.evaluation.fusion`.
        cache: embedding cache file; None takes the platform's place for it.
        keep_cache: False keeps no templates on disk.
        workers: captures under way at once.
        progress: wraps the captures still to be made, given their number.

    Raises:
        UsageError: a target or method that cannot be.
        DataError: malformed data, or none that gives trials.
        StorageError: the cache cannot be used.
    """
    _check_method(method)
    asked = checked_targets(targets, mode=method.mode)
    max_non_mated = non_mated_limit(trials)
    path = (cache or default_cache_path()) if keep_cache else None
    given = splits_for(splits, sets=len(data))
    manifests = [manifest_of(one, split, layout=layout) for one, split in zip(data, given, strict=True)]
    for manifest in manifests:
        for capturer, part in _files(capturers, manifest):
            refuse_acquainted((capturer,), (part,))
    sets: list[tuple[EmbeddedSource, ...]] = []
    with nullcontext() if path is None else EmbeddingCache(path) as store:
        for manifest, split in zip(manifests, given, strict=True):
            embedded = [
                embed_all(
                    capturer,
                    part,
                    cache=store,
                    max_samples_per_subject=max_samples_per_subject,
                    workers=workers,
                    progress=progress,
                )
                for capturer, part in _files(capturers, manifest)
            ]
            sets.append(
                tuple(
                    EmbeddedSource.of(
                        aligned,
                        model_id=capturer.model_id,
                        warnings=manifest.warnings,
                        max_non_mated=max_non_mated,
                        seed=method.seed,
                        split=split,
                    )
                    for capturer, aligned in zip(capturers, _aligned(capturers, embedded), strict=True)
                )
            )
    for place, told in enumerate(with_persons([parts[0] for parts in sets])):
        sets[place] = (told, *sets[place][1:])
    fusion = fitted(sets, modalities=[one.modality for one in capturers], prior=prior, seed=method.seed)
    return calibrated(
        sets, fusion=fusion, modality=capturers[0].modality, targets=asked, method=method, cache=path
    )


def fitted(
    sets: Sequence[Sequence[EmbeddedSource]], *, modalities: Sequence[Modality], prior: float, seed: int
) -> Fusion:
    """The fusion of the calibration subjects of all sets, the same ones that choose the thresholds."""
    halves = [split_of(parts[0], seed=seed) for parts in sets]
    return fit_fused(
        sets,
        among=[among(parts[0], half, CALIBRATION) for parts, half in zip(sets, halves, strict=True)],
        modalities=[str(modality) for modality in modalities],
        prior=prior,
        seed=seed,
    )


def calibrated(
    sets: Sequence[Sequence[EmbeddedSource]],
    *,
    fusion: Fusion,
    modality: Modality,
    targets: Sequence[Target],
    method: Method,
    cache: Path | None = None,
) -> CalibrationJob:
    """Thresholds on fused evidence; every point carries the recipe of the fusion."""
    sources = [FusedSource(parts, fusion=fusion) for parts in sets]
    recipe = Recipe(str(sources[0].model_id), modality, space=ScoreSpace.FUSED_LLR)
    halved = tuple(split_set(source, seed=method.seed) for source in sources)
    made = calibrate(
        halved,
        recipe=recipe,
        targets=targets,
        confidence=method.confidence,
        bound=method.bound,
        extrapolate=method.extrapolate,
        seed=method.seed,
    )
    kinds = "+".join(dict.fromkeys(part.modality for part in fusion.parts))
    points = tuple(
        dataclasses.replace(
            point,
            name=f"fused-{kinds}-{point.name.removeprefix(f'{modality}-')}",
            fusion=fusion,
        )
        for point in made.points
    )
    return CalibrationJob(
        calibration=dataclasses.replace(made, points=points),
        method=method,
        spaces=Spaces(recipe, halved, halved),
        cache=cache,
    )


def _check_method(method: Method) -> None:
    asked = {
        "mode 1:N": method.mode != "1:1",
        "normalisation": method.norm != "none",
        "quality terms": method.quality is not None,
        "several attempts": method.attempts != 1,
    }
    refused = [name for name, is_asked in asked.items() if is_asked]
    if refused:
        msg = f"several models together are calibrated for plain 1:1 claims: leave out {', '.join(refused)}"
        raise UsageError(msg)


def _files(capturers: Sequence[Captures], manifest: Manifest) -> list[tuple[Captures, Manifest]]:
    """Each model with the files it is for: all of them where the models are of one modality."""
    modalities = {capturer.modality for capturer in capturers}
    if len(modalities) == 1:
        return [(capturer, manifest) for capturer in capturers]
    kinds = {entry.path: guess_modality(entry.path) for entry in manifest.entries}
    parts = {
        modality: dataclasses.replace(
            manifest, entries=tuple(entry for entry in manifest.entries if kinds[entry.path] is modality)
        )
        for modality in modalities
    }
    for modality, part in parts.items():
        if not part.entries:
            msg = f"{manifest.name}: has no {modality.value} files; face and voice together need both of each subject"
            raise UsageError(msg)
    return [(capturer, parts[capturer.modality]) for capturer in capturers]


def _aligned(capturers: Sequence[Captures], embedded: Sequence[EmbeddedSet]) -> tuple[EmbeddedSet, ...]:
    """The sets of all models over the same samples, in the models' order."""
    by_modality: dict[Modality, list[int]] = {}
    for place, capturer in enumerate(capturers):
        by_modality.setdefault(capturer.modality, []).append(place)
    made: dict[int, EmbeddedSet] = {}
    for places in by_modality.values():
        theirs = [embedded[place] for place in places]
        made |= dict(zip(places, aligned_sets(theirs) if len(theirs) > 1 else theirs, strict=True))
    sides = [[made[place] for place in places] for places in by_modality.values()]
    if len(sides) == 1:
        return tuple(made[place] for place in range(len(capturers)))
    joined = joined_sets(*sides)
    order = [place for places in by_modality.values() for place in places]
    flat = dict(zip(order, (one for side in joined for one in side), strict=True))
    return tuple(flat[place] for place in range(len(capturers)))
