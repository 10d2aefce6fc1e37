"""Export and import: whole or not at all, checked before anything is written."""

from __future__ import annotations

import hashlib
import json
import stat

import numpy as np
import pytest

from tests.gallery.makers import MODEL, WHEN, enrol, raw_bytes, unit
from verify.errors import (
    DuplicateSubjectError,
    EnrolmentRefusedError,
    GalleryError,
    ModelMismatchError,
    UsageError,
)
from verify.gallery import SqliteGallery
from verify.gallery.check import check_gallery
from verify.gallery.export import export_gallery
from verify.gallery.restore import ImportSummary, OnConflict, import_gallery
from verify.types import Modality


@pytest.fixture
def gallery(tmp_path):
    with SqliteGallery(tmp_path / "gallery.db") as made:
        enrol(made, "ann", unit(1), unit(2), key="ann's key", source="é.jpg", quality={"snr_db": 3.5})
        enrol(made, "ann", unit(3, 8), model_id="voice", modality=Modality.VOICE)
        enrol(made, "../b '\"", unit(4))
        yield made


@pytest.fixture
def other(tmp_path):
    with SqliteGallery(tmp_path / "other.db") as made:
        yield made


@pytest.fixture
def exported(gallery, tmp_path):
    export_gallery(gallery, tmp_path / "export.jsonl", now=WHEN)
    return tmp_path / "export.jsonl"


def content(gallery):
    facts = [
        (r.subject_id, r.model_id, r.source, r.source_sha256, r.created_at, r.quality, r.idempotency_key)
        for r in gallery.records()
    ]
    vectors = [gallery.templates(r.subject_id, model_id=r.model_id).tobytes() for r in gallery.records()]
    return facts, vectors


def rewrite(path, change):
    """Change the lines of an export and close it with a checksum that fits."""
    lines = [json.loads(line) for line in path.read_bytes().splitlines()][:-1]
    change(lines)
    body = b"".join(json.dumps(line).encode() + b"\n" for line in lines)
    path.write_bytes(body + json.dumps({"sha256": hashlib.sha256(body).hexdigest()}).encode() + b"\n")


def test_a_round_trip_keeps_everything(gallery, other, exported):
    assert stat.S_IMODE(exported.stat().st_mode) == 0o600
    assert import_gallery(other, exported) == ImportSummary(added=3, templates=4)
    assert content(other) == content(gallery)
    assert check_gallery(other).ok
    again = enrol(other, "ann", unit(1), unit(2), key="ann's key")  # the key still knows its enrolment
    assert len(again) == 2
    assert content(other) == content(gallery)


def test_importing_twice_changes_nothing(gallery, other, exported):
    import_gallery(other, exported)
    before = [r.template_id for r in other.records()]
    assert import_gallery(other, exported) == ImportSummary(unchanged=3)
    assert import_gallery(gallery, exported, on_conflict=OnConflict.REPLACE) == ImportSummary(unchanged=3)
    assert [r.template_id for r in other.records()] == before


def test_one_enrolment_with_two_models_under_one_key_survives(gallery, other, tmp_path):
    from tests.gallery.makers import record, template

    both = [template(unit(5)), template(unit(6, 8), model_id="voice", modality=Modality.VOICE)]
    records = [record("eve"), record("eve", model_id="voice", modality=Modality.VOICE)]
    gallery.add("eve", both, records=records, idempotency_key="both")
    export_gallery(gallery, tmp_path / "e", now=WHEN)
    import_gallery(other, tmp_path / "e")
    assert len(other.add("eve", both, records=records, idempotency_key="both")) == 2
    assert len(other.require("eve")) == 2


def test_an_export_is_one_moment_and_never_overwrites(gallery, exported):
    before = exported.read_bytes()
    with pytest.raises(UsageError, match="exists already"):
        export_gallery(gallery, exported, now=WHEN)
    assert exported.read_bytes() == before


def test_conflicts_follow_the_policy(other, exported):
    enrol(other, "ann", unit(9))
    mine = other.templates("ann", model_id=MODEL)
    with pytest.raises(DuplicateSubjectError, match="--on-conflict"):
        import_gallery(other, exported)
    assert other.subjects() == ("ann",)
    skipped = import_gallery(other, exported, on_conflict=OnConflict.SKIP)
    assert skipped == ImportSummary(added=2, skipped=1, templates=2)
    np.testing.assert_array_equal(other.templates("ann", model_id=MODEL), mine)
    replaced = import_gallery(other, exported, on_conflict=OnConflict.REPLACE)
    assert replaced == ImportSummary(unchanged=2, replaced=1, templates=2)
    assert other.templates("ann", model_id=MODEL).shape == (2, 16)
    assert other.templates("ann", model_id="voice").shape == (1, 8)
    assert unit(9).tobytes() not in raw_bytes(other.path)
    assert check_gallery(other).ok


def test_templates_of_another_model_are_refused_unless_asked_for(other, exported):
    enrol(other, "zoe", unit(9), model_id="newer model")
    with pytest.raises(ModelMismatchError, match="--allow-other-models"):
        import_gallery(other, exported)
    assert other.subjects() == ("zoe",)
    import_gallery(other, exported, allow_other_models=True)
    assert other.model_ids(modality=Modality.FACE) == (MODEL, "newer model")


def test_a_model_of_another_size_is_refused_even_then(other, exported):
    enrol(other, "zoe", unit(9, 32))
    with pytest.raises(ModelMismatchError, match="wrong model_id"):
        import_gallery(other, exported, allow_other_models=True)


def test_a_key_of_somebody_else_is_refused(other, exported):
    enrol(other, "zoe", unit(9), key="ann's key")
    with pytest.raises(DuplicateSubjectError, match="'zoe'"):
        import_gallery(other, exported, on_conflict=OnConflict.REPLACE)
    assert other.subjects() == ("zoe",)


def test_the_cap_holds_for_imports(tmp_path, exported):
    with SqliteGallery(tmp_path / "small.db", max_templates=1) as small:
        with pytest.raises(EnrolmentRefusedError):
            import_gallery(small, exported)
        assert small.subjects() == ()


def test_any_single_changed_byte_is_noticed(other, exported):
    raw = exported.read_bytes()
    for at in np.random.default_rng(1).choice(len(raw), 120, replace=False):
        exported.write_bytes(raw[:at] + bytes([raw[at] ^ 1]) + raw[at + 1 :])
        with pytest.raises((GalleryError, UsageError)):
            import_gallery(other, exported)
    assert other.subjects() == ()


def test_a_truncated_or_lengthened_file_is_refused(other, exported):
    raw = exported.read_bytes()
    for broken in (
        b"",
        b"\n",
        raw[:-1],
        raw[: len(raw) // 2],
        raw + raw,
        raw + b"x",
        b"[" * 5000 + b"\n",
        b"7\n",
    ):
        exported.write_bytes(broken)
        with pytest.raises(GalleryError):
            import_gallery(other, exported)
    assert other.subjects() == ()


@pytest.mark.parametrize(
    "change",
    [
        lambda lines: lines[1].update(vector="AAAA"),
        lambda lines: lines[1].update(vector="?"),
        lambda lines: lines[1].update(model_id="unheard of"),
        lambda lines: lines[1].update(subject_id="a\0b"),
        lambda lines: lines[1].update(subject_id=3),
        lambda lines: lines[1].update(created_at="2026-01-01T00:00:00"),
        lambda lines: lines[1].update(quality={"x": float("nan")}),
        lambda lines: lines[1].update(quality=[1]),
        lambda lines: lines[1].update(modality="voice"),
        lambda lines: lines[1].pop("source"),
        lambda lines: lines[0].update(templates=3),
        lambda lines: lines[0].update(templates=-1),
        lambda lines: lines[0].update(subjects=9),
        lambda lines: lines[0].update(version=2),
        lambda lines: lines[0].update(format="x"),
        lambda lines: lines[0].update(models=[{}]),
        lambda lines: lines[0]["models"][0].update(dim=10**12),
        lambda lines: lines.insert(1, lines.pop()),
    ],
)
def test_malformed_content_is_refused_though_the_checksum_fits(other, exported, change):
    rewrite(exported, change)
    with pytest.raises(GalleryError, match=r"export\.jsonl"):
        import_gallery(other, exported)
    assert other.subjects() == ()


def test_no_file_or_a_folder_is_named(other, tmp_path):
    for source in (tmp_path, tmp_path / "none", other.path):
        with pytest.raises(UsageError, match="verify gallery export"):
            import_gallery(other, source)
