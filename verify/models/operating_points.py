"""Read and write operating points: thresholds with the proof that stands behind them.

The file is JSON: ``{"schema": 1, "points": [...], "sha256": "..."}``. The hash is over schema and
points, so that a threshold edited by hand is refused: it would still carry the error rates
of the threshold that it replaced.
"""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from verify.errors import ModelIntegrityError
from verify.models.atomic import write_file
from verify.models.checked import Fields, read_document
from verify.models.identity import canonical_sha256
from verify.types import Modality, OperatingPoint, Rate

if TYPE_CHECKING:
    from collections.abc import Iterable

OPERATING_POINTS_FILE = "operating_points.json"
SCHEMA = 1
_SHIPPED = Path(__file__).with_name("operating_points")


def read_operating_points(path: Path | str) -> tuple[OperatingPoint, ...]:
    """Read and check a file of operating points.

    Raises:
        ModelIntegrityError: not JSON, a future schema, changed by hand, or a field missing, of the
            wrong type or out of range; the message names it.
    """
    path = Path(path)
    fields = read_document(path)
    schema = fields.integer("schema", low=1)
    if schema > SCHEMA:
        msg = f"{path}: schema {schema} is of a newer verify (this one reads up to {SCHEMA}); upgrade verify"
        raise ModelIntegrityError(msg)
    raw = fields.items("points")
    found = canonical_sha256({"schema": schema, "points": raw})
    if fields.sha256("sha256") != found:
        msg = (
            f"{path}: field 'sha256' does not match the points: the file was changed after it was measured; "
            "measure again (verify calibrate) instead of editing thresholds"
        )
        raise ModelIntegrityError(msg)
    points = tuple(_read_point(Fields(item, where=f"{path}: points[{i}]")) for i, item in enumerate(raw))
    names = [point.name for point in points]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        msg = f"{path}: points: the name {twice[0]!r} occurs twice"
        raise ModelIntegrityError(msg)
    return points


def write_operating_points(path: Path | str, points: Iterable[OperatingPoint]) -> None:
    """Write operating points so that either the old or the new file is there, never a half.

    What is written is checked as it would be when read.

    Raises:
        ModelIntegrityError: a point's field is out of range; the message names it.
        StorageError: the file cannot be written.
    """
    path = Path(path)
    raw = [_plain(point) for point in points]
    for i, item in enumerate(raw):
        _read_point(Fields(item, where=f"{path}: points[{i}]"))
    document = {"schema": SCHEMA, "points": raw}
    document["sha256"] = canonical_sha256(document)
    write_file(path, (json.dumps(document, indent=2, sort_keys=True, allow_nan=False) + "\n").encode())


def shipped_operating_points(name: str, *, model_id: str) -> Path | None:
    """The file of operating points that comes with verify for a model, if measured for this very model."""
    path = _SHIPPED / f"{name}.json"
    if not path.is_file() or any(point.model_id != model_id for point in read_operating_points(path)):
        return None
    return path


def _plain(point: OperatingPoint) -> dict[str, Any]:
    plain = dataclasses.asdict(point)
    plain["modality"] = str(point.modality)
    try:
        # One round trip: tuples become lists, so that the hash is over what a reader will see.
        result: dict[str, Any] = json.loads(json.dumps(plain, allow_nan=False))
    except (TypeError, ValueError) as error:
        msg = f"operating point {point.name!r} cannot be written as JSON: {error}"
        raise ModelIntegrityError(msg) from error
    return result


def _read_point(fields: Fields) -> OperatingPoint:
    mode = fields.text("mode", choices=("1:1", "1:N"))
    return OperatingPoint(
        name=fields.text("name"),
        model_id=fields.sha256("model_id"),
        modality=Modality(fields.text("modality", choices=tuple(Modality))),
        threshold=fields.number("threshold", low=-1.0, high=1.0),
        target_fmr=fields.number("target_fmr", low=0.0, high=1.0),
        fmr=_read_rate(fields.fields("fmr")),
        fnmr=_read_rate(fields.fields("fnmr")),
        mode=mode,
        gallery_size=fields.integer("gallery_size", low=1 if mode == "1:N" else 0),
        confidence=fields.number("confidence", low=0.5, high=1.0),
        score_space=fields.text("score_space", choices=("cosine",)),
        calibration_fmr=_read_rate(fields.fields("calibration_fmr"))
        if fields.has("calibration_fmr")
        else None,
        data=fields.mapping("data", default={}),
    )


def _read_rate(fields: Fields) -> Rate:
    return Rate(
        errors=fields.integer("errors"),
        trials=fields.integer("trials"),
        upper=fields.number("upper", low=0.0, high=1.0),
        lower=fields.number("lower", low=0.0, high=1.0),
        bound=fields.text("bound"),
        n_eff=fields.number("n_eff", low=0.0, high=1e18),
    )
