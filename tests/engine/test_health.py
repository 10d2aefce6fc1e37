"""What the doctor says of thresholds."""

from __future__ import annotations

import pytest

import verify.models
from tests.engine.fakes import LADDER, MODEL_ID, point
from verify.engine import health
from verify.types import OperatingPoint


class Bundle:
    model_id = MODEL_ID

    def __init__(self, points) -> None:
        self.points = points

    def operating_points(self):
        return self.points


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch):
    def told(*points: OperatingPoint):
        monkeypatch.setattr(verify.models, "open_bundle", lambda _: Bundle(points))
        return health._points("face")

    return told


def test_the_doctor_says_which_rung_decides_and_which_rate_none_can_serve(told) -> None:
    found = told(*LADDER, point(1e-6, 0.8, extrapolated=True))
    assert found.state == "ok"
    assert "unasked, face-fmr-0.001 decides" in found.message
    assert "less than FMR 0.0001 gets no decision" in found.message
    assert "FMR 1e-06 at 0.800 EXTRAPOLATED" in found.message


def test_a_ladder_that_decides_nothing_unasked_wants_a_look(told) -> None:
    assert told().state == "warning"
    found = told(point(0.2, 0.3, asked_kind="fnmr", asked_rate=0.1))
    assert found.state == "warning"
    assert "chosen for FNMR" in found.message
    assert "--fmr" in found.message
