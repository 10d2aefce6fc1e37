from __future__ import annotations

import os
from pathlib import Path

import pytest

from verify.training.parity import build

pytestmark = [pytest.mark.train, pytest.mark.models]

# Bundles do not keep the weights that they were made from: a folder that holds them is named here.
WEIGHTS = {
    "campplus": "campplus_cn_en_common.pt",
    "ge2e": "pretrained.pt",
    "mtcnn": "pnet.pt",
    "inception_resnet_v1": "20180402-114759-vggface2.pt",
}


@pytest.mark.parametrize("network", list(WEIGHTS))
def test_published_weights_agree_with_torch(network) -> None:
    folder = os.environ.get("VERIFY_TEST_WEIGHTS")
    if not folder or not (Path(folder) / WEIGHTS[network]).is_file():
        pytest.skip(f"no {WEIGHTS[network]}: set VERIFY_TEST_WEIGHTS to a folder of published weights")
    weights = Path(folder) if network == "mtcnn" else Path(folder) / WEIGHTS[network]
    parity = build(network, weights=weights).parity
    assert parity["max_abs_difference"] < 1e-5
    assert parity.get("max_cosine_difference", 0.0) < 1e-5
