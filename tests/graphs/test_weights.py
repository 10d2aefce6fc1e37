from __future__ import annotations

import io
import json
import pickle
import re
import struct
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.graphs import checkpoints as made
from tests.graphs.checkpoints import Built, Call, Global, Persistent
from verify.errors import DataError
from verify.models.pickle_tree import read_tree
from verify.models.weights import read_weights

RNG = np.random.default_rng(3)
ARRAYS = {
    "weight": RNG.standard_normal((3, 4)).astype(np.float32),
    "turned": np.asfortranarray(RNG.standard_normal((2, 3, 4)).astype(np.float32)),
    "half": RNG.standard_normal(5).astype(np.float16),
    "count": np.array(7, np.int64),
    "empty": np.zeros((0, 3), np.float32),
    "bytes": np.arange(6, dtype=np.uint8),
}
ZIPPED, LEGACY = made.both_formats(ARRAYS)
ONE = np.arange(6, dtype=np.float32)


@pytest.fixture
def write(tmp_path: Path):
    def writer(data: bytes) -> Path:
        path = tmp_path / "weights.pt"
        path.write_bytes(data)
        return path

    return writer


@pytest.mark.parametrize("data", [ZIPPED, LEGACY], ids=["zip", "legacy"])
def test_tensors_come_back_as_they_were(write, data) -> None:
    weights = read_weights(write(data))
    assert list(weights) == list(ARRAYS)
    for name, array in ARRAYS.items():
        assert weights[name].dtype == array.dtype
        assert weights[name].shape == array.shape
        np.testing.assert_array_equal(weights[name], array)


def test_arrays_are_read_only_views(write) -> None:
    weights = read_weights(write(ZIPPED))
    with pytest.raises(ValueError, match="read-only"):
        weights["weight"][0, 0] = 1.0


def test_views_of_a_shared_storage(write) -> None:
    whole = np.arange(12, dtype=np.float32)
    tree = {
        "rows": made.tensor("0", whole, shape=(3, 4), strides=(4, 1)),
        "columns": made.tensor("0", whole, shape=(4, 3), strides=(1, 4)),
        "tail": made.tensor("0", whole, shape=(2,), strides=(1,), offset=10),
    }
    weights = read_weights(write(made.zipped(tree, whole)))
    np.testing.assert_array_equal(weights["columns"], weights["rows"].T)
    np.testing.assert_array_equal(weights["tail"], [10, 11])


def test_a_section_beside_an_optimiser(write) -> None:
    tree = {
        "step": 3,
        "model_state": {"w": made.tensor("0", ONE, legacy=True)},
        "optimizer_state": {"state": {140178894849152: {"exp_avg": made.tensor("1", ONE, legacy=True)}}},
    }
    path = write(made.legacy(tree, ONE, ONE + 1))
    np.testing.assert_array_equal(read_weights(path, section="model_state")["w"], ONE)
    with pytest.raises(DataError, match=r"optimizer_state.*name the section"):
        read_weights(path)
    with pytest.raises(DataError, match="no section 'model'"):
        read_weights(path, section="model")


def test_parameters_and_version_notes_are_understood(write) -> None:
    parameter = Call(Global("torch._utils", "_rebuild_parameter"), (made.tensor("0", ONE), True, None))
    empty = Call(Global("collections", "OrderedDict"), ())
    filled = made.encode(empty) + b"(" + made.encode("w") + made.encode(parameter) + b"u"
    tree = Built(filled, {"_metadata": Call(Global("collections", "OrderedDict"), ())})
    np.testing.assert_array_equal(read_weights(write(made.zipped(tree, ONE)))["w"], ONE)


def test_a_missing_tensor_names_the_file(write) -> None:
    weights = read_weights(write(ZIPPED))
    with pytest.raises(DataError, match=r"weights\.pt: has no tensor 'head\.conv1\.weight'.*another network"):
        weights["head.conv1.weight"]


def test_safetensors(write) -> None:
    header = {"__metadata__": {"a": "b"}, "w": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]}}
    text = json.dumps(header).encode()
    path = write(struct.pack("<Q", len(text)) + text + ONE.tobytes())
    np.testing.assert_array_equal(read_weights(path)["w"], ONE.reshape(2, 3))


class Malicious:
    def __init__(self, *call: object) -> None:
        self.function, *self.arguments = call

    def __reduce__(self) -> tuple[object, ...]:
        return self.function, tuple(self.arguments)


@pytest.mark.parametrize("protocol", [0, 1, 2, 3, 4, 5])
@pytest.mark.parametrize("container", ["zip", "legacy"])
def test_what_a_pickle_would_run_is_never_run(tmp_path: Path, protocol: int, container: str) -> None:
    marker = tmp_path / "was_run"
    attack = pickle.dumps({"w": Malicious(Path.touch, marker)}, protocol=protocol)
    path = tmp_path / "attack.pt"
    if container == "zip":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("archive/data.pkl", attack)
    else:
        path.write_bytes(attack)
    with pytest.raises(DataError, match=r"attack\.pt"):
        read_weights(path)
    assert not marker.exists()
    pickle.loads(attack)  # noqa: S301  the attack works where pickles are run
    assert marker.exists()


@pytest.mark.parametrize(
    ("tree", "word"),
    [
        (Call(Global("os", "system"), ("true",)), "os.system"),
        (Call(Global("builtins", "eval"), ("1",)), "builtins.eval"),
        (Call(Global("__builtin__", "getattr"), (Global("torch", "FloatStorage"), "mro")), "getattr"),
        (Call(Global("torch", "load"), ("x",)), "torch.load"),
        (Call(Global("torch._utils", "_rebuild_tensor_v2.__globals__"), ()), "__globals__"),
        (Call(Global("torch.FloatStorage", "__init__"), ()), "__init__"),
        (Call(Global("torch", "FloatStorage"), (10**12,)), "torch.FloatStorage"),
        (Call(Global("collections", "OrderedDict"), ([("a", 1)],)), "collections.OrderedDict"),
        (Call("collections.OrderedDict", ()), "calls str"),
        (Built([], {"a": 1}), "into a list"),
        (Built(Global("collections", "OrderedDict"), {"x": 1}), "into a _Name"),
        (b"\x8c\x02os\x8c\x06system\x93", "STACK_GLOBAL"),
        (b"(S'true'\nios\nsystem\n", "STRING"),
        (b"(ios\nsystem\n", "INST"),
        (b"\x82\x01", "EXT1"),
        (b"S'\\S'\n", "STRING"),
        (b"I0x10\n", "INT"),
        (b"\xff", "ff at byte"),
        (b"cos\\x2e\npath\n", "os\\x2e.path"),
        (Global("collections", "OrderedDict"), "beside tensors"),
        (b"ccollections\nOrderedDict\n)\x81", "NEWOBJ"),
        (Persistent(("module", Global("torch", "FloatStorage"), "0", "cpu", 6)), "no storage"),
        (Persistent(("storage", "torch.FloatStorage", "0", "cpu", 6)), "no storage"),
        ({("a",): 1}, "tuple as a key"),
        (b"(\x85", "mark out of place"),
    ],
)
def test_names_and_opcodes_outside_the_list_are_refused_by_name(write, tree, word) -> None:
    with pytest.raises(DataError, match=re.escape(word)):
        read_weights(write(made.zipped({"w": tree}, ONE)))


@pytest.mark.parametrize("opcodes", [b".", b"]]s.", b"}u.", b"]].", b"h\x05.", b"R.", b"Q.", b"b."])
def test_a_stack_that_does_not_work_out_is_an_error(opcodes) -> None:
    with pytest.raises((LookupError, ValueError, TypeError)):
        read_tree(io.BytesIO(b"\x80\x02" + opcodes))


@pytest.mark.parametrize(
    "lies",
    [
        {"shape": (7,), "strides": (1,)},
        {"shape": (6,), "strides": (2,)},
        {"offset": 1},
        {"offset": -1},
        {"strides": (-1,)},
        {"shape": (10**12,), "strides": (0,)},
        {"shape": (2, 10**9), "strides": (0, 0)},
        {"shape": (2,), "strides": (2**70,)},
        {"shape": (6, 1), "strides": (1,)},
        {"shape": (6.0,), "strides": (1,)},
        {"shape": (True,), "strides": (1,)},
        {"count": 10**15},
        {"count": 5},
        {"kind": "DoubleStorage"},
        {"shape": (1,) * 70, "strides": (1,) * 70},
    ],
    ids=str,
)
@pytest.mark.parametrize("old", [False, True], ids=["zip", "legacy"])
def test_a_tensor_that_does_not_fit_its_storage_is_refused(write, lies, old) -> None:
    tree = {"w": made.tensor("0", ONE, legacy=old, **lies)}
    with pytest.raises(DataError, match=r"weights\.pt"):
        read_weights(write(made.legacy(tree, ONE) if old else made.zipped(tree, ONE)))


def test_a_small_file_cannot_ask_for_endless_work(write) -> None:
    names = b"".join(made.encode(f"{i}") + b"h\x01" for i in range(20_000))
    inner = made.encode({"w": made.tensor("0", ONE)}) + b"q\x01"
    tree = b"}(" + made.encode("first") + inner + names + b"u"
    with pytest.raises(DataError, match="not a state dict"):
        read_weights(write(made.zipped(tree, ONE)))
    layers = b"]q\x00" + b"".join(
        b"](h" + bytes([i]) + b"h" + bytes([i]) + b"eq" + bytes([i + 1]) for i in range(60)
    )
    with pytest.raises(DataError):  # 2^60 paths through 60 lists
        read_weights(write(made.legacy({"a": layers})))


@pytest.mark.parametrize(
    ("data", "word"),
    [
        (b"", "neither"),
        (b"not weights", "neither"),
        (b"\x80\x02", "damaged"),
        (b"PK\x03\x04 but no zip", "damaged"),
        (made.zipped({}), "not a state dict"),
        (made.zipped([1, 2]), "holds a list"),
        (made.zipped({"w": made.tensor("5", ONE)}, ONE), "data/5"),
        (made.zipped({"w": made.tensor("0", ONE)}, ONE, compression=zipfile.ZIP_DEFLATED), "compressed"),
        (made.legacy({"w": made.tensor("0", ONE, legacy=True)}, ONE, magic=1), "not a torch checkpoint"),
        (made.legacy({}, machine={"little_endian": False}), "big-endian"),
        (made.legacy({"w": made.tensor("0", ONE, legacy=True)}, ONE)[:-1], "claims 24 bytes"),
        (struct.pack("<Q", 10**9) + b"{}", "header"),
        (
            struct.pack("<Q", 61)
            + b'{"w":{"dtype":"F32","shape":[9],"data_offsets":[0,8]},"a":0}x'
            + bytes(8),
            "damaged",
        ),
    ],
)
def test_other_and_damaged_files_are_named(write, data, word) -> None:
    with pytest.raises(DataError, match=rf"weights\.pt: .*{word}"):
        read_weights(write(data))


def zip_of(**members: bytes) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name, data in members.items():
            archive.writestr(name.replace("__", "/"), data)
    return stream.getvalue()


def safetensors_of(**header: object) -> bytes:
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + bytes(64)


@pytest.mark.parametrize(
    ("data", "word"),
    [
        (zip_of(model=b""), "no single data.pkl"),
        (zip_of(a__data=b"", **{"a/data.pkl": b"", "b/data.pkl": b""}), "no single data.pkl"),
        (zip_of(**{"a/data.pkl": made.pickled({}), "a/byteorder": b"big"}), "big-endian"),
        (safetensors_of(w={"dtype": "BF16", "shape": [1], "data_offsets": [0, 2]}), "type BF16"),
        (safetensors_of(w={"dtype": "F32", "shape": [4], "data_offsets": [0, 12]}), "damaged: tensor 'w'"),
        (safetensors_of(w={"dtype": "F32", "shape": [20], "data_offsets": [0, 80]}), "of 64 bytes"),
        (safetensors_of(w={"dtype": "F32", "shape": [-1, -1], "data_offsets": [4, 8]}), "damaged"),
        (safetensors_of(w=3), "damaged"),
        (safetensors_of(), "not a state dict"),
    ],
)
def test_other_zips_and_lying_headers_are_named(write, data, word) -> None:
    with pytest.raises(DataError, match=re.escape(word)):
        read_weights(write(data))


def test_a_file_beyond_the_limit_is_not_read(write, monkeypatch) -> None:
    monkeypatch.setattr("verify.models.weights.MAX_BYTES", 100)
    monkeypatch.setattr(Path, "read_bytes", lambda _: pytest.fail("was read"))
    with pytest.raises(DataError, match="more than 100 bytes are not read"):
        read_weights(write(ZIPPED))


def test_a_missing_file_and_a_folder(tmp_path: Path) -> None:
    for path in (tmp_path / "none.pt", tmp_path):
        with pytest.raises(DataError, match="cannot be read"):
            read_weights(path)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    data=st.sampled_from([ZIPPED, LEGACY]),
    edits=st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), max_size=6),
    keep=st.floats(0.2, 1.0),
)
def test_no_damage_gets_past_the_one_error(tmp_path: Path, data, edits, keep) -> None:
    broken = bytearray(data)
    for place, value in edits:
        broken[int(place * len(broken))] = value
    path = tmp_path / "broken.pt"
    path.write_bytes(bytes(broken[: int(len(broken) * keep)]))
    try:
        weights = read_weights(path)
    except DataError as error:
        assert "broken.pt" in str(error)  # noqa: PT017  either outcome is right
    else:
        assert all(isinstance(array, np.ndarray) for array in weights.values())


def test_reading_loads_no_unpickler_of_torch(write) -> None:
    code = (
        "import sys; from pathlib import Path; from verify.models.weights import read_weights;"
        f"read_weights(Path({str(write(ZIPPED))!r})); print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
