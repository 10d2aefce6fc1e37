"""Names of several models, and the operating points that come with verify for them."""

from __future__ import annotations

from pathlib import Path

import pytest

from verify.errors import UsageError
from verify.metrics.evidence import fusion_id
from verify.models import fusions, write_operating_points
from verify.score_space import Fusion, FusionPart, LlrMap
from verify.types import Modality, OperatingPoint, Rate

A, B = "a" * 64, "b" * 64


def point(*model_ids: str) -> OperatingPoint:
    parts = tuple(FusionPart(one, "face", 0.5, LlrMap(slope=1.0, intercept=0.0)) for one in model_ids)
    return OperatingPoint(
        name="fused-face-fmr-1e-3",
        model_id=fusion_id(parts),
        modality=Modality.FACE,
        threshold=1.0,
        target_fmr=1e-3,
        fmr=Rate(1, 10_000, 5e-4),
        fnmr=Rate(1, 100, 0.05),
        score_space="fused-llr",
        fusion=Fusion(parts, 0.0),
    )


def test_names_and_aliases() -> None:
    assert fusions.part_names("sface+dlib") == ("sface", "dlib-resnet")
    assert fusions.part_names("face + voice") == ("sface", "campplus")


@pytest.mark.parametrize("models", ["sface", "sface+", "+", "face+sface", "dlib+dlib-resnet", "a++b", ""])
def test_what_names_no_fusion_is_refused(models: str) -> None:
    with pytest.raises(UsageError, match="each once"):
        fusions.part_names(models)


def test_a_folder_with_a_plus_in_its_name_is_one_model(tmp_path: Path) -> None:
    folder = tmp_path / "mine+yours"
    assert fusions.is_fusion(str(folder))
    folder.mkdir()
    assert not fusions.is_fusion(str(folder))
    assert not fusions.is_fusion("face")
    assert not fusions.is_fusion(None)


def test_points_come_with_verify_for_these_very_models_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fusions, "_SHIPPED", tmp_path)
    assert fusions.shipped_fusion_points(["x", "y"], model_ids=[A, B]) == ()
    write_operating_points(tmp_path / "x+y.json", [point(A, B)])
    assert fusions.shipped_fusion_points(["x", "y"], model_ids=[A, B]) == (point(A, B),)
    assert fusions.shipped_fusion_points(["y", "x"], model_ids=[B, A]) == (point(A, B),)
    assert fusions.shipped_fusion_points(["x", "y"], model_ids=[A, "c" * 64]) == ()
    assert fusions.shipped_fusion_points(["x", "z"], model_ids=[A, B]) == ()
