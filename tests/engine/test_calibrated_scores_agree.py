"""The engine judges the score that was calibrated: real photos through both, pair by pair, in every score space."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from verify.capture import Capturer
from verify.engine import Verifier
from verify.engine.fusion import FusedVerifier
from verify.errors import ModelError
from verify.evaluation.fused_job import run_fused_calibration
from verify.evaluation.job import Method, run_calibration
from verify.gallery import SqliteGallery
from verify.models.cohorts import write_cohort
from verify.types import Outcome, Reason

if TYPE_CHECKING:
    from verify.evaluation.job import CalibrationJob

pytestmark = [pytest.mark.models, pytest.mark.media]

SUBJECTS, SAMPLES, STRANGERS = 16, 2, 5
LOOSE = (0.8,)  # FMR: so few people support no stricter one
CLOSE = 2e-5  # float32 sums in calibration, float64 at the door; nats and standard deviations have no larger units


@pytest.fixture(scope="module")
def capturer(models_dir) -> Capturer:
    return Capturer.open("sface", models_dir=models_dir)


@pytest.fixture(scope="module")
def photos(data_dir, tmp_path_factory) -> Path:
    """A few people of CelebA, small enough to be captured anew."""
    root = tmp_path_factory.mktemp("photos")
    for folder in sorted((data_dir / "faces" / "celeba").iterdir())[:SUBJECTS]:
        (root / folder.name).mkdir()
        for file in sorted(folder.iterdir())[:SAMPLES]:
            shutil.copy(file, root / folder.name / file.name)
    return root


@pytest.fixture(scope="module")
def strangers(data_dir, tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("strangers")
    people = sorted(one for one in (data_dir / "faces" / "lfw").iterdir() if one.is_dir())
    for folder in people[:STRANGERS]:
        (root / folder.name).mkdir()
        file = min(folder.iterdir())
        shutil.copy(file, root / folder.name / file.name)
    return root


@pytest.fixture(scope="module")
def cache(tmp_path_factory) -> Path:
    """So that every photo is captured once for all calibrations here."""
    return tmp_path_factory.mktemp("cache") / "embeddings.db"


def trials_of(job: CalibrationJob, *, most: int = 2) -> list[tuple[str, str, float]]:
    """(file of side a, file of side b, calibrated score): mated and non-mated ones, of both halves."""
    found = []
    for one in job.calibration.sets:
        for half in (one.calibration, one.test):
            for block in one.source.blocks(half.among):
                for kind in (block.mated, ~block.mated):
                    for k in np.flatnonzero(kind)[:: max(1, np.count_nonzero(kind) // most)][:most].tolist():
                        sides = (block.attempt_a, block.attempt_b)
                        a, b = (one.source.attempts[int(side[k])].name for side in sides)
                        found.append((a, b, float(block.score[k])))
    return found


def check(verifier: Verifier | FusedVerifier, job: CalibrationJob) -> None:
    point = job.calibration.points[0]
    trials = trials_of(job)
    assert len(trials) >= 6
    for a, b, calibrated in trials:
        decision = verifier.compare(a, b)
        assert decision.score == pytest.approx(calibrated, abs=CLOSE), (a, b)
        assert decision.threshold == point.threshold
        assert decision.score_space == point.score_space
        if abs(calibrated - point.threshold) > CLOSE:
            assert (decision.outcome is Outcome.ACCEPT) == (calibrated >= point.threshold)


@pytest.mark.parametrize(
    ("norm", "quality"),
    [
        ("none", None),
        ("z", None),
        ("t", None),
        ("s", None),
        ("as", None),
        ("none", ("detector_score", "sharpness")),
        ("as", ("detector_score",)),
    ],
)
def test_compare_gives_the_calibrated_score(capturer, photos, strangers, cache, tmp_path, norm, quality):
    job = run_calibration(
        capturer,
        [photos],
        targets=LOOSE,
        method=Method(norm=norm, quality=quality, bound="population", top_k=3 if norm == "as" else None),
        cohort=None if norm == "none" else strangers,
        cache=cache,
    )
    if job.cohort is not None:
        write_cohort(tmp_path, job.cohort.vectors)
    points = job.calibration.points
    check(Verifier(capturer, operating_points=points, cohorts=tmp_path, point=points[0].name), job)


def test_captures_below_the_calibrated_range_get_no_score(capturer, photos, cache):
    method = Method(quality=("sharpness",), bound="population")
    job = run_calibration(capturer, [photos], targets=LOOSE, method=method, cache=cache)
    (one,) = job.calibration.sets
    point = job.calibration.points[0]
    # raise the lower end, as if worse captures had never been calibrated
    sharp = job.spaces.raw[0].source.quality["sharpness"]
    term = dataclasses.replace(point.llr.terms[0], low=float(np.nanmedian(sharp)))
    narrow = dataclasses.replace(point, llr=dataclasses.replace(point.llr, terms=(term,)))
    verifier = Verifier(capturer, operating_points=[narrow], point=narrow.name)
    names = [attempt.name for attempt in one.source.attempts]
    low = [name for name, value in zip(names, sharp, strict=True) if value < term.low]
    high = [name for name, value in zip(names, sharp, strict=True) if value >= term.low]
    for pair in ((low[0], high[0]), (high[0], low[0]), (low[0], low[1])):
        decision = verifier.compare(*pair)
        assert decision.outcome is Outcome.NO_DECISION
        assert decision.reason is Reason.OUTSIDE_CALIBRATED_RANGE
        assert decision.score is None
    assert verifier.compare(high[0], high[1]).outcome is not Outcome.NO_DECISION


def test_fused_compare_gives_the_calibrated_score(models_dir, capturer, photos, cache):
    try:
        capturers = [capturer, Capturer.open("dlib-resnet", models_dir=models_dir)]
    except ModelError as error:
        pytest.skip(f"no second face encoder here: {error}")
    method = Method(bound="population")
    job = run_fused_calibration(capturers, [photos], targets=LOOSE, method=method, cache=cache)
    points = job.calibration.points
    check(FusedVerifier(capturers, points, point=points[0].name), job)


def test_match_against_one_template_is_compare(capturer, photos, cache, tmp_path):
    method = Method(quality=("detector_score",), bound="population")
    job = run_calibration(capturer, [photos], targets=LOOSE, method=method, cache=cache)
    points = job.calibration.points
    matched = 0
    with Verifier(
        capturer,
        gallery=SqliteGallery(tmp_path / "gallery.db"),
        operating_points=points,
        point=points[0].name,
    ) as verifier:
        for number, (a, b, calibrated) in enumerate(trials_of(job)):
            if verifier.enroll(f"s{number}", [a]).added:
                assert verifier.match(f"s{number}", b).score == pytest.approx(calibrated, abs=CLOSE)
                matched += 1
    assert matched
