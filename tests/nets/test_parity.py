from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from verify.errors import DataError, MissingExtraError, ModelIntegrityError, UnknownModelError
from verify.models.bundle import load_session
from verify.models.graphs.campplus import campplus_graph
from verify.models.weights import Weights, read_weights
from verify.training import parity as building

pytestmark = pytest.mark.train
torch = pytest.importorskip("torch", reason="needs the training extra")


def shaken(net, seed: int, *, negative_scales: bool = False):
    """Random weights with the statistics that a trained network's normalisations have."""
    generator = torch.Generator().manual_seed(seed)
    for module in net.modules():
        if isinstance(module, torch.nn.modules.batchnorm._BatchNorm):
            module.running_mean.normal_(0.0, 0.3, generator=generator)
            module.running_var.uniform_(0.3, 2.0, generator=generator)
            if module.affine:
                torch.nn.init.uniform_(module.weight, 0.3, 1.5, generator=generator)
                torch.nn.init.normal_(module.bias, 0.0, 0.3, generator=generator)
                if negative_scales:
                    module.weight.data[::7] *= -1
                    module.weight.data[3::50] = 0
        elif isinstance(module, torch.nn.Conv1d | torch.nn.Conv2d | torch.nn.Linear):
            torch.nn.init.kaiming_normal_(module.weight, nonlinearity="relu", generator=generator)
    return net.eval()


def small_campplus(seed: int, **options: bool):
    """CAM++ with fewer and thinner layers; the head and the dilations are the published ones."""
    from verify.nets.campplus import CAMPPlus

    return shaken(CAMPPlus(dim=16, growth=8, blocks=((3, 1), (4, 2), (2, 2))), seed, **options)


@pytest.fixture(scope="module")
def nets():
    from verify.nets import ge2e, mtcnn
    from verify.nets.campplus import CAMPPlus
    from verify.nets.inception_resnet_v1 import InceptionResnetV1

    torch.manual_seed(4)
    loss = {"similarity_weight": torch.ones(1), "similarity_bias": torch.zeros(1)}
    optimiser = {
        "state": {123: {"exp_avg": torch.zeros(3)}},
        "param_groups": [{"lr": 1e-4, "betas": (0.9, 0.999)}],
    }
    inception = shaken(InceptionResnetV1(), 5)
    classifier = {"logits.weight": torch.zeros(2, 512), "logits.bias": torch.zeros(2)}
    return {
        "campplus": shaken(CAMPPlus(), 6).state_dict(),
        "ge2e": {
            "model_state": {**loss, **ge2e.GE2E().state_dict()},
            "step": 1,
            "optimizer_state": optimiser,
        },
        "mtcnn": {
            n: getattr(mtcnn, c)().state_dict()
            for n, c in (("pnet", "PNet"), ("rnet", "RNet"), ("onet", "ONet"))
        },
        "inception_resnet_v1": {**inception.state_dict(), **classifier},
    }


def published(nets, network: str, folder: Path, *, old: bool) -> Path:
    """The checkpoint(s) of a network as torch writes them, in either format."""
    if network == "mtcnn":
        for stage, state in nets[network].items():
            torch.save(state, folder / f"{stage}.pt", _use_new_zipfile_serialization=not old)
        return folder
    torch.save(nets[network], folder / "weights.pt", _use_new_zipfile_serialization=not old)
    return folder / "weights.pt"


@pytest.mark.parametrize("network", list(building.RECIPES))
@pytest.mark.parametrize("old", [False, True], ids=["zip", "legacy"])
def test_reader_and_torch_read_the_same_tensors(nets, tmp_path, network, old) -> None:
    weights = published(nets, network, tmp_path, old=old)
    for path in [weights] if weights.is_file() else weights.iterdir():
        theirs = torch.load(path, weights_only=True)
        section = "model_state" if network == "ge2e" else ""
        ours = read_weights(path, section=section)
        theirs = theirs[section] if section else theirs
        assert list(ours) == list(theirs)
        for name, tensor in theirs.items():
            assert ours[name].dtype == tensor.numpy().dtype
            np.testing.assert_array_equal(ours[name], tensor.numpy())


@pytest.mark.parametrize("network", list(building.RECIPES))
def test_graph_and_network_agree(nets, tmp_path, network) -> None:
    weights = published(nets, network, tmp_path, old=False)
    out = tmp_path / "out"
    out.mkdir()
    built = building.build(network, weights=weights, out=out)
    assert sorted(path.name for path in out.iterdir()) == sorted(built.models)
    assert built.parity["torch"] == torch.__version__
    assert built.parity["max_abs_difference"] < 1e-5
    assert built.parity.get("max_cosine_difference", 0.0) < 1e-5
    for name, shapes in built.parity["inputs"].items():
        assert len(shapes) >= 2
        assert (out / name).read_bytes() == built.models[name].SerializeToString(deterministic=True)


@pytest.mark.parametrize("frames", [1, 2, 3, 150, 199, 200, 201, 202, 399, 400, 401, 750])
def test_campplus_agrees_at_every_border_of_segments(frames) -> None:
    net = small_campplus(7, negative_scales=True)
    state = {name: tensor.numpy() for name, tensor in net.state_dict().items()}
    session = load_session(campplus_graph(Weights(state, source="made")).SerializeToString())
    features = np.random.default_rng(frames).standard_normal((2, frames, 80)).astype(np.float32)
    with torch.inference_mode():
        expected = net(torch.from_numpy(features)).numpy()
    (found,) = session.run(None, {"features": features})
    assert found.shape == (2, 16)
    np.testing.assert_allclose(found, expected, atol=5e-6)
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1.0, atol=1e-6)


def test_a_graph_that_differs_is_refused_and_not_written(nets, tmp_path, monkeypatch) -> None:
    weights = published(nets, "ge2e", tmp_path, old=False)
    from verify.nets import originals

    other = dict(nets["ge2e"]["model_state"])
    other["linear.bias"] = other["linear.bias"] + 0.01
    monkeypatch.setattr(originals, "_state", lambda _: {"model_state": other})
    out = tmp_path / "out"
    out.mkdir()
    with pytest.raises(ModelIntegrityError, match=r"ge2e: the graph and the torch network differ by"):
        building.build("ge2e", weights=weights, out=out)
    assert list(out.iterdir()) == []


def test_nan_is_no_agreement(nets, tmp_path) -> None:
    state = {**nets["mtcnn"]["rnet"], "dense4.bias": torch.full((128,), float("nan"))}
    nan = {**nets, "mtcnn": {**nets["mtcnn"], "rnet": state}}
    with pytest.raises(ModelIntegrityError, match="differ by nan"):
        building.build("mtcnn", weights=published(nan, "mtcnn", tmp_path, old=False))


def test_torch_refuses_what_is_not_strictly_the_network(nets, tmp_path) -> None:
    from verify.nets.originals import load_original

    state = {**nets["campplus"], "head.extra": torch.zeros(1)}
    torch.save(state, tmp_path / "weights.pt")
    with pytest.raises(
        ModelIntegrityError, match=r"weights\.pt: not the state dict of CAMPPlus.*head\.extra"
    ):
        load_original("campplus", tmp_path / "weights.pt")
    (tmp_path / "broken.pt").write_bytes(b"PK\x03\x04 nothing")
    with pytest.raises(ModelIntegrityError, match=r"broken\.pt: torch cannot read"):
        load_original("campplus", tmp_path / "broken.pt")


def test_unknown_networks_and_unreadable_weights(tmp_path) -> None:
    with pytest.raises(UnknownModelError, match=r"'resnet'.*known: campplus, ge2e"):
        building.build("resnet", weights=tmp_path / "x.pt")
    with pytest.raises(DataError, match=r"x\.pt"):
        building.build("campplus", weights=tmp_path / "x.pt")


def test_without_torch_the_way_out_is_named(tmp_path, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    for name in [name for name in sys.modules if name.startswith("verify.nets")]:
        monkeypatch.delitem(sys.modules, name)
    with pytest.raises(MissingExtraError, match=r"torch is not installed: pip install '\.\[train\]'"):
        building.build("campplus", weights=tmp_path / "x.pt")


@pytest.mark.parametrize("network", list(building.RECIPES))
def test_probe_inputs_are_the_same_on_every_call(network) -> None:
    files = ["pnet.onnx", "rnet.onnx", "onet.onnx"] if network == "mtcnn" else ["model.onnx"]
    for file in files:
        first, second = list(building.probe_inputs(network, file)), list(building.probe_inputs(network, file))
        assert len(first) > 1
        assert len({array.shape[0] for array in first}) > 1
        for a, b in zip(first, second, strict=True):
            assert a.dtype == np.float32
            np.testing.assert_array_equal(a, b)


def test_a_recipe_leads_to_its_network() -> None:
    assert building.network_of("verify.models.graphs.campplus:to_onnx") == "campplus"
    assert building.network_of("verify.models.recipes:as_model") is None
