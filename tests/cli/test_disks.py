"""Full and read-only disks from the command line: exit code 5, and nothing acknowledged is lost."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.runner import Runner

pytestmark = pytest.mark.models


@pytest.mark.usefixtures("home")
def test_full_disk_refuses_and_keeps_what_was_enrolled(
    run: Runner, disk, faces: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VERIFY_GALLERY", str(disk.folder / "gallery.db"))
    assert run("enroll", "anna", faces["anna"]).code == 0
    (disk.folder / "ballast").write_bytes(b"")
    with (disk.folder / "ballast").open("ab", buffering=0) as ballast:
        try:
            while True:
                ballast.write(b"\0" * 512)
        except OSError:
            pass  # full to the brim
    refused = run("enroll", "bob", faces["bob"])
    assert refused.code == 5
    assert "full" in refused.err or "space" in refused.err
    assert run("match", "anna", faces["anna again"]).code == 0
    assert run("identify", faces["anna again"]).code == 0
    (disk.folder / "ballast").unlink()
    assert run("match", "anna", faces["anna again"]).code == 0
    assert [s["subject_id"] for s in run("gallery", "list", "--json").json["subjects"]] == ["anna"]
    assert run("gallery", "check").code == 0
    assert run("enroll", "bob", faces["bob"]).code == 0


@pytest.mark.usefixtures("home")
def test_read_only_disk_still_matches_and_refuses_to_enrol(
    run: Runner, disk, faces: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VERIFY_GALLERY", str(disk.folder / "gallery.db"))
    assert run("enroll", "anna", faces["anna"]).code == 0
    disk.make("ro")
    assert run("match", "anna", faces["anna again"]).code == 0
    assert run("identify", faces["anna again"]).code == 0
    refused = run("enroll", "bob", faces["bob"])
    assert refused.code == 5
    disk.make("rw")
    assert run("enroll", "bob", faces["bob"]).code == 0
