"""A changed model: kept samples are embedded again, nothing is mixed, nobody comes back from the dead."""

from __future__ import annotations

import dataclasses
import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from tests.engine.fakes import FakeCapturer, point, template
from verify.engine import Verifier
from verify.engine.kept_sources import KeptSources, SourceState
from verify.engine.reindex import Replacement, plan, reindex, replaced_models, subjects_of
from verify.errors import DuplicateSubjectError, MediaError, UsageError
from verify.gallery import SqliteGallery
from verify.gallery.check import check_gallery
from verify.types import Capture, Modality, Outcome, Quality, Reason, Template

OLD, NEW, THIRD = "a" * 64, "b" * 64, "c" * 64
LONG_AGO = datetime(2021, 5, 1, tzinfo=UTC)


@dataclass
class FileCapturer(FakeCapturer):
    """A photo is a text file that says whom it shows; each model has directions, and a size, of its own."""

    dim: int = 64

    def capture(self, source, *, policy=None) -> Capture:
        del policy
        self.seen.append(str(source))
        try:
            content = Path(source).read_bytes()
        except OSError as error:
            message = f"{source}: gone"
            raise MediaError(message, reason=Reason.MISSING_FILE) from error
        sha = hashlib.sha256(content).hexdigest()
        text = content.decode()
        if text.startswith("blurred") and self.model_id == NEW:
            return Capture(
                str(source), sha, self.modality, failure=Reason.BLURRED, message=f"{source}: blurred"
            )
        vector = np.zeros(self.dim, np.float32)
        vector[:64] = np.roll(template(text).vector, 7 if self.model_id == NEW else 0)
        made = Template(vector, self.model_id, Modality.FACE)
        return Capture(str(source), sha, self.modality, made, Quality({"sharpness": 1.0}))


def ladder(model_id: str):
    return (point(1e-3, 0.5, model_id=model_id),)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    for name in ("anna-1", "anna-2", "bob-1", "cora-1", "cora-2"):
        path = folder / name.split("-")[0] / f"{name}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    return folder


@pytest.fixture
def old_model() -> FileCapturer:
    return FileCapturer(model_id=OLD, points=ladder(OLD))


@pytest.fixture
def new_model() -> FileCapturer:
    return FileCapturer(model_id=NEW, points=ladder(NEW), dim=96)


@pytest.fixture
def gallery(tmp_path: Path, photos: Path, old_model: FileCapturer):
    with SqliteGallery(tmp_path / "gallery.db") as store:
        verifier = Verifier(old_model, gallery=store, clock=lambda: LONG_AGO)
        for folder in sorted(photos.iterdir()):
            verifier.enroll(folder.name, sorted(folder.iterdir()), idempotency_key=f"key of {folder.name}")
        yield store


def job(new_model, gallery, *folders: Path, **how: bool) -> Replacement:
    return Replacement(new_model, gallery, (OLD,), KeptSources(folders), **how)


def run(work: Replacement):
    return {one.subject_id: one for one in reindex(work, subjects_of(work), workers=1)}


def models_of(gallery, subject: str) -> list[str]:
    return [record.model_id for record in gallery.records(subject)]


def test_all_references_become_the_new_model_s_and_decide_as_before(gallery, new_model, photos) -> None:
    assert {one.renewed for one in run(job(new_model, gallery)).values()} == {1, 2}
    assert gallery.model_ids(modality=Modality.FACE) == (NEW,)
    (photos / "probe.jpg").write_text("anna-9")
    verifier = Verifier(new_model, gallery=gallery)
    assert verifier.match("anna", photos / "probe.jpg").accepted
    assert verifier.match("bob", photos / "probe.jpg").outcome is Outcome.REJECT
    assert verifier.identify(photos / "probe.jpg", top_k=1).candidates[0].subject_id == "anna"
    assert check_gallery(gallery).ok
    assert not gallery.is_erasure_owed()


def test_provenance_survives_time_source_and_key(gallery, new_model, photos) -> None:
    before = list(gallery.records("anna"))
    run(job(new_model, gallery))
    after = list(gallery.records("anna"))
    for field in ("source", "source_sha256", "created_at", "idempotency_key", "modality"):
        assert [getattr(one, field) for one in after] == [getattr(one, field) for one in before]
    assert {one.template_id for one in after}.isdisjoint(one.template_id for one in before)
    verifier = Verifier(new_model, gallery=gallery)
    again = verifier.enroll("anna", sorted((photos / "anna").iterdir()), idempotency_key="key of anna")
    assert again.replayed
    with pytest.raises(DuplicateSubjectError):
        verifier.enroll("bob", [photos / "bob" / "bob-1.jpg"], idempotency_key="key of anna")


def test_what_cannot_be_embedded_again_stays_old_and_is_listed(gallery, new_model, photos) -> None:
    (photos / "anna" / "anna-1.jpg").unlink()
    (photos / "bob" / "bob-1.jpg").write_text("mallory-1")  # somebody else's photo under bob's name
    (photos / "cora" / "cora-2.jpg").unlink()
    (photos / "cora" / "cora-1.jpg").unlink()
    done = run(job(new_model, gallery))
    assert models_of(gallery, "anna") == [OLD, NEW]
    assert models_of(gallery, "bob") == [OLD]
    assert models_of(gallery, "cora") == [OLD, OLD]
    assert [one.usable for one in done.values()] == [True, False, False]
    assert "not where it was" in done["anna"].waiting[0].message
    assert "other content" in done["bob"].waiting[0].message
    assert done["bob"].renewed == 0


def test_templates_of_two_models_never_meet(gallery, new_model, old_model, photos) -> None:
    (photos / "bob" / "bob-1.jpg").unlink()
    run(job(new_model, gallery))
    (photos / "probe.jpg").write_text("bob-7")
    new, old = (Verifier(one, gallery=gallery) for one in (new_model, old_model))
    refused = new.match("bob", photos / "probe.jpg")
    assert (refused.outcome, refused.reason) == (Outcome.NO_DECISION, Reason.MODEL_MISMATCH)
    assert refused.score is None
    assert "'bob' waits for re-enrolment" in refused.message
    assert "bob" not in {one.subject_id for one in new.identify(photos / "probe.jpg", top_k=9).candidates}
    assert old.match("bob", photos / "probe.jpg").accepted  # the old model still knows its own
    assert old.match("anna", photos / "probe.jpg").reason is Reason.MODEL_MISMATCH
    assert {one.subject_id for one in old.identify(photos / "probe.jpg", top_k=9).candidates} == {"bob"}


def test_re_enrolment_and_retire_end_the_change(gallery, new_model, photos) -> None:
    (photos / "bob" / "bob-1.jpg").unlink()
    run(job(new_model, gallery))
    (photos / "bob-new.jpg").write_text("bob-2")
    Verifier(new_model, gallery=gallery).enroll("bob", [photos / "bob-new.jpg"])
    assert run(job(new_model, gallery))["bob"].usable
    assert models_of(gallery, "bob") == [OLD, NEW]  # nothing is removed unasked
    done = run(job(new_model, gallery, retire_all=True))
    assert (done["bob"].retired, done["bob"].waiting) == (1, ())
    assert gallery.model_ids(modality=Modality.FACE) == (NEW,)


def test_retire_leaves_a_subject_without_new_reference_alone(gallery, new_model, photos) -> None:
    (photos / "bob" / "bob-1.jpg").unlink()
    done = run(job(new_model, gallery, retire_all=True))
    assert models_of(gallery, "bob") == [OLD]
    assert len(done["bob"].waiting) == 1


def test_a_second_run_embeds_nothing_again(gallery, new_model, photos) -> None:
    (photos / "bob" / "bob-1.jpg").unlink()
    work = job(new_model, gallery, keep_old=True)
    assert sum(one.renewed for one in run(work).values()) == 4
    assert models_of(gallery, "anna") == [OLD, OLD, NEW, NEW]  # both models go on working
    new_model.seen.clear()
    second = run(work)
    assert (sum(one.renewed for one in second.values()), new_model.seen) == (0, [])
    assert [one.there for one in second.values()] == [2, 0, 2]
    third = run(job(new_model, gallery))
    assert sum(one.retired for one in third.values()) == 4
    assert models_of(gallery, "anna") == [NEW, NEW]
    assert new_model.seen == []


def test_an_interrupted_run_keeps_what_it_yielded(gallery, new_model) -> None:
    work = job(new_model, gallery)
    begun = reindex(work, subjects_of(work), workers=1)
    assert next(begun).subject_id == "anna"
    begun.close()
    assert models_of(gallery, "anna") == [NEW, NEW]
    assert models_of(gallery, "bob") == [OLD]
    new_model.seen.clear()
    assert set(run(work)) == {"bob", "cora"}
    assert not any("anna" in name for name in new_model.seen)


def test_a_subject_deleted_meanwhile_stays_deleted(gallery, new_model, tmp_path) -> None:
    work = job(new_model, gallery)
    begun = reindex(work, subjects_of(work), workers=1)
    next(begun)
    with SqliteGallery(tmp_path / "gallery.db") as other:
        other.delete("bob")
    rest = {one.subject_id: one for one in begun}
    assert (rest["bob"].renewed, rest["bob"].usable) == (0, False)
    assert "bob" not in gallery.subjects()
    assert check_gallery(gallery).ok


def test_two_runs_side_by_side_write_each_template_once(gallery, new_model, tmp_path) -> None:
    one = job(new_model, gallery)
    begun = reindex(one, subjects_of(one), workers=1)
    next(begun)
    with SqliteGallery(tmp_path / "gallery.db") as other:
        run(job(new_model, other))
    list(begun)
    assert models_of(gallery, "anna") == [NEW, NEW]
    assert models_of(gallery, "bob") == [NEW]
    assert check_gallery(gallery).ok


def test_old_templates_leave_no_bytes(gallery, new_model, tmp_path) -> None:
    from tests.gallery.makers import raw_bytes

    vector = gallery.templates("bob", model_id=OLD)[0].tobytes()
    assert vector in raw_bytes(tmp_path / "gallery.db")
    run(job(new_model, gallery))
    assert vector not in raw_bytes(tmp_path / "gallery.db")


def test_moved_samples_are_found_by_path_and_by_content(gallery, new_model, photos, tmp_path) -> None:
    archive = tmp_path / "archive"
    (archive / "deep").mkdir(parents=True)
    (photos / "bob" / "bob-1.jpg").rename(archive / "deep" / "4711.bin")
    (archive / "bob-1.jpg").write_text("mallory-1")  # the right name with another face
    assert run(job(new_model, gallery))["bob"].renewed == 0
    assert run(job(new_model, gallery, archive))["bob"].renewed == 1
    (record,) = gallery.records("bob")
    assert record.source == str(archive / "deep" / "4711.bin")


def test_relative_paths_are_looked_for_in_the_named_folders(tmp_path, monkeypatch) -> None:
    from tests.gallery.makers import record

    (tmp_path / "people").mkdir()
    (tmp_path / "people" / "anna.jpg").write_text("anna-1")
    sha = hashlib.sha256(b"anna-1").hexdigest()
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    kept = record("anna", source="people/anna.jpg", sha256=sha)
    assert KeptSources().find(kept) == (SourceState.MISSING, None)
    assert KeptSources((tmp_path,)).find(kept) == (SourceState.KEPT, tmp_path / "people" / "anna.jpg")
    changed = record("anna", source="people/anna.jpg", sha256="0" * 64)
    assert KeptSources((tmp_path,)).find(changed) == (SourceState.CHANGED, None)
    assert KeptSources().find(record("anna", source="<bytes>")) == (SourceState.NEVER_A_FILE, None)
    assert KeptSources().find(record("anna", source="a\0b")) == (SourceState.MISSING, None)
    with pytest.raises(UsageError, match="no folder"):
        KeptSources((tmp_path / "nowhere",))


def test_a_pipe_under_a_recorded_name_is_not_waited_for(tmp_path) -> None:
    import os

    from tests.gallery.makers import record

    os.mkfifo(tmp_path / "anna.jpg")
    found = KeptSources().find(record("anna", source=str(tmp_path / "anna.jpg")))
    assert found == (SourceState.MISSING, None)


def test_a_failed_capture_keeps_the_old_reference(gallery, new_model, old_model, photos) -> None:
    (photos / "dan.jpg").write_text("blurred-1")
    Verifier(old_model, gallery=gallery).enroll("dan", [photos / "dan.jpg"])
    done = run(job(new_model, gallery))["dan"]
    assert [one.reason for one in done.waiting] == [Reason.BLURRED]
    assert models_of(gallery, "dan") == [OLD]


def test_a_file_exchanged_between_the_look_and_the_capture_is_not_enrolled(
    gallery,
) -> None:
    class Exchanged(FileCapturer):
        def capture(self, source, *, policy=None):
            Path(source).write_text("mallory-1")
            return super().capture(source, policy=policy)

    capturer = Exchanged(model_id=NEW, points=ladder(NEW))
    done = run(job(capturer, gallery))
    assert {one.renewed for one in done.values()} == {0}
    assert gallery.model_ids(modality=Modality.FACE) == (OLD,)


def test_polluted_references_are_reported_and_kept(gallery, new_model, old_model, photos) -> None:
    (photos / "eve.jpg").write_text("anna-5")  # anna again, under another id
    Verifier(old_model, gallery=gallery).enroll("eve", [photos / "eve.jpg"])
    done = run(job(new_model, gallery))
    assert [f.reason for f in done["eve"].findings] == [Reason.LOOKS_LIKE_ANOTHER_SUBJECT]
    assert done["eve"].findings[0].subject_id == "anna"
    assert models_of(gallery, "eve") == [NEW]


def test_without_operating_points_nothing_is_refused(gallery) -> None:
    capturer = FileCapturer(model_id=NEW)
    done = run(job(capturer, gallery))
    assert sum(one.renewed for one in done.values()) == 5
    assert all(not one.findings for one in done.values())


def test_plan_tells_and_touches_nothing(gallery, new_model, photos) -> None:
    (photos / "bob" / "bob-1.jpg").unlink()
    work = job(new_model, gallery)
    planned = {one.subject_id: one for one in plan(work, subjects_of(work))}
    assert new_model.seen == []
    assert gallery.model_ids(modality=Modality.FACE) == (OLD,)
    done = run(work)
    for name, one in planned.items():
        assert (one.renewed, one.waiting, one.usable) == (
            done[name].renewed,
            done[name].waiting,
            done[name].usable,
        )


def test_which_models_are_replaced_must_be_clear(gallery, new_model) -> None:
    assert replaced_models(gallery, new_model) == (OLD,)
    third = FileCapturer(model_id=THIRD)
    with SqliteGallery(gallery.path) as store:
        store.add(
            "anna",
            [template("anna-1", model_id=THIRD)],
            records=[dataclasses.replace(next(iter(store.records("anna"))), model_id=THIRD)],
        )
    with pytest.raises(UsageError, match="--from"):
        replaced_models(gallery, new_model)
    assert replaced_models(gallery, new_model, asked=("aaaaaa", OLD)) == (OLD,)
    assert replaced_models(gallery, third) == (OLD,)
    for wrong in ("aaa", "nobody", "d" * 64, ""):
        with pytest.raises(UsageError, match="no one other model"):
            replaced_models(gallery, new_model, asked=(wrong,))


def test_two_old_models_of_one_sample_give_one_new_template(gallery, new_model) -> None:
    first = next(iter(gallery.records("bob")))
    gallery.add(
        "bob",
        [template("bob-1", model_id=THIRD)],
        records=[dataclasses.replace(first, model_id=THIRD)],
    )
    work = Replacement(new_model, gallery, (OLD, THIRD), KeptSources())
    assert run(work)["bob"].retired == 2
    assert models_of(gallery, "bob") == [NEW]
    kept = Replacement(new_model, gallery, (OLD,), KeptSources())
    assert subjects_of(kept) == ()


def test_the_cap_of_a_subject_enrolled_again_is_kept(gallery, new_model, photos) -> None:
    gallery.max_templates = 3
    again = [photos / f"again-{i}.jpg" for i in range(2)]
    for i, path in enumerate(again):
        path.write_text(f"anna-{20 + i}")
    (photos / "cora" / "cora-1.jpg").rename(photos / "hidden")
    (photos / "cora" / "cora-2.jpg").rename(photos / "hidden2")
    list(reindex(job(new_model, gallery), ("bob",), workers=1))
    Verifier(new_model, gallery=gallery).enroll("anna", again)
    done = run(job(new_model, gallery))
    assert done["anna"].renewed == 1
    assert [one.reason for one in done["anna"].waiting] == [Reason.TEMPLATE_CAP_REACHED]
    assert sorted(models_of(gallery, "anna")) == [OLD, NEW, NEW, NEW]
