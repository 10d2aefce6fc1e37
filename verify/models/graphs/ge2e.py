"""GE2E's speaker encoder as an ONNX graph, straight from the published checkpoint.

Network: Wan, Wang, Papir, Lopez Moreno, "Generalized End-to-End Loss for Speaker Verification",
ICASSP 2018, in the form that Resemblyzer publishes: three LSTM layers, the last hidden state, a
linear layer and a ReLU. `verify.nets.ge2e` is the same network in torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from verify.models.graphs.builder import GraphBuilder, fitting
from verify.models.weights import Weights, read_weights

if TYPE_CHECKING:
    from pathlib import Path

    import onnx
    from numpy.typing import NDArray

FRAMES = 160  # 1.6 s, the length that the network was trained on
SECTION = "model_state"  # beside it lies the optimiser's state, which is left behind
LAYERS = 3


def to_onnx(weights_path: Path) -> dict[str, onnx.ModelProto]:
    """Build the graph of the published GE2E checkpoint.

    The model takes ``features`` (B, 160, 40) float32, mel power of 1.6 s of speech, B free, and
    gives ``embedding`` (B, 256) float32 of unit L2 norm, no entry below 0.

    Raises:
        DataError: the file is no torch checkpoint, or not one of this network.
    """
    return {"model.onnx": ge2e_graph(read_weights(weights_path, section=SECTION))}


def ge2e_graph(weights: Weights) -> onnx.ModelProto:
    """The graph of a GE2E state dict; see `to_onnx` for its inputs and outputs."""
    with fitting(weights, network="GE2E"):
        graph = GraphBuilder("ge2e")
        mels = weights["lstm.weight_ih_l0"].shape[1]
        hidden = weights["lstm.weight_hh_l0"].shape[1]
        x = graph.op("Transpose", "features", perm=[1, 0, 2])  # (T, B, 40)
        for layer in range(LAYERS):
            x = _lstm(graph, x, weights, layer=layer, hidden=hidden, last=layer == LAYERS - 1)
        x = graph.op("Squeeze", x, graph.constant([0]))  # (B, 256), the last step's state
        linear = (graph.constant(weights["linear.weight"]), graph.constant(weights["linear.bias"]))
        x = graph.op("Relu", graph.op("Gemm", x, *linear, transB=1))
        graph.unit_l2(x, output="embedding")
        size = weights["linear.weight"].shape[0]
        return graph.build(inputs={"features": ["B", FRAMES, mels]}, outputs={"embedding": ["B", size]})


def _lstm(graph: GraphBuilder, x: str, weights: Weights, *, layer: int, hidden: int, last: bool) -> str:
    """One layer, (T, B, I) -> (T, B, H); of the last layer only the final state, (1, B, H)."""
    constants = [
        graph.constant(_gates(weights[f"lstm.weight_ih_l{layer}"])[None]),
        graph.constant(_gates(weights[f"lstm.weight_hh_l{layer}"])[None]),
        graph.constant(
            np.concatenate([_gates(weights[f"lstm.bias_{kind}_l{layer}"]) for kind in ("ih", "hh")])[None]
        ),
    ]
    states, final = f"states_{layer}", f"final_{layer}"
    graph.multi("LSTM", x, *constants, outputs=["", final] if last else [states], hidden_size=hidden)
    return final if last else graph.op("Squeeze", states, graph.constant([1]))  # one direction


def _gates(stacked: NDArray[np.float32]) -> NDArray[np.float32]:
    """From torch's order of gates (input, forget, cell, output) to ONNX's (input, output, forget, cell)."""
    entry, forget, cell, out = np.split(stacked, 4)
    return np.concatenate([entry, out, forget, cell])
