"""The graphs that are pulled compute what torch computes from the very weights that were published."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from verify.errors import VerifyError
from verify.models.acquire import Fetcher, PullOptions, acquire
from verify.models.registry import find_entry

pytestmark = [pytest.mark.train, pytest.mark.models]

FETCHED = ("campplus", "ge2e", "mtcnn")
# By URL only: the weights must be brought.
BROUGHT = {"inception_resnet_v1": "20180402-114759-vggface2.pt"}


def parity_of(network: str, weights: Path) -> dict[str, float]:
    pytest.importorskip("torch", reason="parity is proven against torch")
    from verify.training.parity import build

    return dict(build(network, weights=weights).parity)


@pytest.mark.parametrize("network", FETCHED)
def test_fetched_weights_agree_with_torch(network: str, tmp_path: Path) -> None:
    folder, scratch = tmp_path / "weights", tmp_path / "scratch"
    folder.mkdir()
    scratch.mkdir()
    entry = find_entry(network)
    try:
        acquire(entry, folder, models_dir=tmp_path, fetcher=Fetcher(PullOptions(), scratch))
    except VerifyError as error:
        pytest.skip(f"the weights cannot be fetched here: {error}")
    weights = folder if len(entry.weights) > 1 else folder / entry.weights[0].name
    parity = parity_of(network, weights)
    assert parity["max_abs_difference"] < 1e-5
    assert parity.get("max_cosine_difference", 0.0) < 1e-5


@pytest.mark.parametrize("network", BROUGHT)
def test_brought_weights_agree_with_torch(network: str) -> None:
    weights = Path(os.environ.get("VERIFY_TEST_WEIGHTS", "")) / BROUGHT[network]
    if not weights.is_file():
        pytest.skip(f"no {weights.name}: set VERIFY_TEST_WEIGHTS to the folder that holds it")
    assert parity_of(network, weights)["max_cosine_difference"] < 1e-5
