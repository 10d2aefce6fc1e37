from __future__ import annotations

import importlib.util

import pytest


@pytest.fixture(autouse=True)
def _one_thread():
    """Small networks on few cores: torch's threads only stand in each other's way."""
    if importlib.util.find_spec("torch") is None:  # preparing data and most adapters do without
        yield
        return
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
