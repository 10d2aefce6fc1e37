"""Cohorts: the strangers' templates that a normalised score is measured against.

A cohort is a file ``cohort-<first 12 digits of its hash>.npy`` beside the operating points that
name it: float32 (K, D), one template a cohort subject. It is personal data as a gallery is.
"""

from __future__ import annotations

import hashlib
import io
import math
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from verify.atomic import write_file
from verify.errors import ModelIntegrityError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from verify.score_space import ScoreNorm

NORM_TOLERANCE = 1e-3
MAX_COHORT_BYTES = 1 << 30
_DIMENSIONS = 2


def cohort_file(folder: Path | str, cohort_sha256: str) -> Path:
    """Where the cohort of this hash lies."""
    return Path(folder) / f"cohort-{cohort_sha256[:12]}.npy"


def vectors_sha256(cohort: NDArray[np.float32]) -> str:
    """Hex sha256 of a cohort's (K, D) little-endian float32 bytes, rows in order."""
    return hashlib.sha256(np.ascontiguousarray(cohort, dtype="<f4").tobytes()).hexdigest()


def write_cohort(folder: Path | str, cohort: NDArray[np.float32]) -> str:
    """Write a (K, D) float32 cohort of unit rows beside the operating points; return its hash.

    Raises:
        ModelIntegrityError: it is no cohort.
        StorageError: the file cannot be written.
    """
    digest = vectors_sha256(cohort)
    path = cohort_file(folder, digest)
    rows = np.ascontiguousarray(cohort, dtype="<f4")
    _check_rows(rows, path)
    buffer = io.BytesIO()
    np.save(buffer, rows, allow_pickle=False)
    write_file(path, buffer.getvalue())
    return digest


def read_cohort(folder: Path | str, norm: ScoreNorm) -> NDArray[np.float32]:
    """The cohort of a normalisation, (K, D) float32 of unit rows, read-only.

    Args:
        folder: where the operating points lie.
        norm: says which cohort, by hash and size.

    Raises:
        ModelIntegrityError: missing, not an array of float32, of another size, or changed since.
    """
    path = cohort_file(folder, norm.cohort_sha256)
    way_out = "bring the file that `verify calibrate` wrote beside its operating points, or calibrate again"
    try:
        if path.stat().st_size > MAX_COHORT_BYTES:
            msg = f"{path}: larger than {MAX_COHORT_BYTES} bytes; this is no cohort"
            raise ModelIntegrityError(msg)
        rows = _array(path.read_bytes())
    except OSError as error:
        msg = (
            f"{path}: the cohort that the {norm.method.value} scores are measured against cannot be read "
            f"({error.strerror or error}); {way_out}"
        )
        raise ModelIntegrityError(msg) from error
    except ValueError as error:
        msg = f"{path} is no whole array file ({error}); {way_out}"
        raise ModelIntegrityError(msg) from error
    _check_rows(rows, path)
    if len(rows) != norm.cohort_size:
        msg = f"{path}: {len(rows)} templates, the operating point was measured with {norm.cohort_size}; {way_out}"
        raise ModelIntegrityError(msg)
    if vectors_sha256(rows) != norm.cohort_sha256:
        msg = f"{path}: changed since the operating point was measured (its hash differs); {way_out}"
        raise ModelIntegrityError(msg)
    return rows.astype(np.float32, copy=False)  # a view on bytes: nobody can write to it


def _array(data: bytes) -> NDArray[np.float32]:
    """The array of a .npy file; its header is believed only as far as there are bytes for it.

    (`np.load` sets aside the memory that a header asks for before it looks at what follows.)

    Raises:
        ValueError: not such a file, not of float32 rows, or cut short.
    """
    stream = io.BytesIO(data)
    version = np.lib.format.read_magic(stream)
    if version != (1, 0):
        msg = f"array format {version}, not (1, 0)"
        raise ValueError(msg)
    shape, by_columns, dtype = np.lib.format.read_array_header_1_0(stream)
    if dtype != np.dtype("<f4") or by_columns or len(shape) != _DIMENSIONS:
        msg = f"{dtype} of shape {shape}, not float32 of shape (K, D), row by row"
        raise ValueError(msg)
    there = len(data) - stream.tell()
    if min(shape) < 1 or math.prod(shape) * dtype.itemsize != there:
        msg = f"shape {shape} with {there} bytes of numbers"
        raise ValueError(msg)
    return np.frombuffer(data, dtype, offset=stream.tell()).reshape(shape)


def _check_rows(rows: NDArray[np.generic], path: Path) -> None:
    if rows.ndim != _DIMENSIONS or rows.dtype != np.dtype("<f4") or 0 in rows.shape:
        msg = f"{path}: a cohort is float32 of shape (K, D), not {rows.dtype} of shape {rows.shape}"
        raise ModelIntegrityError(msg)
    norms = np.linalg.norm(rows.astype(np.float64), axis=1)
    broken = np.flatnonzero(~(np.abs(norms - 1.0) <= NORM_TOLERANCE))  # True for NaN, too
    if broken.size:
        msg = f"{path}: template {broken[0]} has norm {norms[broken[0]]:.6g}, not 1: this is no cohort"
        raise ModelIntegrityError(msg)
