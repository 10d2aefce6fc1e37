"""Checkpoints in torch's file formats, opcode by opcode: the tests of the reader need no torch."""

from __future__ import annotations

import io
import struct
import zipfile
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

MAGIC, PROTOCOL = 0x1950A86A20F9469CFC6C, 1001
MACHINE = {"protocol_version": PROTOCOL, "little_endian": True, "type_sizes": {"int": 4}}
KINDS = {"float32": "FloatStorage", "float16": "HalfStorage", "int64": "LongStorage", "uint8": "ByteStorage"}


@dataclass(frozen=True)
class Global:
    module: str
    name: str


@dataclass(frozen=True)
class Call:
    function: Any
    arguments: tuple[Any, ...]


@dataclass(frozen=True)
class Built:
    """A value to which the opcode BUILD gives a state."""

    value: Any
    state: Any


@dataclass(frozen=True)
class Persistent:
    reference: Any


def encode(value: Any) -> bytes:
    """The opcodes (protocol 2) that put a value on the stack."""
    match value:
        case None | bool():
            return {None: b"N", True: b"\x88", False: b"\x89"}[value]
        case int():
            data = value.to_bytes(value.bit_length() // 8 + 1, "little", signed=True)
            return b"\x8a" + bytes([len(data)]) + data
        case float():
            return b"G" + struct.pack(">d", value)
        case str():
            return b"X" + struct.pack("<I", len(value.encode())) + value.encode()
        case tuple():
            return b"(" + b"".join(map(encode, value)) + b"t"
        case list():
            return b"](" + b"".join(map(encode, value)) + b"e"
        case dict():
            return b"}(" + b"".join(encode(key) + encode(item) for key, item in value.items()) + b"u"
        case Global():
            return f"c{value.module}\n{value.name}\n".encode()
        case Call():
            return encode(value.function) + encode(value.arguments) + b"R"
        case Built():
            return encode(value.value) + encode(value.state) + b"b"
        case Persistent():
            return encode(value.reference) + b"Q"
        case bytes():  # opcodes as they are
            return value
    raise TypeError(value)


def pickled(value: Any) -> bytes:
    return b"\x80\x02" + encode(value) + b"."


def tensor(key: str, array: np.ndarray, *, legacy: bool = False, **lies: Any) -> Call:
    """A tensor as torch writes it; `lies` replace shape, strides, offset or count."""
    truth = {
        "shape": array.shape,
        "strides": tuple(step // array.itemsize for step in array.strides),
        "offset": 0,
        "count": array.size,
        "kind": KINDS[array.dtype.name],
    } | lies
    tail = (None,) if legacy else ()
    storage = ("storage", Global("torch", truth["kind"]), key, "cpu", truth["count"], *tail)
    view = (Persistent(storage), truth["offset"], tuple(truth["shape"]), tuple(truth["strides"]), False)
    return Call(
        Global("torch._utils", "_rebuild_tensor_v2"), (*view, Call(Global("collections", "OrderedDict"), ()))
    )


def in_memory(array: np.ndarray) -> bytes:
    """The bytes in the order of memory, whatever the strides."""
    return array.tobytes(order="A")


def zipped(tree: Any, *arrays: np.ndarray, compression: int = zipfile.ZIP_STORED) -> bytes:
    """A checkpoint as torch >= 1.6 writes it; the storages have the keys 0, 1, ..."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", compression) as archive:
        archive.writestr("archive/data.pkl", pickled(tree))
        archive.writestr("archive/byteorder", "little")
        for index, array in enumerate(arrays):
            archive.writestr(f"archive/data/{index}", in_memory(array))
        archive.writestr("archive/version", "3\n")
    return stream.getvalue()


def legacy(tree: Any, *arrays: np.ndarray, machine: Any = None, magic: int = MAGIC) -> bytes:
    """A checkpoint as torch wrote it before 1.6."""
    keys = [str(index) for index in range(len(arrays))]
    head = [magic, PROTOCOL, MACHINE if machine is None else machine, tree, keys]
    tail = b"".join(struct.pack("<q", array.size) + in_memory(array) for array in arrays)
    return b"".join(map(pickled, head)) + tail


def both_formats(arrays: dict[str, np.ndarray]) -> tuple[bytes, bytes]:
    """The same state dict in the zip format and in the older one."""
    new = {name: tensor(str(i), array) for i, (name, array) in enumerate(arrays.items())}
    old = {name: tensor(str(i), array, legacy=True) for i, (name, array) in enumerate(arrays.items())}
    return zipped(new, *arrays.values()), legacy(old, *arrays.values())
