from __future__ import annotations

import json

import numpy as np

from tests.engine.test_monitor import write


def test_a_quiet_log_and_an_alarming_one(run, tmp_path):
    rng = np.random.default_rng(1)
    write(tmp_path / "quiet", rng.normal(0.7, 0.1, 400))
    done = run("monitor", tmp_path / "quiet", "--window", 100)
    assert done.code == 0
    assert "no alarm" in done.out
    write(tmp_path / "loud", [*rng.normal(0.7, 0.1, 200), *rng.normal(0.4, 0.1, 200)])
    done = run("monitor", tmp_path / "loud", "--window", 100, "--json")
    assert done.code == 1
    document = json.loads(done.out)
    assert document["alarmed"]
    assert "recalibrate" in document["advice"]
    assert len(document["windows"]) == 4


def test_what_is_no_log_is_bad_data(run, tmp_path):
    (tmp_path / "photo.jpg").write_bytes(b"\xff\xd8\xff")
    assert run("monitor", tmp_path / "photo.jpg").code == 4
    absent = run("monitor", tmp_path / "absent")
    assert absent.code == 4
    assert "no such file" in absent.err
    assert "Errno" not in absent.err
    write(tmp_path / "log", [0.7] * 60)
    (tmp_path / "no.json").write_text("{}")
    assert run("monitor", tmp_path / "log", "--baseline", tmp_path / "no.json").code == 4
    assert run("monitor", tmp_path / "log", "--window", 3).code == 2


def test_what_could_not_be_judged_is_no_quiet_log(run, tmp_path):
    (tmp_path / "empty").touch()
    write(tmp_path / "short", [0.7] * 20)
    for log in ("empty", "short"):
        done = run("monitor", tmp_path / log)
        assert done.code == 3
        assert "too few decisions to judge" in done.out
        assert json.loads(run("monitor", tmp_path / log, "--json").out)["judged"] is False
