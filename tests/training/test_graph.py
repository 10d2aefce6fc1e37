"""Trained networks as ONNX: the same embeddings, the same bytes, nothing but the encoder."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

from tests.nets.test_parity import shaken
from tests.nets.test_registry import inputs
from verify.errors import DataError, ModelError, UsageError
from verify.models.bundle import load_session
from verify.nets import registry
from verify.nets.registry import NETWORKS, Network, make_network
from verify.types import Modality

pytestmark = pytest.mark.train
torch = pytest.importorskip("torch", reason="needs the training extra")

# to_graph of the deepest ones is that of the others with more of the same
SOME = [name for name in NETWORKS if name not in ("iresnet50", "iresnet100")]


@pytest.fixture(autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def small(name: str, *, hostile: bool = False, **options: object):
    """A network whose statistics and slopes are those of a trained one, or worse than any."""
    net = shaken(make_network(name, **{"width": 0.125, "dim": 24, **options}), 3, negative_scales=hostile)
    for module in net.modules():
        if isinstance(module, torch.nn.PReLU):
            torch.nn.init.uniform_(module.weight, -0.5, 1.5 if hostile else 1.0)
    return net


def difference(net, model, batch) -> float:
    session = load_session(model.SerializeToString())
    (entry,) = session.get_inputs()
    (output,) = session.get_outputs()
    with torch.inference_mode():
        expected = net(batch).numpy()
    (found,) = session.run([output.name], {entry.name: batch.numpy()})
    assert output.name == "embedding"
    assert found.shape == expected.shape
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1.0, atol=1e-5)
    return float(np.abs(found - expected).max())


@pytest.mark.parametrize("name", SOME)
@pytest.mark.parametrize("hostile", [False, True], ids=["usual", "hostile"])
def test_graph_gives_the_networks_embeddings(name, hostile) -> None:
    from verify.training.graph import to_graph

    net = small(name, hostile=hostile)
    model = to_graph(net, network=name)
    (entry,) = model.graph.input
    voice = NETWORKS[name].modality is Modality.VOICE
    assert entry.name == ("features" if voice else "input")
    for batch, frames in ((1, 150), (3, 201), (2, 9)) if voice else ((1, 0), (3, 0)):
        assert difference(net, model, inputs(name, batch=batch, frames=frames)) < 1e-5


@pytest.mark.parametrize("name", ["iresnet50", "iresnet100"])
def test_deep_graphs_have_all_units(name) -> None:
    from verify.training.graph import to_graph

    net = small(name)
    convolutions = sum(isinstance(module, torch.nn.Conv2d) for module in net.modules())
    model = to_graph(net, network=name)
    assert sum(node.op_type == "Conv" for node in model.graph.node) == convolutions
    assert difference(net, model, inputs(name, batch=1)) < 1e-5


@pytest.mark.parametrize("name", ["mobilefacenet", "iresnet18"])
def test_graph_takes_the_networks_size_of_photos(name) -> None:
    from verify.training.graph import to_graph

    net = small(name, size_px=64)
    model = to_graph(net, network=name)
    assert [dim.dim_value for dim in model.graph.input[0].type.tensor_type.shape.dim][1:] == [3, 64, 64]
    assert difference(net, model, torch.rand(2, 3, 64, 64) * 255) < 1e-5


@pytest.mark.parametrize("name", ["mobilefacenet", "ecapa_tdnn"])
def test_bytes_are_the_same_and_the_network_stays_as_it_was(name) -> None:
    from verify.training.graph import to_graph

    net = small(name).train()
    state = {key: tensor.clone() for key, tensor in net.state_dict().items()}
    first, second = (to_graph(net, network=name).SerializeToString(deterministic=True) for _ in range(2))
    assert first == second
    assert net.training
    assert all(torch.equal(tensor, state[key]) for key, tensor in net.state_dict().items())


def test_only_the_opset_of_all_bundles_is_used() -> None:
    from verify.models.graphs.builder import OPSET
    from verify.training.graph import to_graph

    model = to_graph(small("ecapa_tdnn"), network="ecapa_tdnn")
    assert [item.version for item in model.opset_import] == [OPSET]
    assert model.producer_name == "verify"


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_network_that_diverged_is_no_bundle(value) -> None:
    from verify.training.graph import to_graph

    net = small("mobilefacenet")
    net.norm.running_mean[3] = value
    with pytest.raises(
        DataError, match=r"mobilefacenet: norm\.running_mean holds values that are not finite"
    ):
        to_graph(net, network="mobilefacenet")


def test_another_networks_tensors_are_refused() -> None:
    from verify.training.graph import to_graph

    with pytest.raises(DataError, match=r"the trained iresnet18: has no tensor 'conv1\.weight'"):
        to_graph(small("mobilefacenet"), network="iresnet18")
    with pytest.raises(UsageError, match="no network 'mobilefacenets'"):
        to_graph(small("mobilefacenet"), network="mobilefacenets")


class Foreign(torch.nn.Module):
    """A network of somebody else, over frames."""

    def __init__(self, *, dim: int = 6) -> None:
        super().__init__()
        self.norm = torch.nn.BatchNorm1d(80)
        self.linear = torch.nn.Linear(80, dim)

    def raw(self, x):
        return self.linear(self.norm(x.mean(1)))

    def forward(self, x):
        return torch.nn.functional.normalize(self.raw(x))


@pytest.fixture
def offer(monkeypatch):
    def offered(*, modality: str, build) -> None:
        contract = registry.SPEECH_80 if modality == Modality.VOICE else registry.FACE_112
        theirs = Network("theirs", Modality(modality), 6, contract, build)
        monkeypatch.setattr(registry, "networks", lambda: {**NETWORKS, "theirs": theirs})

    return offered


def test_networks_of_others_go_through_torchs_exporter(offer) -> None:
    pytest.importorskip("onnxscript", reason="torch's exporter needs it")
    from verify.training.graph import to_graph

    offer(modality="voice", build=Foreign)
    net = shaken(make_network("theirs"), 5)
    model = to_graph(net, network="theirs")
    onnx.checker.check_model(model)
    for batch, frames in ((1, 40), (3, 77)):
        assert difference(net, model, inputs("campplus", batch=batch, frames=frames)) < 1e-5
    again = to_graph(net, network="theirs")
    assert model.SerializeToString(deterministic=True) == again.SerializeToString(deterministic=True)
    assert b"/" + b"verify" not in model.SerializeToString()  # no paths of this machine


def test_what_cannot_be_traced_is_said(offer, monkeypatch) -> None:
    from verify.training.graph import to_graph

    def refuse(*_: object, **__: object) -> None:
        msg = "a branch on data\nmany more lines"
        raise RuntimeError(msg)

    offer(modality="voice", build=Foreign)
    monkeypatch.setattr(torch.onnx, "export", refuse)
    with pytest.raises(ModelError, match=r"theirs: torch's exporter cannot trace .*: a branch on data$"):
        to_graph(make_network("theirs"), network="theirs")
