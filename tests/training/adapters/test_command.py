from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.cli.runner import Runner
from tests.training.adapters.encoders import face_encoder
from verify.capture import Capturer
from verify.cli.adapting_people import FRACTIONS
from verify.data.splits import CALIBRATION, TEST, TRAIN, part_of, read_split
from verify.errors import ModelIntegrityError, UsageError
from verify.models import open_bundle
from verify.training.adapters import Affine
from verify.training.adapters.bundle import Origin, write_adapted


@pytest.fixture
def verify(capsys: pytest.CaptureFixture[str]) -> Runner:
    return Runner(capsys)


@pytest.fixture(scope="module")
def people(data_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four photos each of 18 people: ten to learn from, eight unseen."""
    folder = tmp_path_factory.mktemp("people") / "people"
    wanted = {TRAIN: 10, TEST: 6, CALIBRATION: 2}
    for source in sorted((data_dir / "faces/celeba").iterdir()):
        part = part_of(source.name, seed=0, fractions=FRACTIONS)
        photos = sorted(source.iterdir())[:4]
        if wanted[part] and len(photos) == 4:
            wanted[part] -= 1
            (folder / source.name).mkdir(parents=True)
            for photo in photos:
                (folder / source.name / photo.name).symlink_to(photo)
    return folder


@pytest.mark.models
@pytest.mark.media
def test_from_photos_to_a_bundle_of_two_views_that_the_engine_takes(
    people: Path, models_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, verify: Runner
) -> None:
    monkeypatch.setenv("VERIFY_MODELS", str(models_dir))
    monkeypatch.setenv("VERIFY_CACHE", str(tmp_path / "cache"))
    yunet = open_bundle("yunet", models_dir=models_dir)
    small = face_encoder(tmp_path / "small", alignment="dlib-chip", locator=("yunet", yunet.model_id))
    target = tmp_path / "mine"
    models = ("--model", "face", "--model", str(small.path))
    done = verify(
        "train", "--adapter", "wccn", *models, str(people), "-o", str(target), "--as", "mine", "--json"
    )
    assert done.code == 0, done.err
    said = done.json
    assert said["parity"]["max_cosine_difference"] < 1e-4
    assert said["adapter"]["trained_on"][0]["subjects"] == 10
    assert said["adapter"]["unseen"]["people"]["subjects"] == 6

    capturer = Capturer.open(target)
    card = capturer.bundle.card
    assert card.model_id == said["model_id"] != open_bundle("face", models_dir=models_dir).model_id
    assert card.licence == "Apache-2.0 AND CC0-1.0"
    assert [view["alignment"] for view in card.input["views"]] == ["arcface-112", "dlib-chip"]
    assert (
        card.measured["adapter"]["trained_on"][0]["split_sha256"]
        == read_split(target / "people.split.csv").sha256
    )
    photo = next(path for path in people.glob("*/*"))
    template = capturer.capture(photo).template
    assert template is not None
    assert template.model_id == card.model_id
    assert template.vector.shape == (128 + 6,)
    gallery = str(tmp_path / "gallery.db")
    enrolled = verify("enroll", photo.parent.name, str(photo), "--model", str(target), "-g", gallery)
    assert enrolled.code == 0, enrolled.err
    again = verify("train", "--adapter", "wccn", *models, str(people), "-o", str(target), "--as", "mine")
    assert again.code == 2
    assert "exists already" in again.err


@pytest.mark.models
@pytest.mark.media
def test_a_graph_that_computes_something_else_is_not_written(
    people: Path, models_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from verify.training.adapters import bundle

    yunet = open_bundle("yunet", models_dir=models_dir)
    encoder = face_encoder(tmp_path / "small", locator=("yunet", yunet.model_id), models_dir=models_dir)
    affine = Affine(np.diag([1.0, 2.0, 1.0, 1.0, 1.0, 1.0]), np.zeros(6))
    origin = Origin(
        kind="wccn",
        people="nobody",
        measured={},
        samples=sorted(people.glob("*/*"))[:4],
        thresholds={"x": 0.5},
    )
    monkeypatch.setattr(
        bundle, "joined", lambda graphs, **kw: joined_with(graphs, **kw | {"matrix": np.eye(6)})
    )
    from verify.models.graphs.joined import joined as joined_with

    with pytest.raises(ModelIntegrityError, match="differ by"):
        write_adapted(
            [encoder], affine, name="mine", target=tmp_path / "mine", origin=origin, models_dir=models_dir
        )
    assert not (tmp_path / "mine").exists()
    monkeypatch.undo()
    with pytest.raises(ModelIntegrityError, match="nothing proves"):
        write_adapted(
            [encoder], affine, name="mine", target=tmp_path / "mine", models_dir=models_dir,
            origin=Origin(kind="wccn", people="", measured={}, samples=(), thresholds={}),
        )  # fmt: skip
    with pytest.raises(UsageError, match="no known model has"):
        write_adapted(
            [encoder], affine, name="sface", target=tmp_path / "mine", models_dir=models_dir, origin=origin
        )


@pytest.mark.models
@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--model", "face"), "name the people"),
        (("people",), "name the bundle"),
        (("people", "--model", "face", "--resume"), "--resume goes with a recipe"),
        (("people", "--model", "face", "--set", "seed=1"), "--set goes with a recipe"),
        (("people", "--model", "face", "--model", "face"), "each once"),
        (("people", "--model", "face", "--as", "sface"), "no known model has"),
        (("people", "--model", "face+voice"), "join models of one modality"),
        (("people", "--model", "face", "-o", "no/such/folder"), "make it first"),
        (("people", "--model", "face", "--split", "a", "--split", "b"), "2 files for 1 DATA"),
    ],
)
def test_what_is_wrong_with_the_call_is_said_before_any_work(
    arguments: tuple[str, ...],
    said: str,
    models_dir: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    verify: Runner,
) -> None:
    monkeypatch.setenv("VERIFY_MODELS", str(models_dir))
    monkeypatch.setenv("VERIFY_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    done = verify("train", "--adapter", "wccn", *arguments)
    assert done.code == 2, done.err
    assert said in done.err.replace("\n", " ")


@pytest.mark.models
def test_one_person_is_no_ground_to_learn_on(
    models_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, verify: Runner
) -> None:
    monkeypatch.setenv("VERIFY_MODELS", str(models_dir))
    monkeypatch.setenv("VERIFY_CACHE", str(tmp_path / "cache"))
    (tmp_path / "people/ada").mkdir(parents=True)
    (tmp_path / "people/ada/1.jpg").write_bytes(b"")
    done = verify(
        "train", "--adapter", "wccn", "--model", "face", str(tmp_path / "people"), "-o", str(tmp_path / "b")
    )
    assert done.code == 4
    assert "one subject" in done.err
    assert not (tmp_path / "b").exists()
