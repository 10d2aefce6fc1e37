"""Templates' vectors as they are stored: little-endian float32, finite, of unit norm.

Vectors are checked when they come in, when they are read back and when they ask, because one NaN
or one unnormalised row would make scores that mean nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from verify.errors import DataError

if TYPE_CHECKING:
    from numpy.typing import NDArray

NORM_TOLERANCE = 1e-3
MAX_DIM = 65_536
_STORED = np.dtype("<f4")


def checked_vector(
    vector: NDArray[Any], *, dim: int | None = None, what: str = "template"
) -> NDArray[np.float32]:
    """Return `vector` as (D,) float32, contiguous.

    Args:
        vector: anything that reads as (D,) numbers.
        dim: the D that it must have; None takes any.
        what: what to call it in messages.

    Raises:
        DataError: another shape, NaN or infinity, or a norm off 1 by more than 1e-3.
    """
    try:
        row = np.ascontiguousarray(vector, dtype=np.float32)
    except (TypeError, ValueError) as error:
        msg = f"{what} vector does not read as float32 numbers: {error}"
        raise DataError(msg) from error
    if row.ndim != 1 or not 0 < row.shape[0] <= MAX_DIM:
        msg = f"{what} vector has shape {np.shape(vector)}; it must be (D,) with D from 1 to {MAX_DIM}"
        raise DataError(msg)
    if dim is not None and row.shape[0] != dim:
        msg = f"{what} vector has {row.shape[0]} numbers; the templates of its model have {dim}"
        raise DataError(msg)
    broken = first_broken_row(row[None, :])
    if broken is not None:
        msg = f"{what} vector {broken[1]}; templates are finite and of unit L2 norm (within {NORM_TOLERANCE})"
        raise DataError(msg)
    return row


def first_broken_row(rows: NDArray[np.float32]) -> tuple[int, str] | None:
    """Find the first of (N, D) rows that is no template; return its index and what is wrong."""
    squared = (
        np.einsum("nd,nd->n", rows, rows, dtype=np.float64, casting="same_kind") if rows.size else np.zeros(0)
    )
    with np.errstate(invalid="ignore"):
        norms = np.sqrt(squared)
        fit = np.abs(norms - 1.0) <= NORM_TOLERANCE  # False for NaN too
    if fit.all():
        return None
    index = int(np.argmin(fit))
    finite = bool(np.isfinite(rows[index]).all())
    return index, f"has norm {norms[index]:.6g}" if finite else "holds NaN or infinity"


def to_blob(vector: NDArray[np.float32]) -> bytes:
    """Return the stored bytes of a checked (D,) vector."""
    return vector.astype(_STORED, copy=False).tobytes()


def from_blobs(blobs: list[bytes], *, dim: int) -> NDArray[np.float32]:
    """Return (N, D) float32 from stored bytes; read-only.

    Raises:
        ValueError: a blob of another length than `dim` numbers; the message holds its index.
    """
    for index, blob in enumerate(blobs):
        if len(blob) != dim * _STORED.itemsize:
            raise ValueError(index)
    return (
        np.frombuffer(b"".join(blobs), dtype=_STORED).reshape(len(blobs), dim).astype(np.float32, copy=False)
    )


def exact_cosines(rows: NDArray[np.float32], probe: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return the (N,) float64 cosines of (N, D) unit rows with a (D,) unit probe, in [-1, 1].

    Each row is summed in double precision and in a fixed order, so that a score depends neither
    on the BLAS, its threads, nor on where in the gallery the row lies.
    """
    products = rows.astype(np.float64) * probe.astype(np.float64)
    clipped: NDArray[np.float64] = np.clip(products.sum(axis=1), -1.0, 1.0)
    return clipped
