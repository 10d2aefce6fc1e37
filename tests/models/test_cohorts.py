from __future__ import annotations

import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.models.tiny import write_bundle
from verify.errors import ModelIntegrityError
from verify.metrics.normalisation import cohort_sha256
from verify.models import open_bundle
from verify.models.cohorts import cohort_file, read_cohort, vectors_sha256, write_cohort
from verify.score_space import ScoreNorm, ScoreSpace


@pytest.fixture
def cohort() -> np.ndarray:
    rows = np.random.default_rng(5).normal(size=(30, 16))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def norm_of(cohort: np.ndarray) -> ScoreNorm:
    return ScoreNorm(ScoreSpace.S_NORM, vectors_sha256(cohort), len(cohort))


def test_a_cohort_comes_back_bit_for_bit_and_cannot_be_written_to(tmp_path: Path, cohort: np.ndarray) -> None:
    digest = write_cohort(tmp_path, cohort)
    assert [path.name for path in tmp_path.iterdir()] == [f"cohort-{digest[:12]}.npy"]
    found = read_cohort(str(tmp_path), norm_of(cohort))
    assert found.dtype == np.float32
    assert np.array_equal(found, cohort)
    with pytest.raises(ValueError, match="read-only"):
        found[0] = 0.0


def test_the_hash_is_the_one_of_the_metrics_and_does_not_depend_on_the_layout(cohort: np.ndarray) -> None:
    for same in (cohort, np.asfortranarray(cohort), cohort.astype(">f4")):
        assert vectors_sha256(same) == cohort_sha256(cohort)
    assert vectors_sha256(cohort[::-1]) != cohort_sha256(cohort)


def test_a_missing_cohort_says_where_it_should_be(tmp_path: Path, cohort: np.ndarray) -> None:
    with pytest.raises(ModelIntegrityError, match=r"cohort-[0-9a-f]{12}\.npy.*verify calibrate"):
        read_cohort(tmp_path, norm_of(cohort))


def broken(cohort: np.ndarray, kind: str) -> np.ndarray:
    if kind == "norm":
        return np.concatenate([cohort[:1] * 1.01, cohort[1:]])
    if kind == "nan":
        rows = cohort.copy()
        rows[3, 2] = np.nan
        return rows
    return {
        "float64": cohort.astype(np.float64),
        "flat": cohort[0],
        "empty": cohort[:0],
        "columns": np.asfortranarray(cohort),
        "fewer": cohort[:-1],
        "order": cohort[::-1],
    }[kind]


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("norm", r"template 0 has norm 1\.01"),
        ("nan", "template 3 has norm nan"),
        ("float64", "float64 of shape"),
        ("flat", r"shape \(16,\)"),
        ("empty", r"shape \(0, 16\)"),
        ("columns", "row by row"),
        ("fewer", "29 templates, the operating point was measured with 30"),
        ("order", "hash differs"),
    ],
)
def test_another_array_in_its_place_is_refused(
    tmp_path: Path, cohort: np.ndarray, kind: str, message: str
) -> None:
    norm = norm_of(cohort)
    np.save(cohort_file(tmp_path, norm.cohort_sha256), broken(cohort, kind))
    with pytest.raises(ModelIntegrityError, match=message):
        read_cohort(tmp_path, norm)


@pytest.mark.parametrize(
    "kind", ["empty file", "text", "cut", "pickle", "archive", "folder", "negative", "huge"]
)
def test_hostile_files_are_refused(tmp_path: Path, cohort: np.ndarray, kind: str) -> None:
    norm = norm_of(cohort)
    path = cohort_file(tmp_path, norm.cohort_sha256)
    write_cohort(tmp_path, cohort)
    whole = path.read_bytes()
    if kind == "empty file":
        path.write_bytes(b"")
    elif kind == "text":
        path.write_text("no array at all\n" * 20)
    elif kind == "cut":
        path.write_bytes(whole[:-100])
    elif kind == "pickle":
        np.save(path, np.array([{"a": 1}], dtype=object), allow_pickle=True)
    elif kind == "archive":
        with path.open("wb") as file:
            np.savez(file, cohort)
    elif kind == "folder":
        path.unlink()
        path.mkdir()
    elif kind == "negative":
        path.write_bytes(whole.replace(b"(30, 16), ", b"(-30, -16)"))
    else:
        path.write_bytes(whole.replace(b"(30, 16), }        ", b"(9999999999, 16), }"))
    with pytest.raises(ModelIntegrityError, match="cohort-"):
        read_cohort(tmp_path, norm)


@pytest.mark.parametrize("kind", ["norm", "nan", "flat", "empty"])
def test_what_is_no_cohort_is_not_written(tmp_path: Path, cohort: np.ndarray, kind: str) -> None:
    with pytest.raises(ModelIntegrityError):
        write_cohort(tmp_path, broken(cohort, kind))
    assert not list(tmp_path.iterdir())


def test_cohorts_travel_with_a_zipped_bundle_and_nothing_else_does(
    tmp_path: Path, cohort: np.ndarray
) -> None:
    from tests.models.test_operating_points import POINT
    from verify.models import write_operating_points

    folder = tmp_path / "tiny"
    card = write_bundle(folder)
    norm = norm_of(cohort)
    write_cohort(folder, cohort)
    normed = replace(POINT, model_id=card.model_id, score_space="s-norm", norm=norm, threshold=3.0)
    write_operating_points(folder / "operating_points.json", [normed])
    (folder / "cohort-notes.npy").write_bytes(b"not one of ours")
    with zipfile.ZipFile(tmp_path / "tiny.zip", "w") as archive:
        for path in folder.iterdir():
            archive.write(path, path.name)
    bundle = open_bundle(tmp_path / "tiny.zip")
    assert bundle.operating_points() == (normed,)
    assert np.array_equal(read_cohort(bundle.path, norm), cohort)
    assert not (bundle.path / "cohort-notes.npy").exists()
