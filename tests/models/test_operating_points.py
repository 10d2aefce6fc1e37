from __future__ import annotations

import json
import os
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.models.tiny import write_bundle
from verify.errors import ModelIntegrityError, ModelMismatchError, StorageError
from verify.models import open_bundle, read_operating_points, write_operating_points
from verify.models.identity import canonical_sha256
from verify.types import Modality, OperatingPoint, Rate

if TYPE_CHECKING:
    from pathlib import Path

RATE = Rate(errors=1, trials=1000, upper=0.005, lower=0.0001, bound="wilson-dyadic", n_eff=412.5)
POINT = OperatingPoint(
    name="face-fmr-1e-3",
    model_id="a" * 64,
    modality=Modality.FACE,
    threshold=0.3636,
    target_fmr=1e-3,
    fmr=RATE,
    fnmr=RATE,
    calibration_fmr=RATE,
    data={"set": "celeba", "subjects": 75, "split": "b" * 64},
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    threshold=st.floats(-1, 1),
    target=st.floats(0, 1),
    trials=st.integers(0, 10**12),
    upper=st.floats(0, 1),
    name=st.text(max_size=20),
)
def test_what_is_written_is_read_bit_for_bit(tmp_path: Path, threshold, target, trials, upper, name) -> None:
    rate = replace(RATE, trials=trials, upper=upper)
    points = (replace(POINT, name=name, threshold=threshold, target_fmr=target, fmr=rate),)
    path = tmp_path / "operating_points.json"
    write_operating_points(path, points)
    assert read_operating_points(path) == points


def test_one_to_many_points_and_points_without_calibration_rate(tmp_path: Path) -> None:
    points = (POINT, replace(POINT, name="search", mode="1:N", gallery_size=1000, calibration_fmr=None))
    write_operating_points(tmp_path / "points.json", points)
    assert read_operating_points(str(tmp_path / "points.json")) == points


def test_a_threshold_edited_by_hand_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "points.json"
    write_operating_points(path, [POINT])
    path.write_text(path.read_text().replace("0.3636", "0.1000"))
    with pytest.raises(ModelIntegrityError, match=r"'sha256' does not match the points.*verify calibrate"):
        read_operating_points(path)


def rehashed(path: Path, change) -> None:
    document = json.loads(path.read_text())
    change(document)
    document["sha256"] = canonical_sha256({"schema": document["schema"], "points": document["points"]})
    path.write_text(json.dumps(document))


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("threshold", 1.5, r"'threshold' must be a number within \[-1, 1\]"),
        ("threshold", "0.3", "'threshold' must be a finite number"),
        ("threshold", True, "'threshold' must be a finite number"),
        ("model_id", "abc", "'model_id' must be a sha256"),
        ("modality", "gait", "'modality' must be one of"),
        ("mode", "1:2", "'mode' must be one of"),
        ("fmr", {"errors": 1}, "fmr: field 'trials' is missing"),
        ("fmr", None, "'fmr' must be an object"),
        ("score_space", "percent", "'score_space' must be one of cosine"),
        ("gallery_size", -1, "'gallery_size' must be a whole number"),
        ("name", 3, "'name' must be a string"),
    ],
)
def test_a_wrong_field_is_named(tmp_path: Path, field: str, value: object, message: str) -> None:
    path = tmp_path / "points.json"
    write_operating_points(path, [POINT])
    rehashed(path, lambda document: document["points"][0].update({field: value}))
    with pytest.raises(ModelIntegrityError, match=message) as caught:
        read_operating_points(path)
    assert "points[0]" in str(caught.value)


def test_a_future_schema_and_double_names_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "points.json"
    write_operating_points(path, [POINT])
    rehashed(path, lambda document: document.update(schema=3))
    with pytest.raises(ModelIntegrityError, match="newer verify"):
        read_operating_points(path)
    write_operating_points(path, [POINT])
    rehashed(path, lambda document: document["points"].append(document["points"][0]))
    with pytest.raises(ModelIntegrityError, match="occurs twice"):
        read_operating_points(path)


@pytest.mark.parametrize("threshold", [float("nan"), float("inf"), 2.0])
def test_impossible_points_are_not_written(tmp_path: Path, threshold: float) -> None:
    path = tmp_path / "points.json"
    write_operating_points(path, [POINT])
    before = path.read_bytes()
    with pytest.raises(ModelIntegrityError):
        write_operating_points(path, [replace(POINT, threshold=threshold)])
    assert path.read_bytes() == before


def test_a_failed_write_keeps_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "points.json"
    write_operating_points(path, [POINT])

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device", descriptor)

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StorageError, match="No space left"):
        write_operating_points(path, [replace(POINT, threshold=0.5)])
    assert read_operating_points(path) == (POINT,)
    assert [item.name for item in tmp_path.iterdir()] == ["points.json"]


def test_a_bundle_gives_its_own_points_and_refuses_those_of_another_model(tmp_path: Path) -> None:
    card = write_bundle(tmp_path / "tiny")
    path = tmp_path / "tiny" / "operating_points.json"
    assert open_bundle(tmp_path / "tiny").operating_points() == ()
    own = replace(POINT, model_id=card.model_id)
    write_operating_points(path, [own])
    assert open_bundle(tmp_path / "tiny").operating_points() == (own,)
    write_operating_points(path, [POINT])
    with pytest.raises(ModelMismatchError, match="thresholds do not carry over"):
        open_bundle(tmp_path / "tiny").operating_points()


def test_shipped_points_stand_in_for_the_very_model_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    card = write_bundle(tmp_path / "tiny")
    monkeypatch.setattr("verify.models.operating_points._SHIPPED", tmp_path)
    write_operating_points(tmp_path / "tiny.json", [POINT])
    assert open_bundle(tmp_path / "tiny").operating_points() == ()
    own = replace(POINT, model_id=card.model_id)
    write_operating_points(tmp_path / "tiny.json", [own])
    assert open_bundle(tmp_path / "tiny").operating_points() == (own,)
