from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from verify.models.bundle import load_session
from verify.models.graphs.prelu import spread_prelu


def network(slopes: np.ndarray, *, constant: bool = True):
    """Conv, PRelu, PRelu with the same slopes."""
    weights = np.random.default_rng(3).normal(size=(len(slopes), 3, 3, 3)).astype(np.float32)
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["B", 3, 12, 10])]
    initializers = [numpy_helper.from_array(weights, "w")]
    if constant:
        initializers.append(numpy_helper.from_array(slopes.reshape(-1, 1, 1), "a"))
    else:
        inputs.append(helper.make_tensor_value_info("a", TensorProto.FLOAT, [len(slopes), 1, 1]))
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"]),
        helper.make_node("PRelu", ["c", "a"], ["p"]),
        helper.make_node("PRelu", ["p", "a"], ["y"]),
    ]
    outputs = [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["B", len(slopes), 10, 8])]
    graph = helper.make_graph(nodes, "net", inputs, outputs, initializers)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.floats(-2, 2, width=32), min_size=1, max_size=5), st.integers(1, 3))
def test_same_function_for_any_slopes(slopes: list[float], batch: int) -> None:
    x = np.random.default_rng(batch).normal(size=(batch, 3, 12, 10)).astype(np.float32)
    model = network(np.array(slopes, np.float32))
    before = load_session(model.SerializeToString(), threads=1).run(None, {"x": x})[0]
    assert spread_prelu(model) == 2
    assert "PRelu" not in {node.op_type for node in model.graph.node}
    after = load_session(model.SerializeToString(), threads=1).run(None, {"x": x})[0]
    np.testing.assert_allclose(after, before, rtol=1e-4, atol=1e-4)


def test_slopes_that_are_no_constants_stay() -> None:
    model = network(np.array([0.1, 0.2], np.float32), constant=False)
    assert spread_prelu(model) == 0
    assert [node.op_type for node in model.graph.node] == ["Conv", "PRelu", "PRelu"]


@pytest.mark.models
def test_no_default_model_runs_the_slow_kernel(models_dir) -> None:
    import onnx

    for path in models_dir.glob("*/*.onnx"):
        assert "PRelu" not in {node.op_type for node in onnx.load(path).graph.node}, path
