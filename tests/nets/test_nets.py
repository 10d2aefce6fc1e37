from __future__ import annotations

import hashlib

import pytest

pytestmark = pytest.mark.train
torch = pytest.importorskip("torch", reason="needs the training extra")

# Names and shapes of the published state dicts, hashed: count, then sha256 over "name shape" lines.
PUBLISHED = {
    "campplus": (937, "2958fda68cb1e0e2"),
    "pnet": (13, "997052970da6b576"),
    "rnet": (16, "f8081b0f91ebdfde"),
    "onet": (21, "2b8345e77861db02"),
    "ge2e": (14, "feb3ac2efe372b4f"),
    "inception": (714, "c0638fa983a7cf51"),
}


def fingerprint(state) -> tuple[int, str]:
    lines = [f"{name} {tuple(tensor.shape)}" for name, tensor in sorted(state.items())]
    return len(lines), hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]


def make(name: str):
    from verify.nets import campplus, ge2e, inception_resnet_v1, mtcnn

    return {
        "campplus": campplus.CAMPPlus,
        "pnet": mtcnn.PNet,
        "rnet": mtcnn.RNet,
        "onet": mtcnn.ONet,
        "ge2e": ge2e.GE2E,
        "inception": inception_resnet_v1.InceptionResnetV1,
    }[name]()


@pytest.mark.parametrize("name", list(PUBLISHED))
def test_names_and_shapes_are_the_published_ones(name) -> None:
    assert fingerprint(make(name).state_dict()) == PUBLISHED[name]


def small(name: str):
    from verify.nets.campplus import CAMPPlus
    from verify.nets.ge2e import GE2E

    torch.manual_seed(0)
    if name == "campplus":
        return CAMPPlus(dim=16, mels=24, growth=8, blocks=((2, 1), (3, 2))), torch.randn(3, 230, 24), 16
    return GE2E(mels=10, hidden=12, dim=16), torch.randn(3, 40, 10), 16


@pytest.mark.parametrize("name", ["campplus", "ge2e", "inception"])
def test_encoders_give_unit_embeddings_and_train_every_weight(name) -> None:
    net, batch, dim = (
        (make(name), torch.rand(3, 3, 96, 96) * 255, 512) if name == "inception" else small(name)
    )
    embedding = net(batch)
    assert embedding.shape == (3, dim)
    torch.testing.assert_close(embedding.norm(dim=1), torch.ones(3))
    (embedding * torch.randn(3, dim)).sum().backward()
    for weight_name, weight in net.named_parameters():
        assert weight.grad is not None, weight_name
        assert torch.isfinite(weight.grad).all(), weight_name
        assert weight.grad.abs().sum() > 0, weight_name


@pytest.mark.parametrize("name", ["campplus", "ge2e"])
def test_in_inference_a_row_does_not_depend_on_its_neighbours(name) -> None:
    net, batch, _ = small(name)
    net.eval()
    with torch.inference_mode():
        torch.testing.assert_close(net(batch)[1:2], net(batch[1:2]), atol=1e-5, rtol=0)


def test_campplus_masks_by_segment_and_whole() -> None:
    from verify.nets.campplus import SEGMENT, ContextMasked

    torch.manual_seed(0)
    layer = ContextMasked(8, 4, dilation=2)
    torch.nn.init.zeros_(layer.linear_local.weight)
    layer.linear_local.weight.data[:, :, 1] = 1.0  # the frame itself: only the mask varies
    frames = 2 * SEGMENT + 7
    x = torch.randn(1, 8, frames)
    mask = layer(x) / layer.linear_local(x)
    for start, stop in ((0, SEGMENT), (SEGMENT, 2 * SEGMENT), (2 * SEGMENT, frames)):
        context = x.mean(-1) + x[..., start:stop].mean(-1)
        expected = layer.linear2(torch.relu(layer.linear1(context[..., None]))).sigmoid()
        torch.testing.assert_close(
            mask[..., start:stop], expected.expand(-1, -1, stop - start), atol=1e-4, rtol=1e-3
        )


def test_campplus_shape_follows_its_arguments() -> None:
    from verify.nets.campplus import CAMPPlus

    net = CAMPPlus(mels=40, dim=64, growth=8, blocks=((2, 1), (3, 2))).eval()
    with torch.inference_mode():
        assert net(torch.randn(2, 90, 40)).shape == (2, 64)


def test_one_frame_has_no_deviation_and_no_nan() -> None:
    from verify.nets.campplus import StatsPool

    stats = StatsPool()(torch.randn(2, 5, 1))
    assert torch.equal(stats[:, 5:], torch.zeros(2, 5))
