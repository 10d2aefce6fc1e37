"""The shape of calibration facts: one walk over the TypedDicts of `verify.facts` checks values and makes the schema.

The published ``calibration.schema.json`` (JSON Schema 2020-12) is what `json_schema` gives; a test keeps the two
equal. The check at run time needs no schema library, and its errors name the field.
"""

from __future__ import annotations

import math
import types
from functools import cache
from typing import Any, NotRequired, TypedDict, Union, get_args, get_origin, get_type_hints, is_typeddict

from verify import facts as contract
from verify.errors import FactsError
from verify.facts import CalibrationFacts, RateFacts


class GroupRates(TypedDict):
    """One group of `GroupFacts.groups`."""

    name: str
    subjects: int
    fmr: RateFacts | None
    fnmr: RateFacts | None


class AcrossRates(TypedDict):
    """Two groups of `GroupFacts.across`."""

    a: str
    b: str
    fmr: RateFacts | None


# Where the contract leaves a free dictionary, what the page reads of it; more keys are allowed there.
_REFINED = {("GroupFacts", "groups"): list[GroupRates], ("GroupFacts", "across"): list[AcrossRates]}
_LARGEST = 10**15  # no count, threshold or ratio of a report comes near
_SHOWN = 60  # characters of a value in a message
_OPEN = {"GroupRates", "AcrossRates"}
_SHARE: dict[str, Any] = {"minimum": 0, "maximum": 1}
_COUNT: dict[str, Any] = {"minimum": 0}
_VERDICTS = ["PASS", "FAIL", "INSUFFICIENT DATA"]
# What the types cannot say, as JSON Schema keywords.
LIMITS: dict[tuple[str, str], dict[str, Any]] = {
    ("CalibrationFacts", "schema"): {"const": contract.SCHEMA},
    ("CalibrationFacts", "kind"): {"enum": ["calibration", "evaluation"]},
    ("CalibrationFacts", "mode"): {"enum": ["1:1", "1:N"]},
    ("CalibrationFacts", "confidence"): {"exclusiveMinimum": 0, "exclusiveMaximum": 1},
    ("CalibrationFacts", "attempts"): {"minimum": 1},
    ("CalibrationFacts", "gallery_size"): _COUNT,
    ("RateFacts", "value"): _SHARE,
    ("RateFacts", "lower"): _SHARE,
    ("RateFacts", "upper"): _SHARE,
    ("RateFacts", "errors"): _COUNT,
    ("RateFacts", "trials"): _COUNT,
    ("RateFacts", "n_eff"): _COUNT,
    ("Verdict", "verdict"): {"enum": _VERDICTS},
    ("Verdict", "asked_rate"): _SHARE,
    ("Verdict", "target_fmr"): _SHARE,
    ("Verdict", "far"): _SHARE,
    ("Verdict", "frr"): _SHARE,
    ("Rung", "target_fmr"): _SHARE,
    ("Rung", "support"): {"enum": ["supported", "extrapolated", "insufficient"]},
    **{("Curve", name): {"maxItems": 1001} for name in get_type_hints(contract.Curve)},
    ("Histogram", "edges"): {"maxItems": 201},
    ("Histogram", "mated"): {"maxItems": 200},
    ("Histogram", "non_mated"): {"maxItems": 200},
    ("OneToN", "gallery_size"): {"minimum": 1},
    ("OneToN", "fpir_independent"): _SHARE,
    ("OneToN", "fpir_union_upper"): _SHARE,
    ("Planning", "target_fmr"): _SHARE,
    ("EnrolmentCount", "templates"): {"minimum": 1},
}


@cache
def _fields(shape: Any) -> dict[str, tuple[Any, bool]]:
    """Field -> (type, required) of a TypedDict."""
    found = {}
    for name, hint in get_type_hints(shape, include_extras=True).items():
        optional = get_origin(hint) is NotRequired
        inner = get_args(hint)[0] if optional else hint
        found[name] = (_REFINED.get((shape.__name__, name), inner), not optional)
    return found


def check(
    value: Any, shape: Any = CalibrationFacts, *, where: str = "", limits: dict[str, Any] | None = None
) -> None:
    """Hold a JSON value against a type of the contract.

    Raises:
        FactsError: naming the field, what it holds and what it should hold.
    """
    origin, arguments = get_origin(shape), get_args(shape)
    if shape is Any:
        _check_free(value, where=where)
    elif origin in (Union, types.UnionType):
        if value is not None or type(None) not in arguments:
            inner = next(one for one in arguments if one is not type(None))
            check(value, inner, where=where, limits=limits)
    elif is_typeddict(shape):
        _check_object(value, shape, where=where)
    elif origin is list:
        _expect(value, list, "a list", where=where)
        _check_limits(value, limits, where=where)
        for number, item in enumerate(value):
            check(item, arguments[0], where=f"{where}[{number}]")
    elif origin is dict:
        _expect(value, dict, "an object", where=where)
        for key, item in value.items():
            check(item, arguments[1], where=f"{where}.{shown(key)}")
    else:
        _check_plain(value, shape, where=where)
        _check_limits(value, limits, where=where)


def _check_object(value: Any, shape: Any, *, where: str) -> None:
    _expect(value, dict, "an object", where=where)
    fields = _fields(shape)
    for name, (inner, required) in fields.items():
        path = f"{where}.{name}" if where else name
        if name in value:
            check(value[name], inner, where=path, limits=LIMITS.get((shape.__name__, name)))
        elif required:
            msg = f"{path} is missing"
            raise FactsError(msg)
    unknown = next((name for name in value if name not in fields), None)
    if unknown is not None and shape.__name__ not in _OPEN:
        path = f"{where}.{shown(unknown)}" if where else shown(unknown)
        msg = f"{path} is not a field of {shape.__name__}"
        raise FactsError(msg)


def _check_plain(value: Any, shape: Any, *, where: str) -> None:
    if shape is str:
        _expect(value, str, "text", where=where)
    elif shape is bool:
        _expect(value, bool, "true or false", where=where)
    else:
        word = "a whole number" if shape is int else "a number"
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            _refuse(value, word, where=where)
        if isinstance(value, float) and not math.isfinite(value):
            _refuse(value, "finite (what is not known is null)", where=where)
        if shape is int and value != int(value):
            _refuse(value, word, where=where)
        if abs(value) > _LARGEST:
            _refuse(value, f"at most {_LARGEST:.0e} in size", where=where)


def _check_free(value: Any, *, where: str) -> None:
    """Anything that JSON can hold, as long as its numbers are finite."""
    if isinstance(value, float) and not math.isfinite(value):
        _refuse(value, "finite (what is not known is null)", where=where)
    if isinstance(value, dict):
        for key, item in value.items():
            _check_free(item, where=f"{where}.{shown(key)}")
    elif isinstance(value, list):
        for number, item in enumerate(value):
            _check_free(item, where=f"{where}[{number}]")


def _check_limits(value: Any, limits: dict[str, Any] | None, *, where: str) -> None:
    for word, limit in (limits or {}).items():
        if word == "const" and value != limit:
            _refuse(value, repr(limit), where=where)
        if word == "enum" and value not in limit:
            _refuse(value, f"one of {', '.join(limit)}", where=where)
        if word == "maxItems" and len(value) > limit:
            msg = f"{where} has {len(value):,} items: must have at most {limit:,}"
            raise FactsError(msg)
        if word == "minimum" and value < limit:
            _refuse(value, f"at least {limit}", where=where)
        if word == "maximum" and value > limit:
            _refuse(value, f"at most {limit}", where=where)
        if word == "exclusiveMinimum" and value <= limit:
            _refuse(value, f"above {limit}", where=where)
        if word == "exclusiveMaximum" and value >= limit:
            _refuse(value, f"below {limit}", where=where)


def _expect(value: Any, kind: type, word: str, *, where: str) -> None:
    if not isinstance(value, kind):
        _refuse(value, word, where=where)


def _refuse(value: Any, wanted: str, *, where: str) -> None:
    msg = f"{where or 'the document'} is {shown(value)}: must be {wanted}"
    raise FactsError(msg)


def shown(value: Any) -> str:
    """A value as it stands in a message: short, on one line."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, (dict, list)):
        return f"{'an object' if isinstance(value, dict) else 'a list'} of {len(value):,}"
    text = value if isinstance(value, str) and value.isidentifier() else repr(value)
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 3]}..."


def json_schema() -> dict[str, Any]:
    """The published schema, with one definition for each TypedDict."""
    definitions: dict[str, Any] = {}
    top = _schema_of(CalibrationFacts, definitions)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Facts of a verify calibration report",
        "description": " ".join((contract.__doc__ or "").split()),
        **top,
        "$defs": dict(sorted(definitions.items())),
    }


def _schema_of(
    shape: Any, definitions: dict[str, Any], limits: dict[str, Any] | None = None
) -> dict[str, Any]:
    origin, arguments = get_origin(shape), get_args(shape)
    if shape is Any:
        return {}
    if origin in (Union, types.UnionType):
        inner = next(one for one in arguments if one is not type(None))
        return {"anyOf": [_schema_of(inner, definitions, limits), {"type": "null"}]}
    if is_typeddict(shape):
        if shape.__name__ not in definitions:
            definitions[shape.__name__] = {}  # the place is taken before its fields are walked
            definitions[shape.__name__] = _object_schema(shape, definitions)
        return {"$ref": f"#/$defs/{shape.__name__}"}
    if origin is list:
        return {"type": "array", "items": _schema_of(arguments[0], definitions)} | (limits or {})
    if origin is dict:
        return {"type": "object", "additionalProperties": _schema_of(arguments[1], definitions)}
    word = {str: "string", bool: "boolean", int: "integer", float: "number"}[shape]
    size = {"minimum": -_LARGEST, "maximum": _LARGEST} if shape in (int, float) else {}
    return {"type": word} | size | (limits or {})


def _object_schema(shape: Any, definitions: dict[str, Any]) -> dict[str, Any]:
    fields = _fields(shape)
    return {
        "type": "object",
        "description": " ".join((shape.__doc__ or "").split()),
        "properties": {
            name: _schema_of(inner, definitions, LIMITS.get((shape.__name__, name)))
            for name, (inner, _) in fields.items()
        },
        "required": [name for name, (_, required) in fields.items() if required],
        "additionalProperties": shape.__name__ in _OPEN,
    }
