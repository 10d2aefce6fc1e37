"""Objectives by name."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch", reason="needs the training extra")

from verify.errors import EnvironmentProblemError, MissingExtraError, UsageError  # noqa: E402
from verify.training.objectives import OBJECTIVES, make_objective  # noqa: E402
from verify.training.recipe import ObjectiveSection  # noqa: E402

pytestmark = pytest.mark.train


class Point:
    def __init__(self, name, loaded) -> None:
        self.name, self.value, self._loaded = name, f"other:{name}", loaded

    def load(self):
        if isinstance(self._loaded, Exception):
            raise self._loaded
        return self._loaded


def installed(monkeypatch, *points: Point):
    monkeypatch.setattr(
        "importlib.metadata.entry_points", lambda *, group: points if group == "verify.objectives" else ()
    )


def test_an_unknown_name_lists_the_nearest(monkeypatch):
    installed(monkeypatch, Point("center", None))
    with pytest.raises(UsageError, match="no objective 'arcfase'; did you mean 'arcface'"):
        make_objective("arcfase", dim=4, identities=2)
    with pytest.raises(UsageError, match=r"there are: adaface, arcface.*center.*vicreg"):
        make_objective("zzz", dim=4, identities=2)


def test_another_packages_objective(monkeypatch):
    def centre(*, dim, identities, modality, pull):
        made = torch.nn.Linear(dim, identities)
        made.said = (modality, pull)
        return made

    installed(monkeypatch, Point("center", centre))
    section = ObjectiveSection(name="center", options={"pull": 0.5})
    assert make_objective(section, dim=4, identities=2, modality="voice").said == ("voice", 0.5)


def test_another_packages_objective_that_does_not_load(monkeypatch):
    installed(monkeypatch, Point("center", ImportError("no module 'other'")))
    with pytest.raises(EnvironmentProblemError, match="other:center does not load"):
        make_objective("center", dim=4, identities=2)


def test_built_ins_come_first(monkeypatch):
    installed(monkeypatch, Point("arcface", None))
    assert make_objective("arcface", dim=4, identities=2).centres.shape == (2, 4)


def test_options_on_top_of_the_sections():
    section = ObjectiveSection(name="arcface", options={"margin_rad": 0.2, "scale": 30})
    made = make_objective(section, dim=4, identities=2, margin_rad=0.3)
    assert (made.margin_rad, made.options.scale) == (0.3, 30.0)


def test_a_missing_library_is_said(monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "pytorch_metric_learning", None)
    with pytest.raises(MissingExtraError, match=r"pip install '\.\[train\]'"):
        make_objective("circle", dim=4, identities=2)


def test_each_says_what_it_is():
    assert all(entry.about and entry.options.__doc__ for entry in OBJECTIVES.values())
