"""Read and write operating points: thresholds with the proof that stands behind them.

The file is JSON: ``{"schema": 2, "points": [...], "sha256": "..."}``. The hash is over schema and
points, so that a threshold edited by hand is refused: it would still carry the error rates
of the threshold that it replaced. Cohorts that points name lie beside the file, see `verify.models.cohorts`.

Schema 1 knew raw cosines only; its files are read as such. What a point's fields may be is in
`verify.models.point_fields`.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING

from verify.atomic import write_file
from verify.errors import DataError, ModelIntegrityError
from verify.models.checked import Fields, read_document
from verify.models.identity import canonical_sha256
from verify.models.point_fields import plain_point, read_point

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from verify.types import OperatingPoint

OPERATING_POINTS_FILE = "operating_points.json"
COHORT_FILE = re.compile(r"cohort-[0-9a-f]{12}\.npy")  # see `verify.models.cohorts`
SCHEMA = 2
_SHIPPED = Path(__file__).with_name("operating_points")


def read_operating_points(path: Path | str) -> tuple[OperatingPoint, ...]:
    """Read and check a file of operating points.

    Raises:
        DataError: no such file, or it is the report of a calibration in place of its operating points.
        ModelIntegrityError: not JSON, a future schema, changed by hand, or a field missing, of the
            wrong type, out of range or at odds with another one; the message names it.
    """
    path = Path(path)
    if not path.exists():
        msg = f"{path}: no such file; operating points are made by `verify calibrate`, which says where it wrote them"
        raise DataError(msg)
    fields = read_document(path)
    if fields.has("verdicts") and not fields.has("points"):
        msg = (
            f"{path}: is a report (of `verify calibrate` or `verify evaluate`), not operating points; give the file "
            f"that the calibration wrote beside it, by default {OPERATING_POINTS_FILE}"
        )
        raise DataError(msg)
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
    return _checked(raw, path=path, schema=schema)


def write_operating_points(path: Path | str, points: Iterable[OperatingPoint]) -> None:
    """Write operating points so that either the old or the new file is there, never a half.

    What is written is checked as it would be when read.

    Raises:
        ModelIntegrityError: a point's field is out of range or at odds with another one, or a name
            occurs twice; the message names it.
        StorageError: the file cannot be written.
    """
    path = Path(path)
    raw = [plain_point(point) for point in points]
    _checked(raw, path=path, schema=SCHEMA)
    document = {"schema": SCHEMA, "points": raw}
    document["sha256"] = canonical_sha256(document)
    write_file(path, (json.dumps(document, indent=2, sort_keys=True, allow_nan=False) + "\n").encode())


def shipped_operating_points(name: str, *, model_id: str) -> Path | None:
    """The file of operating points that comes with verify for a model, if measured for this very model."""
    path = _SHIPPED / f"{name}.json"
    if not path.is_file() or any(point.model_id != model_id for point in read_operating_points(path)):
        return None
    return path


def _checked(raw: Sequence[object], *, path: Path, schema: int) -> tuple[OperatingPoint, ...]:
    points = tuple(
        read_point(Fields(item, where=f"{path}: points[{i}]"), schema=schema) for i, item in enumerate(raw)
    )
    names = [point.name for point in points]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        msg = f"{path}: points: the name {twice[0]!r} occurs twice"
        raise ModelIntegrityError(msg)
    return points
