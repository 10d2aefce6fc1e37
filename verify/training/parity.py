"""Building a bundle's graphs from torch weights, with the proof that they compute the same.

The graphs come from `verify.models.graphs`, which needs no torch. What needs it is the proof: the
published network is run by torch, the graph by ONNX Runtime, on the same inputs, and the largest
difference is kept for the card. No exporter takes part: torch's older one is deprecated, its newer
one needs another package, and the nodes that either writes change with torch's version, and the
model_id with them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from verify.atomic import write_file
from verify.errors import MissingExtraError, ModelIntegrityError, UnknownModelError
from verify.models.bundle import load_session
from verify.models.recipes import find_recipe

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from pathlib import Path

    import onnx
    from numpy.typing import NDArray

MAX_DIFFERENCE = 1e-4  # of any cosine, and of any output of a locator
SEED = 20240229
# network -> recipe; the torch side of each is in verify.nets.originals, under the same name
RECIPES = {
    "campplus": "verify.models.graphs.campplus:to_onnx",
    "ge2e": "verify.models.graphs.ge2e:to_onnx",
    "mtcnn": "verify.models.graphs.mtcnn:to_onnx",
    "inception_resnet_v1": "verify.models.graphs.inception_resnet_v1:to_onnx",
}


@dataclass(frozen=True, slots=True)
class Built:
    """The graphs of a bundle by file name, and the proof of parity for its card."""

    models: Mapping[str, onnx.ModelProto]
    parity: Mapping[str, Any]


def network_of(recipe: str) -> str | None:
    """Name of the network that a registry entry's recipe converts; None if none is known to torch here."""
    return next((network for network, known in RECIPES.items() if known == recipe), None)


def build(network: str, *, weights: Path, out: Path | None = None) -> Built:
    """Convert published torch weights and prove that the result agrees with torch.

    Args:
        network: a key of `RECIPES`.
        weights: the published file, or the folder of several under their published names.
        out: folder to write the ONNX files into; None to write nothing.

    Raises:
        UnknownModelError: there is no such network.
        MissingExtraError: torch is not installed.
        DataError: the weights cannot be read, or are another network's.
        ModelIntegrityError: torch refuses the weights, or graph and network differ by more than
            `MAX_DIFFERENCE`; nothing is written then.
    """
    if network not in RECIPES:
        msg = f"no network named {network!r} can be built from torch weights; known: {', '.join(RECIPES)}"
        raise UnknownModelError(msg)
    originals = _originals()
    models: dict[str, Any] = dict(find_recipe(RECIPES[network])(weights))
    parity = prove(
        network, models, originals.load_original(network, weights), torch_version=originals.VERSION
    )
    if out is not None:
        for name, model in models.items():
            write_file(out / name, model.SerializeToString(deterministic=True))
    return Built(models, parity)


def prove(
    network: str,
    models: Mapping[str, onnx.ModelProto],
    originals: Mapping[str, Callable[[NDArray[np.float32]], Mapping[str, NDArray[np.float32]]]],
    *,
    torch_version: str,
) -> dict[str, Any]:
    """Run graphs and originals on the same inputs; return the record for the card.

    For embeddings the difference is that of cosines: of each embedding to its original, and of the
    scores of all pairs. For the outputs of locators it is that of the values.

    Raises:
        ModelIntegrityError: they differ by more than `MAX_DIFFERENCE`.
    """
    import onnxruntime

    shapes: dict[str, list[list[int]]] = {}
    cosine, absolute = [0.0], [0.0]
    for name, model in models.items():
        session = load_session(model.SerializeToString(), threads=1)
        outputs = [output.name for output in session.get_outputs()]
        (entry,) = session.get_inputs()
        pairs = []
        for values in probe_inputs(network, name):
            shapes.setdefault(name, []).append(list(values.shape))
            found = dict(zip(outputs, session.run(None, {entry.name: values}), strict=True))
            pairs += [(found[key], wanted) for key, wanted in originals[name](values).items()]
        absolute += [float(np.abs(a - b).max()) for a, b in pairs]
        if outputs == ["embedding"]:
            cosine.append(_cosine_difference(pairs))
    parity: dict[str, Any] = {
        "origin": f"the same weights run by torch ({network})",
        "torch": torch_version,
        "onnxruntime": onnxruntime.__version__,
        "inputs": shapes,
        "seed": SEED,
        "max_abs_difference": float(np.max(absolute)),
        "limit": MAX_DIFFERENCE,
    }
    if len(cosine) > 1:
        parity["max_cosine_difference"] = float(np.max(cosine))
    worst = parity.get("max_cosine_difference", parity["max_abs_difference"])
    if not worst <= MAX_DIFFERENCE:  # NaN is no agreement either
        msg = (
            f"{network}: the graph and the torch network differ by {worst:.3g}, more than {MAX_DIFFERENCE:g}; "
            "nothing was built: the weights are damaged, or this is a fault in verify"
        )
        raise ModelIntegrityError(msg)
    return parity


def probe_inputs(network: str, file: str) -> Iterator[NDArray[np.float32]]:
    """Inputs like real ones, the same on every call: several batch sizes, lengths and sizes.

    Speech is imitated by bands that move slowly under a falling spectrum, photos by smooth blotches.
    """
    rng = np.random.default_rng(SEED)
    if network == "campplus":  # beside, at and between the borders of segments (200 frames)
        for batch, frames in ((1, 98), (1, 199), (3, 200), (1, 201), (2, 398), (4, 400), (1, 1003)):
            tilt = np.linspace(2.0, -2.0, 80, dtype=np.float32)
            features = _wandering(rng, (batch, frames, 80)) * 2.5 + tilt
            yield np.subtract(features, features.mean(axis=1, keepdims=True), dtype=np.float32)
    elif network == "ge2e":
        for batch in (1, 2, 7):
            yield np.exp(_wandering(rng, (batch, 160, 40)) - 4.0, dtype=np.float32)
    elif network == "inception_resnet_v1":
        for batch in (1, 3):
            yield _photos(rng, batch, 160, 160)
    else:
        sides = {"rnet.onnx": ((24, 24),), "onet.onnx": ((48, 48),)}.get(
            file, ((12, 12), (61, 83), (180, 240))
        )
        for (height, width), batch in ((side, batch) for side in sides for batch in (1, 5)):
            yield np.divide(_photos(rng, batch, height, width) - 127.5, 128.0, dtype=np.float32)


def _wandering(rng: np.random.Generator, shape: tuple[int, int, int]) -> NDArray[np.float32]:
    """Unit-variance noise that changes slowly along axis 1 (a first-order autoregression)."""
    steps = rng.standard_normal(shape)
    for index in range(1, shape[1]):
        steps[:, index] = 0.9 * steps[:, index - 1] + np.sqrt(1 - 0.9**2) * steps[:, index]
    return steps.astype(np.float32)


def _photos(rng: np.random.Generator, batch: int, height: int, width: int) -> NDArray[np.float32]:
    """(B, 3, H, W), 0..255: blotches of 12 px with a little noise."""
    coarse = rng.uniform(0, 255, (batch, 3, height // 12 + 1, width // 12 + 1))
    fine = coarse.repeat(12, axis=2).repeat(12, axis=3)[:, :, :height, :width]
    return np.clip(fine + rng.normal(0, 8, fine.shape), 0, 255).astype(np.float32)


def _cosine_difference(pairs: Iterable[tuple[NDArray[np.float32], NDArray[np.float32]]]) -> float:
    found, wanted = (np.concatenate(side, dtype=np.float64) for side in zip(*pairs, strict=True))
    to_original = np.abs(1.0 - np.sum(found * wanted, axis=1))
    between = np.abs(found @ found.T - wanted @ wanted.T)
    return float(max(to_original.max(), between.max()))


def _originals() -> Any:
    try:
        from verify.nets import originals
    except ModuleNotFoundError as error:
        if error.name is None or error.name.split(".")[0] == "verify":
            raise
        msg = (
            f"building from torch weights proves the result against torch, and {error.name} is not installed: "
            "pip install '.[train]' in verify's source folder (verify models pull converts the same weights without it)"
        )
        raise MissingExtraError(msg) from error
    return originals
