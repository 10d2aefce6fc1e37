"""Several models over the same samples: aligned, fitted on calibration subjects only, summed as written."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.evaluation.people import PeopleCapturer, write_people
from verify.data.manifest import Entry
from verify.errors import InsufficientTrialsError, ScoreError, UsageError
from verify.evaluation.embedded_source import EmbeddedSource
from verify.evaluation.embeddings import EmbeddedSet
from verify.evaluation.fused_job import run_fused_calibration
from verify.evaluation.fusion import FusedSource, fit_fused
from verify.evaluation.job import Method
from verify.evaluation.pairing import aligned_sets, joined_sets, paired_sets
from verify.metrics import fnmr, threshold_at_fmr
from verify.metrics.evidence import fusion_id, llr_of
from verify.metrics.logistic import TermSpec
from verify.models.operating_points import read_operating_points, write_operating_points
from verify.types import Modality, Reason

A, B, DIM = "a" * 64, "b" * 64, 16


def people(
    model: str, *, subjects: int = 24, samples: int = 4, noise: float = 0.8, fails: tuple[int, ...] = ()
) -> EmbeddedSet:
    """Captures by one model; every model sees other features of a person, and noise of its own."""
    rng = np.random.default_rng(int.from_bytes(model[:4].encode()))
    centres = rng.normal(size=(subjects, DIM))
    vectors = np.repeat(centres, samples, axis=0) + noise * rng.normal(size=(subjects * samples, DIM)) * 1.5
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    entries = tuple(
        Entry(f"s{subject:02d}", Path(f"s{subject:02d}/{sample}.jpg"))
        for subject in range(subjects)
        for sample in range(samples)
    )
    failures = tuple(Reason.NO_FACE if row in fails else None for row in range(len(entries)))
    vectors[list(fails)] = np.nan
    return EmbeddedSet(
        name="people",
        entries=entries,
        vectors=vectors.astype(np.float32),
        failures=failures,
        quality={"sharpness": rng.uniform(0.2, 1.0, len(entries))},
        sha256s=tuple(f"{row:064d}" for row in range(len(entries))),
    )


def sources(*sets: EmbeddedSet, ids: tuple[str, ...] = (A, B), **how: object) -> tuple[EmbeddedSource, ...]:
    return tuple(
        EmbeddedSource.of(one, model_id=model_id, **how) for one, model_id in zip(sets, ids, strict=True)
    )


def half(source: EmbeddedSource) -> np.ndarray:
    return np.arange(len(source.subjects)) % 2 == 0


def everything(source: object, among: np.ndarray, **how: object) -> tuple[np.ndarray, np.ndarray]:
    blocks = list(source.blocks(among, **how))
    return np.concatenate([b.score for b in blocks]), np.concatenate([b.mated for b in blocks])


@pytest.fixture
def pair() -> tuple[EmbeddedSource, ...]:
    return sources(people(A), people(B))


@pytest.fixture
def fusion(pair):
    return fit_fused([pair], among=[half(pair[0])], modalities=["face", "face"])


def test_the_fused_score_is_the_sum_of_the_parts_evidence(pair, fusion) -> None:
    other_half = ~half(pair[0])
    fused, mated = everything(FusedSource(pair, fusion=fusion), other_half)
    total = np.full(fused.size, fusion.intercept)
    for source, part in zip(pair, fusion.parts, strict=True):
        scores, same = everything(source, other_half)
        assert np.array_equal(same, mated)
        total += part.weight * llr_of(part.llr, scores)
    np.testing.assert_allclose(fused, total, rtol=1e-12)


def test_two_independent_models_are_better_than_the_better_one_on_unseen_subjects(pair, fusion) -> None:
    unseen = ~half(pair[0])
    rates = []
    for source in (*pair, FusedSource(pair, fusion=fusion)):
        scores, mated = everything(source, unseen)
        threshold = threshold_at_fmr(non_mated=scores[~mated], target=0.01)
        rates.append(fnmr(mated=scores[mated], threshold=threshold))
    assert min(rates[:2]) > 0.05  # there is something to gain
    assert rates[2] < 0.8 * min(rates[:2])


def test_the_fit_sees_calibration_subjects_only(pair, fusion) -> None:
    chosen = half(pair[0])
    altered = [
        replace(source, vectors=np.where(chosen[source.owner][:, None], source.vectors, source.vectors[::-1]))
        for source in pair
    ]
    assert fit_fused([altered], among=[chosen], modalities=["face", "face"]) == fusion
    assert fit_fused([altered], among=[~chosen], modalities=["face", "face"]) != fusion


def test_a_model_that_tells_little_gets_little_weight() -> None:
    pair = sources(people(A), people(B, noise=1.6))
    fusion = fit_fused([pair], among=[half(pair[0])], modalities=["face", "face"])
    shares = [part.weight * part.llr.slope for part in fusion.parts]
    assert shares[0] > 2 * shares[1] >= 0.0


def test_quality_terms_reach_the_maps_and_are_asked_of_the_sources(pair) -> None:
    terms = [(TermSpec("sharpness"),), ()]
    fusion = fit_fused([pair], among=[half(pair[0])], modalities=["face", "face"], terms=terms)
    assert [len(part.llr.terms) for part in fusion.parts] == [1, 0]
    source = FusedSource(pair, fusion=fusion)
    block = next(source.blocks(~half(pair[0]), measures=["sharpness"]))
    assert np.isfinite(block.score).any()
    assert set(block.quality) == {"sharpness"}
    assert not next(source.blocks(~half(pair[0]))).quality


def test_several_sets_are_fitted_together(pair) -> None:
    more = sources(people(A, subjects=10), people(B, subjects=10))
    both = fit_fused([pair, more], among=[half(pair[0]), half(more[0])], modalities=["face", "face"])
    assert both != fit_fused([pair], among=[half(pair[0])], modalities=["face", "face"])


def test_what_the_fused_source_says_of_itself(pair, fusion) -> None:
    fused = FusedSource(pair, fusion=fusion)
    assert fused.model_id == fusion_id(fusion.parts)
    assert (fused.subjects, fused.attempts) == (pair[0].subjects, pair[0].attempts)
    assert fused.data_sha256 == pair[0].data_sha256
    assert fused.measures == ("sharpness",)
    chosen = half(pair[0])
    assert fused.crossing(chosen) == pair[0].crossing(chosen)
    assert fused.possible_non_mated(chosen) == pair[0].possible_non_mated(chosen)
    mated, same = everything(fused, chosen, mated_only=True)
    assert same.all()
    assert mated.size == np.count_nonzero(everything(fused, chosen)[1])


def test_sampled_trials_stay_aligned() -> None:
    pair = sources(people(A), people(B), max_non_mated=200, seed=3)
    fusion = fit_fused([pair], among=[half(pair[0])], modalities=["face", "face"])
    scores, mated = everything(FusedSource(pair, fusion=fusion), half(pair[0]))
    assert 100 < np.count_nonzero(~mated) < 320
    assert np.isfinite(scores).all()


def test_samples_fail_together() -> None:
    first, second = aligned_sets([people(A, fails=(3,)), people(B, fails=(3, 8))])
    for one in (first, second):
        assert [row for row, failure in enumerate(one.failures) if failure] == [3, 8]
        assert np.isnan(one.vectors[[3, 8]]).all()
        assert np.isfinite(np.delete(one.vectors, [3, 8], axis=0)).all()


def test_sets_that_were_not_aligned_are_refused(fusion) -> None:
    torn = sources(people(A), people(B, fails=(3,)))
    with pytest.raises(ScoreError, match="aligned_sets"):
        everything(FusedSource(torn, fusion=fusion), np.ones(24, dtype=bool))
    with pytest.raises(ScoreError, match="aligned_sets"):
        fit_fused([torn], among=[np.ones(24, dtype=bool)], modalities=["face", "face"])


def test_other_files_other_people_and_other_models_are_refused(pair, fusion) -> None:
    with pytest.raises(UsageError, match="different files"):
        aligned_sets([people(A), people(B, samples=3)])
    with pytest.raises(UsageError, match="two models"):
        aligned_sets([people(A)])
    with pytest.raises(InsufficientTrialsError, match="none of"):
        aligned_sets([people(A, fails=tuple(range(96))), people(B)])
    with pytest.raises(UsageError, match="aaaa"):
        FusedSource(pair[::-1], fusion=fusion)
    with pytest.raises(UsageError, match="one a model"):
        FusedSource(pair[:1], fusion=fusion)
    with pytest.raises(UsageError, match="different subjects"):
        FusedSource(sources(people(A), people(B, subjects=20)), fusion=fusion)
    with pytest.raises(UsageError, match="one mask a set"):
        fit_fused([pair], among=[], modalities=["face", "face"])
    with pytest.raises(InsufficientTrialsError, match="mated"):
        fit_fused([pair], among=[np.arange(24) == 0], modalities=["face", "face"])
    with pytest.raises(UsageError, match="unknown origin"):
        fit_fused(
            [sources(people(A), people(B), ids=(A, None))], among=[half(pair[0])], modalities=["face"] * 2
        )


def test_synthetic_pairs_take_everybody_and_every_sample_at_most_once() -> None:
    faces, voices = people(A, subjects=12, samples=4), people(B, subjects=8, samples=6, fails=(0,))
    left, right = paired_sets(faces, voices, seed=1)
    assert left.entries == right.entries
    assert left.name == "people+people"
    names = sorted({entry.subject_id for entry in left.entries})
    assert len(names) == 8
    for side in (0, 1):
        assert len({name.split("+")[side] for name in names}) == 8
    assert len(np.unique(left.vectors, axis=0)) == len(left.entries) == 32
    assert len(np.unique(right.vectors, axis=0)) == 32
    assert np.isfinite(right.vectors).all()
    again, _ = paired_sets(faces, voices, seed=1)
    other, _ = paired_sets(faces, voices, seed=2)
    assert again.entries == left.entries
    assert other.entries != left.entries


def test_nobody_can_be_paired_with_one_person() -> None:
    with pytest.raises(InsufficientTrialsError, match="two are needed"):
        paired_sets(people(A, subjects=1), people(B))


def test_joined_samples_are_of_one_person() -> None:
    faces, voices = people(A, subjects=6, fails=(1,)), people(B, subjects=9, samples=2)
    (left,), (right,) = joined_sets([faces], [voices])
    assert left.entries == right.entries
    assert len(left.entries) == 12
    rows = [voices.entries[i].subject_id for i in range(12)]
    assert [entry.subject_id for entry in right.entries] == rows
    np.testing.assert_array_equal(right.vectors, voices.vectors[:12])
    np.testing.assert_array_equal(left.vectors[:2], faces.vectors[[0, 2]])


class Second(PeopleCapturer):
    """Another model: other features of the same people."""

    def _capture(self, path: Path):
        capture = super()._capture(path)
        if capture.template is None:
            return capture
        mixed = np.random.default_rng(5).normal(size=(capture.template.vector.size,) * 2)
        vector = capture.template.vector @ np.linalg.qr(mixed)[0] + 0.05
        vector = (vector / np.linalg.norm(vector)).astype(np.float32)
        return replace(capture, template=replace(capture.template, vector=vector, model_id=self.model_id))


def test_from_folders_to_points_that_an_engine_takes(tmp_path: Path) -> None:
    root = write_people(tmp_path / "people", subjects=60, samples=3, failing=2)
    first, second = PeopleCapturer(), Second()
    second.model_id = "cd" * 32
    job = run_fused_calibration([first, second], [root], targets=(0.2, 0.05), cache=tmp_path / "cache.db")
    assert [point.name for point in job.calibration.points] == ["fused-face-fmr-2e-1", "fused-face-fmr-5e-2"]
    for point in job.calibration.points:
        assert point.fusion is not None
        assert point.model_id == fusion_id(point.fusion.parts)
        assert {part.model_id for part in point.fusion.parts} == {first.model_id, second.model_id}
        assert point.score_space == "fused-llr"
        assert point.calibration_fmr.upper <= point.target_fmr
    write_operating_points(tmp_path / "points.json", job.calibration.points)
    assert read_operating_points(tmp_path / "points.json") == job.calibration.points
    resumed = PeopleCapturer()
    again = run_fused_calibration([resumed, second], [root], targets=(0.2, 0.05), cache=tmp_path / "cache.db")
    assert not resumed.captured
    assert again.calibration.points == job.calibration.points


@pytest.mark.parametrize(
    "method",
    [
        Method(mode="1:N", gallery_size=3),
        Method(norm="s"),
        Method(quality=()),
        Method(attempts=2),
    ],
    ids=["1:N", "norm", "quality", "attempts"],
)
def test_methods_that_fusion_does_not_know_are_refused_before_any_work(method: Method) -> None:
    with pytest.raises(UsageError, match="1:1"):
        run_fused_calibration([], ["nowhere"], targets=(0.1,), method=method)


def test_face_and_voice_need_files_of_both(tmp_path: Path) -> None:
    voice = Second()
    voice.modality = Modality.VOICE
    root = write_people(tmp_path / "people", subjects=4, samples=2)
    with pytest.raises(UsageError, match="no voice files"):
        run_fused_calibration([PeopleCapturer(), voice], [root], targets=(0.1,), keep_cache=False)
