"""Deleted means gone: from the database file, the log and memory, byte by byte."""

from __future__ import annotations

import sqlite3
import time

import numpy as np
import pytest

from tests.gallery.makers import MODEL, enrol, raw_bytes, unit
from verify.errors import StorageError
from verify.gallery import SqliteGallery
from verify.gallery.check import check_gallery


def traces(path, vectors) -> int:
    """Count the vectors of which any 16 bytes are still in the gallery's files."""
    raw = raw_bytes(path)
    chunks = {}
    for number, vector in enumerate(vectors):
        blob = np.asarray(vector, "<f4").tobytes()
        chunks |= {blob[at : at + 16]: number for at in range(0, len(blob), 16)}
    return len({chunks[raw[at : at + 16]] for at in range(len(raw)) if raw[at : at + 16] in chunks})


# many a page, several a page, one a page, and spilled over several pages
@pytest.mark.parametrize(("dim", "rounds"), [(4, 200), (128, 150), (512, 80), (2048, 40)])
def test_no_bytes_of_deleted_templates_are_left_through_a_long_life(tmp_path, dim, rounds):
    path = tmp_path / "gallery.db"
    rng = np.random.default_rng(dim)
    kept, gone = {}, []
    with SqliteGallery(path) as gallery:
        with gallery._session.writing() as db:
            db.execute("PRAGMA synchronous = OFF")  # not what is tested here
        for number in range(rounds):
            vectors = [unit(1000 * dim + 10 * number + i, dim) for i in range(rng.integers(1, 4))]
            kept[f"s{number}"] = vectors
            enrol(gallery, f"s{number}", *vectors, source="x" * int(rng.integers(0, 300)))
            if rng.random() < 0.6:
                name = rng.choice(list(kept))
                gone += kept.pop(name)
                gallery.delete(name)
        assert traces(path, gone) == 0
        assert traces(path, [v for vectors in kept.values() for v in vectors]) == sum(map(len, kept.values()))
        assert check_gallery(gallery).problems == ()
    assert traces(path, gone) == 0


def test_slots_of_deleted_templates_are_used_again(tmp_path):
    with SqliteGallery(tmp_path / "gallery.db") as gallery:
        for number in range(30):
            enrol(gallery, f"s{number}", unit(number, 512))
            gallery.delete(f"s{number}")
        with gallery.snapshot() as db:
            assert db.execute("SELECT COUNT(*) FROM vector").fetchone() == (1,)


def test_a_reader_elsewhere_delays_the_erasure_and_the_delete_says_so(tmp_path):
    path = tmp_path / "gallery.db"
    with SqliteGallery(path, busy_timeout_s=0.1) as gallery:
        enrol(gallery, "ann", unit(1))
        enrol(gallery, "bob", unit(2))
        reader = sqlite3.connect(path, isolation_level=None)
        reader.execute("BEGIN")
        reader.execute("SELECT COUNT(*) FROM template").fetchone()
        with pytest.raises(StorageError, match="'ann' is deleted and can no longer match, but bytes"):
            gallery.delete("ann")
        assert gallery.subjects() == ("bob",)
        assert gallery.is_erasure_owed()
        assert traces(path, [unit(1)]) == 1
        assert "deleted templates" in check_gallery(gallery).warnings[0]
        reader.close()
        gallery.finish_erasure()
        assert not gallery.is_erasure_owed()
        assert traces(path, [unit(1)]) == 0


def test_an_erasure_that_a_crash_left_undone_is_done_at_the_next_opening(tmp_path, monkeypatch):
    path = tmp_path / "gallery.db"
    monkeypatch.setattr("verify.gallery.erasure.finish", lambda _: False)  # as if killed before it
    first = SqliteGallery(path)
    enrol(first, "ann", unit(1))
    with pytest.raises(StorageError):
        first.delete("ann")
    assert traces(path, [unit(1)]) == 1
    monkeypatch.undo()
    with SqliteGallery(path) as gallery:
        assert not gallery.is_erasure_owed()
        assert traces(path, [unit(1)]) == 0
    first.close()


def test_other_processes_indexes_drop_a_deleted_subject_at_their_next_search(tmp_path):
    path = tmp_path / "gallery.db"
    # two objects share nothing but the file, as two processes do
    with SqliteGallery(path) as here, SqliteGallery(path) as there:
        enrol(here, "ann", unit(1))
        enrol(here, "bob", unit(2))
        assert there.search(unit(1), model_id=MODEL, top_k=1)[0].subject_id == "ann"
        here.delete("ann")
        assert [c.subject_id for c in there.search(unit(1), model_id=MODEL, top_k=5)] == ["bob"]
        held = there.live_index(MODEL)._index._vectors.tobytes()
        assert unit(1).tobytes() not in held


def test_an_index_that_fell_too_far_behind_reads_everything_again(tmp_path, monkeypatch):
    monkeypatch.setattr("verify.gallery.rows._KEPT_DELETIONS", 2)
    path = tmp_path / "gallery.db"
    with SqliteGallery(path) as here, SqliteGallery(path) as there:
        for number in range(6):
            enrol(here, f"s{number}", unit(number))
        assert len(there.search(unit(0), model_id=MODEL, top_k=9)) == 6
        for number in range(5):
            here.delete(f"s{number}")
        enrol(here, "new", unit(9))
        assert {c.subject_id for c in there.search(unit(0), model_id=MODEL, top_k=9)} == {"s5", "new"}


def test_searching_without_pause_does_not_keep_a_deletion_out(tmp_path):
    import threading

    stop = threading.Event()
    with SqliteGallery(tmp_path / "gallery.db") as gallery:
        for number in range(20):
            enrol(gallery, f"s{number}", unit(number))

        def search():
            while not stop.is_set():
                gallery.search(unit(1), model_id=MODEL, top_k=3)

        threads = [threading.Thread(target=search) for _ in range(3)]
        for thread in threads:
            thread.start()
        try:
            time.sleep(0.05)
            gallery.delete("s1")
            assert "s1" not in {c.subject_id for c in gallery.search(unit(1), model_id=MODEL, top_k=20)}
        finally:
            stop.set()
            for thread in threads:
                thread.join()
