from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def _one_thread():
    """Small networks on few cores: torch's threads only stand in each other's way."""
    torch = pytest.importorskip("torch", reason="needs the training extra")
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
