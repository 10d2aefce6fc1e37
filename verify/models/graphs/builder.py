"""A thin hand over ``onnx.helper``: nodes, constants and one model proto, the same bytes every time.

The graphs in this folder are written down by hand rather than traced, for three reasons: pulling a
model needs no torch; the graph depends on no exporter's version, so neither does its model_id; and
what is exact in inference mode (batch normalisation, pre-activations, pooling per segment) is
folded on the way, in float64, which makes them faster than the traced network.

Everything computed here is rounded the same way on every machine (elementwise operations and sums
in a fixed order, no BLAS): the model_id is taken over these constants.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from verify.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Iterator

    import onnx
    from numpy.typing import NDArray

    from verify.models.weights import Weights

OPSET = 17  # known to every ONNX Runtime from 1.12 on
IR_VERSION = 8  # the file format of that opset's time
PRODUCER = "verify"
SMALLEST_NORM = 1e-12

Dims = Sequence[int | str]


class GraphBuilder:
    """Collects nodes and constants in order and names the values in between.

    Args:
        name: the graph's name in the file.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self._nodes: list[onnx.NodeProto] = []
        self._constants: dict[str, onnx.TensorProto] = {}

    def constant(self, value: NDArray[Any] | Sequence[int] | int, *, name: str = "") -> str:
        """Add a constant: floating point becomes float32, integers int64; return its name."""
        from onnx import numpy_helper

        array = np.asarray(value)
        array = array.astype(np.float32 if array.dtype.kind == "f" else np.int64)
        name = name or f"constant_{len(self._constants)}"
        if name in self._constants:
            msg = f"graph {self.name}: constant {name!r} is there already"
            raise ValueError(msg)
        self._constants[name] = numpy_helper.from_array(
            np.ascontiguousarray(array).reshape(array.shape), name
        )
        return name

    def op(self, kind: str, *inputs: str, output: str = "", **attributes: Any) -> str:
        """Add a node with one output; return the output's name."""
        from onnx import helper

        output = output or f"{kind.lower()}_{len(self._nodes)}"
        self._nodes.append(helper.make_node(kind, list(inputs), [output], **attributes))
        return output

    def multi(self, kind: str, *inputs: str, outputs: Sequence[str], **attributes: Any) -> None:
        """Add a node with several named outputs; an empty name leaves an output out."""
        from onnx import helper

        self._nodes.append(helper.make_node(kind, list(inputs), list(outputs), **attributes))

    def conv(
        self,
        x: str,
        weight: NDArray[Any],
        bias: NDArray[Any] | None = None,
        *,
        relu: bool = False,
        **attributes: Any,
    ) -> str:
        """Convolve `x` with constants: weight (O, I, *kernel), bias (O,); the runtime fuses the ReLU."""
        constants = [self.constant(weight)] + ([] if bias is None else [self.constant(bias)])
        out = self.op("Conv", x, *constants, kernel_shape=list(weight.shape[2:]), **attributes)
        return self.op("Relu", out) if relu else out

    def unit_l2(self, x: str, *, output: str) -> str:
        """Scale each row of `x` (B, D) to unit L2 norm; a row of zeros stays zeros, never NaN."""
        norm = self.op("ReduceL2", x, axes=[1], keepdims=1)
        return self.op("Div", x, self.op("Max", norm, self.constant(np.array(SMALLEST_NORM))), output=output)

    def build(
        self, *, inputs: Mapping[str, Dims], outputs: Mapping[str, Dims], smallest: int = 1
    ) -> onnx.ModelProto:
        """Close the graph and run it once, on zeros.

        Args:
            inputs: float32 inputs and their shapes, a string for each free axis.
            outputs: likewise; what comes out must have these shapes.
            smallest: length of the free axes in the trial run.

        Raises:
            ValueError: the trial run fails: constants do not fit each other.
        """
        import onnx
        from onnx import TensorProto, helper

        def infos(values: Mapping[str, Dims]) -> list[onnx.ValueInfoProto]:
            return [helper.make_tensor_value_info(n, TensorProto.FLOAT, list(d)) for n, d in values.items()]

        graph = helper.make_graph(
            self._nodes, self.name, infos(inputs), infos(outputs), initializer=list(self._constants.values())
        )
        model = helper.make_model(
            graph,
            opset_imports=[helper.make_opsetid("", OPSET)],
            ir_version=IR_VERSION,
            producer_name=PRODUCER,
        )
        onnx.checker.check_model(model, full_check=True)
        _try(model, inputs, outputs, smallest)
        return model


def _try(
    model: onnx.ModelProto, inputs: Mapping[str, Dims], outputs: Mapping[str, Dims], smallest: int
) -> None:
    """Run a graph once, unoptimised: neither the checker nor loading holds channels against each other."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4  # what fails is raised, not also printed
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    zeros = {
        name: np.zeros([dim if isinstance(dim, int) else smallest for dim in dims], np.float32)
        for name, dims in inputs.items()
    }
    try:
        session = onnxruntime.InferenceSession(
            model.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
        found = session.run(list(outputs), zeros)
    except Exception as error:  # ONNX Runtime raises a dozen unrelated types
        raise ValueError(str(error)) from error
    for (name, dims), array in zip(outputs.items(), found, strict=True):
        if any(isinstance(dim, int) and dim != got for dim, got in zip(dims, array.shape, strict=True)):
            msg = f"{name} has the shape {array.shape}, not {tuple(dims)}"
            raise ValueError(msg)


@contextmanager
def fitting(weights: Weights, *, network: str) -> Iterator[None]:
    """Turn what goes wrong with tensors of other shapes into a `DataError` that names the file."""
    import onnx

    try:
        yield
    except (
        ArithmeticError,
        IndexError,
        ValueError,
        onnx.checker.ValidationError,
        onnx.shape_inference.InferenceError,
    ) as error:
        reason = str(error).strip().partition("\n")[0]
        msg = f"{weights.source}: its tensors do not have the shapes of {network} ({reason})"
        raise DataError(msg) from error


def batchnorm_affine(
    weights: Mapping[str, NDArray[Any]], prefix: str, *, eps: float = 1e-5
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Batch normalisation in inference mode as ``scale * x + shift``, both (C,) in float64.

    ``prefix.weight`` and ``prefix.bias`` may be missing (a normalisation without affine part).
    """
    mean = weights[f"{prefix}.running_mean"].astype(np.float64)
    variance = weights[f"{prefix}.running_var"].astype(np.float64)
    gamma = (
        weights[f"{prefix}.weight"].astype(np.float64)
        if f"{prefix}.weight" in weights
        else np.ones_like(mean)
    )
    beta = (
        weights[f"{prefix}.bias"].astype(np.float64) if f"{prefix}.bias" in weights else np.zeros_like(mean)
    )
    scale = gamma / np.sqrt(variance + eps)
    return scale, beta - mean * scale


def fold_after(
    weight: NDArray[Any], scale: NDArray[np.float64], shift: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """A bias-free convolution followed by ``scale * x + shift``: its weight (O, I, *kernel) and bias (O,)."""
    return weight.astype(np.float64) * scale.reshape(-1, *([1] * (weight.ndim - 1))), shift


def fixed_order_product(matrix: NDArray[np.float64], vector: NDArray[np.float64]) -> NDArray[np.float64]:
    """``matrix @ vector``, (O, I) and (I,) -> (O,), summed from left to right: BLAS differs by machine."""
    return np.add.accumulate(matrix * vector, axis=1)[:, -1]
