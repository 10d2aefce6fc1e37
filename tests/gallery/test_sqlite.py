"""The SQLite gallery as a file: what it creates, refuses, migrates, and shares."""

from __future__ import annotations

import multiprocessing
import os
import sqlite3
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from tests.gallery.makers import MODEL, enrol, unit
from verify.errors import EnrolmentRefusedError, GalleryError, UsageError
from verify.gallery import SqliteGallery, schema

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def path(tmp_path):
    return tmp_path / "gallery.db"


def test_files_are_for_their_owner_only(tmp_path):
    path = tmp_path / "new folder" / "gallery.db"
    with SqliteGallery(path) as gallery:
        enrol(gallery, "ann", unit(1))
        files = sorted(file.name for file in path.parent.iterdir())
        assert files == ["gallery.db", "gallery.db-shm", "gallery.db-wal"]
        assert {stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()} == {0o600}


def test_durability_is_switched_on(path):
    with SqliteGallery(path) as gallery, gallery._session.writing() as db:
        settings = {
            name: db.execute(f"PRAGMA {name}").fetchone()[0]
            for name in (
                "journal_mode",
                "synchronous",
                "secure_delete",
                "foreign_keys",
                "application_id",
                "user_version",
            )
        }
    assert settings == {
        "journal_mode": "wal",
        "synchronous": 2,
        "secure_delete": 1,
        "foreign_keys": 1,
        "application_id": schema.APPLICATION_ID,
        "user_version": schema.schema_version(),
    }


def test_everything_is_there_after_reopening(path):
    with SqliteGallery(path) as gallery:
        stored = enrol(gallery, "ann", unit(1), key="k")
    with SqliteGallery(path) as gallery:
        assert tuple(gallery.records()) == stored == gallery.replay("k")
        assert gallery.search(unit(1), model_id=MODEL, top_k=1)[0].subject_id == "ann"


@pytest.mark.parametrize("read_only", [False, True])
@pytest.mark.parametrize(
    "content", [b"not a database", b"SQLite format 3\0" + b"garbage" * 300, b"\0" * 5000]
)
def test_what_is_no_database_is_refused_and_left_alone(path, content, read_only):
    path.write_bytes(content)
    with pytest.raises(GalleryError, match=r"gallery\.db"):
        SqliteGallery(path, read_only=read_only)
    assert path.read_bytes() == content


def test_another_programs_database_is_refused_and_left_alone(path):
    with sqlite3.connect(path) as other:
        other.execute("CREATE TABLE bookmarks (url)")
    other.close()
    before = path.read_bytes()
    with pytest.raises(GalleryError, match="not a gallery of verify"):
        SqliteGallery(path)
    assert path.read_bytes() == before


def test_a_future_version_is_refused(path):
    SqliteGallery(path).close()
    with sqlite3.connect(path) as db:
        db.execute("PRAGMA user_version = 99")
    db.close()
    for read_only in (False, True):
        with pytest.raises(GalleryError, match=r"schema 99 .* upgrade verify"):
            SqliteGallery(path, read_only=read_only)


def test_an_older_version_is_migrated_with_its_content(path, monkeypatch):
    with SqliteGallery(path) as gallery:
        enrol(gallery, "ann", unit(1))
    newer = (*schema.MIGRATIONS, ("ALTER TABLE subject ADD COLUMN note TEXT NOT NULL DEFAULT 'none'",))
    monkeypatch.setattr(schema, "MIGRATIONS", newer)
    with pytest.raises(GalleryError, match="open it once where it can be written"):
        SqliteGallery(path, read_only=True)
    for _ in range(2):
        with SqliteGallery(path) as gallery, gallery.snapshot() as db:
            assert db.execute("SELECT subject_id, note FROM subject").fetchall() == [("ann", "none")]
            assert db.execute("PRAGMA user_version").fetchone() == (2,)


def test_a_failed_migration_changes_nothing(path, monkeypatch):
    SqliteGallery(path).close()
    step = ("ALTER TABLE subject ADD COLUMN note TEXT", "THIS IS NOT SQL")
    monkeypatch.setattr(schema, "MIGRATIONS", (*schema.MIGRATIONS, step))
    with pytest.raises(GalleryError):
        SqliteGallery(path)
    monkeypatch.undo()
    with SqliteGallery(path) as gallery:
        enrol(gallery, "ann", unit(1))


def test_a_damaged_page_is_an_error_never_a_wrong_answer(path):
    with SqliteGallery(path) as gallery:
        for number in range(50):
            enrol(gallery, f"s{number}", unit(number, 512))
    raw = bytearray(path.read_bytes())
    for page in range(4, len(raw) // 4096):
        raw[page * 4096 : page * 4096 + 64] = b"\xff" * 64
    path.write_bytes(raw)
    with pytest.raises(GalleryError, match=r"corrupt|damaged|cannot be used"), SqliteGallery(path) as gallery:
        gallery.search(unit(1, 512), model_id=MODEL, top_k=1)


@pytest.mark.parametrize("broken", [b"\0" * 64, b"\0" * 3, b"\xff" * 64, b""])
def test_a_damaged_vector_stops_the_search(path, broken):
    with SqliteGallery(path) as gallery:
        enrol(gallery, "ann", unit(1))
        enrol(gallery, "bob", unit(2))
        with gallery.write() as db:
            db.execute("UPDATE vector SET data = ? WHERE vector_pk = 2", (broken,))
        for _ in range(2):  # also the second time: no half-filled index is left behind
            with pytest.raises(GalleryError, match=r"template 2 .* damaged"):
                gallery.search(unit(1), model_id=MODEL, top_k=1)
        with pytest.raises(GalleryError, match="damaged"):
            gallery.templates("bob", model_id=MODEL)
        gallery.delete("bob")
        assert gallery.search(unit(1), model_id=MODEL, top_k=1)[0].subject_id == "ann"


def test_a_template_without_its_subject_stops_the_search(path):
    with SqliteGallery(path) as gallery:
        enrol(gallery, "ann", unit(1))
    with sqlite3.connect(path) as db:
        db.execute("DELETE FROM subject")
    db.close()
    with SqliteGallery(path) as gallery, pytest.raises(GalleryError, match="without a subject"):
        gallery.search(unit(1), model_id=MODEL, top_k=1)


def test_a_folder_or_a_missing_file_is_named(tmp_path):
    with pytest.raises(UsageError, match="is a folder"):
        SqliteGallery(tmp_path)
    for options in ({"read_only": True}, {"create": False}):
        with pytest.raises(GalleryError, match="there is no gallery"):
            SqliteGallery(tmp_path / "none.db", **options)
    assert list(tmp_path.iterdir()) == []


def test_odd_paths_are_only_names(tmp_path):
    path = tmp_path / "a?mode=memory#b %41 é'.db"
    with SqliteGallery(path) as gallery:
        enrol(gallery, "ann", unit(1))
    assert path.exists()
    with SqliteGallery(path, read_only=True) as gallery:
        assert gallery.subjects() == ("ann",)


def test_read_only_refuses_to_write(path):
    SqliteGallery(path).close()
    with SqliteGallery(path, read_only=True) as gallery:
        for call in (lambda: enrol(gallery, "ann", unit(1)), lambda: gallery.delete("ann")):
            with pytest.raises(UsageError, match="read-only"):
                call()


def test_a_reader_sees_what_a_writer_adds(path):
    with SqliteGallery(path) as writer, SqliteGallery(path, read_only=True) as reader:
        assert reader.search(unit(1), model_id=MODEL, top_k=1) == ()
        for number in range(5):
            enrol(writer, f"s{number}", unit(number))
            assert reader.search(unit(number), model_id=MODEL, top_k=1)[0].subject_id == f"s{number}"
            assert reader.count(model_id=MODEL) == number + 1


def test_a_forked_child_is_told_to_open_anew(path):
    with SqliteGallery(path) as gallery:
        enrol(gallery, "ann", unit(1))
        child = os.fork()
        if child == 0:
            code = 1
            try:
                gallery.subjects()
            except GalleryError as error:
                code = 0 if "open" in str(error) and "anew" in str(error) else 2
            os._exit(code)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert gallery.subjects() == ("ann",)


def test_a_process_that_closes_does_not_take_the_log_from_one_that_goes_on(path):
    """POSIX locks go when any handle of the file is closed: only SQLite may open it."""
    visit = (
        "import sys; from verify.gallery import SqliteGallery\n"
        "with SqliteGallery(sys.argv[1]) as gallery: print(*gallery.subjects())"
    )

    def visited():
        command = [sys.executable, "-c", visit, str(path)]
        return subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT).stdout.split()

    with SqliteGallery(path) as gallery:
        enrol(gallery, "before", unit(1))
        SqliteGallery(path, read_only=True).close()
        assert visited() == ["before"]
        enrol(gallery, "after", unit(2))
        assert visited() == ["after", "before"]
    assert visited() == ["after", "before"]


def _race(path, number, barrier, results):
    barrier.wait()
    with SqliteGallery(path) as gallery:  # the file is made by whoever is first
        enrol(gallery, f"own {number}", unit(number))
        stored = enrol(gallery, "ann", unit(7), key="one key")
        try:
            enrol(gallery, "capped", *[unit(100 + number + i) for i in range(6)], sha256=f"{number}-")
            capped = "stored"
        except EnrolmentRefusedError:
            capped = "refused"
    results.put((stored[0].template_id, capped))


def test_processes_race_for_a_new_file_a_key_and_a_cap(path):
    context = multiprocessing.get_context("spawn")
    barrier, results = context.Barrier(2), context.Queue()
    children = [context.Process(target=_race, args=(path, n, barrier, results)) for n in range(2)]
    for child in children:
        child.start()
    found = [results.get(timeout=60) for _ in children]
    for child in children:
        child.join()
        assert child.exitcode == 0
    results.close()
    assert len({template_id for template_id, _ in found}) == 1
    assert sorted(outcome for _, outcome in found) == ["refused", "stored"]
    with SqliteGallery(path) as gallery:
        assert gallery.subjects() == ("ann", "capped", "own 0", "own 1")
        assert len(gallery.require("ann")) == 1


def test_a_file_that_another_process_is_making_a_gallery_is_no_foreign_database(path):
    sqlite3.connect(path).close()

    class Meanwhile(sqlite3.Connection):
        """Right after the first look at the file, another process makes it a gallery, or waits."""

        def execute(self, statement: str, *values: object) -> sqlite3.Cursor:
            if statement == "PRAGMA user_version":
                other = sqlite3.connect(path, timeout=0, isolation_level=None)
                try:
                    other.execute("BEGIN IMMEDIATE")
                    schema.migrate(other, path=path)
                    other.execute("COMMIT")
                except sqlite3.OperationalError:
                    pass  # it has to wait until the look is over
                finally:
                    other.close()
            return super().execute(statement, *values)

    connection = sqlite3.connect(path, factory=Meanwhile, isolation_level=None)
    try:
        assert schema.read_version(connection, path=path) in (0, schema.schema_version())
    finally:
        connection.close()
