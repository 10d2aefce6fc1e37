"""Initial weights: all tensors of the right network, or a sentence that says which are not."""

from __future__ import annotations

import shutil

import pytest

from verify.errors import DataError, DownloadError, ModelIntegrityError, UsageError
from verify.nets.registry import make_network

pytestmark = pytest.mark.train
torch = pytest.importorskip("torch", reason="needs the training extra")
safetensors = pytest.importorskip("safetensors.torch", reason="needs the training extra")


def net(name: str = "mobilefacenet", *, seed: int = 0, **options: object):
    torch.manual_seed(seed)
    return make_network(name, **{"width": 0.125, "dim": 16, **options})


def same(one, other) -> bool:
    theirs = other.state_dict()
    return all(torch.equal(tensor, theirs[name]) for name, tensor in one.state_dict().items())


def load(target, initial, *, network="mobilefacenet", **options: object) -> str:
    from verify.training.initial import load_initial

    return load_initial(target, str(initial), network=network, **options).words


@pytest.fixture
def run(tmp_path):
    """A run's folder with one checkpoint, last and best, as the training loop writes it."""
    from verify.training import checkpoint

    source = net(seed=1)
    average = net(seed=2)
    state = {
        "network": {"name": "mobilefacenet"},
        "weights": "ema",
        "recipe": {"name": "small"},
        "recipe_sha256": "ab" * 32,
        "learnt_from": [],
    }
    tensors = {"model": source.state_dict(), "ema": average.state_dict()}
    checkpoint.save(tmp_path / "run", step=7, tensors=tensors, state=state)
    return tmp_path / "run", average


@pytest.mark.parametrize("kind", ["safetensors", "pt", "pth", "section", "wrapped"])
def test_files_of_weights(tmp_path, kind) -> None:
    source, target = net(seed=1), net(seed=2)
    path = tmp_path / f"w.{kind if kind in ('safetensors', 'pth') else 'pt'}"
    state = source.state_dict()
    if kind == "safetensors":
        safetensors.save_file(state, path)
    elif kind == "section":
        torch.save({"epoch": 3, "state_dict": state}, path)
    elif kind == "wrapped":
        torch.save({f"module.{name}": tensor for name, tensor in state.items()}, path)
    else:
        torch.save(state, path)
    assert not same(source, target)
    words = load(target, path)
    assert same(source, target)
    assert words.startswith(f"{path.name} (sha256 ")
    assert str(tmp_path) not in words


def test_half_precision_is_taken_and_counters_may_lack(tmp_path) -> None:
    source, target = net(seed=1), net(seed=2)
    halves = {
        name: tensor.half()
        for name, tensor in source.state_dict().items()
        if not name.endswith("num_batches_tracked")
    }
    torch.save(halves, tmp_path / "w.pt")
    load(target, tmp_path / "w.pt")
    assert target.linear.weight.dtype == torch.float32
    torch.testing.assert_close(target.linear.weight, source.linear.weight, atol=1e-3, rtol=1e-2)


def test_a_run_gives_its_averaged_weights(run) -> None:
    folder, average = run
    for place in (folder, folder / "checkpoints" / "last"):
        target = net(seed=3)
        words = load(target, place)
        assert same(target, average)
        assert words == f"run small, step 7 (recipe sha256 {'ab' * 32})"


def test_the_best_checkpoint_comes_before_the_last(run) -> None:
    from verify.training import checkpoint

    folder, _ = run
    best = net(seed=4)
    state = {
        "network": {"name": "mobilefacenet"},
        "weights": "model",
        "recipe": {"name": "small"},
        "recipe_sha256": "cd" * 32,
    }
    checkpoint.save(folder, step=3, tensors={"model": best.state_dict()}, state=state)
    checkpoint.publish(checkpoint.folder_of(folder) / "step-000003", name=checkpoint.BEST)
    target = net(seed=3)
    assert "step 3" in load(target, folder)
    assert same(target, best)


def test_a_run_of_another_network_is_refused(run) -> None:
    with pytest.raises(UsageError, match=r"trained mobilefacenet, not iresnet18; set model\.network"):
        load(net("iresnet18"), run[0], network="iresnet18")


def test_a_damaged_run_is_refused(run) -> None:
    (place,) = (run[0] / "checkpoints").glob("step-*")
    shutil.rmtree(run[0] / "checkpoints" / "last")
    (place / "ema.safetensors").write_bytes((place / "model.safetensors").read_bytes())
    with pytest.raises(ModelIntegrityError, match=r"ema\.safetensors differs from what was written"):
        load(net(), place)


def test_weights_of_another_network_name_what_lacks_and_what_is_too_much(tmp_path) -> None:
    torch.save(net("iresnet18").state_dict(), tmp_path / "w.pt")
    target = net(seed=5)
    before = {name: tensor.clone() for name, tensor in target.state_dict().items()}
    words = r"is not mobilefacenet: it lacks stem\.0\.conv\.weight, .* more and has beside it conv1\.weight, .* more"
    with pytest.raises(UsageError, match=words):
        load(target, tmp_path / "w.pt")
    assert all(torch.equal(tensor, before[name]) for name, tensor in target.state_dict().items())


def test_another_embedding_size_is_refused_with_the_way_out(tmp_path) -> None:
    torch.save(net(dim=24).state_dict(), tmp_path / "w.pt")
    with pytest.raises(UsageError, match=r"linear\.weight \(24, 64\), not \(16, 64\).*set model\.dim = 24"):
        load(net(), tmp_path / "w.pt")


def test_another_width_is_refused_with_the_way_out(tmp_path) -> None:
    torch.save(net(width=0.25).state_dict(), tmp_path / "w.pt")
    with pytest.raises(UsageError, match=r"mobilefacenet of another shape: .*give model\.options"):
        load(net(), tmp_path / "w.pt")


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 nothing", b"\x80\x02cos\nsystem\n."])
def test_files_that_are_no_weights(tmp_path, content) -> None:
    (tmp_path / "w.pt").write_bytes(content)
    with pytest.raises(DataError, match=r"w\.pt"):
        load(net(), tmp_path / "w.pt")


def test_places_that_are_nothing(tmp_path) -> None:
    with pytest.raises(UsageError, match=r"nowhere\.pt.*no such file or folder; it is 'published'"):
        load(net(), tmp_path / "nowhere.pt")
    with pytest.raises(UsageError, match=r"is no run: it has neither state\.json nor a checkpoint"):
        load(net(), tmp_path)


def test_nothing_is_published_for_most_networks() -> None:
    with pytest.raises(
        UsageError, match=r"no weights are published for mobilefacenet; .* campplus, inception"
    ):
        load(net(), "published")


def test_published_weights_are_fetched_checked_and_kept(tmp_path, monkeypatch) -> None:
    from dataclasses import replace

    from verify.models.identity import file_sha256
    from verify.models.registry import WeightsFile, find_entry
    from verify.training import initial

    source = net("campplus", seed=1)
    path = tmp_path / "theirs.pt"
    torch.save(source.state_dict(), path)
    sha256 = file_sha256(path)
    entry = replace(
        find_entry("campplus"), weights=(WeightsFile("theirs.pt", sha256, path.stat().st_size),), sources=()
    )
    monkeypatch.setattr(initial, "find_entry", lambda _: entry)
    shelf = tmp_path / "models"
    with pytest.raises(DownloadError, match="campplus could not be brought"):
        load(net("campplus"), "published", network="campplus", models_dir=shelf)
    path.rename(shelf / "theirs.pt")
    for _ in range(2):  # it is still there for the second run
        target = net("campplus", seed=2)
        words = load(target, "published", network="campplus", models_dir=shelf)
        assert words == f"published weights of campplus (theirs.pt, sha256 {sha256})"
        assert same(target, source)
    assert [item.name for item in shelf.iterdir()] == ["theirs.pt"]


@pytest.mark.models
def test_published_campplus_embeds_as_its_bundle(models_dir, tmp_path) -> None:
    import numpy as np

    from verify.errors import VerifyError
    from verify.models.bundle import load_session
    from verify.training.graph import to_graph

    target = make_network("campplus")
    try:
        load(target, "published", network="campplus", models_dir=tmp_path)
    except VerifyError as error:
        pytest.skip(f"the weights cannot be fetched here: {error}")
    features = np.random.default_rng(0).standard_normal((2, 230, 80)).astype(np.float32)
    bundle = load_session(models_dir / "campplus" / "model.onnx")
    ours = load_session(to_graph(target, network="campplus").SerializeToString())
    (one,), (other,) = (session.run(None, {"features": features}) for session in (bundle, ours))
    np.testing.assert_array_equal(one, other)
