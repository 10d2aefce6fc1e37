"""Full and read-only disks, on a real small file system."""

from __future__ import annotations

import pytest

from tests.gallery.makers import MODEL, WHEN, enrol, unit
from verify.errors import GalleryError, StorageError
from verify.gallery import SqliteGallery
from verify.gallery.check import check_path
from verify.gallery.export import export_gallery


def test_a_full_disk_refuses_and_loses_nothing_acknowledged(disk):
    path = disk.folder / "gallery.db"
    acknowledged = []
    with SqliteGallery(path) as gallery:

        def enrol_for_ever():
            for number in range(2000):
                enrol(gallery, f"s{number:04}", unit(number, 512))
                acknowledged.append(f"s{number:04}")

        with pytest.raises(StorageError, match="disk is full"):
            enrol_for_ever()
        assert len(acknowledged) > 20
        assert gallery.subjects() == tuple(acknowledged)
        assert gallery.search(unit(3, 512), model_id=MODEL, top_k=1)[0].subject_id == "s0003"
        with pytest.raises(StorageError):
            export_gallery(gallery, disk.folder / "export.jsonl", now=WHEN)
    assert not list(disk.folder.glob("*export*"))
    with SqliteGallery(path, read_only=True) as gallery:
        assert gallery.subjects() == tuple(acknowledged)
    assert check_path(path).problems == ()


def test_a_disk_full_before_the_first_enrolment_says_so(disk):
    (disk.folder / "filler").write_bytes(b"x" * (1 << 20))
    with pytest.raises(StorageError, match=r"gallery\.db"):
        SqliteGallery(disk.folder / "gallery.db")


def test_a_read_only_disk_can_be_searched_and_not_written(disk):
    path = disk.folder / "gallery.db"
    with SqliteGallery(path) as gallery:
        enrol(gallery, "ann", unit(1))
    disk.make("ro")
    with SqliteGallery(path, read_only=True) as gallery:
        assert gallery.search(unit(1), model_id=MODEL, top_k=1)[0].subject_id == "ann"
        assert len(gallery.require("ann")) == 1
        with gallery.snapshot() as db:
            assert db.execute("SELECT COUNT(*) FROM subject").fetchone() == (1,)
    with pytest.raises(StorageError, match=r"read-only|cannot be used"):
        SqliteGallery(path)
    with pytest.raises(StorageError, match=r"Read-only|read-only"):
        SqliteGallery(disk.folder / "new.db")
    assert check_path(path).ok


def test_a_log_that_was_never_merged_is_not_passed_over_on_a_read_only_disk(disk, tmp_path):
    with SqliteGallery(tmp_path / "gallery.db") as gallery:
        enrol(gallery, "ann", unit(1))
        for name in ("gallery.db", "gallery.db-wal"):  # as a crash leaves them
            (disk.folder / name).write_bytes((tmp_path / name).read_bytes())
    disk.make("ro")
    with pytest.raises((StorageError, GalleryError), match="not closed cleanly"):
        SqliteGallery(disk.folder / "gallery.db", read_only=True)
    disk.make("rw")
    with SqliteGallery(disk.folder / "gallery.db") as gallery:
        assert gallery.subjects() == ("ann",)


def test_a_disk_that_turns_read_only_stops_writes_not_searches(disk):
    with SqliteGallery(disk.folder / "gallery.db") as gallery:
        enrol(gallery, "ann", unit(1))
    with SqliteGallery(disk.folder / "gallery.db", read_only=True) as gallery:
        gallery.search(unit(1), model_id=MODEL, top_k=1)
    for left in disk.folder.glob("gallery.db-*"):
        assert left.name.endswith("-shm") or left.stat().st_size == 0
    disk.make("ro")
    with SqliteGallery(disk.folder / "gallery.db", read_only=True) as gallery:
        assert gallery.search(unit(1), model_id=MODEL, top_k=1)[0].subject_id == "ann"
