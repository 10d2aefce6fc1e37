from __future__ import annotations

import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from tests.models.tiny import tiny_model
from verify.models.identity import canonical_sha256, graph_content_hash, model_id


def two_constants(*, order: tuple[str, str] = ("a", "b"), doc: str = "", raw: bool = True, axis: int = 1):
    values = {"a": np.array([1.5], np.float32), "b": np.array([2.5], np.float32)}
    constants = [
        numpy_helper.from_array(values[name], name)
        if raw
        else helper.make_tensor(name, TensorProto.FLOAT, [1], values[name].tolist())
        for name in order
    ]
    graph = helper.make_graph(
        [
            helper.make_node("Add", ["input", "a"], ["x"], doc_string=doc),
            helper.make_node("Mul", ["x", "b"], ["y"]),
            helper.make_node("Softmax", ["y"], ["output"], axis=axis),
        ],
        "graph" + doc,
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, ["n", 1])],
        [helper.make_tensor_value_info("output", TensorProto.FLOAT, ["n", 1])],
        constants,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], producer_name="p" + doc)


def test_how_a_file_was_written_does_not_count() -> None:
    wanted = graph_content_hash(two_constants())
    assert graph_content_hash(two_constants(order=("b", "a"))) == wanted
    assert graph_content_hash(two_constants(doc="a comment")) == wanted
    assert graph_content_hash(two_constants(raw=False)) == wanted
    model = two_constants()
    model.metadata_props.add(key="made", value="today")
    model.ir_version = 9
    model.graph.value_info.append(helper.make_tensor_value_info("x", TensorProto.FLOAT, None))
    assert graph_content_hash(model) == wanted
    assert graph_content_hash(type(model).FromString(model.SerializeToString())) == wanted


def test_what_a_graph_computes_counts() -> None:
    seen = {graph_content_hash(two_constants()), graph_content_hash(two_constants(axis=0))}
    changed = two_constants()
    changed.graph.initializer[0].CopyFrom(numpy_helper.from_array(np.array([1.5000001], np.float32), "a"))
    seen.add(graph_content_hash(changed))
    other = two_constants()
    other.graph.node[0].op_type = "Sub"
    seen.add(graph_content_hash(other))
    newer = two_constants()
    newer.opset_import[0].version = 18
    seen.add(graph_content_hash(newer))
    assert len(seen) == 5


def test_one_ulp_of_one_weight_changes_the_hash() -> None:
    assert graph_content_hash(tiny_model(2.0)) != graph_content_hash(
        tiny_model(float(np.nextafter(np.float32(2), 3)))
    )


PARTS = {
    "content": {"m": "0" * 64},
    "input_contract": {"bins": 80},
    "postprocessing": {},
    "locator_id": "1" * 64,
}


@pytest.mark.parametrize(
    "change",
    [
        {"content": {"m": "f" * 64}},
        {"input_contract": {"bins": 81}},
        {"postprocessing": {"l2": True}},
        {"locator_id": "2" * 64},
        {"locator_id": None},
    ],
)
def test_every_part_of_the_model_changes_its_id(change: dict) -> None:
    assert model_id(**(PARTS | change)) != model_id(**PARTS)


@given(
    st.dictionaries(st.text(max_size=8), st.integers() | st.text(max_size=8) | st.booleans(), max_size=8),
    st.randoms(),
)
def test_the_order_of_keys_does_not_count(value: dict, order: random.Random) -> None:
    keys = list(value)
    order.shuffle(keys)
    assert canonical_sha256({key: value[key] for key in keys}) == canonical_sha256(value)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_numbers_that_json_does_not_know_have_no_hash(bad: float) -> None:
    with pytest.raises(ValueError, match="JSON compliant"):
        canonical_sha256({"x": bad})
