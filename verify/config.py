"""Strict configuration: a TOML file becomes frozen dataclasses, or an error that names the nearest key.

A recipe that says ``magin_rad`` must not train with the default margin. Every key is checked against
the fields of its section, every value against the field's type; nothing is coerced except an integer
where a real number is asked for.
"""

from __future__ import annotations

import dataclasses
import difflib
import math
import tomllib
import types
import typing
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from verify.errors import UsageError

if TYPE_CHECKING:
    from pathlib import Path

T = TypeVar("T")
REST = "rest"  # metadata of the one field, if any, that takes the keys that no other field names


def read_toml(path: Path) -> dict[str, Any]:
    """The tables of a TOML file.

    Raises:
        UsageError: no such file, or no TOML; the message names the line.
    """
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        msg = f"{path}: cannot be read as a configuration ({getattr(error, 'strerror', None) or error})"
        raise UsageError(msg) from error
    except tomllib.TOMLDecodeError as error:
        msg = f"{path}: {error}"
        raise UsageError(msg) from error


def build(kind: type[T], table: Mapping[str, Any], *, where: str) -> T:
    """Make a dataclass of a table: sections are dataclasses themselves, lists of tables tuples of them.

    Args:
        kind: a dataclass whose fields are str, bool, int, float, tuples of these, mappings, dataclasses
            or tuples of dataclasses; each may also be None.
        table: keys and values as TOML gives them.
        where: begins every message: the file and section.

    Raises:
        UsageError: an unknown key (the message has the nearest), a missing one, or a value of another type.
    """
    hints = typing.get_type_hints(kind)
    fields = {field.name: field for field in dataclasses.fields(typing.cast(Any, kind))}
    rest = next((name for name, field in fields.items() if field.metadata.get(REST)), None)
    known = [name for name in fields if name != rest]
    values: dict[str, Any] = {}
    more: dict[str, Any] = {}
    for key, value in table.items():
        if key in known:
            values[key] = _value(hints[key], value, where=f"{where}, {key}")
        elif rest is not None:
            more[key] = value
        else:
            raise UsageError(f"{where}: {unknown(key, known)}")  # noqa: TRY003, EM102  one sentence, made elsewhere
    if rest is not None:
        values[rest] = more
    missing = [
        name
        for name, field in fields.items()
        if name not in values
        and field.default is dataclasses.MISSING
        and field.default_factory is dataclasses.MISSING
    ]
    if missing:
        msg = f"{where}: {missing[0]!r} is missing"
        raise UsageError(msg)
    return kind(**values)


def unknown(key: str, known: typing.Iterable[str], *, what: str = "key") -> str:
    """The sentence about a name that nobody knows: with the nearest, else with all."""
    names = sorted(known)
    near = difflib.get_close_matches(key, names, n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"there are: {', '.join(names) or 'none'}"
    return f"no {what} {key!r}; {hint}"


def plain(value: Any) -> Any:
    """The inverse of `build`: dataclasses to JSON values, the same for the same configuration."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        result: dict[str, Any] = {}
        for field in dataclasses.fields(value):
            item = getattr(value, field.name)
            if field.metadata.get(REST):
                result |= {key: plain(inner) for key, inner in item.items()}
            else:
                result[field.name] = plain(item)
        return result
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    return value


def _value(hint: Any, value: Any, *, where: str) -> Any:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        inner = next(argument for argument in arguments if argument is not type(None))
        return None if value is None else _value(inner, value, where=where)
    if origin is tuple:
        if not isinstance(value, (list, tuple)):
            raise _wrong(where, "a list", value)
        if len(arguments) == 2 and arguments[1] is Ellipsis:  # noqa: PLR2004  tuple[X, ...]
            return tuple(
                _value(arguments[0], item, where=f"{where} [{n}]") for n, item in enumerate(value, 1)
            )
        if len(value) != len(arguments):
            raise _wrong(where, f"{len(arguments)} values", value)
        return tuple(_value(one, item, where=where) for one, item in zip(arguments, value, strict=True))
    if dataclasses.is_dataclass(hint) or origin is Mapping:
        if not isinstance(value, Mapping):
            raise _wrong(where, "a table", value)
        return dict(value) if origin is Mapping else build(typing.cast(Any, hint), value, where=where)
    if hint is float and isinstance(value, (int, float)) and not isinstance(value, bool):
        if not math.isfinite(value):
            raise _wrong(where, "a finite number", value)
        return float(value)
    if isinstance(value, bool) is not (hint is bool) or not isinstance(value, hint):
        named = {str: "text", bool: "true or false", int: "a whole number", float: "a number"}
        raise _wrong(where, named.get(hint, str(hint)), value)
    return value


def _wrong(where: str, wanted: str, value: Any) -> UsageError:
    return UsageError(f"{where}: must be {wanted}, not {value!r}")
