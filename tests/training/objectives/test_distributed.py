"""Two processes over gloo give the gradients of one process with the joint batch, for every objective."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="needs the training extra")

from tests.training.objectives import two_ranks  # noqa: E402
from tests.training.objectives.made import VARIANTS, batch, make  # noqa: E402
from verify.errors import EnvironmentProblemError, UsageError  # noqa: E402
from verify.training import distributed  # noqa: E402

pytestmark = pytest.mark.train
ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="module")
def ranks(tmp_path_factory):
    """What each of two processes found, by case."""
    from safetensors.torch import load_file

    folder = tmp_path_factory.mktemp("ranks")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    running = []
    for rank in range(2):
        environment = os.environ | {
            "RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": "2", "OMP_NUM_THREADS": "1",
            "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "PYTHONPATH": str(ROOT),
        }  # fmt: skip
        command = [sys.executable, "-m", "tests.training.objectives.two_ranks", str(folder)]
        running.append(
            subprocess.Popen(
                command,
                env=environment,
                cwd=ROOT,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
        )
    said = [process.communicate(timeout=240)[0] for process in running]
    assert [process.returncode for process in running] == [0, 0], "\n".join(said)
    found = []
    for rank in range(2):
        cases: dict[str, dict[str, torch.Tensor]] = {}
        for name, value in load_file(folder / f"rank{rank}.safetensors").items():
            case, key = name.split("|")
            cases.setdefault(case, {})[key] = value
        found.append(cases)
    return found


def test_two_processes_are_one(ranks):
    """One test, as two processes are started for it: pytest's own workers would each start them."""
    for variant in VARIANTS:
        joint_gradients(ranks, variant)
    for variant in ("arcface", "adaface", "subcenter_arcface"):
        sharded_is_unsharded(ranks, variant)
    gradient_caching(ranks)
    drawing(ranks)
    agreements(ranks)


def joint_gradients(ranks, variant):
    joint = two_ranks.steps(variant, rank=None)
    assert any(float(value.abs().max()) > 0 for key, value in joint.items() if "loss" not in key)
    for cases in ranks:
        assert cases[variant].keys() == joint.keys()
        for key, value in joint.items():
            found = cases[variant][key]
            bound = 1e-5 * max(1.0, float(value.abs().max()))
            assert float((found - value).abs().max()) <= bound, f"{variant}, {key}: {found} is not {value}"


def sharded_is_unsharded(ranks, variant):
    plain, split = make(variant), make(f"{variant}_sharded")
    plain.centres.data.copy_(two_ranks.whole_start(split))
    net = two_ranks.network()
    inputs, labels = batch(plain)
    plain(net(inputs), labels).backward()
    found = ranks[1][f"{variant}_sharded"]
    for name, value in [("centres", plain.centres.grad), ("weight", net.weight.grad)]:
        torch.testing.assert_close(found[f"0 {name}"], value, rtol=1e-4, atol=1e-5)


def gradient_caching(ranks):
    joint = two_ranks.cached(rank=None)
    for cases in ranks:
        for key, value in joint.items():
            torch.testing.assert_close(cases["cached"][key], value, rtol=1e-5, atol=1e-6)


def drawing(ranks):
    for cases in ranks:
        assert cases["sampled"]["touched"].tolist() == [
            10,
            10,
        ]  # half of 20 classes, the batch's six among them
        first, again = cases["sampled"]["again"]
        assert torch.equal(first, again)


def agreements(ranks):
    for rank, cases in enumerate(ranks):
        said = cases["agreements"]
        assert said["world"].tolist() == [rank, 2, rank == 0, 1]
        assert said["labels"].tolist() == [0, 1, 2, 10, 11]
        assert said["counts"].tolist() == [3, 2]
        assert said["any"].tolist() == [True, False]
        assert float(said["mean"]) == 0.5
        assert float(said["share"]) == pytest.approx(2 / 5)
        assert said["nothing"].tolist() == [2, 4]


def test_alone_everything_is_free():
    rows = torch.randn(3, 2, requires_grad=True)
    assert distributed.gather(rows) is rows
    assert distributed.gather_labels(rows) is rows
    assert distributed.counts(3) == (3,)
    assert distributed.mean(torch.tensor(2.5)) == 2.5
    assert [distributed.any_of(flag) for flag in (True, False)] == [True, False]
    distributed.barrier()
    distributed.average_gradients([torch.nn.Parameter(rows)])
    distributed.stop()


def test_start_alone(monkeypatch):
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    here = distributed.start("cpu")
    assert (here.rank, here.size, here.local_rank, here.is_main, here.device.type) == (0, 1, 0, True, "cpu")
    assert distributed.world().size == 1


def test_devices_that_are_not_there():
    with pytest.raises(UsageError, match="'gpu9'"):
        distributed.start("gpu9")
    if not torch.cuda.is_available():
        with pytest.raises(EnvironmentProblemError, match="torch sees 0 GPUs; take --device cpu"):
            distributed.start("cuda")


def test_processes_that_cannot_be_reached(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.delenv("RANK", raising=False)
    with pytest.raises(EnvironmentProblemError, match="2 processes of this run cannot be joined"):
        distributed.start("cpu", timeout_s=1)
