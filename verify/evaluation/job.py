"""The whole way for one command: read the data, capture, split, choose the score space, calibrate."""

from __future__ import annotations

import hashlib
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from verify.data.manifest import Layout, read_manifest
from verify.errors import UsageError
from verify.evaluation.acquaintance import refuse_acquainted
from verify.evaluation.cache import EmbeddingCache, default_cache_path
from verify.evaluation.calibrate import Calibration, Recipe, calibrate, check_confidence
from verify.evaluation.cohort import NORMS, Cohort, make_cohort
from verify.evaluation.embedded_source import EmbeddedSource
from verify.evaluation.embeddings import EmbeddedSet, embed_all
from verify.evaluation.given_split import manifest_of, splits_for
from verify.evaluation.persons import with_persons
from verify.evaluation.pipeline import Spaces, into_space
from verify.evaluation.score_files import ScoreFileSource
from verify.evaluation.targets import Target, checked_targets
from verify.evaluation.trial_lists import TrialListSource
from verify.score_space import ScoreSpace
from verify.types import Modality

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from pathlib import Path

    from verify.data.manifest import Manifest
    from verify.evaluation.embeddings import Captures
    from verify.evaluation.sources import TrialSource
    from verify.metrics.prediction import Bound
    from verify.types import Capture

    Progress = Callable[[Iterator[Capture], int], Iterable[Capture]]
    AnyPath = str | os.PathLike[str]

# Beyond this many non-mated trials a half is sampled, unless all are asked for: a minute or two of arithmetic.
AUTO_TRIALS = 120_000_000


@dataclass(frozen=True, slots=True)
class Method:
    """How scores become operating points; see the options of ``verify calibrate``.

    Attributes:
        mode: ``1:1`` or ``1:N`` at `gallery_size`.
        confidence: of the one-sided bounds.
        bound: ``prediction`` or ``population``.
        norm: ``none``, ``z``, ``t``, ``s`` or ``as``, with a cohort; `top_k` of ``as``.
        quality: measures that enter the evidence, () for the default ones; None for none.
        attempts: of a transaction.
        extrapolate: let a fitted tail speak where trials cannot.
        groups: columns to give rates by; () for all that there are.
        seed: of the split and of whatever is sampled.
    """

    mode: str = "1:1"
    gallery_size: int = 0
    confidence: float = 0.95
    bound: Bound = "prediction"
    norm: str = "none"
    top_k: int | None = None
    quality: tuple[str, ...] | None = None
    attempts: int = 1
    extrapolate: bool = False
    groups: tuple[str, ...] = ()
    seed: int = 0


@dataclass(frozen=True, slots=True)
class CalibrationJob:
    """What a run came to.

    Attributes:
        calibration: the operating points, and the targets without one.
        method: how it was done.
        spaces: the data in the space that it came in and in the one that is judged.
        cohort: the strangers of a normalisation.
        cache: the file that now holds templates; None if none was kept.
    """

    calibration: Calibration
    method: Method
    spaces: Spaces = field(repr=False)
    cohort: Cohort | None = field(default=None, repr=False)
    cache: Path | None = None


def run_calibration(
    capturer: Captures,
    data: Sequence[AnyPath],
    *,
    targets: Sequence[Target | float],
    method: Method = Method(),
    trial_lists: Sequence[AnyPath] = (),
    cohort: AnyPath | None = None,
    splits: Sequence[AnyPath] = (),
    layout: Layout | str | None = None,
    max_samples_per_subject: int | None = None,
    trials: str = "auto",
    cache: Path | None = None,
    keep_cache: bool = True,
    workers: int | None = None,
    progress: Progress = lambda captures, _: captures,
) -> CalibrationJob:
    """Calibrate a model on media, several data sets apart from each other.

    Args:
        capturer: makes the captures.
        data: folders and CSV files, each a set; with trial lists, the one folder that these refer to.
        targets: rates to hold; plain numbers are FMRs (mode ``1:N``: FPIRs).
        method: how.
        trial_lists: lists of pairs of files, each a set, in place of all pairs of `data`.
        cohort: folder or CSV of strangers, for a normalisation.
        splits: split files, one for each data set: subjects of their calibration and test parts take part,
            nobody else; without them the subjects are halved by hash.
        layout: of the data; None guesses each.
        max_samples_per_subject: takes that many files of each subject.
        trials: ``all`` non-mated trials of each half, a number to sample, or ``auto``.
        cache: embedding cache file; None takes the platform's place for it.
        keep_cache: False keeps no templates on disk.
        workers: captures under way at once.
        progress: wraps the captures still to be made, given their number.

    Raises:
        UsageError: a target, a number of trials or a layout that cannot be, options that contradict each other.
        DataError: malformed data, or none that gives trials.
        StorageError: the cache cannot be used.
    """
    asked = _checked(targets, method, cohort=cohort)
    max_non_mated = non_mated_limit(trials)
    if trial_lists and len(data) > 1:
        msg = f"a trial list refers to one folder of media, not to {len(data)}"
        raise UsageError(msg)
    if trial_lists and cohort is not None:
        msg = (
            "a trial list cannot be told apart from a cohort of strangers: leave --norm and --cohort out, or leave "
            "--trial-list out and calibrate on all pairs of its folder"
        )
        raise UsageError(msg)
    if trial_lists and splits:
        msg = "a trial list's pairs may cross the parts of a split: leave --split or --trial-list out"
        raise UsageError(msg)
    given = splits_for(splits, sets=len(data))
    sets_given = () if trial_lists else tuple(zip(data, given, strict=True))
    manifests = [manifest_of(one, split, layout=layout) for one, split in sets_given]
    refuse_acquainted((capturer,), manifests)
    path = (cache or default_cache_path()) if keep_cache else None
    listed_pairs: list[TrialSource] = []
    sources: list[EmbeddedSource] = []
    sets: list[EmbeddedSet] = []
    with nullcontext() if path is None else EmbeddingCache(path) as store:

        def embed(manifest: Manifest) -> EmbeddedSet:
            return embed_all(
                capturer,
                manifest,
                cache=store,
                max_samples_per_subject=max_samples_per_subject,
                workers=workers,
                progress=progress,
            )

        listed_pairs.extend(
            TrialListSource.open(
                listed,
                capturer=capturer,
                media_root=data[0] if data else None,
                cache=store,
                workers=workers,
                progress=progress,
            )
            for listed in trial_lists
        )
        for (one, split), manifest in zip(sets_given, manifests, strict=True):
            embedded = embed(manifest)
            sets.append(embedded)
            sources.append(
                EmbeddedSource.of(
                    embedded,
                    model_id=capturer.model_id,
                    kind=_kind(one),
                    warnings=manifest.warnings,
                    max_non_mated=max_non_mated,
                    seed=method.seed,
                    split=split,
                )
            )
        strangers = None
        if cohort is not None:
            strangers = make_cohort(
                embed(read_manifest(cohort)), apart_from=sets, method=method.norm, top_k=method.top_k
            )
    recipe = Recipe(
        capturer.model_id,
        capturer.modality,
        attempts=method.attempts,
        mode=method.mode,
        gallery_size=method.gallery_size,
    )
    return _calibrated(
        listed_pairs or with_persons(sources),
        recipe=recipe,
        targets=asked,
        method=method,
        cohort=strangers,
        cache=path,
    )


def calibrate_scores(
    files: Sequence[AnyPath],
    *,
    targets: Sequence[Target | float],
    method: Method = Method(),
    model_id: str | None = None,
    modality: Modality = Modality.FACE,
    distances: bool = False,
    progress: Callable[[int, int], None] = lambda *_: None,
) -> CalibrationJob:
    """Calibrate another matcher's scores, with no model at all.

    Args:
        files: score files, each a set; see `verify.evaluation.score_files`.
        targets: rates to hold; plain numbers are FMRs.
        method: how; without cohort, several attempts and mode ``1:N``, which need captures.
        model_id: what to call the matcher; its hash stands for a model_id that no verifier of ours has.
        modality: what the matcher compares.
        distances: the scores are distances.
        progress: told (bytes read, bytes in all).

    Raises:
        UsageError: a target that cannot be, or a method that needs captures.
        DataError: a file that is no score file, or gives no trials.
    """
    asked = _checked(targets, method, cohort=None)
    sources = [
        ScoreFileSource.open(
            one,
            seed=method.seed,
            distances=distances,
            groups=method.groups,
            quality=method.quality or (),
            progress=progress,
        )
        for one in files
    ]
    called = model_id or "+".join(source.name for source in sources)
    digest = hashlib.sha256(f"scores:{called}".encode()).hexdigest()
    recipe = Recipe(digest, modality, space=ScoreSpace.FOREIGN, attempts=method.attempts)
    return _calibrated(sources, recipe=recipe, targets=asked, method=method, cohort=None, cache=None)


def _calibrated(
    sources: Sequence[TrialSource],
    *,
    recipe: Recipe,
    targets: Sequence[Target],
    method: Method,
    cohort: Cohort | None,
    cache: Path | None,
) -> CalibrationJob:
    spaces = into_space(sources, recipe=recipe, cohort=cohort, quality=method.quality, seed=method.seed)
    made = calibrate(
        spaces.judged,
        recipe=spaces.recipe,
        targets=targets,
        confidence=method.confidence,
        bound=method.bound,
        extrapolate=method.extrapolate,
        seed=method.seed,
    )
    return CalibrationJob(calibration=made, method=method, spaces=spaces, cohort=cohort, cache=cache)


def _checked(
    targets: Sequence[Target | float], method: Method, *, cohort: AnyPath | None
) -> tuple[Target, ...]:
    """The targets; everything that can be refused before a file is read is refused here."""
    check_confidence(method.confidence, bound=method.bound)
    if method.norm not in NORMS:
        msg = f"norm must be one of {', '.join(NORMS)}, not {method.norm!r}"
        raise UsageError(msg)
    if (method.norm != "none") != (cohort is not None):
        msg = "a normalisation needs a cohort of strangers, and a cohort a normalisation: give --norm and --cohort both"
        raise UsageError(msg)
    if (method.mode == "1:N") != (method.gallery_size > 0):
        msg = "searches need the number of subjects enrolled, and only they do: --mode 1:N goes with --gallery-size"
        raise UsageError(msg)
    if method.attempts < 1:
        msg = f"attempts must be at least 1, not {method.attempts}"
        raise UsageError(msg)
    return checked_targets(targets, mode=method.mode)


def _kind(path: AnyPath) -> str:
    from pathlib import Path

    return "manifest" if Path(path).is_file() else "folder"


def non_mated_limit(trials: str) -> int | None:
    """How many non-mated trials of a half are taken: None for all, or a number to sample.

    Raises:
        UsageError: neither ``all``, ``auto`` nor a positive number.
    """
    if trials == "all":
        return None
    if trials == "auto":
        return AUTO_TRIALS
    if not (trials.isascii() and trials.isdecimal() and int(trials) > 0):
        msg = f"trials must be 'all', 'auto' or a positive number, not {trials!r}"
        raise UsageError(msg)
    return int(trials)
