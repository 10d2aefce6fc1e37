from __future__ import annotations

import json
import os
import shutil
import threading
import zipfile
from pathlib import Path

import numpy as np
import pytest

from tests.models.tiny import tiny_model, write_bundle
from verify.errors import ModelIntegrityError, ModelMismatchError, ModelNotInstalledError, UnknownModelError
from verify.models import open_bundle
from verify.models.card import read_card
from verify.models.catalogue import catalogue
from verify.models.shelf import installed
from verify.models.stamps import STAMP_FILE


def test_a_bundle_opens_by_name_path_and_zip_and_runs(tmp_path: Path) -> None:
    card = write_bundle(tmp_path / "tiny")
    archive = shutil.make_archive(str(tmp_path / "packed"), "zip", tmp_path / "tiny")
    for opened in (
        open_bundle("tiny", models_dir=tmp_path),
        open_bundle(tmp_path / "tiny"),
        open_bundle(str(tmp_path / "tiny")),
        open_bundle(archive),
    ):
        assert opened.model_id == card.model_id
        (found,) = opened.session().run(None, {"input": np.ones((2, 3), np.float32)})
        np.testing.assert_array_equal(found, [[2, 1, 1], [2, 1, 1]])


def test_a_zip_in_the_folder_of_bundles_counts_as_installed(tmp_path: Path) -> None:
    write_bundle(tmp_path / "elsewhere" / "tiny")
    shutil.make_archive(str(tmp_path / "tiny"), "zip", tmp_path / "elsewhere", "tiny")
    assert open_bundle("tiny", models_dir=tmp_path).name == "tiny"
    (tmp_path / "other.zip").write_bytes(b"no zip at all")
    assert list(installed(models_dir=tmp_path)) == ["tiny"]
    (line,) = [line for line in catalogue(models_dir=tmp_path) if line.name == "tiny"]
    assert line.state == "installed"


def test_an_unpacked_zip_goes_away_with_its_bundle(tmp_path: Path) -> None:
    write_bundle(tmp_path / "tiny")
    bundle = open_bundle(shutil.make_archive(str(tmp_path / "packed"), "zip", tmp_path / "tiny"))
    path = bundle.path
    assert path.is_dir()
    del bundle
    assert not path.exists()


def test_models_folder_comes_from_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_bundle(tmp_path / "tiny")
    monkeypatch.setenv("VERIFY_MODELS", str(tmp_path))
    assert open_bundle("tiny").path == tmp_path / "tiny"


@pytest.mark.parametrize(
    "name", ["sfase", "../../etc", "SFACE", "", "sface\0", "🙂", "x" * 10_000, ".hidden"]
)
def test_unknown_names_are_named_and_never_become_paths(tmp_path: Path, name: str) -> None:
    with pytest.raises((UnknownModelError, ModelNotInstalledError)) as caught:
        open_bundle(name, models_dir=tmp_path)
    assert len(str(caught.value)) < 1000


def test_an_unknown_name_lists_the_known_and_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(UnknownModelError, match=r"did you mean sface\?.*campplus.*aliases: face, voice"):
        open_bundle("sfase", models_dir=tmp_path)


def test_a_known_model_that_is_not_here_says_how_to_bring_it(tmp_path: Path) -> None:
    with pytest.raises(
        ModelNotInstalledError, match=r"verify models pull sface .*--from-file.*VERIFY_MODELS"
    ):
        open_bundle("face", models_dir=tmp_path)


def test_a_swapped_model_is_refused(tmp_path: Path) -> None:
    write_bundle(tmp_path / "tiny", scale=2.0)
    (tmp_path / "tiny" / "model.onnx").write_bytes(tiny_model(5.0).SerializeToString())
    with pytest.raises(ModelIntegrityError, match=r"model\.onnx.*sha256"):
        open_bundle(tmp_path / "tiny")


def test_a_swap_after_a_good_check_is_seen_although_size_and_time_are_set_back(tmp_path: Path) -> None:
    write_bundle(tmp_path / "tiny", scale=2.0)
    model = tmp_path / "tiny" / "model.onnx"
    open_bundle(tmp_path / "tiny")
    assert (tmp_path / "tiny" / STAMP_FILE).exists()
    before = model.stat()
    model.write_bytes(tiny_model(5.0).SerializeToString())
    os.utime(model, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert model.stat().st_size == before.st_size
    with pytest.raises(ModelIntegrityError, match="sha256"):
        open_bundle(tmp_path / "tiny")


def test_a_stamp_saves_reading_the_file_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_bundle(tmp_path / "tiny")
    open_bundle(tmp_path / "tiny")
    monkeypatch.setattr(
        "verify.models.stamps.file_sha256", lambda path: pytest.fail(f"{path} was read again")
    )
    open_bundle(tmp_path / "tiny")


@pytest.mark.parametrize("content", [b"", b"[]", b"\xff\xfe", b'{"model.onnx": 3}'])
def test_a_damaged_stamp_only_means_hashing_again(tmp_path: Path, content: bytes) -> None:
    write_bundle(tmp_path / "tiny")
    (tmp_path / "tiny" / STAMP_FILE).write_bytes(content)
    assert open_bundle(tmp_path / "tiny").name == "tiny"


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    write_bundle(tmp_path / "tiny")
    (tmp_path / "tiny" / "model.onnx").unlink()
    with pytest.raises(ModelIntegrityError, match=r"model\.onnx cannot be read"):
        open_bundle(tmp_path / "tiny")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"name": 5}, "'name' must be a string"),
        ({"name": "../up"}, "'name' must be of lower-case"),
        ({"task": "oracle"}, "'task' must be one of embedder, locator"),
        ({"modality": "gait"}, "'modality' must be one of face, voice"),
        ({"dim": "3"}, "'dim' must be a whole number"),
        ({"dim": True}, "'dim' must be a whole number"),
        ({"dim": -1}, "'dim' must be a whole number"),
        ({"model_id": "abc"}, "'model_id' must be a sha256"),
        ({"model_id": "0" * 64}, "does not follow from"),
        ({"input": {"kind": "other"}}, "does not follow from"),
        ({"input": []}, "'input' must be an object"),
        ({"files": {"../model.onnx": {"sha256": "0" * 64, "size": 1}}}, "not a plain file name"),
        ({"files": {"/etc/passwd": {"sha256": "0" * 64, "size": 1}}}, "not a plain file name"),
        ({"files": {"model.onnx": {"sha256": 7, "size": 1}}}, "'sha256' must be a sha256"),
        ({"files": {"model.onnx": {"sha256": "0" * 64, "size": -1}}}, "'size' must be a whole number"),
        ({"files": {}}, "'content' must give"),
        ({"requires": {"locator": "yunet"}}, "'locator' must be an object"),
        ({"sources": [3]}, r"sources\[0\]"),
        ({"schema": 99}, "newer verify"),
        ({"licence": None}, "'licence' must be a string"),
    ],
)
def test_a_card_with_a_wrong_field_is_refused_by_its_name(
    tmp_path: Path, changes: dict, message: str
) -> None:
    write_bundle(tmp_path / "tiny", changes=changes)
    with pytest.raises(ModelIntegrityError, match=message) as caught:
        open_bundle(tmp_path / "tiny")
    assert "card.json" in str(caught.value)


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b"null", b"\x00\x01", b'{"schema": NaN}', b"[" * 100_000]
)
def test_a_card_that_is_no_json_object_is_refused(tmp_path: Path, content: bytes) -> None:
    write_bundle(tmp_path / "tiny")
    (tmp_path / "tiny" / "card.json").write_bytes(content)
    with pytest.raises(ModelIntegrityError, match=r"card\.json"):
        open_bundle(tmp_path / "tiny")


def test_a_card_without_a_field_says_which(tmp_path: Path) -> None:
    write_bundle(tmp_path / "tiny")
    path = tmp_path / "tiny" / "card.json"
    card = json.loads(path.read_text())
    del card["input"]
    path.write_text(json.dumps(card))
    with pytest.raises(ModelIntegrityError, match="field 'input' is missing"):
        read_card(path)


def test_a_card_survives_the_round_trip(tmp_path: Path) -> None:
    card = write_bundle(tmp_path / "tiny", locator=("finder", "a" * 64))
    assert read_card(tmp_path / "tiny" / "card.json") == card


def test_the_locator_is_opened_beside_the_embedder_and_its_model_id_checked(tmp_path: Path) -> None:
    finder = write_bundle(tmp_path / "finder", name="finder", scale=3.0)
    write_bundle(tmp_path / "tiny", locator=("finder", finder.model_id))
    bundle = open_bundle("tiny", models_dir=tmp_path)
    assert bundle.locator().model_id == finder.model_id
    assert bundle.locator() is bundle.locator()


def test_another_locator_under_the_same_name_is_refused(tmp_path: Path) -> None:
    write_bundle(tmp_path / "finder", name="finder", scale=4.0)
    write_bundle(tmp_path / "tiny", locator=("finder", "b" * 64))
    with pytest.raises(ModelMismatchError, match="needs the locator finder of model_id bbbb"):
        open_bundle("tiny", models_dir=tmp_path).locator()


def test_a_folder_with_another_models_name_is_refused(tmp_path: Path) -> None:
    write_bundle(tmp_path / "other", name="tiny")
    with pytest.raises(ModelIntegrityError, match="holds the model tiny, not other"):
        open_bundle("other", models_dir=tmp_path)


def test_sessions_are_made_once_for_all_threads(tmp_path: Path) -> None:
    write_bundle(tmp_path / "tiny")
    bundle = open_bundle(tmp_path / "tiny")
    seen = []
    workers = [threading.Thread(target=lambda: seen.append(bundle.session())) for _ in range(8)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert len({id(session) for session in seen}) == 1
    assert bundle.session(threads=2) is not seen[0]
    assert bundle.session().get_providers() == ["CPUExecutionProvider"]


def test_a_graph_that_no_runtime_loads_is_a_model_error(tmp_path: Path) -> None:
    write_bundle(tmp_path / "tiny")
    from verify.models.bundle import load_session

    with pytest.raises(ModelIntegrityError, match="cannot load"):
        load_session(b"not a graph")
    with pytest.raises(ModelIntegrityError, match="has no file"):
        open_bundle(tmp_path / "tiny").session("other.onnx")


def test_repr_shows_no_more_than_the_identity(tmp_path: Path) -> None:
    write_bundle(tmp_path / "tiny")
    assert repr(open_bundle(tmp_path / "tiny")).startswith("ModelBundle('tiny', model_id='")


def test_a_zip_without_a_card_is_no_bundle(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        archive.writestr("readme.txt", "hello")
    with pytest.raises(ModelIntegrityError, match=r"no card\.json"):
        open_bundle(tmp_path / "x.zip")


def test_a_zip_that_climbs_out_writes_nothing_outside(tmp_path: Path) -> None:
    write_bundle(tmp_path / "tiny")
    evil = tmp_path / "evil.zip"
    with zipfile.ZipFile(evil, "w") as archive:
        for path in (tmp_path / "tiny").iterdir():
            archive.writestr(path.name, path.read_bytes())
        archive.writestr("../climbed.txt", "out")
        archive.writestr("/tmp/verify-climbed.txt", "out")  # noqa: S108  the attack
    before = set(tmp_path.rglob("*"))
    assert open_bundle(evil).name == "tiny"  # only what the card lists is taken
    assert set(tmp_path.rglob("*")) == before
    assert not Path("/tmp/verify-climbed.txt").exists()  # noqa: S108


def test_a_zip_bomb_is_refused_by_the_cards_sizes(tmp_path: Path) -> None:
    write_bundle(tmp_path / "tiny")
    bomb = tmp_path / "bomb.zip"
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.write(tmp_path / "tiny" / "card.json", "card.json")
        archive.writestr("model.onnx", b"\0" * 20_000_000)
    with pytest.raises(ModelIntegrityError, match="more than the"):
        open_bundle(bomb)


def test_a_truncated_zip_is_refused(tmp_path: Path) -> None:
    write_bundle(tmp_path / "tiny")
    path = Path(shutil.make_archive(str(tmp_path / "packed"), "zip", tmp_path / "tiny"))
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ModelIntegrityError, match="not a readable zip"):
        open_bundle(path)
