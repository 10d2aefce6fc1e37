"""The networks that can be trained, by name.

Built-in ones stand in `NETWORKS`; a distribution may offer more through the entry-point group
`ENTRY_POINTS`, each of which loads to a `Network`. torch is loaded when a network is made, not before.
"""

from __future__ import annotations

import importlib
import inspect
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any

from verify.config import unknown
from verify.errors import EnvironmentProblemError, MissingExtraError, UsageError
from verify.types import Modality

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from torch import nn

ENTRY_POINTS = "verify.networks"

FACE_112: Mapping[str, Any] = {
    "kind": "aligned-face",
    "revision": 1,
    "alignment": "arcface-112",
    "size_px": [112, 112],
    "colour": "rgb",
    "range": "0..255",
    "layout": "NCHW",
}
FACE_160: Mapping[str, Any] = {**FACE_112, "alignment": "facenet-160", "size_px": [160, 160]}
SPEECH_80: Mapping[str, Any] = {
    "kind": "speech-features",
    "revision": 1,
    "features": "kaldi-fbank",
    "rate_hz": 16_000,
    "bins": 80,
    "window": "povey",
    "frame_s": 0.025,
    "hop_s": 0.01,
    "low_hz": 20.0,
    "dither": 0.0,
    "mean": "subtracted",
    "max_chunk_s": 10.0,
    "margin_s": 0.1,
    "level_dbfs": -25.0,
    "min_net_speech_s": 2.0,
}


@dataclass(frozen=True, slots=True)
class Network:
    """A network that training knows.

    Attributes:
        name: of the network.
        modality: face or voice.
        dim: embedding size unless another is asked for.
        contract: what a bundle of it takes, as on a card.
        build: the class, or ``module:Class``. It takes ``dim`` and its options by keyword, and gives a
            module with ``raw(x)`` (B, D) and ``forward(x)``, the same at unit L2 norm.
        published: name of the model in `verify.models.registry` whose torch weights fit it; "" if none.
    """

    name: str
    modality: Modality
    dim: int
    contract: Mapping[str, Any] = field(repr=False)
    build: str | Callable[..., nn.Module]
    published: str = ""


def _built_in() -> Mapping[str, Network]:
    face, voice = Modality.FACE, Modality.VOICE
    networks = (
        Network("mobilefacenet", face, 128, FACE_112, "verify.nets.mobilefacenet:MobileFaceNet"),
        Network("iresnet18", face, 512, FACE_112, "verify.nets.iresnet:iresnet18"),
        Network("iresnet50", face, 512, FACE_112, "verify.nets.iresnet:iresnet50"),
        Network("iresnet100", face, 512, FACE_112, "verify.nets.iresnet:iresnet100"),
        Network(
            "inception_resnet_v1",
            face,
            512,
            FACE_160,
            "verify.nets.inception_resnet_v1:InceptionResnetV1",
            published="inception-resnet-v1-vggface2",
        ),
        Network("ecapa_tdnn", voice, 192, SPEECH_80, "verify.nets.ecapa:ECAPATDNN"),
        Network("resnet34_asp", voice, 256, SPEECH_80, "verify.nets.resnet_voice:ResNet34ASP"),
        Network("campplus", voice, 192, SPEECH_80, "verify.nets.campplus:CAMPPlus", published="campplus"),
    )
    return {network.name: network for network in networks}


NETWORKS: Mapping[str, Network] = _built_in()


@cache
def networks() -> Mapping[str, Network]:
    """The built-in networks and those that installed distributions offer; built-in names stay theirs.

    Raises:
        EnvironmentProblemError: an entry point fails or gives something else.
    """
    from importlib.metadata import entry_points

    found: dict[str, Network] = {}
    for point in entry_points(group=ENTRY_POINTS):
        try:
            offered = point.load()
        except Exception as error:
            msg = f"entry point {point.name} ({point.value}) of group {ENTRY_POINTS} failed: {error}"
            raise EnvironmentProblemError(msg) from error
        if not isinstance(offered, Network):
            msg = f"entry point {point.name} ({point.value}) gave a {type(offered).__name__}, not a Network"
            raise EnvironmentProblemError(msg)
        found[offered.name] = offered
    return {**found, **NETWORKS}


def find_network(name: str) -> Network:
    """The network of this name.

    Raises:
        UsageError: there is none; the message has the nearest name.
    """
    known = networks()
    if name not in known:
        raise UsageError(unknown(name, known, what="network"))
    return known[name]


def make_network(name: str, *, dim: int = 0, **options: Any) -> nn.Module:
    """Make a network with its first, random weights (torch's RNG).

    Args:
        name: see `NETWORKS`.
        dim: embedding size; 0 takes the network's own.
        options: the network's own arguments, such as ``width``.

    Raises:
        UsageError: no such network or option (with the nearest), or a value that it cannot take.
        MissingExtraError: torch is not installed.
    """
    network = find_network(name)
    build = _loaded(network)
    parameters = inspect.signature(build).parameters
    known = [key for key in parameters if key != "dim"]
    for key, value in options.items():
        if key not in known:
            raise UsageError(f"{name}: {unknown(key, known, what='option')}")  # noqa: TRY003, EM102
        _check_kind(name, key, value, default=parameters[key].default)
    if dim < 0:
        msg = f"{name}: dim must be positive, or 0 for the network's own {network.dim}; not {dim}"
        raise UsageError(msg)
    try:
        return build(dim=dim or network.dim, **options)
    except (TypeError, ValueError, RuntimeError, ZeroDivisionError) as error:
        given = ", ".join(f"{key} = {value!r}" for key, value in {"dim": dim, **options}.items())
        msg = f"{name} cannot be made with {given}: {error}"
        raise UsageError(msg) from error


def _check_kind(name: str, key: str, value: object, *, default: object) -> None:
    """Refuse a word where the network's own value is a number, before torch stumbles over it."""
    numeric = isinstance(default, int | float) and not isinstance(default, bool)
    if numeric and (isinstance(value, bool) or not isinstance(value, int | float)):
        msg = f"{name}: {key} must be a number, such as its own {default}; not {value!r}"
        raise UsageError(msg)
    if isinstance(default, bool) and not isinstance(value, bool):
        msg = f"{name}: {key} must be true or false, not {value!r}"
        raise UsageError(msg)


def _loaded(network: Network) -> Callable[..., nn.Module]:
    if not isinstance(network.build, str):
        return network.build
    module, _, name = network.build.partition(":")
    try:
        found: Callable[..., nn.Module] = getattr(importlib.import_module(module), name)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.split(".")[0] == "verify":
            raise
        msg = (
            f"{network.name} needs {error.name}, which is not installed: "
            "pip install '.[train]' in verify's source folder"
        )
        raise MissingExtraError(msg) from error
    return found
