"""What weights bring along stays with whatever begins from them: whose licence, and whom they were trained on."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

pytestmark = pytest.mark.train
torch = pytest.importorskip("torch", reason="needs the training extra")

from tests.training.run_folders import seeded_network, write_run  # noqa: E402
from tests.training.small_runs import small_recipe, small_set  # noqa: E402
from verify.models import open_bundle  # noqa: E402
from verify.models.learnt_from import KEY, known_identities  # noqa: E402
from verify.models.registry import find_entry  # noqa: E402
from verify.training import ancestry, run_card  # noqa: E402
from verify.training import checkpoint as checkpoints  # noqa: E402
from verify.training.ancestry import BEFORE, FORGOTTEN, Ancestry  # noqa: E402
from verify.training.export import ExportOptions, export_run  # noqa: E402
from verify.training.initial import load_initial  # noqa: E402
from verify.training.loop import train  # noqa: E402
from verify.training.shards import PreparedSet  # noqa: E402

STATED = {"licence": "CC-BY-NC-4.0", "licence_url": "https://example.org/licence", "commercial_use": False}
PUBLISHED = Ancestry(words="published weights of x", training_data="ten friends", **STATED)
SMALL = {"network": "mobilefacenet", "dim": 8, "options": {"width": 0.0625}}


@pytest.fixture(autouse=True)
def _one_thread(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(
        run_card, "_default_locator", lambda *_args, **_how: {"name": "yunet", "model_id": "1" * 64}
    )
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[tuple[Path, Path], tuple[Path, Path]]:
    """Two sets of different people, prepared and split: those of the first run, those of the second."""
    folder = tmp_path_factory.mktemp("made")
    return tuple(  # type: ignore[return-value]
        small_set(folder / str(seed), train=4, validation=2, samples=2, seed=seed) for seed in (1, 2)
    )


def recipe(where: tuple[Path, Path], **sections: Any):
    return small_recipe(
        *where, **{"model": SMALL, "sampler": {"batch": 8}, "schedule": {"epochs": 1}} | sections
    )


@pytest.fixture(scope="module")
def chain(made, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A run that began from published weights, and a trained run that began from it, on other people."""
    folder = tmp_path_factory.mktemp("chain")
    first = recipe(made[0], model=SMALL | {"initial": "published"})
    write_run(folder / "first", first, first=PUBLISHED, model=seeded_network(first))
    second = recipe(made[1], name="second", model=SMALL | {"initial": str(folder / "first")})
    train(second, run_dir=folder / "second", device="cpu")
    return folder / "first", folder / "second"


def people(prepared: Path, part: str) -> list[tuple[str, str]]:
    """(subject, sha256) of the files of a part: of six subjects the first four were trained on."""
    data = PreparedSet.open(prepared)
    subjects = [data.subjects[owner] for owner in data.owner.tolist()]
    chosen = set(data.subjects[:4]) if part == "train" else set(data.subjects[4:])
    files = zip(subjects, (sha256.decode() for sha256 in data.sha256s.tolist()), strict=True)
    return [(subject, sha256) for subject, sha256 in files if subject in chosen]


def known(source: dict[str, Any], prepared: Path, part: str) -> int:
    return len(known_identities(SimpleNamespace(sources=(source,)), people(prepared, part)))


def test_a_run_from_a_run_keeps_its_licence_and_its_people_to_the_card(chain, made, tmp_path) -> None:
    for checkpoint in ("best", "last"):
        target = tmp_path / checkpoint
        done = export_run(chain[1], target, options=ExportOptions(checkpoint=checkpoint))
        card = open_bundle(done.path).card
        assert (card.licence, card.licence_url, card.commercial_use) == tuple(STATED.values())
        for prepared, _ in made:
            assert known(card.sources[0], prepared, "train") == 4
            assert known(card.sources[0], prepared, "validation") == 0
        first, second = (PreparedSet.open(prepared).sha256[:12] for prepared, _ in made)
        steps = (
            f"data {second}",
            "begun from run small, step 7",
            f"data {first}",
            "begun from published weights of x, trained on: ten friends",
        )
        places = [card.training_data.find(step) for step in steps]
        assert places == sorted(places)
        assert places[0] > 0, card.training_data
        assert str(tmp_path.parent) not in (done.path / "card.json").read_text()


def test_a_stated_licence_does_not_lift_what_the_first_one_forbids(chain, tmp_path) -> None:
    card = open_bundle(export_run(chain[1], tmp_path / "b", options=ExportOptions(licence="mine")).path).card
    assert (card.licence, card.commercial_use) == ("mine", False)


def begun(initial: Path) -> Ancestry:
    return load_initial(seeded_network_like(), str(initial), network="mobilefacenet")


def seeded_network_like() -> torch.nn.Module:
    from verify.nets.registry import make_network

    return make_network("mobilefacenet", dim=SMALL["dim"], **SMALL["options"])


def changed(run: Path, copy: Path, **values: Any) -> Path:
    """A copy of a run's last checkpoint with other values in its state; None removes one."""
    checkpoints._new_folder(copy)
    for path in (run / "checkpoints" / "last").iterdir():
        (copy / path.name).write_bytes(path.read_bytes())
    state = json.loads((copy / checkpoints.STATE).read_bytes()) | values
    kept = {key: value for key, value in state.items() if value is not None}
    (copy / checkpoints.STATE).write_text(json.dumps(kept))
    return copy


def test_a_checkpoint_s_file_of_weights_brings_as_much_as_its_run(chain, made, tmp_path) -> None:
    whole = begun(chain[0])
    part = begun(chain[0] / "checkpoints" / "best" / "model.safetensors")
    assert part.words.startswith("model.safetensors (sha256 ")
    assert dataclasses.replace(part, words=whole.words) == whole
    assert known({KEY: sorted(part.learnt_from)}, made[0][0], "train") == 4
    elsewhere = tmp_path / "weights.safetensors"
    elsewhere.write_bytes((chain[0] / "checkpoints" / "best" / "model.safetensors").read_bytes())
    assert begun(elsewhere) == Ancestry(words=begun(elsewhere).words)  # nobody knows


def test_a_checkpoint_without_marks_is_asked_through_its_data(chain, tmp_path) -> None:
    whole = begun(chain[0])
    old = changed(chain[0], tmp_path / "old", **{KEY: None})
    assert begun(old) == whole
    for name, values in (("other", {"data_sha256": "0" * 64}), ("gone", {"recipe": gone(chain[0])})):
        lost = begun(changed(chain[0], tmp_path / name, **{KEY: None} | values))
        assert lost.learnt_from == frozenset()
        assert FORGOTTEN in lost.words
        assert lost.licence == STATED["licence"]


def gone(run: Path) -> dict[str, Any]:
    recipe = checkpoints.read_state(run / "checkpoints" / "last")["recipe"]
    (section,) = recipe["data"]["sets"]
    return recipe | {"data": recipe["data"] | {"sets": [section | {"prepared": "nowhere"}]}}


def test_published_weights_have_the_registry_s_licence() -> None:
    entry = find_entry("inception-resnet-v1-vggface2")
    model = {"network": "inception_resnet_v1", "initial": "published"}
    before = dataclasses.asdict(ancestry.of_entry(entry, words=""))
    for state in ({"recipe": {"model": model}, BEFORE: before}, {"recipe": {"model": model}}):
        found = ancestry.licence_of(state)
        assert found == (entry.licence, entry.licence_url, entry.commercial_use)
        assert entry.training_data in ancestry.training_data_of(state)
    random = {"recipe": {"model": model | {"initial": ""}}, BEFORE: {}}
    assert ancestry.licence_of(random) == ("", "", True)
    assert "begun from" not in ancestry.training_data_of(random)
