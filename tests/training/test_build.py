"""Building from torch weights needs torch and skips without it."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from verify.errors import DataError, UsageError
from verify.models import open_bundle
from verify.training.bundles import build_proven

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.train, pytest.mark.models]


@pytest.fixture
def own_weights(tmp_path: Path) -> Path:
    """Weights of the GE2E network that nobody has published."""
    torch = pytest.importorskip("torch", reason="building needs the extra train")
    from verify.nets.ge2e import GE2E

    torch.manual_seed(7)
    path = tmp_path / "own.pt"
    torch.save({"model_state": GE2E().state_dict()}, path)
    return path


@pytest.fixture
def shelf(tmp_path: Path, models_dir: Path) -> Path:
    """A folder that already holds the voice locator."""
    shutil.copytree(models_dir / "silero-vad", tmp_path / "models" / "silero-vad")
    return tmp_path / "models"


def test_weights_of_your_own_become_a_bundle_with_a_proof(own_weights: Path, shelf: Path) -> None:
    done = build_proven("ge2e", weights=own_weights, new_name="own-ge2e", models_dir=shelf)
    assert [(item.name, item.status) for item in done] == [
        ("silero-vad", "present"),
        ("own-ge2e", "installed"),
    ]
    bundle = open_bundle("own-ge2e", models_dir=shelf)
    assert bundle.card.parity["max_cosine_difference"] <= 1e-4
    assert bundle.card.dim == 256
    assert "own.pt" in bundle.card.sources[0]["files"]
    assert bundle.locator().name == "silero-vad"
    assert bundle.operating_points() == ()


@pytest.mark.parametrize("name", ["sface", "../up", "With Space"])
def test_a_new_name_must_be_new_and_a_name(own_weights: Path, shelf: Path, name: str) -> None:
    with pytest.raises(UsageError, match="--as"):
        build_proven("ge2e", weights=own_weights, new_name=name, models_dir=shelf)


def test_weights_of_another_network_are_refused(own_weights: Path, shelf: Path) -> None:
    with pytest.raises(DataError):
        build_proven("campplus", weights=own_weights, new_name="wrong", models_dir=shelf)
    assert not (shelf / "wrong").exists()
