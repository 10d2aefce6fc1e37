"""Read JSON documents from outside field by field, so that an error names the field and the file."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

from verify.errors import ModelIntegrityError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

MAX_DOCUMENT_BYTES = 8 * 1024 * 1024
_HEX = set("0123456789abcdef")


class Fields:
    """One JSON object whose fields are taken with their types.

    Args:
        data: the parsed object.
        where: what to call it in messages, for example a path or ``card.json: files``.

    All methods raise `ModelIntegrityError` naming `where`, the field and what was found. A field
    that is absent counts as `default` if one is given.
    """

    def __init__(self, data: Any, *, where: str) -> None:
        if not isinstance(data, dict):
            msg = f"{where}: expected a JSON object, found {type(data).__name__}"
            raise ModelIntegrityError(msg)
        self._data: dict[str, Any] = data
        self._where = where

    def text(self, name: str, *, default: str | None = None, choices: tuple[str, ...] = ()) -> str:
        """A string; one of `choices` if there are any."""
        value = self._take(name, default)
        if not isinstance(value, str):
            raise self._wrong(name, "a string", value)
        if choices and value not in choices:
            raise self._wrong(name, f"one of {', '.join(choices)}", value)
        return value

    def sha256(self, name: str) -> str:
        """A sha256 as 64 lower-case hex digits."""
        value = self._take(name, None)
        if not is_sha256(value):
            raise self._wrong(name, "a sha256 of 64 lower-case hex digits", value)
        return str(value)

    def integer(self, name: str, *, low: int = 0, default: int | None = None) -> int:
        """A whole number of at least `low`; true and false are none."""
        value = self._take(name, default)
        if isinstance(value, bool) or not isinstance(value, int) or value < low:
            raise self._wrong(name, f"a whole number of at least {low}", value)
        return value

    def number(self, name: str, *, low: float, high: float, default: float | None = None) -> float:
        """A finite number within [low, high]."""
        value = self._take(name, default)
        # a whole number too large for a float is compared as what it is, never converted
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise self._wrong(name, "a finite number", value)
        if isinstance(value, float) and not math.isfinite(value):
            raise self._wrong(name, "a finite number", value)
        if not low <= value <= high:
            raise self._wrong(name, f"a number within [{low:g}, {high:g}]", value)
        return float(value)

    def truth(self, name: str, *, default: bool | None = None) -> bool:
        """True or false."""
        value = self._take(name, default)
        if not isinstance(value, bool):
            raise self._wrong(name, "true or false", value)
        return value

    def mapping(self, name: str, *, default: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """A JSON object, as it stands."""
        value = self._take(name, default)
        if not isinstance(value, dict):
            raise self._wrong(name, "an object", value)
        return value

    def fields(self, name: str) -> Fields:
        """A JSON object, to be read field by field."""
        return Fields(self.mapping(name), where=f"{self._where}: {name}")

    def items(self, name: str, *, default: list[Any] | None = None) -> list[Any]:
        """A JSON list, as it stands."""
        value = self._take(name, default)
        if not isinstance(value, list):
            raise self._wrong(name, "a list", value)
        return value

    def each(self, name: str) -> Iterator[Fields]:
        """A JSON list of objects, each to be read field by field."""
        for i, item in enumerate(self.items(name)):
            yield Fields(item, where=f"{self._where}: {name}[{i}]")

    def hold(self, name: str, expected: str, *, truth: bool) -> None:
        """Refuse a field that by itself is sound but does not fit the others, unless `truth`."""
        if not truth:
            raise self._wrong(name, expected, self._data.get(name))

    def has(self, name: str) -> bool:
        """Whether the field is there and not null."""
        return self._data.get(name) is not None

    def _take(self, name: str, default: Any) -> Any:
        if name in self._data:
            return self._data[name]
        if default is None:
            msg = f"{self._where}: field '{name}' is missing"
            raise ModelIntegrityError(msg)
        return default

    def _wrong(self, name: str, expected: str, found: Any) -> ModelIntegrityError:
        shown = repr(found)
        shown = shown if len(shown) <= 80 else shown[:77] + "..."  # noqa: PLR2004  a terminal line
        return ModelIntegrityError(f"{self._where}: field '{name}' must be {expected}, found {shown}")


def is_sha256(value: Any) -> bool:
    """Whether `value` is a sha256 as 64 lower-case hex digits."""
    return isinstance(value, str) and len(value) == 64 and set(value) <= _HEX  # noqa: PLR2004


def read_document(path: Path) -> Fields:
    """Read one JSON object from a file.

    Raises:
        ModelIntegrityError: unreadable, larger than 8 MiB, not JSON, not an object.
    """
    try:
        if path.stat().st_size > MAX_DOCUMENT_BYTES:
            msg = f"{path}: larger than {MAX_DOCUMENT_BYTES} bytes; this is no document of verify"
            raise ModelIntegrityError(msg)
        data = json.loads(path.read_bytes(), parse_constant=_refuse_constant)
    except OSError as error:
        msg = f"{path} cannot be read: {error.strerror or error}"
        raise ModelIntegrityError(msg) from error
    except (ValueError, RecursionError) as error:
        msg = f"{path} is not valid JSON: {error}"
        raise ModelIntegrityError(msg) from error
    return Fields(data, where=str(path))


def _refuse_constant(name: str) -> float:
    msg = f"{name} is not a number that JSON knows"
    raise ValueError(msg)
