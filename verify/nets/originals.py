"""The published networks as torch runs them: what a converted bundle is held against.

The one module of this room that opens files. Torch's own reader (``weights_only=True``) and torch's
own operators are used on purpose: they share nothing with `verify.models.weights` and
`verify.models.graphs`, so that an agreement of the two proves both.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

import torch
from torch import Tensor, nn

from verify.errors import ModelIntegrityError
from verify.nets import ge2e, inception_resnet_v1, mtcnn
from verify.nets.campplus import CAMPPlus

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    Run: TypeAlias = Callable[[NDArray[np.float32]], Mapping[str, NDArray[np.float32]]]

EMBEDDING = ("embedding",)
VERSION: str = torch.__version__


def load_original(network: str, weights: Path) -> dict[str, Run]:
    """Load a published network strictly, in inference mode.

    Args:
        network: a key of `ORIGINALS`.
        weights: the published file, or the folder of several under their published names.

    Returns:
        For each ONNX file of the bundle, a function from that graph's input to its outputs by name.

    Raises:
        ModelIntegrityError: torch cannot read the file, or its tensors are not those of the network.
    """
    return ORIGINALS[network](weights)


def _campplus(weights: Path) -> dict[str, Run]:
    return {"model.onnx": _runner(CAMPPlus(), _state(weights), weights, outputs=EMBEDDING)}


def _ge2e(weights: Path) -> dict[str, Run]:
    state = ge2e.published(_state(weights)["model_state"])
    return {"model.onnx": _runner(ge2e.GE2E(), state, weights, outputs=EMBEDDING)}


def _mtcnn(weights: Path) -> dict[str, Run]:
    stages: dict[str, tuple[nn.Module, tuple[str, ...]]] = {
        "pnet": (mtcnn.PNet(), ("boxes", "scores")),
        "rnet": (mtcnn.RNet(), ("boxes", "scores")),
        "onet": (mtcnn.ONet(), ("boxes", "landmarks", "scores")),
    }
    return {
        f"{stage}.onnx": _runner(
            net, _state(weights / f"{stage}.pt"), weights / f"{stage}.pt", outputs=outputs
        )
        for stage, (net, outputs) in stages.items()
    }


def _inception_resnet_v1(weights: Path) -> dict[str, Run]:
    state = inception_resnet_v1.published(_state(weights))
    net = inception_resnet_v1.InceptionResnetV1()
    return {"model.onnx": _runner(net, state, weights, outputs=EMBEDDING)}


ORIGINALS: dict[str, Callable[[Path], dict[str, Run]]] = {
    "campplus": _campplus,
    "ge2e": _ge2e,
    "mtcnn": _mtcnn,
    "inception_resnet_v1": _inception_resnet_v1,
}


def _state(path: Path) -> Any:
    import pickle  # for the name of its error; nothing is unpickled without weights_only

    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, EOFError, ValueError, KeyError, pickle.UnpicklingError) as error:
        msg = f"{path}: torch cannot read these weights: {str(error).partition(chr(10))[0]}"
        raise ModelIntegrityError(msg) from error


def _runner(net: nn.Module, state: Mapping[str, Tensor], path: Path, *, outputs: tuple[str, ...]) -> Run:
    try:
        net.load_state_dict(state)
    except (RuntimeError, TypeError, AttributeError) as error:
        msg = f"{path}: not the state dict of {type(net).__name__}: {' '.join(str(error).split())[:400]}"
        raise ModelIntegrityError(msg) from error
    net.eval()

    def run(values: NDArray[np.float32]) -> dict[str, NDArray[np.float32]]:
        with torch.inference_mode():
            result = net(torch.from_numpy(values))
        tensors = result if isinstance(result, tuple) else (result,)
        return {name: tensor.numpy() for name, tensor in zip(outputs, tensors, strict=True)}

    return run
