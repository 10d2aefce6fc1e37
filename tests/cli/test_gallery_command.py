"""``verify gallery`` from the command line: outputs, exit codes, nothing lost."""

from __future__ import annotations

import json

import pytest

from tests.cli.runner import Runner
from tests.gallery.makers import MODEL, enrol, unit
from verify.gallery import SqliteGallery


@pytest.fixture
def run(capsys):
    return Runner(capsys)


@pytest.fixture
def path(tmp_path, monkeypatch):
    monkeypatch.setenv("VERIFY_GALLERY", str(tmp_path / "gallery.db"))
    with SqliteGallery(tmp_path / "gallery.db") as gallery:
        for name in ("ann", "../b [red]'\"", "émile 👩\u200d🚀"):
            enrol(
                gallery, name, unit(len(name)), source=f"photos/{len(name)}.jpg", quality={"sharpness": 0.5}
            )
    return tmp_path / "gallery.db"


@pytest.mark.usefixtures("path")
def test_list_pages(run):
    first = run("gallery", "list", "--limit", "2")
    assert first.code == 0
    assert "../b [red]'\"" in first.out
    assert "émile" not in first.out
    assert "--after 'ann'" in first.err
    assert "émile" in run("gallery", "list", "--after", "ann").out
    assert run("gallery", "list", "--limit", "2", "--json").json["next_after"] == "ann"
    everybody = run("gallery", "list", "--all").out.splitlines()
    assert [line.split("\t")[0] for line in everybody] == ["../b [red]'\"", "ann", "émile 👩\u200d🚀"]
    assert len(run("gallery", "list", "--all", "--json").json["subjects"]) == 3


@pytest.mark.usefixtures("path")
def test_show_tells_where_templates_come_from(run):
    shown = run("gallery", "show", "ann")
    assert shown.code == 0
    assert "photos/3.jpg" in shown.out
    record = run("gallery", "show", "ann", "--json").json["templates"][0]
    assert record["source_sha256"] == "sha0"
    assert "vector" not in record


@pytest.mark.parametrize("command", [("show",), ("delete", "--yes")])
@pytest.mark.usefixtures("path")
def test_an_unknown_subject_is_bad_data(run, command):
    refused = run("gallery", *command, "nobody")
    assert refused.code == 4
    assert "'nobody' is not in" in refused.err


@pytest.mark.usefixtures("path")
def test_a_hostile_subject_is_a_wrong_call(run):
    refused = run("gallery", "show", "x" * 10_000)
    assert refused.code == 2
    assert len(refused.err) < 400


def test_delete_asks_and_then_deletes(run, path):
    refused = run("gallery", "delete", "ann")
    assert refused.code == 2
    assert "--yes" in refused.err
    with SqliteGallery(path) as gallery:
        assert "ann" in gallery.subjects()
    done = run("gallery", "delete", "ann", "--yes", "--json")
    assert (done.code, done.json) == (0, {"subject_id": "ann", "deleted_templates": 1})
    with SqliteGallery(path) as gallery:
        assert "ann" not in gallery.subjects()


@pytest.mark.usefixtures("path")
def test_export_import_and_check(run, tmp_path):
    target = tmp_path / "export.jsonl"
    assert run("gallery", "export", "-o", target).code == 0
    assert run("gallery", "export", "-o", target).code == 2
    copy = tmp_path / "copy.db"
    assert run("gallery", "import", target, "--gallery", copy, "--json").json["added"] == 3
    assert "3 here already" in run("gallery", "import", target, "--gallery", copy).out
    with SqliteGallery(copy) as gallery:
        assert gallery.count(model_id=MODEL) == 3
    assert run("gallery", "check", "--gallery", copy).code == 0
    target.write_bytes(target.read_bytes()[:-9])
    assert run("gallery", "import", target, "--gallery", tmp_path / "third.db").code == 4


def test_check_exits_4_on_damage_and_says_what_to_do(run, path):
    with SqliteGallery(path) as gallery, gallery.write() as db:
        db.execute("UPDATE vector SET data = zeroblob(64) WHERE vector_pk = 1")
    broken = run("gallery", "check")
    assert broken.code == 4
    assert "template 1 has norm 0" in broken.out
    assert "import your last export" in broken.out
    assert run("gallery", "check", "--json").json["ok"] is False


@pytest.mark.parametrize("command", [("list",), ("show", "ann"), ("delete", "ann", "--yes"), ("check",)])
def test_no_gallery_is_bad_data_and_none_is_made(run, tmp_path, command):
    missing = tmp_path / "none.db"
    refused = run("gallery", *command, "--gallery", missing, "--json")
    assert refused.code == 4
    assert json.loads(refused.out)["error"] == "GalleryError"
    assert not missing.exists()
