"""The integrity check sees each kind of damage."""

from __future__ import annotations

import sqlite3

import numpy as np
import pytest

from tests.gallery.makers import MODEL, enrol, unit
from verify.errors import GalleryError
from verify.gallery import SqliteGallery
from verify.gallery.check import check_gallery, check_path


@pytest.fixture
def path(tmp_path):
    with SqliteGallery(tmp_path / "gallery.db") as gallery:
        enrol(gallery, "ann", unit(1), unit(2), key="k")
        enrol(gallery, "bob", unit(3))
        enrol(gallery, "gone", unit(4))
        gallery.delete("gone")
    return tmp_path / "gallery.db"


def test_a_sound_gallery_is_sound(path):
    report = check_path(path)
    assert (report.ok, report.problems, report.warnings) == (True, (), ())
    assert (report.subjects, report.templates, report.models) == (2, 3, {MODEL: 3})


def test_an_empty_gallery_is_sound(tmp_path):
    SqliteGallery(tmp_path / "new.db").close()
    assert check_path(tmp_path / "new.db").ok


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        ("DELETE FROM vector WHERE vector_pk = 1", "refers to a missing vector"),
        ("DELETE FROM vector WHERE vector_pk = 1", "template without a vector"),
        ("DELETE FROM template WHERE template_id = 3", "vector left without a template"),
        ("DELETE FROM template WHERE template_id = 3", "subject without templates: bob"),
        ("DELETE FROM template WHERE template_id < 3", "key without templates: k"),
        ("UPDATE vector SET data = randomblob(64) WHERE vector_pk = 4", "deleted vector that is not blank"),
        ("UPDATE vector SET data = zeroblob(64) WHERE vector_pk = 2", "template 2 has norm 0"),
        ("UPDATE vector SET data = zeroblob(8) WHERE vector_pk = 2", "template 2 is not 16 numbers"),
        ("INSERT INTO free_vector VALUES (2, 64)", "both free and in use"),
        (
            "UPDATE template SET subject_pk = 2 WHERE template_id = 1",
            "another subject than its idempotency key",
        ),
        ("UPDATE sqlite_sequence SET seq = 1 WHERE name = 'template'", "beyond those given out"),
        ("DELETE FROM subject WHERE subject_id = 'bob'", "refers to a missing subject"),
    ],
)
def test_damage_is_named(path, damage, words):
    db = sqlite3.connect(path)
    db.execute(damage)
    db.commit()
    db.close()
    report = check_path(path)
    assert not report.ok
    assert words in "\n".join(report.problems)


def test_an_index_out_of_step_is_noticed(path):
    with SqliteGallery(path) as gallery:
        index = gallery.live_index(MODEL)._index
        index.remove(np.array([3]))
        assert "out of step" in "\n".join(check_gallery(gallery).problems)


def test_an_open_file_mode_is_a_warning(path):
    path.chmod(0o644)
    report = check_path(path)
    assert report.ok
    assert "chmod 600" in report.warnings[0]


def test_damaged_pages_are_reported_or_refused(path):
    raw = bytearray(path.read_bytes())
    for page in range(2, len(raw) // 4096):
        raw[page * 4096 : page * 4096 + 40] = b"\xff" * 40
    path.write_bytes(raw)
    try:
        problems = check_path(path).problems
    except GalleryError as error:  # damage where nothing can be read any more
        problems = (str(error),)
    assert any("corrupt" in problem or "structure" in problem for problem in problems)


def test_a_missing_file_is_not_made(tmp_path):
    with pytest.raises(GalleryError, match="there is no gallery"):
        check_path(tmp_path / "none.db")
    assert list(tmp_path.iterdir()) == []
