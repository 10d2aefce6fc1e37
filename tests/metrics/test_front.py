"""The front of `verify.metrics`: what it names, and that its example is true."""

from __future__ import annotations

import doctest
import types

import pytest

import verify.metrics
from verify.metrics import eer, eer_rocch


def test_the_example_is_true() -> None:
    done = doctest.testmod(verify.metrics)
    assert done.attempted >= 8
    assert done.failed == 0


def test_every_public_name_is_there_sorted_and_no_module() -> None:
    names = verify.metrics.__all__
    assert len(set(names)) == len(names)
    assert set(names) == {*(name for name in names if hasattr(verify.metrics, name))}
    assert not [name for name in names if isinstance(getattr(verify.metrics, name), types.ModuleType)]
    for kind in (str.isupper, lambda name: name[0].isupper() and not name.isupper(), str.islower):
        own = [name for name in names if kind(name)]
        assert own == sorted(own)


def test_eer_is_a_function_and_its_result_a_number() -> None:
    scores = {"mated": [0.9, 0.8, 0.3], "non_mated": [0.1, 0.2, 0.5]}
    assert eer(**scores) == eer_rocch(**scores)
    assert float(eer(**scores)) == eer(**scores).value
    with pytest.raises(TypeError, match="positional"):
        eer(scores["mated"], scores["non_mated"])  # type: ignore[misc]
