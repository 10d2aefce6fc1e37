"""A short run of a freshly built model on a fixed input, held against pinned answers.

The input is made by integer arithmetic, so that it is the same everywhere. Answers are compared by
cosine, because runtimes differ in the last digits.
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from verify.errors import ModelIntegrityError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

TOLERANCE = 1e-4  # on 1 - cosine
PINNED_VALUES = 64  # of each output, evenly spaced
_PINS = Path(__file__).with_name("selftest.json")


def ramp(shape: Sequence[int], *, low: float, high: float) -> NDArray[np.float32]:
    """Values in [low, high) that look random and are the same on every machine (Knuth's hash)."""
    count = int(np.prod(shape))
    steps = (np.arange(1, count + 1, dtype=np.uint64) * np.uint64(2654435761)) % np.uint64(1 << 32)
    unit = steps.astype(np.float64) / float(1 << 32)
    return (low + unit * (high - low)).astype(np.float32).reshape(shape)


def answers(path: Path, inputs: Mapping[str, Mapping[str, Any]]) -> dict[str, NDArray[np.float64]]:
    """Run one ONNX file; for each output, `PINNED_VALUES` of its values, evenly spaced.

    Args:
        path: the model.
        inputs: for each input its ``shape``, ``low`` and ``high``.
    """
    from verify.models.bundle import load_session

    session = load_session(path)
    feeds = {name: ramp(spec["shape"], low=spec["low"], high=spec["high"]) for name, spec in inputs.items()}
    try:
        outputs = session.run(None, feeds)
    except Exception as error:
        msg = f"{path.name} does not run: {error}"
        raise ModelIntegrityError(msg) from error
    picked = {}
    for declared, output in zip(session.get_outputs(), outputs, strict=True):
        flat = np.asarray(output, dtype=np.float64).ravel()
        picked[declared.name] = flat[np.linspace(0, flat.size - 1, min(PINNED_VALUES, flat.size)).astype(int)]
    return picked


def run_selftest(folder: Path, *, name: str) -> float | None:
    """Hold a built bundle's answers against the pinned ones.

    Args:
        folder: holds the bundle's files.
        name: of the model whose pins count.

    Returns:
        The smallest cosine over all outputs; None if nothing is pinned for this model.

    Raises:
        ModelIntegrityError: a graph does not run, or its answers are not the pinned ones.
    """
    smallest = None
    for file, pin in _pins().get(name, {}).items():
        found = answers(folder / file, pin["inputs"])
        for output, expected in pin["outputs"].items():
            cosine = _cosine(found.get(output, np.zeros(0)), np.asarray(expected, dtype=np.float64))
            if not cosine >= 1.0 - TOLERANCE:
                msg = (
                    f"self-test of {name}: output {output} of {file} differs from the pinned answer "
                    f"(cosine {cosine:.6f}): this runtime does not compute what the model is; please report it"
                )
                raise ModelIntegrityError(msg)
            smallest = cosine if smallest is None else min(smallest, cosine)
    return smallest


@cache
def _pins() -> dict[str, Any]:
    data: dict[str, Any] = json.loads(_PINS.read_text()) if _PINS.exists() else {}
    return data


def _cosine(found: NDArray[np.float64], expected: NDArray[np.float64]) -> float:
    if found.shape != expected.shape or not np.isfinite(found).all():
        return -1.0
    norms = float(np.linalg.norm(found) * np.linalg.norm(expected))
    return float(found @ expected) / norms if norms else float(np.array_equal(found, expected))
