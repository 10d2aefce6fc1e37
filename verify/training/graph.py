"""A trained network as the ONNX graph of a bundle: the encoder with its L2 norm, nothing of its training.

The built-in networks have graphs written by hand in `verify.models.graphs`, which fold what is exact in
inference mode and have the same bytes on every machine and with every version of torch. Networks of other
distributions go through torch's exporter.
"""

from __future__ import annotations

import copy
import importlib
import warnings
from typing import TYPE_CHECKING, Any

from verify.errors import DataError, MissingExtraError, ModelError
from verify.models.weights import Weights
from verify.nets.registry import NETWORKS, find_network
from verify.types import Modality

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import onnx
    from torch import nn

GRAPHS: Mapping[str, str] = {
    "mobilefacenet": "verify.models.graphs.residual_faces:mobilefacenet_graph",
    "iresnet18": "verify.models.graphs.residual_faces:iresnet_graph",
    "iresnet50": "verify.models.graphs.residual_faces:iresnet_graph",
    "iresnet100": "verify.models.graphs.residual_faces:iresnet_graph",
    "inception_resnet_v1": "verify.models.graphs.inception_resnet_v1:inception_resnet_v1_graph",
    "ecapa_tdnn": "verify.models.graphs.tdnn_voices:ecapa_graph",
    "resnet34_asp": "verify.models.graphs.tdnn_voices:resnet34_asp_graph",
    "campplus": "verify.models.graphs.campplus:campplus_graph",
}
INPUTS = {Modality.FACE: "input", Modality.VOICE: "features"}
OPSET = 18  # the oldest that torch's exporter writes
TRIAL_FRAMES = 200


def to_graph(net: nn.Module, *, network: str) -> onnx.ModelProto:
    """The inference graph of a network: batch free, for voices the time too.

    Args:
        net: the network, on any device and in any mode; it is not changed.
        network: its name in `verify.nets.registry`.

    Returns:
        Faces: ``input`` (B, 3, H, W) float32, RGB, 0..255; voices: ``features`` (B, T, bins) float32. Both to
        ``embedding`` (B, D) float32 of unit L2 norm. The same network gives the same bytes.

    Raises:
        UsageError: no such network.
        DataError: the tensors are not this network's, or not all finite.
        MissingExtraError: torch's exporter is not installed (networks of other distributions only).
        ModelError: torch's exporter cannot trace the network.
    """
    modality = find_network(network).modality
    arrays = {name: tensor.detach().cpu().float().numpy() for name, tensor in net.state_dict().items()}
    broken = next((name for name, array in arrays.items() if not (abs(array) < float("inf")).all()), None)
    if broken is not None:
        msg = f"{network}: {broken} holds values that are not finite: the training diverged; export another checkpoint"
        raise DataError(msg)
    if network in NETWORKS:
        module, _, function = GRAPHS[network].partition(":")
        write: Callable[[Weights], onnx.ModelProto] = getattr(importlib.import_module(module), function)
        return write(Weights(arrays, source=f"the trained {network}"))
    return _exported(net, network=network, modality=modality)


def _exported(net: nn.Module, *, network: str, modality: Modality) -> onnx.ModelProto:
    """The graph that torch's exporter traces, without what changes from run to run."""
    import torch

    contract = find_network(network).contract
    still = copy.deepcopy(net).cpu().eval()
    name = INPUTS[modality]
    batch, time = torch.export.Dim("B", min=1), torch.export.Dim("T", min=8)
    if modality == Modality.FACE:
        example, free = torch.zeros(2, 3, *contract["size_px"]), {0: batch}
    else:
        example, free = torch.zeros(2, TRIAL_FRAMES, int(contract["bins"])), {0: batch, 1: time}
    try:
        with warnings.catch_warnings():  # the exporter's own, about itself
            warnings.simplefilter("ignore")
            program = torch.onnx.export(
                still,
                (example,),
                dynamo=True,
                opset_version=OPSET,
                input_names=[name],
                output_names=["embedding"],
                dynamic_shapes=(free,),
                verbose=False,
            )
    except ModuleNotFoundError as error:
        msg = f"exporting {network} needs {error.name}: pip install '.[train]' in verify's source folder"
        raise MissingExtraError(msg) from error
    except Exception as error:  # torch's exporter raises a dozen unrelated types
        msg = f"{network}: torch's exporter cannot trace this network: {str(error).strip().partition(chr(10))[0]}"
        raise ModelError(msg) from error
    return _plain(program.model_proto)


def _plain(model: Any) -> onnx.ModelProto:
    """Without the exporter's notes: source lines, versions and the names of its passes."""
    del model.metadata_props[:], model.graph.metadata_props[:], model.graph.value_info[:]
    model.producer_name, model.producer_version, model.doc_string = "verify", "", ""
    for node in model.graph.node:
        del node.metadata_props[:]
        node.doc_string = ""
    for value in (*model.graph.input, *model.graph.output, *model.graph.initializer):
        del value.metadata_props[:]
    plain: onnx.ModelProto = model
    return plain
