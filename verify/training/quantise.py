"""Smaller graphs: weights in half precision, or weights and activations in 8-bit integers.

Both change the numbers, and so the model: the result has a model_id of its own, and its export proves how
many decisions differ (`verify.training.agreement`).
"""

from __future__ import annotations

import logging
import math
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from verify.errors import DataError, ModelIntegrityError
from verify.types import Modality

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    import onnx
    from numpy.typing import NDArray

HALF_MAX = 65_504.0  # largest finite float16
_LEAST_ELEMENTS = 256  # smaller constants (biases, slopes) are not worth a rounding
# What runs in integers: layers with weights. In face encoders sums too: between two convolutions nothing then goes
# back to float. In voice encoders only convolutions over several frames or bins: the pointwise ones mix channels whose
# ranges one 8-bit scale does not hold (with them CAM++'s own cosine fell to 0.06, with the others it is 0.98), nor
# does it hold statistics over time. The L2 norm stays float in all.
_LAYERS = ("Conv", "Gemm", "MatMul")


def half(model: onnx.ModelProto) -> onnx.ModelProto:
    """The graph with its large constants stored as float16: half the file, computed in float32.

    ONNX Runtime widens the constants once, when it loads the graph; after that it runs as fast as before. CPUs
    have no kernels for float16, so nothing is gained by computing in it. Constants beyond the range of
    float16 stay as they are.

    Args:
        model: a float32 graph; it is not changed.
    """
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    made = onnx.ModelProto()
    made.CopyFrom(model)
    casts = []
    for tensor in made.graph.initializer:
        if tensor.data_type != TensorProto.FLOAT:
            continue
        values = numpy_helper.to_array(tensor)
        if values.size < _LEAST_ELEMENTS or not float(np.abs(values).max()) <= HALF_MAX:
            continue
        name = tensor.name
        tensor.CopyFrom(numpy_helper.from_array(values.astype(np.float16), f"{name}:half"))
        casts.append(helper.make_node("Cast", [f"{name}:half"], [name], to=TensorProto.FLOAT))
    nodes = [*casts, *made.graph.node]
    del made.graph.node[:]
    made.graph.node.extend(nodes)
    onnx.checker.check_model(made, full_check=True)
    return made


def integer(
    model: onnx.ModelProto, samples: Iterable[NDArray[np.float32]], *, modality: Modality
) -> onnx.ModelProto:
    """The graph in 8-bit integers, with fixed ranges of activations learnt from real inputs (static quantisation).

    Weights are signed, one scale for each output channel; activations unsigned, with ranges averaged over the
    samples, so that one odd sample does not coarsen all others (Jacob et al., CVPR 2018; Nagel et al., arXiv
    2106.08295). The graph holds pairs of QuantizeLinear and DequantizeLinear, which ONNX Runtime fuses.

    Args:
        model: a float32 graph with one input.
        samples: inputs of the graph, (1, ...) each, like those that it will be given; a hundred do.
        modality: face or voice: which operators can bear it.

    Raises:
        DataError: no samples.
        ModelIntegrityError: the graph cannot be quantised; the message says why.
    """
    import onnx
    from onnxruntime import quantization

    reader = _Reader(model.graph.input[0].name, samples)
    try:
        with tempfile.TemporaryDirectory(prefix="verify-") as folder, _quiet():
            folded, made = Path(folder) / "folded.onnx", Path(folder) / "integer.onnx"
            _fold(model, folded)
            nodes = _bearing(folded, modality)
            quantization.quantize_static(
                folded,
                made,
                reader,
                quant_format=quantization.QuantFormat.QDQ,
                op_types_to_quantize=[*_LAYERS, "Add"],
                nodes_to_quantize=nodes,
                per_channel=True,
                activation_type=quantization.QuantType.QUInt8,
                weight_type=quantization.QuantType.QInt8,
                calibrate_method=quantization.CalibrationMethod.MinMax,
                extra_options={"CalibMovingAverage": True},
            )
            found = onnx.load(made)
    except _Empty as error:
        msg = "int8 learns the ranges of activations from real samples, and there are none: name a set that holds some"
        raise DataError(msg) from error
    except (
        RuntimeError,
        ValueError,
        TypeError,
        KeyError,
        AttributeError,
        onnx.checker.ValidationError,
    ) as error:
        reason = str(error).strip().partition("\n")[0]
        msg = f"ONNX Runtime cannot quantise this graph ({reason}); export it without --int8"
        raise ModelIntegrityError(msg) from error
    return found


class _Empty(Exception):  # noqa: N818  never leaves this module
    pass


class _Reader:
    """Feeds samples to the calibration; what `onnxruntime.quantization.CalibrationDataReader` asks for."""

    def __init__(self, name: str, samples: Iterable[NDArray[np.float32]]) -> None:
        self._name, self._samples, self._given = name, iter(samples), 0

    def get_next(self) -> dict[str, Any] | None:
        sample = next(self._samples, None)
        if sample is None and not self._given:
            raise _Empty
        self._given += 1
        return None if sample is None else {self._name: sample}

    def __iter__(self) -> _Reader:
        return self

    def __next__(self) -> dict[str, Any]:
        found = self.get_next()
        if found is None:
            raise StopIteration
        return found


def _bearing(path: Path, modality: Modality) -> list[str]:
    """Names of the nodes that run in integers; nodes without a name are given one in the file."""
    import onnx

    model = onnx.load(path)
    constants = {tensor.name: tuple(tensor.dims) for tensor in model.graph.initializer}
    for place, node in enumerate(model.graph.node):
        node.name = node.name or f"{node.op_type}-{place}"
    onnx.save(model, path)
    layers = {
        node.name: constants[node.input[1]]
        for node in model.graph.node
        if node.op_type in _LAYERS and node.input[1] in constants
    }
    if modality is Modality.VOICE:
        return [name for name, shape in layers.items() if math.prod(shape[2:]) > 1]
    sums = [
        node.name
        for node in model.graph.node
        if node.op_type == "Add" and not constants.keys() & set(node.input)
    ]
    return [*layers, *sums]


def _fold(model: onnx.ModelProto, target: Path) -> None:
    """Write the graph with normalisations folded into convolutions, for what is folded need not be rounded."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.optimized_model_filepath = str(target)
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


@contextmanager
def _quiet() -> Iterator[None]:
    """ONNX Runtime's quantiser speaks to the root logger; what it says is for its own developers."""
    root = logging.getLogger()
    before = root.level
    root.setLevel(logging.ERROR)
    try:
        yield
    finally:
        root.setLevel(before)
