"""A run becomes a bundle that decides as the network did, and says on its card where it comes from."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytestmark = pytest.mark.train
torch = pytest.importorskip("torch")

from tests.cli.runner import Runner  # noqa: E402
from tests.training.run_folders import VALIDATED, seeded_network, write_run  # noqa: E402
from tests.training.small_runs import small_recipe, small_set  # noqa: E402
from verify.errors import DataError, ModelIntegrityError, UsageError  # noqa: E402
from verify.models import open_bundle  # noqa: E402
from verify.training import export as exporting  # noqa: E402
from verify.training import run_card  # noqa: E402
from verify.training.export import ExportOptions, export_run  # noqa: E402
from verify.training.recipe import SetSection  # noqa: E402
from verify.training.shards import PreparedSet  # noqa: E402

LOCATOR = {"name": "yunet", "model_id": "1" * 64}


@pytest.fixture(autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(autouse=True)
def _no_installed_locator(monkeypatch: pytest.MonkeyPatch) -> None:
    """The made sets say no locator; the default one need not be on this machine."""
    monkeypatch.setattr(run_card, "_default_locator", lambda *_args, **_how: dict(LOCATOR))


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory):
    """(recipe, prepared set, split) of made faces."""
    prepared, split = small_set(tmp_path_factory.mktemp("small"), train=6, validation=8, samples=4)
    return small_recipe(prepared, split), prepared, split


@pytest.fixture
def run_dir(small, tmp_path: Path) -> Path:
    recipe = small[0]
    return write_run(tmp_path / "run", recipe, model=seeded_network(recipe))


def exported(run: Path, target: Path, **options: Any):
    return export_run(run, target, options=ExportOptions(**options))


def test_the_bundle_gives_the_network_s_embeddings_through_the_engine(run_dir, small, tmp_path) -> None:
    from verify.face.embed import FaceEmbedder

    recipe, prepared, _ = small
    done = exported(run_dir, tmp_path / "small-faces")
    bundle = open_bundle(done.path)
    assert (bundle.name, bundle.model_id, done.status) == ("small-faces", done.model_id, "installed")
    data = PreparedSet.open(prepared)
    chips = [data.media(i) for i in range(3)]
    found = FaceEmbedder(bundle).embed(chips)
    inputs = torch.from_numpy(np.stack(chips)).permute(0, 3, 1, 2).float()
    with torch.inference_mode():
        wanted = seeded_network(recipe)(inputs).numpy()
    assert found.shape == (3, 32)
    assert np.abs((found * wanted).sum(axis=1) - 1).max() < 1e-5
    assert np.abs(np.linalg.norm(found, axis=1) - 1).max() < 1e-5


def test_the_card_says_what_it_was_made_of(run_dir, small, tmp_path) -> None:
    recipe, prepared, _ = small
    done = exported(run_dir, tmp_path / "card", licence="CC-BY-4.0")
    card = open_bundle(done.path).card
    source = card.sources[0]
    data = PreparedSet.open(prepared)
    assert (source["kind"], source["recipe_sha256"]) == ("training-run", recipe.sha256)
    assert (source["data_sha256"], source["git_revision"], source["step"]) == (data.sha256, "0" * 40, 7)
    assert "made (6 subjects, 24 samples" in card.training_data
    assert card.input == data.contract
    assert card.requires == {"locator": LOCATOR}
    assert (card.licence, card.postprocessing) == ("CC-BY-4.0", {"l2_norm": "in-graph"})
    assert card.measured["validation"]["eer"] == VALIDATED["eer"]
    assert card.parity["samples"] == 32
    assert card.parity["max_cosine_difference"] <= card.parity["limit"] == 1e-4
    assert card.parity["split_sha256"] == source["split_sha256"]
    text = (done.path / "card.json").read_text()
    assert str(tmp_path) not in text
    assert str(prepared) not in text  # no machine's paths on a card
    assert {path.name for path in done.path.iterdir()} - {".verified.json"} == {"card.json", "model.onnx"}


def test_the_averaged_weights_are_exported_where_there_are_some(small, tmp_path) -> None:
    recipe = small[0]
    one, other = seeded_network(recipe, seed=1), seeded_network(recipe, seed=2)
    averaged = exported(write_run(tmp_path / "ema", recipe, model=one, ema=other), tmp_path / "a")
    alone = exported(write_run(tmp_path / "other", recipe, model=other), tmp_path / "b")
    last = exported(write_run(tmp_path / "one", recipe, model=one), tmp_path / "c")
    assert averaged.model_id == alone.model_id  # the name is no part of a model
    assert averaged.model_id != last.model_id


def test_every_export_of_a_checkpoint_is_the_same_model(run_dir, tmp_path) -> None:
    first, second = (
        exported(run_dir, tmp_path / "one"),
        exported(run_dir, tmp_path / "two", checkpoint="last"),
    )
    assert first.model_id == second.model_id
    assert (first.path / "model.onnx").read_bytes() == (second.path / "model.onnx").read_bytes()


def test_other_data_than_the_run_s_proves_nothing(run_dir, small, tmp_path) -> None:
    _, prepared, split = small
    others, other_split = small_set(tmp_path / "others", train=6, validation=8, samples=4, seed=9)
    for where, what in (((others, split), "prepared data"), ((prepared, other_split), None)):
        sections = (SetSection(prepared=str(where[0]), split=str(where[1])),)
        if what is None:  # the very same assignment is the very same split, wherever it lies
            assert exported(run_dir, tmp_path / "same", sets=sections).status == "installed"
            continue
        with pytest.raises(UsageError, match=what):
            exported(run_dir, tmp_path / "b", sets=sections)
    swapped = tmp_path / "swapped.csv"
    from verify.data.splits import Split, read_split, write_split

    parts = dict(read_split(split).parts) | {"p000": "validation"}
    write_split(swapped, Split(name="made", seed=0, parts=parts))
    with pytest.raises(UsageError, match="split"):
        exported(run_dir, tmp_path / "b", sets=(SetSection(prepared=str(prepared), split=str(swapped)),))
    assert not (tmp_path / "b").exists()


def test_a_graph_that_computes_something_else_is_not_written(run_dir, small, tmp_path, monkeypatch) -> None:
    other = seeded_network(small[0], seed=5)
    true = exporting.to_graph
    monkeypatch.setattr(exporting, "to_graph", lambda _, *, network: true(other, network=network))
    with pytest.raises(ModelIntegrityError, match="does not compute"):
        exported(run_dir, tmp_path / "b")
    assert not (tmp_path / "b").exists()
    assert not list(tmp_path.glob(".pull-*"))


def test_half_precision_halves_the_file_and_counts_its_loss(run_dir, tmp_path) -> None:
    whole = exported(run_dir, tmp_path / "whole")
    small = exported(run_dir, tmp_path / "half", precision="fp16", allow_loss=True)
    assert small.size < 0.65 * whole.size
    assert small.model_id != whole.model_id
    assert small.loss is not None
    assert 0 < small.loss.difference < 0.05
    card = open_bundle(small.path).card
    assert card.parity["fp16"]["max_cosine_difference"] > card.parity["max_cosine_difference"]
    assert "fp16" in card.description


def test_integers_beyond_the_limit_are_refused_unless_accepted(run_dir, tmp_path, monkeypatch) -> None:
    from verify.training.agreement import Limits

    monkeypatch.setattr(exporting, "INTEGER", Limits(cosine=1e-6, mated=0, non_mated=0))
    with pytest.raises(ModelIntegrityError, match="--allow-loss"):
        exported(run_dir, tmp_path / "int8", precision="int8")
    assert not (tmp_path / "int8").exists()
    done = exported(run_dir, tmp_path / "int8", precision="int8", allow_loss=True)
    assert done.beyond
    assert open_bundle(done.path).card.parity["int8"]["samples"] == 32


@pytest.mark.parametrize(
    ("name", "said"), [("Great Faces", "great-faces"), ("sface", "no known model"), ("-", "lower-case")]
)
def test_a_bundle_has_a_name_of_its_own(run_dir, tmp_path, name: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        exported(run_dir, tmp_path / "b", name=name)


def test_what_is_there_is_not_overwritten_unasked(run_dir, tmp_path) -> None:
    exported(run_dir, tmp_path / "b")
    with pytest.raises(UsageError, match="--force"):
        exported(run_dir, tmp_path / "b")
    assert exported(run_dir, tmp_path / "b", force=True).status == "replaced"
    (tmp_path / "letters").mkdir()
    (tmp_path / "letters" / "dear.txt").write_text("do not lose me")
    with pytest.raises(UsageError, match="no bundle"):
        exported(run_dir, tmp_path / "letters", force=True)
    assert (tmp_path / "letters" / "dear.txt").exists()


def test_checkpoints_that_are_not_there_or_damaged_are_named(run_dir, small, tmp_path) -> None:
    with pytest.raises(UsageError, match="did you mean 'best'"):
        exported(run_dir, tmp_path / "b", checkpoint="bset")
    with pytest.raises(UsageError, match="verify train"):
        exported(tmp_path / "nowhere", tmp_path / "b")
    recipe = dataclasses.replace(small[0], model=dataclasses.replace(small[0].model, options={"width": 0.5}))
    other = write_run(tmp_path / "wide", recipe, model=seeded_network(small[0]))
    with pytest.raises(ModelIntegrityError, match="its weights are not those of mobilefacenet"):
        exported(other, tmp_path / "b")
    weights = run_dir / "checkpoints" / "best" / "model.safetensors"
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.unlink()
    weights.write_bytes(bytes(data))
    with pytest.raises(ModelIntegrityError, match="differs from what was written"):
        exported(run_dir, tmp_path / "b")


def test_weights_that_diverged_are_not_exported(small, tmp_path) -> None:
    net = seeded_network(small[0])
    with torch.no_grad():
        next(net.parameters()).fill_(float("nan"))
    with pytest.raises(DataError, match="finite"):
        exported(write_run(tmp_path / "nan", small[0], model=net), tmp_path / "b")


def test_voices_are_not_judged_by_another_encoder_s_limits(tmp_path) -> None:
    prepared, split = small_set(tmp_path / "set", modality="voice", train=3, validation=4, samples=3)
    recipe = small_recipe(
        prepared,
        split,
        modality="voice",
        model={"network": "resnet34_asp", "dim": 32, "options": {"width": 0.125}},
    )
    done = exported(write_run(tmp_path / "run", recipe, model=seeded_network(recipe)), tmp_path / "voices")
    assert done.agreement.difference < 1e-4
    bundle = open_bundle(done.path)
    assert bundle.card.input["several_speakers"] == "not judged"
    session = bundle.session()
    for frames in (120, 333):  # time is free, and so is the batch
        features = np.random.default_rng(0).standard_normal((2, frames, 80)).astype(np.float32)
        (rows,) = session.run(None, {session.get_inputs()[0].name: features})
        assert np.abs(np.linalg.norm(rows, axis=1) - 1).max() < 1e-5


def test_the_command_prints_and_refuses(run_dir, tmp_path, capsys, monkeypatch) -> None:
    monkeypatch.setenv("VERIFY_MODELS", str(tmp_path))
    run = Runner(capsys)
    done = run("export", run_dir, "-o", tmp_path / "b", "--json")
    assert done.code == 0
    assert done.json["name"] == "b"
    assert done.json["agreement"]["samples"] == 32
    words = run("export", run_dir, "-o", tmp_path / "half", "--fp16", "--allow-loss")
    assert "graph beside torch" in words.out
    assert "fp16 beside fp32" in words.out
    assert "verify calibrate" in words.out
    for wrong in (("--int8", "--fp16"), ("--calibration-data", tmp_path), ("--data", tmp_path)):
        assert run("export", run_dir, "-o", tmp_path / "c", *wrong).code == 2
    assert run("export", tmp_path, "-o", tmp_path / "c").code == 2
    shown = run("models", "show", "b")  # as any other model
    assert shown.code == 0, shown.err
    assert "not stated" in shown.out
