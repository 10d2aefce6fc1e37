from __future__ import annotations

import functools
import shutil
from pathlib import Path

import pytest

from tests.training.small_runs import small_recipe, small_set


@pytest.fixture(scope="session")
def voices(tmp_path_factory) -> tuple[Path, Path]:
    """A prepared set of made voices and its split."""
    pytest.importorskip("torch", reason="needs the training extra")
    return small_set(tmp_path_factory.mktemp("voices"), modality="voice", train=12, validation=6, samples=4)


@pytest.fixture
def recipe(voices):
    """Makes recipes of a narrow ECAPA-TDNN on half a second of speech: a tenth of a second a step."""
    return functools.partial(
        small_recipe,
        *voices,
        modality="voice",
        model={"network": "ecapa_tdnn", "dim": 32, "options": {"width": 0.1}},
    )


@pytest.fixture
def own_voices(voices, tmp_path) -> tuple[Path, Path]:
    """A copy of the set, to be damaged."""
    prepared, split = (tmp_path / path.name for path in voices)
    shutil.copytree(voices[0], prepared)
    shutil.copy(voices[1], split)
    return prepared, split
