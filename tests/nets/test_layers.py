"""The layers that are written for speed or by a paper compute what they say."""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.train
torch = pytest.importorskip("torch", reason="needs the training extra")


@pytest.mark.parametrize("shape", [(3, 5), (3, 5, 7), (3, 5, 7, 4)])
@pytest.mark.parametrize("channels_last", [False, True])
def test_prelu_has_torchs_values_and_gradients(shape, channels_last) -> None:
    from verify.nets.encoder import PReLU

    torch.manual_seed(1)
    ours, theirs = PReLU(5), torch.nn.PReLU(5)
    slopes = torch.tensor([-0.5, 0.0, 0.25, 1.0, 1.5])
    x = torch.randn(shape)
    x[0] = 0.0  # the corner
    if channels_last and x.ndim == 4:
        x = x.contiguous(memory_format=torch.channels_last)
    gradient = torch.randn(shape)
    found = []
    for layer in (ours, theirs):
        layer.weight.data = slopes.clone()
        own = x.clone().requires_grad_()
        y = layer(own)
        y.backward(gradient)
        found.append((y.detach(), own.grad, layer.weight.grad))
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other)


def test_prelu_takes_bf16_with_slopes_in_float32() -> None:
    from verify.nets.encoder import PReLU

    layer = PReLU(4)
    x = torch.randn(2, 4, 3, 3, dtype=torch.bfloat16, requires_grad=True)
    y = layer(x)
    y.sum().backward()
    assert y.dtype == x.grad.dtype == torch.bfloat16
    assert layer.weight.grad.dtype == torch.float32


@pytest.mark.parametrize(("stride", "padding"), [(1, 1), (2, 1), (1, 0)])
def test_depthwise_is_torchs(stride, padding) -> None:
    from verify.nets.mobilefacenet import Depthwise

    torch.manual_seed(2)
    ours = Depthwise(6, 6, 3, stride=stride, padding=padding, groups=6, bias=False)
    theirs = torch.nn.Conv2d(6, 6, 3, stride=stride, padding=padding, groups=6, bias=False)
    theirs.load_state_dict(ours.state_dict())
    x = torch.randn(2, 6, 9, 9, requires_grad=True)
    torch.testing.assert_close(ours(x), theirs(x))
    with torch.autocast("cpu", torch.bfloat16):
        coarse = ours(x.bfloat16())
    assert coarse.dtype == torch.bfloat16
    torch.testing.assert_close(coarse.float(), theirs(x), atol=0.05, rtol=0.05)


def test_attentive_statistics_weigh_and_shift_with_their_input() -> None:
    from verify.nets.pooling import AttentiveStatistics

    torch.manual_seed(3)
    pool = AttentiveStatistics(6, bottleneck=4)
    x = torch.randn(2, 6, 31)
    torch.nn.init.zeros_(pool.weights.weight)  # equal shares
    mean, deviation = pool(x).chunk(2, dim=1)
    torch.testing.assert_close(mean, x.mean(2))
    torch.testing.assert_close(deviation, x.std(2, correction=0))
    torch.nn.init.normal_(pool.weights.weight, std=20.0)  # nearly one frame for each channel
    mean, _ = pool(x).chunk(2, dim=1)
    assert (mean - x.mean(2)).abs().max() > 0.1
    assert (mean <= x.amax(2) + 1e-5).all()
    assert (mean >= x.amin(2) - 1e-5).all()


def test_attentive_statistics_of_one_or_equal_frames_have_finite_gradients() -> None:
    from verify.nets.pooling import AttentiveStatistics

    pool = AttentiveStatistics(6, bottleneck=4)
    for frames in (1, 5):
        x = torch.ones(2, 6, frames, requires_grad=True)
        pool(x).sum().backward()
        assert torch.isfinite(x.grad).all()


def test_ecapas_blocks_see_the_sum_of_all_before() -> None:
    from verify.nets.ecapa import ECAPATDNN

    net = ECAPATDNN(dim=8, width=0.0625).eval()
    seen = []
    for block in net.blocks:
        block.register_forward_hook(lambda _, given, out: seen.append((given[0], out)))
    with torch.inference_mode():
        net(torch.randn(1, 40, 80))
    torch.testing.assert_close(seen[1][0], seen[0][0] + seen[0][1])
    torch.testing.assert_close(seen[2][0], seen[0][0] + seen[0][1] + seen[1][1])


def test_res2_parts_reach_further_one_by_one() -> None:
    from verify.nets.ecapa import SCALE, Res2

    torch.manual_seed(4)
    layer = Res2(2 * SCALE, dilation=2).eval()
    for module in layer.modules():
        if isinstance(module, torch.nn.Conv1d):
            torch.nn.init.constant_(module.weight, 0.1)
    x = torch.zeros(1, 2 * SCALE, 61)
    still = layer(x)
    x[:, 2:, 30] = 1.0
    moved = (layer(x) - still).abs().amax(dim=1)[0] > 1e-7
    widths = []
    for part in range(SCALE):
        there = (layer(x) - still)[0, 2 * part : 2 * part + 2].abs().amax(0) > 1e-9
        widths.append(int(there.sum()))
    assert moved.any()
    assert widths[0] == 0  # the first part passes unchanged, and was not touched
    assert widths[1:] == sorted(widths[1:])
    assert widths[-1] == 2 * (SCALE - 1) + 1  # seven convolutions of reach 2, every second frame


def test_a_factor_of_one_changes_no_width() -> None:
    from verify.nets.encoder import scaled

    assert [scaled(80, width) for width in (1.0, 0.5, 0.33, 0.001)] == [80, 40, 24, 8]


@pytest.mark.parametrize("stride", [2, (2, 1), 1])
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_thinned_convolution_is_torchs(stride, precision) -> None:
    from verify.nets.encoder import Thinned

    torch.manual_seed(6)
    ours, theirs = Thinned(8, 16, stride=stride), torch.nn.Conv2d(8, 16, 1, stride=stride, bias=False)
    theirs.load_state_dict(ours.state_dict())
    x, dtype = torch.randn(2, 8, 9, 7), getattr(torch, precision)
    found = []
    for layer in (ours, theirs):  # torch's own does not survive channels_last here
        own = x.clone().requires_grad_()
        with torch.autocast("cpu", dtype, enabled=dtype is not torch.float32):
            y = layer(own)
        y.float().square().sum().backward()
        found.append((y.detach(), own.grad, layer.weight.grad))
    near = {} if dtype is torch.float32 else {"atol": 0.1, "rtol": 0.05}
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, **near)


STEP = """
import sys, torch
from verify.nets.registry import make_network

torch.set_num_threads(1)
for name in sys.argv[1:]:
    print(name, flush=True)
    torch.manual_seed(0)
    net = make_network(name, dim=16, width=0.125, **({"size_px": 32} if "iresnet" in name else {}))
    net = net.to(memory_format=torch.channels_last)
    shape = (4, 3, 32, 32) if "iresnet" in name else (4, 48, 80)
    for _ in range(3):
        x = torch.rand(shape)
        net.raw(x.contiguous(memory_format=torch.channels_last) if x.ndim == 4 else x).square().sum().backward()
    assert all(bool(parameter.grad.isfinite().all()) for parameter in net.parameters())
"""


def test_eight_channels_in_channels_last_survive_a_backward_pass() -> None:
    """In a process of their own: what goes wrong here is memory."""
    import subprocess
    import sys

    networks = ["iresnet18", "resnet34_asp"]
    done = subprocess.run(
        [sys.executable, "-c", STEP, *networks], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout.split()) == (0, networks), done.stderr
