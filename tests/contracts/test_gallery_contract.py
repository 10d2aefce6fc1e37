"""What every Gallery does. A new store joins by one line in `FACTORIES`."""

from __future__ import annotations

import dataclasses
import threading
import unicodedata

import numpy as np
import pytest

from tests.gallery.makers import MODEL, WHEN, enrol, record, template, unit
from verify.errors import (
    DataError,
    DuplicateSubjectError,
    EnrolmentRefusedError,
    GalleryError,
    ModelMismatchError,
    UnknownSubjectError,
    UsageError,
)
from verify.gallery import MemoryGallery, SqliteGallery
from verify.protocols import Gallery
from verify.types import Modality, Reason

FACTORIES = {
    "sqlite": lambda folder, **options: SqliteGallery(folder / "gallery.db", **options),
    "memory": lambda _, **options: MemoryGallery(**options),
}


@pytest.fixture(params=list(FACTORIES))
def make(request, tmp_path):
    made = []

    def factory(**options: int):
        made.append(FACTORIES[request.param](tmp_path, **options))
        return made[-1]

    yield factory
    for gallery in made:
        gallery.close()


@pytest.fixture
def gallery(make):
    return make()


def test_is_a_gallery(gallery):
    assert isinstance(gallery, Gallery)


def test_keeps_templates_and_provenance(gallery):
    quality = {"face_size_px": 120.5, "broken": float("nan")}
    stored = enrol(gallery, "ann", unit(1), unit(2), key="k", source="é/ann.jpg", quality=quality)
    assert [r.source_sha256 for r in stored] == ["sha0", "sha1"]
    assert stored == tuple(gallery.records("ann")) == gallery.replay("k")
    first = stored[0]
    assert (first.subject_id, first.source, first.created_at) == ("ann", "é/ann.jpg", WHEN)
    assert (first.quality, first.idempotency_key, first.model_id) == ({"face_size_px": 120.5}, "k", MODEL)
    np.testing.assert_array_equal(gallery.templates("ann", model_id=MODEL), np.stack([unit(1), unit(2)]))


def test_template_ids_are_never_reused(gallery):
    first = enrol(gallery, "ann", unit(1))[0].template_id
    gallery.delete("ann")
    assert enrol(gallery, "ann", unit(1))[0].template_id > first


def test_unknown_subjects_and_models_are_empty_not_errors(gallery):
    enrol(gallery, "ann", unit(1))
    assert gallery.templates("bob", model_id=MODEL).shape[0] == 0
    assert gallery.templates("ann", model_id="other").shape[0] == 0
    assert gallery.search(unit(1), model_id="other", top_k=3) == ()
    assert gallery.count(model_id="other") == 0
    assert gallery.replay("never") == ()
    assert list(gallery.records("bob")) == []


def test_search_ranks_subjects_by_their_best_template(gallery):
    rng = np.random.default_rng(3)
    kept = {f"s{i:02}": rng.standard_normal((1 + i % 3, 16)).astype(np.float32) for i in range(40)}
    for name, vectors in kept.items():
        np.divide(vectors, np.linalg.norm(vectors, axis=1, keepdims=True), out=vectors)
        enrol(gallery, name, *vectors)
    probe = unit(99)
    best = {name: float((v.astype(float) @ probe.astype(float)).max()) for name, v in kept.items()}
    expected = sorted(best, key=lambda name: (-best[name], name))
    for top_k in (1, 7, 40, 1000):
        found = gallery.search(probe, model_id=MODEL, top_k=top_k)
        assert [c.subject_id for c in found] == expected[:top_k]
        np.testing.assert_allclose([c.score for c in found], [best[n] for n in expected[:top_k]], atol=1e-12)


def test_ties_are_ordered_by_subject_id(gallery):
    for name in ("c", "a", "d", "b"):
        enrol(gallery, name, unit(1))
    enrol(gallery, "best", unit(2), unit(1))
    found = gallery.search(unit(1), model_id=MODEL, top_k=3)
    assert [c.subject_id for c in found] == ["a", "b", "best"]
    assert len({c.score for c in found}) == 1


def test_scores_never_leave_the_range_of_a_cosine(gallery):
    long = unit(1) * np.float32(1.0009)
    enrol(gallery, "ann", long)
    enrol(gallery, "opposite", -long)
    scores = [c.score for c in gallery.search(long, model_id=MODEL, top_k=2)]
    assert scores == [1.0, -1.0]


def test_models_are_never_mixed(gallery):
    enrol(gallery, "ann", unit(1))
    enrol(gallery, "ann", unit(2, 8), model_id="voice", modality=Modality.VOICE)
    enrol(gallery, "bob", unit(3, 8), model_id="voice", modality=Modality.VOICE)
    assert [c.subject_id for c in gallery.search(unit(3), model_id=MODEL, top_k=9)] == ["ann"]
    assert gallery.templates("ann", model_id="voice").shape == (1, 8)
    assert gallery.model_ids(modality=Modality.VOICE) == ("voice",)
    assert (gallery.count(model_id=MODEL), gallery.count(model_id="voice")) == (1, 2)
    assert gallery.subjects(model_id=MODEL) == ("ann",)
    assert gallery.subjects() == ("ann", "bob")


@pytest.mark.parametrize(
    "vector",
    [
        np.full(16, np.nan, np.float32),
        np.zeros(16, np.float32),
        unit(1) * 2,
        np.append(unit(1, 15), np.inf),
        unit(1)[None, :],
        np.empty(0, np.float32),
        np.array(["x"]),
    ],
)
def test_what_is_no_template_is_neither_stored_nor_searched(gallery, vector):
    with pytest.raises(DataError):
        enrol(gallery, "ann", unit(1), vector)
    assert gallery.subjects() == ()
    enrol(gallery, "ann", unit(1))
    with pytest.raises(DataError):
        gallery.search(vector, model_id=MODEL, top_k=1)


def test_a_probe_of_another_size_is_refused(gallery):
    enrol(gallery, "ann", unit(1))
    with pytest.raises(DataError, match="8 numbers"):
        gallery.search(unit(1, 8), model_id=MODEL, top_k=1)


@pytest.mark.parametrize(("dim", "modality"), [(8, Modality.FACE), (16, Modality.VOICE)])
def test_one_model_has_one_size_and_modality(gallery, dim, modality):
    enrol(gallery, "ann", unit(1))
    with pytest.raises(ModelMismatchError):
        enrol(gallery, "bob", unit(2, dim), modality=modality)
    assert gallery.subjects() == ("ann",)


def test_two_sizes_under_one_model_in_one_call_store_nothing(gallery):
    with pytest.raises(ModelMismatchError):
        enrol(gallery, "ann", unit(1), unit(1, 8))
    assert gallery.subjects() == ()


def test_the_cap_refuses_the_whole_enrolment(make):
    gallery = make(max_templates=3)
    enrol(gallery, "ann", unit(1), unit(2))
    with pytest.raises(EnrolmentRefusedError) as refused:
        enrol(gallery, "ann", unit(3), unit(4))
    assert refused.value.reason is Reason.TEMPLATE_CAP_REACHED
    assert len(gallery.templates("ann", model_id=MODEL)) == 2
    enrol(gallery, "ann", unit(3))
    enrol(gallery, "ann", unit(5, 8), model_id="another model")  # the cap is by model


def test_a_repeated_key_is_one_enrolment(gallery):
    first = enrol(gallery, "ann", unit(1), unit(2), key="k")
    again = enrol(gallery, "ann", unit(1), unit(2), key="k", source="uploaded anew.jpg")
    assert again == first
    assert len(list(gallery.records())) == 2


@pytest.mark.parametrize(
    ("subject", "count", "change"),
    [("ann", 2, {"sha256": "else"}), ("bob", 2, {}), ("ann", 2, {"model_id": "model-b"}), ("ann", 1, {})],
)
def test_a_key_with_other_content_is_refused(gallery, subject, count, change):
    enrol(gallery, "ann", unit(1), unit(2), key="k")
    with pytest.raises(DuplicateSubjectError, match="'k'"):
        enrol(gallery, subject, *[unit(1), unit(2)][:count], key="k", **change)
    assert len(list(gallery.records())) == 2


def test_a_key_is_new_again_after_its_subject_is_deleted(gallery):
    enrol(gallery, "ann", unit(1), key="k")
    gallery.delete("ann")
    assert gallery.replay("k") == ()
    enrol(gallery, "bob", unit(2), key="k")
    assert [r.subject_id for r in gallery.replay("k")] == ["bob"]


def test_delete_removes_the_subject_from_everything(gallery):
    enrol(gallery, "ann", unit(1), unit(2))
    enrol(gallery, "bob", unit(3))
    assert gallery.search(unit(1), model_id=MODEL, top_k=1)[0].subject_id == "ann"
    assert gallery.delete("ann") == 2
    assert gallery.subjects() == ("bob",)
    assert [c.subject_id for c in gallery.search(unit(1), model_id=MODEL, top_k=5)] == ["bob"]
    assert gallery.count(model_id=MODEL) == 1
    with pytest.raises(UnknownSubjectError, match="'ann'"):
        gallery.delete("ann")


def test_deleting_everybody_leaves_an_empty_gallery(gallery):
    enrol(gallery, "ann", unit(1))
    gallery.delete("ann")
    assert gallery.search(unit(1), model_id=MODEL, top_k=5) == ()
    assert gallery.model_ids(modality=Modality.FACE) == ()


HOSTILE = [
    *("../x", "..", "/etc/passwd", "'; DROP TABLE subject; --", '"', "%s{0}\\n", "[b]x[/b]", "NULL"),
    *("👩🏽\u200d🚀", "א ב", "x" * 256),
]


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_subject_ids_are_only_data(gallery, name):
    enrol(gallery, name, unit(1))
    enrol(gallery, "other", unit(2))
    name = unicodedata.normalize("NFC", name)
    assert gallery.search(unit(1), model_id=MODEL, top_k=1)[0].subject_id == name
    assert {r.subject_id for r in gallery.records(name)} == {name}
    assert gallery.delete(name) == 1
    assert gallery.subjects() == ("other",)


@pytest.mark.parametrize(
    "name", ["", "x" * 10_000, "é" * 129, "a\0b", "a\nb", "\ud800", " a", "\u202eabc", 7]
)
def test_bad_subject_ids_are_refused_and_not_repeated_in_full(gallery, name):
    for call in (lambda: enrol(gallery, name, unit(1)), lambda: gallery.delete(name)):
        with pytest.raises(UsageError) as refused:
            call()
        assert len(str(refused.value)) < 300
    assert gallery.subjects() == ()


def test_one_person_in_two_unicode_forms_is_one_subject(gallery):
    enrol(gallery, "Rene\u0301", unit(1))
    enrol(gallery, "Ren\u00e9", unit(2))
    assert gallery.subjects() == ("Ren\u00e9",)
    assert len(gallery.templates("Rene\u0301", model_id=MODEL)) == 2
    assert gallery.delete("Rene\u0301") == 2


def test_records_must_fit_their_templates(gallery):
    good = record("ann")
    wrong = [
        dataclasses.replace(good, subject_id="bob"),
        dataclasses.replace(good, model_id="other"),
        dataclasses.replace(good, modality=Modality.VOICE),
        dataclasses.replace(good, created_at=WHEN.replace(tzinfo=None)),
    ]
    for bad in wrong:
        with pytest.raises(DataError):
            gallery.add("ann", [template(unit(1))], records=[bad])
    for templates, records in (([], []), ([template(unit(1))], [])):
        with pytest.raises(UsageError):
            gallery.add("ann", templates, records=records)
    with pytest.raises(DataError, match="model_id"):
        enrol(gallery, "ann", unit(1), model_id="")
    assert gallery.subjects() == ()


@pytest.mark.parametrize("top_k", [0, -1])
def test_top_k_below_one_is_refused(gallery, top_k):
    with pytest.raises(UsageError, match="top_k"):
        gallery.search(unit(1), model_id=MODEL, top_k=top_k)


def test_records_come_by_subject_then_template(gallery):
    for name in ("b", "a", "ä", "B", "b"):
        enrol(gallery, name, unit(1))
    listed = [(r.subject_id, r.template_id) for r in gallery.records()]
    assert listed == sorted(listed)
    assert gallery.subjects() == ("B", "a", "b", "ä")


def test_a_closed_gallery_says_so(make):
    with make() as gallery:
        enrol(gallery, "ann", unit(1))
    gallery.close()
    for call in (
        lambda: gallery.search(unit(1), model_id=MODEL, top_k=1),
        lambda: enrol(gallery, "bob", unit(2)),
        lambda: list(gallery.records()),
        lambda: gallery.delete("ann"),
    ):
        with pytest.raises(GalleryError, match="closed"):
            call()


def test_repr_shows_no_template(gallery):
    stored = enrol(gallery, "ann", unit(1))
    number = f"{unit(1)[0]:.4f}"
    assert number not in repr(gallery) + repr(stored) + repr(vars(gallery))


def test_threads_search_while_others_enrol_and_delete(gallery):
    enrol(gallery, "anchor", unit(0))
    errors: list[BaseException] = []

    def guarded(work):
        try:
            work()
        except BaseException as error:  # noqa: BLE001  told to the main thread
            errors.append(error)

    def enrols(first):
        for i in range(first, first + 12):
            enrol(gallery, f"s{i}", unit(i))
            assert gallery.search(unit(i), model_id=MODEL, top_k=1)[0].subject_id == f"s{i}"
            if i % 2:
                gallery.delete(f"s{i}")

    def searches():
        for _ in range(150):
            assert gallery.search(unit(0), model_id=MODEL, top_k=2)[0].subject_id == "anchor"

    works = [lambda: enrols(100), lambda: enrols(200), searches, searches]
    threads = [threading.Thread(target=guarded, args=(work,)) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert gallery.count(model_id=MODEL) == len(gallery.subjects()) == 1 + 2 * 6
