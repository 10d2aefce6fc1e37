"""Reading published weights without torch and without running what is in the file.

A ``.pt`` file is a pickle, and unpickling runs whatever the file says. torch guards itself with
``weights_only=True``; this is the equal of that guard for installations without torch, and it is
stricter: the pickle is never given to an unpickler. Its opcodes are read by
`verify.models.pickle_tree`, which knows numbers, strings, lists, tuples, dicts, ``OrderedDict``,
the two functions that stand for "a tensor is a view of a storage", and the typed storages. No name
is ever imported and nothing is ever called: names are strings, looked up in a closed table. An
opcode or a name outside of it ends the reading with a `DataError` that says which one it was.

Nothing is allocated on a file's word either: storages are views of the bytes that were read, and
a tensor must lie within its storage.

Formats: torch's zip archive (since 1.6), the sequence of pickles that it wrote before (GE2E and
MTCNN are published in it), and safetensors.
"""

from __future__ import annotations

import io
import json
import math
import reprlib
import struct
import zipfile
from typing import TYPE_CHECKING, Any

import numpy as np

from verify.errors import DataError
from verify.models.pickle_tree import RefusedPickleError, TensorView, read_tree

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from numpy.typing import NDArray

MAX_BYTES = 2**31 - 1  # no model file of more can be written either
LEGACY_MAGIC = 0x1950A86A20F9469CFC6C  # torch.serialization.MAGIC_NUMBER
LEGACY_PROTOCOL = 1001
ZIP_START = b"PK\x03\x04"
PICKLE_START = b"\x80\x02"
# What the parsers of the standard library and numpy raise on bytes that are not what they seem.
DAMAGE = (
    ArithmeticError,
    AttributeError,
    EOFError,
    LookupError,
    RuntimeError,
    TypeError,
    ValueError,
    struct.error,
    zipfile.BadZipFile,
)

SAFETENSORS_DTYPES = {
    "F64": "<f8",
    "F32": "<f4",
    "F16": "<f2",
    "I64": "<i8",
    "I32": "<i4",
    "I16": "<i2",
    "I8": "i1",
    "U8": "u1",
    "BOOL": "?",
}


class Weights(dict[str, "NDArray[Any]"]):
    """A state dict: tensor name -> read-only array, in the file's order.

    Asking for a tensor that is not there raises `DataError` with the file's name.
    """

    def __init__(self, tensors: Mapping[str, NDArray[Any]], *, source: str) -> None:
        super().__init__(tensors)
        self.source = source

    def __missing__(self, name: str) -> NDArray[Any]:
        some = ", ".join(list(self)[:3]) or "nothing"
        msg = (
            f"{self.source}: has no tensor {name!r} (it has {some}, ...); is it another network's checkpoint?"
        )
        raise DataError(msg)


def read_weights(path: Path, *, section: str = "") -> Weights:
    """Read the tensors of a torch checkpoint or a safetensors file.

    Args:
        path: the file.
        section: which entry of the checkpoint holds the state dict, for one that holds other
            things too, such as ``model_state`` beside an optimiser's state.

    Returns:
        Read-only arrays, most of them views of the file's bytes; shapes and dtypes as stored.

    Raises:
        DataError: the file cannot be read, is of another format, is damaged, or contains anything
            but tensors in plain containers.
    """
    try:
        size = path.stat().st_size
        if size > MAX_BYTES:
            msg = f"{path}: {size} bytes; weights of more than {MAX_BYTES} bytes are not read"
            raise DataError(msg)
        data = path.read_bytes()
    except OSError as error:
        msg = f"{path}: the weights cannot be read: {error.strerror or error}"
        raise DataError(msg) from error
    try:
        root = _read(data)
        tensors = _state_dict(root, section)
    except (_Refusal, RefusedPickleError) as refusal:
        msg = f"{path}: {refusal}"
        raise DataError(msg) from refusal
    except DAMAGE as error:
        msg = f"{path}: damaged or not a file of weights ({type(error).__name__}: {error}); fetch it again"
        raise DataError(msg) from error
    return Weights(tensors, source=str(path))


class _Refusal(Exception):  # noqa: N818  never leaves this file
    """Something in the file that this reader will not act on."""


def _read(data: bytes) -> Any:
    if data.startswith(ZIP_START):
        return _read_zip(data)
    if data.startswith(PICKLE_START):
        return _read_legacy(data)
    if len(data) > 9 and data[8:9] == b"{":  # noqa: PLR2004  a length of 8 bytes, then JSON
        return _read_safetensors(data)
    msg = "neither a torch checkpoint nor safetensors; fetch it again"
    raise _Refusal(msg)


def _read_zip(data: bytes) -> Any:
    """The zip of torch >= 1.6: ``<root>/data.pkl`` beside ``<root>/data/<key>``, all stored uncompressed."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        pickles = [name for name in archive.namelist() if name.endswith("/data.pkl")]
        if len(pickles) != 1:
            msg = "a zip, but not one of torch: it has no single data.pkl (is it a bundle or a wheel?)"
            raise _Refusal(msg)
        root = pickles[0].removesuffix("data.pkl")

        def member(name: str) -> bytes:
            info = archive.getinfo(root + name)
            if info.compress_type != zipfile.ZIP_STORED:
                msg = f"its member {name!r} is compressed, which torch never writes"
                raise _Refusal(msg)
            return archive.read(info)

        if root + "byteorder" in archive.namelist() and member("byteorder") != b"little":
            msg = "written on a big-endian machine, which is not supported"
            raise _Refusal(msg)
        tree = read_tree(io.BytesIO(member("data.pkl")))
        storages: dict[str, bytes] = {}

        def storage(key: str) -> bytes:
            if key not in storages:
                storages[key] = member(f"data/{key}")
            return storages[key]

        return _materialise(tree, storage)


def _read_legacy(data: bytes) -> Any:
    """Before torch 1.6: magic, version, machine, object and storage keys as pickles, then storages."""
    stream = io.BytesIO(data)
    magic, version, machine, tree, keys = (read_tree(stream) for _ in range(5))
    if magic != LEGACY_MAGIC or version != LEGACY_PROTOCOL:
        msg = "a pickle, but not a torch checkpoint"
        raise _Refusal(msg)
    if machine.get("little_endian") is not True:
        msg = "written on a big-endian machine, which is not supported"
        raise _Refusal(msg)
    declared = {view.storage.key: view.storage for view in _views(tree)}
    storages: dict[str, bytes] = {}
    at = stream.tell()
    for key in keys:
        storage = declared[key]
        (count,) = struct.unpack_from("<q", data, at)
        size = count * np.dtype(storage.dtype).itemsize
        at += 8
        if not 0 <= size <= len(data) - at:
            msg = f"damaged: storage {key!r} claims {size} bytes, {len(data) - at} are left"
            raise _Refusal(msg)
        storages[key] = data[at : at + size]
        at += size
    return _materialise(tree, storages.__getitem__)


def _read_safetensors(data: bytes) -> Any:
    """The length of a JSON header (8 bytes), the header, then the tensors, row by row."""
    (length,) = struct.unpack_from("<Q", data)
    if length > len(data) - 8:
        msg = f"damaged: a header of {length} bytes in a file of {len(data)}"
        raise _Refusal(msg)
    body = memoryview(data)[8 + length :]
    tensors = {}
    for name, entry in json.loads(data[8 : 8 + length]).items():
        if name == "__metadata__":
            continue
        if entry["dtype"] not in SAFETENSORS_DTYPES:
            msg = f"tensor {name!r} is of type {entry['dtype']}, which is not supported"
            raise _Refusal(msg)
        start, stop = entry["data_offsets"]
        dtype = np.dtype(SAFETENSORS_DTYPES[entry["dtype"]])
        shape = tuple(entry["shape"])
        if not (0 <= start <= stop <= len(body)) or stop - start != math.prod(shape) * dtype.itemsize:
            msg = f"damaged: tensor {name!r} of shape {shape} lies at {start}:{stop} of {len(body)} bytes"
            raise _Refusal(msg)
        tensors[name] = np.frombuffer(body[start:stop], dtype).reshape(shape)
    return tensors


def _state_dict(root: Any, section: str) -> dict[str, NDArray[Any]]:
    if not isinstance(root, dict):
        msg = f"holds a {type(root).__name__}, not a state dict"
        raise _Refusal(msg)
    if section:
        if not isinstance(root.get(section), dict):
            msg = f"has no section {section!r}; it has {reprlib.repr(list(root))}"
            raise _Refusal(msg)
        root = root[section]
    tensors = {name: x for name, x in root.items() if isinstance(name, str) and isinstance(x, np.ndarray)}
    others = [name for name in root if name not in tensors]
    if others or not tensors:
        msg = f"not a state dict: beside tensors it holds {reprlib.repr(others)}; name the section that has the weights"
        raise _Refusal(msg)
    return tensors


def _views(tree: Any) -> list[TensorView]:
    """All tensors of a tree of dicts, lists and tuples; each container is visited once."""
    found, todo, seen = [], [tree], set()
    while todo:
        node = todo.pop()
        if isinstance(node, TensorView):
            found.append(node)
        elif isinstance(node, (dict, list, tuple)) and id(node) not in seen:
            seen.add(id(node))
            todo.extend(node.values() if isinstance(node, dict) else node)
    return found


def _materialise(tree: Any, storage: Callable[[str], bytes]) -> Any:
    """Turn the tensors of the two upper levels of dicts into arrays; state dicts lie no deeper.

    What the tree refers to several times is turned once, or a small file could ask for endless work.
    """
    done: dict[int, Any] = {}

    def walk(node: Any, depth: int) -> Any:
        if isinstance(node, TensorView):
            return _array(node, storage(node.storage.key))
        if not isinstance(node, dict) or depth == 0:
            return node
        if id(node) not in done:
            done[id(node)] = {key: walk(value, depth - 1) for key, value in node.items()}
        return done[id(node)]

    return walk(tree, 2)


def _array(tensor: TensorView, data: bytes) -> NDArray[Any]:
    dtype = np.dtype(tensor.storage.dtype)
    if len(data) != tensor.storage.count * dtype.itemsize:
        held, key = tensor.storage.count, tensor.storage.key
        msg = f"damaged: storage {key!r} has {len(data)} bytes for {held} elements"
        raise _Refusal(msg)
    shape, strides = tensor.shape, tensor.strides
    count = math.prod(shape)
    last = tensor.offset + sum((n - 1) * stride for n, stride in zip(shape, strides, strict=True))
    if min((*shape, *strides, tensor.offset), default=0) < 0 or (count and last >= tensor.storage.count):
        msg = f"damaged: a tensor of shape {shape} reaches beyond its storage {tensor.storage.key!r}"
        raise _Refusal(msg)
    if count > tensor.storage.count:
        msg = f"a tensor of shape {shape} repeats the {tensor.storage.count} elements of its storage"
        raise _Refusal(msg)
    flat = np.frombuffer(data, dtype)
    if count == 0:
        return flat[:0].reshape(shape)
    view = np.lib.stride_tricks.as_strided(
        flat[tensor.offset :], shape, [stride * dtype.itemsize for stride in strides], writeable=False
    )
    view.flags.writeable = False
    return view
