"""What a torch checkpoint's pickle describes, as a tree of plain values; nothing of it is run.

The standard library's `pickletools` tells what each opcode is called and how its argument is laid
out (it is a disassembler and executes none); `read_tree` acts on the few that torch writes and
refuses the others before it looks at their arguments. The only names with a meaning are those
below; they are compared as strings, never imported.
"""

from __future__ import annotations

import pickletools
from dataclasses import dataclass
from typing import IO, Any

STORAGE_DTYPES = {
    "torch.DoubleStorage": "<f8",
    "torch.FloatStorage": "<f4",
    "torch.HalfStorage": "<f2",
    "torch.LongStorage": "<i8",
    "torch.IntStorage": "<i4",
    "torch.ShortStorage": "<i2",
    "torch.CharStorage": "i1",
    "torch.ByteStorage": "u1",
    "torch.BoolStorage": "?",
}
ORDERED_DICT = "collections.OrderedDict"
TENSOR = "torch._utils._rebuild_tensor_v2"
PARAMETER = "torch._utils._rebuild_parameter"
KNOWN_NAMES = frozenset({*STORAGE_DTYPES, ORDERED_DICT, TENSOR, PARAMETER})

NUMBERS = frozenset({"BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT"})
TEXTS = frozenset({"BINUNICODE", "SHORT_BINUNICODE"})
PUSH_CONSTANT = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
TUPLE_SIZES = {"EMPTY_TUPLE": 0, "TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}


class RefusedPickleError(Exception):
    """The pickle asks for something that a file of weights has no need of."""


@dataclass(frozen=True, slots=True)
class Storage:
    """A flat run of `count` elements that lies elsewhere in the file under `key`."""

    key: str
    dtype: str
    count: int


@dataclass(frozen=True, slots=True)
class TensorView:
    """A tensor as torch stores it: a strided view of a storage; all units are elements."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class _Name:
    """A global of the pickle: its dotted name, never the object behind it."""

    dotted: str


class _Mark:
    """Where a run of arguments begins on the stack."""


def read_tree(stream: IO[bytes]) -> Any:
    """Read one pickle from `stream`, up to and including its STOP.

    Returns:
        Numbers, strings, None, lists, tuples and dicts, with a `TensorView` for each tensor.

    Raises:
        RefusedPickleError: an opcode or a name that weights have no need of, or one out of place.
        ValueError, IndexError, KeyError, TypeError: the pickle is damaged.
    """
    stack: list[Any] = []
    memo: dict[int, Any] = {}
    while (name := _opcode(stream)) != "STOP":
        argument = _argument(name, stream)
        if name in NUMBERS or name in TEXTS:
            stack.append(argument)
        elif name in PUSH_CONSTANT:
            stack.append(PUSH_CONSTANT[name])
        elif name in TUPLE_SIZES:
            size = TUPLE_SIZES[name]
            stack.append(tuple(_pop(stack, size)))
        elif name in {"BINPUT", "LONG_BINPUT"}:
            memo[argument] = stack[-1]
        elif name in {"BINGET", "LONG_BINGET"}:
            stack.append(memo[argument])
        elif name == "GLOBAL":
            stack.append(_known(argument))
        elif name != "PROTO":
            STEPS[name](stack)
    (result,) = stack
    return result


def _opcode(stream: IO[bytes]) -> str:
    """Name of the next opcode, if it is one that weights need."""
    code = stream.read(1)
    if not code:
        msg = "the pickle has no end"
        raise ValueError(msg)
    name = ALL_OPCODES[code].name if code in ALL_OPCODES else code.hex()
    if name not in KNOWN_OPCODES:
        msg = f"its pickle uses {name} at byte {stream.tell() - 1}, which weights have no need of; it was not run"
        raise RefusedPickleError(msg)
    return name


def _argument(name: str, stream: IO[bytes]) -> Any:
    if name == "GLOBAL":  # module and name, a line each; taken as they are, without escapes
        return b".".join(stream.readline().removesuffix(b"\n") for _ in range(2)).decode("ascii")
    layout = OPCODES_BY_NAME[name].arg
    return layout.reader(stream) if layout else None


def _pop(stack: list[Any], count: int) -> list[Any]:
    if count > len(stack):
        msg = "the stack ran empty"
        raise IndexError(msg)
    taken = stack[len(stack) - count :]
    del stack[len(stack) - count :]
    if any(isinstance(value, _Mark) for value in taken):
        msg = "a mark out of place"
        raise ValueError(msg)
    return taken


def _pop_to_mark(stack: list[Any]) -> list[Any]:
    for index in range(len(stack) - 1, -1, -1):
        if isinstance(stack[index], _Mark):
            taken = stack[index + 1 :]
            del stack[index:]
            return taken
    msg = "a mark is missing"
    raise ValueError(msg)


def _known(dotted: str) -> _Name:
    if dotted not in KNOWN_NAMES:
        msg = (
            f"its pickle names {dotted[:80]}, which weights have no need of; it was neither imported nor run"
        )
        raise RefusedPickleError(msg)
    return _Name(dotted)


def _append_items(stack: list[Any]) -> None:
    items = _pop_to_mark(stack)
    _container(stack, list).extend(items)


def _append(stack: list[Any]) -> None:
    (item,) = _pop(stack, 1)
    _container(stack, list).append(item)


def _set_items(stack: list[Any]) -> None:
    items = _pop_to_mark(stack)
    _fill(_container(stack, dict), items)


def _set_item(stack: list[Any]) -> None:
    items = _pop(stack, 2)
    _fill(_container(stack, dict), items)


def _container(stack: list[Any], kind: type) -> Any:
    if not isinstance(stack[-1], kind):
        msg = f"its pickle puts items into a {type(stack[-1]).__name__}"
        raise RefusedPickleError(msg)
    return stack[-1]


def _fill(target: dict[Any, Any], items: list[Any]) -> None:
    for key, value in zip(items[::2], items[1::2], strict=True):
        if not isinstance(key, (str, int)):
            msg = f"its pickle has a {type(key).__name__} as a key"
            raise RefusedPickleError(msg)
        target[key] = value


def _build(stack: list[Any]) -> None:
    """Torch hangs version notes on a state dict as an attribute: dropped; on all else: refused."""
    _pop(stack, 1)
    _container(stack, dict)


def _reduce(stack: list[Any]) -> None:
    function, arguments = _pop(stack, 2)
    dotted = function.dotted if isinstance(function, _Name) else ""
    if dotted == ORDERED_DICT and arguments == ():
        stack.append({})
    elif dotted == TENSOR and isinstance(arguments, tuple):
        stack.append(_tensor(*arguments[:4]))
    elif dotted == PARAMETER and isinstance(arguments, tuple) and isinstance(arguments[0], TensorView):
        stack.append(arguments[0])
    else:
        called = dotted or type(function).__name__
        msg = f"its pickle calls {called} in a way that weights have no need of; it was not run"
        raise RefusedPickleError(msg)


def _tensor(storage: Any, offset: Any, shape: Any, strides: Any) -> TensorView:
    whole = isinstance(shape, tuple) and isinstance(strides, tuple) and len(shape) == len(strides)
    if not (
        isinstance(storage, Storage) and whole and all(type(n) is int for n in (offset, *shape, *strides))
    ):
        msg = "a tensor that is no view of a storage"
        raise RefusedPickleError(msg)
    return TensorView(storage, offset, shape, strides)


def _persistent(stack: list[Any]) -> None:
    """``("storage", type, key, device, count)``, and in old files a view of a storage, always None."""
    (reference,) = _pop(stack, 1)
    word, kind, key, _, count, *view = reference
    dtype = STORAGE_DTYPES.get(kind.dotted) if isinstance(kind, _Name) else None
    if word != "storage" or dtype is None or not isinstance(key, str) or type(count) is not int or any(view):
        msg = "its pickle refers to something that is no storage"
        raise RefusedPickleError(msg)
    stack.append(Storage(key, dtype, count))


STEPS = {
    "MARK": lambda stack: stack.append(_Mark()),
    "TUPLE": lambda stack: stack.append(tuple(_pop_to_mark(stack))),
    "EMPTY_LIST": lambda stack: stack.append([]),
    "EMPTY_DICT": lambda stack: stack.append({}),
    "APPEND": _append,
    "APPENDS": _append_items,
    "SETITEM": _set_item,
    "SETITEMS": _set_items,
    "BUILD": _build,
    "REDUCE": _reduce,
    "BINPERSID": _persistent,
}
KNOWN_OPCODES = frozenset(
    {"PROTO", "STOP", "GLOBAL", "BINPUT", "LONG_BINPUT", "BINGET", "LONG_BINGET"}
    | NUMBERS
    | TEXTS
    | PUSH_CONSTANT.keys()
    | TUPLE_SIZES.keys()
    | STEPS.keys()
)
ALL_OPCODES = {opcode.code.encode("latin-1"): opcode for opcode in pickletools.opcodes}
OPCODES_BY_NAME = {opcode.name: opcode for opcode in pickletools.opcodes}
