"""What `verify doctor` looks at: libraries, models, operating points, gallery, disk."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from verify.engine.thresholds import Judge
from verify.errors import ModelNotInstalledError, VerifyError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from verify.types import OperatingPoint

_LIBRARIES = (
    "numpy",
    "scipy",
    "onnxruntime",
    "onnx",
    "opencv-python-headless",
    "soundfile",
    "soxr",
    "click",
    "rich",
)
_EXTRAS = {"train": ("torch", "torchaudio", "pytorch-metric-learning", "scikit-learn")}
_LEAST_FREE_BYTES = 500_000_000


@dataclass(frozen=True, slots=True)
class HealthFinding:
    """One check: its name, ``ok``, ``warning`` or ``failed``, and what to do."""

    check: str
    state: str
    message: str


def examine(gallery: Path | None = None) -> list[HealthFinding]:
    """Run every check; none of them raises."""
    return [*_libraries(), *_models(), _gallery(gallery), *_disks(gallery)]


def _libraries() -> Iterator[HealthFinding]:
    yield HealthFinding("python", "ok", f"{platform.python_version()} on {platform.platform(terse=True)}")
    for name in _LIBRARIES:
        version = _version(name)
        if version is None:
            yield HealthFinding(name, "failed", "not installed: install verify again")
        else:
            yield HealthFinding(name, "ok", version)
    for extra, names in _EXTRAS.items():
        missing = [name for name in names if _version(name) is None]
        text = (
            "installed"
            if not missing
            else f"optional, not installed: `pip install '.[{extra}]'` in verify's source folder brings it"
        )
        yield HealthFinding(f"extra [{extra}]", "ok", text)


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _models() -> Iterator[HealthFinding]:
    from verify.models import open_bundle

    for alias in ("face", "voice"):
        try:
            bundle = open_bundle(alias)
            bundle.locator()
        except ModelNotInstalledError:
            message = f"not on this machine: `verify models pull {alias}` brings it"
            yield HealthFinding(f"model {alias}", "warning", message)
        except VerifyError as error:
            yield HealthFinding(f"model {alias}", "failed", str(error))
        else:
            yield HealthFinding(
                f"model {alias}", "ok", f"{bundle.name} {bundle.model_id[:12]}, licence {bundle.card.licence}"
            )
            yield _points(alias)


def _points(alias: str) -> HealthFinding:
    from verify.models import open_bundle

    try:
        bundle = open_bundle(alias)
        points = bundle.operating_points()
        unasked = Judge(bundle.model_id, points).one_to_one()
    except VerifyError as error:
        return HealthFinding(f"thresholds {alias}", "failed", str(error))
    if not points:
        message = "no operating point: every decision will be refused until `verify calibrate` made one"
        return HealthFinding(f"thresholds {alias}", "warning", message)
    rungs = ", ".join(_rung(point) for point in sorted(points, key=lambda p: -p.target_fmr))
    if unasked.point is None:
        return HealthFinding(f"thresholds {alias}", "warning", f"{rungs}; {unasked.message}")
    proven = [p for p in points if p.mode == "1:1" and not p.extrapolated and not p.failed_its_test]
    strictest = min(p.target_fmr for p in proven)
    limits = (
        f"unasked, {unasked.point.name} decides; who asks for less than FMR {strictest:g} gets no decision"
    )
    return HealthFinding(f"thresholds {alias}", "ok", f"{rungs}; {limits}")


def _rung(point: OperatingPoint) -> str:
    rate = (
        f"FPIR {point.target_fmr:g} over {point.gallery_size}"
        if point.mode == "1:N"
        else f"FMR {point.target_fmr:g}"
    )
    space = "" if point.score_space == "cosine" else f" ({point.score_space})"
    marks = (" EXTRAPOLATED" if point.extrapolated else "") + (" FAILED" if point.failed_its_test else "")
    chosen = "" if point.limits_false_matches else f" (chosen for {point.asked_kind.upper()})"
    return f"{rate} at {point.threshold:.3f}{space}{chosen}{marks}"


def _gallery(path: Path | None) -> HealthFinding:
    from verify.gallery import SqliteGallery, default_path

    where = Path(path) if path is not None else default_path()
    if not where.exists():
        return HealthFinding("gallery", "ok", f"{where}: none yet; the first `verify enroll` makes it")
    try:
        with SqliteGallery(where, read_only=True) as gallery:
            count = len(gallery.subjects())
    except VerifyError as error:
        return HealthFinding("gallery", "failed", str(error))
    return HealthFinding("gallery", "ok", f"{where}: {count} subjects; `verify gallery check` looks deeper")


def _disks(gallery: Path | None) -> Iterator[HealthFinding]:
    from verify.gallery import default_path
    from verify.models import default_models_dir

    for name, place in (
        ("models folder", default_models_dir()),
        ("gallery folder", (gallery or default_path()).parent),
    ):
        there = next(path for path in (place, *place.resolve().parents) if path.exists())
        free = shutil.disk_usage(there).free
        if not os.access(there, os.W_OK):
            yield HealthFinding(name, "warning", f"{place}: read-only, so nothing can be stored there")
        elif free < _LEAST_FREE_BYTES:
            yield HealthFinding(name, "warning", f"{place}: only {free / 1e6:.0f} MB free")
        else:
            yield HealthFinding(name, "ok", f"{place}: {free / 1e9:.1f} GB free")
    if sys.maxsize < 2**32:
        yield HealthFinding("address space", "warning", "32-bit Python: large galleries will not fit")
