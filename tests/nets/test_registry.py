from __future__ import annotations

import importlib.metadata
import math
import sys

import pytest

from verify.errors import EnvironmentProblemError, MissingExtraError, UsageError
from verify.models.registry import find_entry
from verify.nets import registry
from verify.nets.registry import NETWORKS, Network, find_network, make_network

pytestmark = pytest.mark.train
torch = pytest.importorskip("torch", reason="needs the training extra")

# million parameters with the published embedding size, and where they are stated
PARAMETERS = {
    "mobilefacenet": (0.99, 128),  # Chen et al. 2018, Table 2
    "iresnet18": (24.0, 512),  # insightface's model zoo, as the two below
    "iresnet50": (43.6, 512),
    "iresnet100": (65.2, 512),
    "inception_resnet_v1": (23.5, 512),  # facenet-pytorch's, without its classifier
    "ecapa_tdnn": (14.7, 192),  # Desplanques et al. 2020, Table 1 (C = 1024)
    "campplus": (7.18, 512),  # Wang et al. 2023, Table 1
}


def inputs(name: str, *, batch: int = 3, frames: int = 120, side: int = 0):
    network = NETWORKS[name]
    generator = torch.Generator().manual_seed(5)
    if network.modality == "face":
        sides = (side, side) if side else network.contract["size_px"]
        return torch.rand(batch, 3, *sides, generator=generator) * 255
    return torch.randn(batch, frames, network.contract["bins"], generator=generator)


@pytest.mark.parametrize("name", list(PARAMETERS))
def test_parameters_are_as_many_as_published(name) -> None:
    millions, dim = PARAMETERS[name]
    with torch.device("meta"):
        net = make_network(name, dim=dim)
    assert sum(item.numel() for item in net.parameters()) / 1e6 == pytest.approx(millions, rel=0.015)


def test_ecapa_with_512_channels_and_the_trunk_of_resnet34_are_as_published() -> None:
    with torch.device("meta"):
        ecapa = make_network("ecapa_tdnn", channels=512)
        resnet = make_network("resnet34_asp")
    assert sum(item.numel() for item in ecapa.parameters()) / 1e6 == pytest.approx(6.2, rel=0.015)
    trunk = sum(item.numel() for part in (resnet.first, resnet.stages) for item in part.parameters())
    assert trunk / 1e6 == pytest.approx(6.63 - 1.31, rel=0.01)  # WeSpeaker's ResNet34 without its last layer


@pytest.mark.parametrize("name", list(NETWORKS))
@pytest.mark.parametrize("autocast", [False, True], ids=["fp32", "bf16"])
def test_raw_and_unit_embeddings_in_float32_and_every_weight_trains(name, autocast) -> None:
    torch.manual_seed(2)
    takes_any = NETWORKS[name].contract is registry.FACE_112  # then a fifth of the pixels proves as much
    side, own = (48, {"size_px": 48}) if takes_any else (96, {})
    net = make_network(name, dim=24, width=0.125, **own)
    batch = inputs(name, frames=60, side=side)
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        raw = net.raw(batch)
    assert raw.shape == (3, 24)
    assert raw.dtype == torch.float32
    (raw * torch.randn(3, 24)).sum().backward()
    for weight_name, weight in net.named_parameters():
        assert weight.grad is not None, weight_name
        assert torch.isfinite(weight.grad).all(), weight_name
        assert weight.grad.abs().sum() > 0, weight_name
    net.eval()
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        raw, unit = net.raw(batch), net(batch)
    assert net.dim == 24
    assert unit.dtype == torch.float32
    torch.testing.assert_close(unit, raw / raw.norm(dim=1, keepdim=True))


@pytest.mark.parametrize("name", [name for name in NETWORKS if name not in ("iresnet50", "iresnet100")])
def test_in_inference_bf16_changes_little_and_neighbours_nothing(name) -> None:
    torch.manual_seed(3)
    net = make_network(name, width=0.25)
    batch = inputs(name, batch=4, frames=150)
    for module in net.modules():
        if isinstance(module, torch.nn.modules.batchnorm._BatchNorm):
            module.momentum = 0.5  # running statistics near those of the batch: as after training
    with torch.no_grad():
        for _ in range(3):
            net.raw(batch)
    net.eval()
    with torch.inference_mode():
        whole, alone = net(batch), net(batch[1:2])
        with torch.autocast("cpu", torch.bfloat16):
            coarse = net(batch)
    torch.testing.assert_close(whole[1:2], alone, atol=1e-5, rtol=0)
    assert (whole * coarse).sum(1).min() > 0.99


@pytest.mark.parametrize("name", [name for name in NETWORKS if NETWORKS[name].published])
def test_contract_is_that_of_the_published_model(name) -> None:
    network = NETWORKS[name]
    entry = find_entry(network.published)
    assert dict(network.contract) == dict(entry.input)
    assert (network.dim, network.modality) == (entry.dim, entry.modality)


def test_faces_of_112_pixels_are_sfaces() -> None:
    for name in ("mobilefacenet", "iresnet18", "iresnet50", "iresnet100"):
        assert dict(NETWORKS[name].contract) == dict(find_entry("sface").input)


def test_other_sizes_of_photos() -> None:
    for name in ("mobilefacenet", "iresnet18"):
        net = make_network(name, width=0.125, size_px=64).eval()
        with torch.inference_mode():
            assert net(torch.rand(1, 3, 64, 64) * 255).shape == (1, NETWORKS[name].dim)


def test_pixels_are_standardised_inside() -> None:
    from verify.nets.encoder import PixelScale

    found = PixelScale()(torch.tensor([0.0, 127.5, 255.0]))
    torch.testing.assert_close(found, torch.tensor([-1.0, 0.0, 1.0]))


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: make_network("mobilfacenet"), r"no network 'mobilfacenet'; did you mean 'mobilefacenet'"),
        (lambda: find_network("x" * 9), r"there are: campplus, ecapa_tdnn"),
        (lambda: make_network("mobilefacenet", widht=0.5), r"mobilefacenet: no option 'widht'.*'width'"),
        (lambda: make_network("campplus", dim=-1), r"campplus: dim must be positive.*192; not -1"),
        (lambda: make_network("campplus", width=0), r"campplus cannot be made with .*width = 0: width must"),
        (lambda: make_network("campplus", width=math.nan), r"width must be above 0, not nan"),
        (lambda: make_network("resnet34_asp", mels=30), r"mels must be a multiple of 8, not 30"),
        (
            lambda: make_network("ecapa_tdnn", width="wide"),
            r"ecapa_tdnn: width must be a number, such as its own 1.0; not 'wide'",
        ),
        (
            lambda: make_network("mobilefacenet", width=True),
            r"mobilefacenet: width must be a number.*not True",
        ),
    ],
)
def test_wrong_calls_name_the_way_out(call, words) -> None:
    with pytest.raises(UsageError, match=words):
        call()


class Point:
    name, value = "theirs", "package:thing"

    def __init__(self, load) -> None:
        self.load = load


@pytest.fixture
def offered(monkeypatch):
    def offer(load) -> None:
        monkeypatch.setattr(importlib.metadata, "entry_points", lambda **_: [Point(load)])
        registry.networks.cache_clear()

    yield offer
    registry.networks.cache_clear()


def test_other_distributions_offer_networks(offered) -> None:
    face = NETWORKS["mobilefacenet"]
    offered(
        lambda: Network("theirs", face.modality, 7, face.contract, lambda *, dim: torch.nn.Linear(2, dim))
    )
    assert make_network("theirs").out_features == 7
    assert "campplus" in registry.networks()
    with pytest.raises(UsageError, match=r"theirs: no option 'width'; there are: none"):
        make_network("theirs", width=1.0)


def test_built_in_networks_keep_their_names(offered) -> None:
    face = NETWORKS["mobilefacenet"]
    offered(lambda: Network("mobilefacenet", face.modality, 7, face.contract, "nowhere:Nothing"))
    assert find_network("mobilefacenet") is face


def test_what_is_offered_must_be_a_network(offered) -> None:
    offered(lambda: "no network")
    with pytest.raises(EnvironmentProblemError, match=r"entry point theirs \(package:thing\) gave a str"):
        find_network("campplus")

    def fail() -> None:
        msg = "their fault"
        raise RuntimeError(msg)

    offered(fail)
    with pytest.raises(EnvironmentProblemError, match=r"entry point theirs .* failed: their fault"):
        find_network("campplus")


def test_without_torch_names_are_there_and_the_way_out_is_said(monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    for name in [name for name in sys.modules if name.startswith("verify.nets.") and "registry" not in name]:
        monkeypatch.delitem(sys.modules, name)
    assert find_network("campplus").dim == 192
    with pytest.raises(MissingExtraError, match=r"campplus needs torch.*pip install '\.\[train\]'"):
        make_network("campplus")
