from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.models.tiny import write_bundle
from verify.errors import DataError, ModelIntegrityError, ModelMismatchError, StorageError
from verify.models import open_bundle, operating_points, read_operating_points, write_operating_points
from verify.models.identity import canonical_sha256
from verify.models.operating_points import shipped_operating_points
from verify.score_space import (
    Combine,
    Fusion,
    FusionPart,
    LlrMap,
    QualityTerm,
    ScoreNorm,
    ScoreSpace,
    Transform,
)
from verify.types import Modality, OperatingPoint, Rate

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
        ("threshold", 10**400, r"'threshold' must be a number within"),
        ("bound", "guess", "'bound' must be one of population, prediction"),
        ("asked_kind", "eer", "'asked_kind' must be one of fmr"),
        ("asked_rate", 1.5, r"'asked_rate' must be a number within \[0, 1\]"),
        ("attempts", 0, "'attempts' must be a whole number of at least 1"),
        ("attempts", True, "'attempts' must be a whole number"),
        ("extrapolated", 1, "'extrapolated' must be true or false"),
        ("norm", {}, "norm: field 'method' is missing"),
        ("llr", [], "'llr' must be an object"),
        ("fusion", {"intercept": 0}, "fusion: field 'parts' is missing"),
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
    with pytest.raises(ModelIntegrityError, match="occurs twice"):
        write_operating_points(path, [POINT, POINT])


TERM = QualityTerm("net_speech_s", Transform.LOG, Combine.MIN, 1.1, 0.4, 0.7, 2.0, 2.0, 30.0)
NORM = ScoreNorm(ScoreSpace.AS_NORM, "c" * 64, 200, top_k=50)
LLR = LlrMap(slope=9.0, intercept=-3.5, terms=(TERM,), norm=NORM)
FUSION = Fusion(
    (FusionPart("d" * 64, "face", 0.6, LlrMap(9.0, -3.5)), FusionPart("e" * 64, "voice", 0.5, LLR)), -0.2
)
IN_LLR = replace(POINT, name="llr", score_space="llr", llr=LLR, threshold=-7.25)
NORMED = replace(POINT, name="normed", score_space="as-norm", norm=NORM, llr=LLR, threshold=4.5)
FUSED = replace(POINT, name="fused", score_space="fused-llr", fusion=FUSION, threshold=1e6)


def test_every_score_space_comes_back_as_it_was(tmp_path: Path) -> None:
    asked = replace(POINT, name="far", asked_kind="far", asked_rate=2e-3, attempts=3, bound="prediction")
    told = replace(POINT, name="told", llr=LlrMap(9.0, -3.5))
    tail = replace(POINT, name="tail", extrapolated=True)
    foreign = replace(POINT, name="foreign", score_space="foreign", threshold=731.0)
    z = ScoreNorm(ScoreSpace.Z_NORM, "c" * 64, 2)
    zs = replace(POINT, name="z", score_space="z-norm", norm=z, threshold=2.5)
    points = (asked, told, tail, foreign, zs, IN_LLR, NORMED, FUSED)
    write_operating_points(tmp_path / "points.json", points)
    assert read_operating_points(tmp_path / "points.json") == points
    assert json.loads((tmp_path / "points.json").read_text())["schema"] == 2


@pytest.mark.parametrize(
    ("base", "changes", "message"),
    [
        (POINT, {"norm": NORM}, "'norm' must be null in the score space cosine"),
        (POINT, {"fusion": FUSION}, "'fusion' must be null in the score space cosine"),
        (POINT, {"llr": LLR}, "'llr' must be a map of the point's own scores in the score space cosine"),
        (IN_LLR, {"llr": None}, "'llr' must be a logistic map in the score space llr"),
        (IN_LLR, {"norm": NORM}, "'norm' must be null in the score space llr"),
        (NORMED, {"norm": None}, "'norm' must be a normalisation of the method as-norm"),
        (NORMED, {"score_space": "s-norm"}, "'norm' must be a normalisation of the method s-norm"),
        (NORMED, {"llr": LlrMap(9.0, -3.5)}, "'llr' must be a map of the point's own scores"),
        (FUSED, {"fusion": None}, "'fusion' must be the recipe of the fusion"),
        (FUSED, {"llr": LLR}, "'llr' must be null in the score space fused-llr"),
        (FUSED, {"fusion": replace(FUSION, parts=FUSION.parts[:1])}, "'parts' must be two models or more"),
        (
            FUSED,
            {"fusion": replace(FUSION, parts=FUSION.parts[:1] * 2)},
            "'parts' must be two models or more",
        ),
        (NORMED, {"norm": replace(NORM, top_k=0)}, "'top_k' must be 2 to 200"),
        (NORMED, {"norm": replace(NORM, top_k=201)}, "'top_k' must be 2 to 200"),
        (
            NORMED,
            {"norm": replace(NORM, cohort_size=1)},
            "'cohort_size' must be a whole number of at least 2",
        ),
        (IN_LLR, {"llr": replace(LLR, slope=0.0, terms=())}, "'slope' must be above 0"),
        (IN_LLR, {"llr": replace(LLR, slope=0.5)}, "'slope' must be above 0 together with the terms'"),
        (IN_LLR, {"llr": replace(LLR, intercept=float("inf"))}, "cannot be written as JSON"),
        (IN_LLR, {"llr": replace(LLR, terms=(TERM, TERM))}, "'terms' must be terms that differ"),
        (IN_LLR, {"llr": replace(LLR, terms=(replace(TERM, scale=0.0),))}, "'scale' must be a number within"),
        (IN_LLR, {"llr": replace(LLR, terms=(replace(TERM, low=0.0),))}, "'low' must be above 0 where"),
        (IN_LLR, {"llr": replace(LLR, terms=(replace(TERM, high=1.0),))}, "'high' must be a number within"),
        (IN_LLR, {"threshold": float("inf")}, "cannot be written as JSON"),
        (replace(POINT, mode="1:N"), {}, "'gallery_size' must be a whole number of at least 1"),
    ],
)
def test_a_recipe_at_odds_with_its_score_space_is_not_written(
    tmp_path: Path, base: OperatingPoint, changes: dict[str, object], message: str
) -> None:
    path = tmp_path / "points.json"
    with pytest.raises(ModelIntegrityError, match=message):
        write_operating_points(path, [replace(base, **changes)])
    assert not path.exists()


@pytest.mark.parametrize("field", ["bound", "asked_kind", "attempts", "extrapolated"])
def test_the_fields_of_schema_2_must_be_there(tmp_path: Path, field: str) -> None:
    path = tmp_path / "points.json"
    write_operating_points(path, [POINT])
    rehashed(path, lambda document: document["points"][0].pop(field))
    with pytest.raises(ModelIntegrityError, match=f"field '{field}' is missing"):
        read_operating_points(path)


def as_schema_1(path: Path, points: list[OperatingPoint]) -> None:
    write_operating_points(path, points)

    def older(document) -> None:
        document["schema"] = 1
        for item in document["points"]:
            for field in (
                "bound",
                "asked_kind",
                "asked_rate",
                "attempts",
                "extrapolated",
                "norm",
                "llr",
                "fusion",
            ):
                item.pop(field)

    rehashed(path, older)


def test_files_of_schema_1_are_read_as_what_they_were(tmp_path: Path) -> None:
    path = tmp_path / "points.json"
    as_schema_1(path, [POINT])
    assert read_operating_points(path) == (POINT,)
    as_schema_1(path, [IN_LLR])  # a space that schema 1 did not know
    with pytest.raises(ModelIntegrityError, match="'score_space' must be one of cosine"):
        read_operating_points(path)


def test_the_shipped_points_are_read() -> None:
    files = sorted(Path(operating_points.__file__).with_name("operating_points").glob("*.json"))
    assert len(files) >= 2
    for path in files:
        points = read_operating_points(path)
        assert points
        assert not [point.name for point in points if point.failed_its_test]
        assert shipped_operating_points(path.stem, model_id=points[0].model_id) == path


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


def test_a_missing_file_and_a_report_are_called_what_they_are(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"points\.json: no such file; .*verify calibrate"):
        read_operating_points(tmp_path / "points.json")
    report = tmp_path / "report.json"
    report.write_text(json.dumps({"schema": 1, "kind": "calibration", "verdicts": [], "ladder": []}))
    with pytest.raises(
        DataError, match=r"report\.json: is a report .*not operating points.*operating_points\.json"
    ):
        read_operating_points(report)
