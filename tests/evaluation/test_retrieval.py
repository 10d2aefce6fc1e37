"""`verify evaluate --retrieval --embeddings-plot`, over a capturer without models."""

from __future__ import annotations

import json

import numpy as np
import pytest

from tests.evaluation.people import MODEL_ID, PeopleCapturer, write_people
from verify.cli import main
from verify.data.manifest import read_manifest
from verify.errors import InsufficientTrialsError, UsageError
from verify.evaluation.conditions import conditions_of
from verify.evaluation.embedded_source import EmbeddedSource
from verify.evaluation.embeddings import EmbeddedSet, embed_all
from verify.evaluation.projection import drawn, pca, without_subjects
from verify.evaluation.retrieval import lower_bounds, retrieval_figures
from verify.metrics import retrieval_measures


@pytest.fixture(scope="module")
def people(tmp_path_factory):
    """Forty people; a CSV with a session of each file, a camera that says nothing and a site of each person."""
    root = write_people(tmp_path_factory.mktemp("data") / "people", subjects=40, samples=4, failing=3)
    lines = ["subject,path,session,camera,site"]
    for number, path in enumerate(sorted(root.rglob("*.jpg"))):
        camera = "phone" if number % 3 else "webcam"
        site = "north" if path.parent.name < "person020" else "south"
        lines.append(f"{path.parent.name},{path.relative_to(root)},{path.stem},{camera},{site}")
    (root / "people.csv").write_text("\n".join(lines) + "\n")
    return root


@pytest.fixture(scope="module")
def embedded(people) -> EmbeddedSet:
    return embed_all(PeopleCapturer(noise=1.5), read_manifest(people / "people.csv"))


@pytest.fixture
def verify(monkeypatch, capsys, tmp_path):
    capturer = PeopleCapturer(noise=1.5)
    capturer.bundle.operating_points = tuple
    monkeypatch.setattr("verify.capture.Capturer.open", lambda *_, **__: capturer)
    monkeypatch.setattr("verify.cli.evaluation.model_facts", lambda _: {"name": "people", "modality": "face"})
    monkeypatch.chdir(tmp_path)

    def run(*arguments: object):
        with pytest.raises(SystemExit) as ended:
            main(["evaluate", *map(str, arguments), "--no-cache"])
        captured = capsys.readouterr()
        return ended.value.code or 0, captured.out, captured.err

    return run


def test_figures_are_those_of_the_usable_samples(embedded):
    source = EmbeddedSource.of(embedded, model_id=MODEL_ID)
    everyone = np.ones(40, dtype=bool)
    values = {figure.name: figure.value for figure in retrieval_figures(source, among=everyone)}
    usable = source.usable()
    by_hand = retrieval_measures(source.vectors[usable], subjects=source.owner[usable])
    assert values["retrieval queries"] == 160
    assert values["queries without a mate"] == 0
    assert values["Recall@1"] == by_hand.recall_at[1] > 0.3
    assert values["mAP@R"] == by_hand.map_at_r
    assert 0 < values["linear probe"] <= 1
    half = {figure.name: figure.value for figure in retrieval_figures(source, among=np.arange(40) < 20)}
    assert half["retrieval queries"] == 80
    assert half["Recall@1"] > values["Recall@1"]  # fewer to be taken for


def test_bounds_are_lower_and_over_people(embedded):
    source = EmbeddedSource.of(embedded, model_id=MODEL_ID)
    found = retrieval_measures(source.vectors[source.usable()], subjects=source.owner[source.usable()])
    bounds = lower_bounds(found)
    assert bounds.keys() == found.values.keys()
    for name, value in found.values.items():
        assert value - 0.2 < bounds[name] < value
    assert bounds == lower_bounds(found)
    assert lower_bounds(found, confidence=0.5)["MRR"] == pytest.approx(found.mrr, abs=0.01)


def test_people_of_one_sample_each_cannot_be_retrieved(tmp_path):
    root = write_people(tmp_path / "people", subjects=5, samples=1)
    source = EmbeddedSource.of(embed_all(PeopleCapturer(), read_manifest(root)), model_id=MODEL_ID)
    with pytest.raises(InsufficientTrialsError, match=r"^people: none of 5 queries has a mate"):
        retrieval_figures(source, among=np.ones(5, dtype=bool))


def test_conditions_are_the_columns_else_the_usual_measures(embedded, people):
    found = conditions_of(embedded)
    assert [one.name for one in found] == ["session", "camera", "site"]
    assert found[1].values == ("phone", "webcam")
    (chosen,) = conditions_of(embedded, ["camera"])
    assert chosen == found[1]
    plain = embed_all(PeopleCapturer(), read_manifest(people))
    assert conditions_of(plain) == ()
    with pytest.raises(UsageError, match=r"no column or measure 'camra'; did you mean 'camera'\?"):
        conditions_of(embedded, ["camra"])


def test_a_measure_is_coloured_by_quarters(embedded):
    rng = np.random.default_rng(0)
    blur = rng.random(len(embedded.entries))
    blur[:3] = np.nan
    constant = np.zeros(len(blur))
    measured = EmbeddedSet(
        name="people", entries=embedded.entries, vectors=embedded.vectors, failures=embedded.failures,
        quality={"sharpness": blur, "flat": constant, "snr_db": np.full(len(blur), np.nan)},
    )  # fmt: skip
    sharp, flat, none = conditions_of(measured, ["sharpness", "flat", "snr_db"])
    assert sharp.ordered
    assert sharp.labels[:3] == ("", "", "")
    counts = [sharp.labels.count(value) for value in sharp.values]
    assert len(counts) == 4
    assert max(counts) - min(counts) <= 1
    assert sharp.values[0].startswith("below")
    assert sharp.values[-1].startswith("from")
    assert len(flat.values) == 1
    assert none.values == ()


def test_drawn_takes_whole_subjects_and_no_others_when_people_come():
    subjects = [f"s{k // 4}" for k in range(400)] + ["alone"]
    rows = drawn(subjects, most=100)
    chosen = {subjects[row] for row in rows}
    assert len(rows) == 100
    assert len(chosen) == 25
    assert "alone" not in chosen
    more = [f"t{k}" for k in range(4)] * 2 + subjects
    again = {more[row] for row in drawn(more, most=100)}
    assert len(chosen & again) >= 22
    assert len(drawn(["a"] * 300 + ["b"] * 300, most=100)) == 600  # two people at least


def test_pca_is_the_plane_of_most_variance():
    rng = np.random.default_rng(1)
    vectors = rng.normal(size=(200, 5)) * [1, 9, 1, 4, 1]
    places = pca(vectors)
    assert np.abs(np.corrcoef(places[:, 0], vectors[:, 1])[0, 1]) > 0.99
    assert np.abs(np.corrcoef(places[:, 1], vectors[:, 3])[0, 1]) > 0.98
    assert pca(vectors[:, :1]).shape == (200, 2)


def test_without_subjects_only_the_capture_is_left():
    rng = np.random.default_rng(2)
    owner = np.append(np.repeat(np.arange(30), 4), 30)
    camera = np.append(np.tile([0, 0, 1, 1], 30), 0)
    vectors = 5 * rng.normal(size=(31, 6))[owner] + 0.1 * rng.normal(size=(121, 6))
    vectors[:, 2] += camera
    places = without_subjects(vectors, owner)
    assert places[-1] is None
    across = np.array([place[0] for place in places[:-1]])
    assert np.abs(np.corrcoef(across, camera[:-1])[0, 1]) > 0.95
    assert without_subjects(vectors[:1], np.array([0])) == [None]


def test_the_command_writes_the_map_and_says_the_numbers(verify, people, tmp_path):
    code, out, _ = verify(
        people / "people.csv", "--model", "face", "--retrieval", "--embeddings-plot", "map.html",
        "--projection", "pca", "--colour", "camera", "--colour", "site", "--no-report",
    )  # fmt: skip
    assert code == 0
    assert "Recall@1" in out
    assert "linear probe" in out
    assert "camera" in out
    assert "no trace" in out
    assert "written to map.html" in out
    html = (tmp_path / "map.html").read_text()
    assert html.count('<svg class="map"') == 4  # identity, camera, site; camera without the person
    assert "160 of 163 samples" in html
    assert "Recall@1" in html
    assert not (tmp_path / "evaluation.html").exists()
    code, _, err = verify(people, "--model", "face", "--embeddings-plot", "map.html")
    assert code == 2
    assert "map.html exists already" in err


def test_json_holds_figures_and_probes(verify, people):
    code, out, _ = verify(
        people / "people.csv", "--model", "face", "--retrieval", "--embeddings-plot", "map.html",
        "--projection", "pca", "--json",
    )  # fmt: skip
    found = json.loads(out)
    assert code == 0
    names = [figure["name"] for figure in found["facts"]["protocol"]["figures"]]
    assert {"Recall@10", "MRR", "mAP@R", "nDCG", "5-NN accuracy", "linear probe"} <= set(names)
    probes = {one["name"]: one for one in found["probes"]}
    assert list(probes) == ["identity", "session", "camera", "site"]
    assert probes["camera"]["probe"]["accuracy"] == pytest.approx(0.5, abs=0.2)
    assert probes["site"]["probe"]["shuffled"] == "between subjects"
    assert found["written"] == ["evaluation.html", "evaluation.json", "map.html"]


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("--colour", "camera"), 2, "--embeddings-plot"),
        (("--embeddings-plot", "map.html", "--colour", "camra", "--projection", "pca"), 2, "did you mean 'camera'?"),
        (("--embeddings-plot", "gone/map.html"), 2, "make it first"),
        (("--retrieval", "--trial-list", "pairs.txt"), 2, "leave --trial-list and --scores out"),
        (("--embeddings-plot", "map.html", "--projection", "sne"), 2, "sne"),
    ],
)  # fmt: skip
def test_bad_options_are_named(verify, people, arguments, code, words):
    found, _, err = verify(people / "people.csv", "--model", "face", *arguments)
    assert found == code
    assert words in err
