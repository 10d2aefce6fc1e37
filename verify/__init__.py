"""verify: face and speaker verification with a false-accept rate that holds on people never seen.

The names below are the whole public facade. They load on first use, so that ``import verify``
(and with it ``verify --help``) costs neither numpy nor OpenCV nor ONNX Runtime.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from verify.capture import Capturer
    from verify.engine import Verifier
    from verify.errors import VerifyError
    from verify.models import ModelBundle, open_bundle
    from verify.types import Capture, Decision, Enrolment, Identification, OperatingPoint, Template

__version__ = "0.1.0"

_HOMES = {
    "Capture": "verify.types",
    "Capturer": "verify.capture",
    "Decision": "verify.types",
    "Enrolment": "verify.types",
    "Identification": "verify.types",
    "ModelBundle": "verify.models",
    "OperatingPoint": "verify.types",
    "Template": "verify.types",
    "Verifier": "verify.engine",
    "VerifyError": "verify.errors",
    "open_bundle": "verify.models",
}

__all__ = [
    "Capture",
    "Capturer",
    "Decision",
    "Enrolment",
    "Identification",
    "ModelBundle",
    "OperatingPoint",
    "Template",
    "Verifier",
    "VerifyError",
    "__version__",
    "open_bundle",
]


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        msg = f"module 'verify' has no attribute {name!r}"
        raise AttributeError(msg)
    return getattr(importlib.import_module(home), name)
