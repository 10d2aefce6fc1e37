from __future__ import annotations

from pathlib import Path

import pytest

from verify.data.duplicates import content_hashes, without_duplicates
from verify.data.manifest import Layout, read_manifest, refuse_one_subject
from verify.errors import ManifestError, UsageError


def make(root: Path, *names: str, content: bytes = b"x") -> Path:
    for name in names:
        file = root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content if content != b"x" else name.encode())
    return root


def pairs(manifest):
    return [(entry.subject_id, entry.path.name) for entry in manifest.entries]


def write_csv(root, text, *, encoding="utf-8"):
    make(root, "a1.jpg", "a2.jpg", "sub/b1.jpg")
    file = root / "people.csv"
    file.write_bytes(text.encode(encoding))
    return file


def test_one_folder_a_subject_at_any_depth(tmp_path):
    make(
        tmp_path,
        "bo/2.JPG",
        "bo/1.jpg",
        "bo/day two/3.png",
        "al/x.flac",
        "al/.hidden.jpg",
        "al/notes.txt",
        "pairs.txt",
    )
    make(tmp_path, ".cache/y.jpg")
    manifest = read_manifest(tmp_path)
    assert pairs(manifest) == [("al", "x.flac"), ("bo", "1.jpg"), ("bo", "2.JPG"), ("bo", "3.png")]
    assert manifest.skipped == {"hidden": 2, "not media": 1, "not in a subject folder": 1}
    assert manifest.subjects == ("al", "bo")


def test_one_file_a_subject_is_guessed_for_a_flat_folder(tmp_path):
    manifest = read_manifest(make(tmp_path, "103.flac", "1034.flac", "readme.md"))
    assert pairs(manifest) == [("103", "103.flac"), ("1034", "1034.flac")]
    assert manifest.skipped == {"not media": 1}


def test_a_layout_can_be_insisted_on(tmp_path):
    make(tmp_path, "1.jpg", "folder/2.jpg")
    assert pairs(read_manifest(tmp_path, layout="file-per-subject")) == [("1", "1.jpg")]
    assert pairs(read_manifest(tmp_path, layout=Layout.SUBJECT_FOLDERS)) == [("folder", "2.jpg")]
    with pytest.raises(UsageError, match="'pyramid'"):
        read_manifest(tmp_path, layout="pyramid")
    with pytest.raises(ManifestError, match="needs a CSV file"):
        read_manifest(tmp_path, layout="csv")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_csv_with_labels_and_sessions(tmp_path, encoding):
    text = "subject,path,session,age group\r\nÁda,a1.jpg,one,30-40\r\n\r\nbo,sub/b1.jpg,,\r\n"
    manifest = read_manifest(write_csv(tmp_path, text, encoding=encoding))
    assert pairs(manifest) == [("Áda", "a1.jpg"), ("bo", "b1.jpg")]
    assert manifest.entries[0].session == "one"
    assert dict(manifest.entries[0].labels) == {"age group": "30-40"}
    assert manifest.name == "people"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("name,path\na,a1.jpg\n", "line 1: no column 'subject'"),
        ("subject,file\na,a1.jpg\n", "line 1: no column 'path'"),
        ("subject,path,path\na,a1.jpg,a2.jpg\n", "line 1: column 'path' stands there twice"),
        ("", "line 1: no column"),
        ("subject,path\na,a1.jpg\nb,gone.jpg\n", "line 3: gone.jpg is not there"),
        ("subject,path\na,sub\n", "line 2: sub is a folder"),
        ("subject,path\na,a1.jpg,extra\n", "line 2: 3 cells where the header has 2"),
        ("subject,path\n  ,a1.jpg\n", "line 2: the subject is empty"),
        ("subject,path\na,\n", "line 2: the path is empty"),
        ('subject,path\na,"a1.jpg\n', "line 2: unexpected end of data"),
        ("subject,path\n" + "ä" * 200 + ",a1.jpg\n", "line 2: .* longer than 256 bytes"),
        ("subject,path\na\tb,a1.jpg\n", "line 2: .* cannot be printed"),
        ("subject,path\na,a\0.jpg\n", "NUL"),
        ("subject,path\n", "has a header and no lines"),
        ("Subject,path\na,a1.jpg\n", "line 1: no column 'subject' among Subject, path; is it 'Subject'"),
        ("speaker id,path\na,a1.jpg\n", "is it 'speaker id'"),
        ("subject,File\na,a1.jpg\n", "no column 'path' among subject, File; is it 'File'"),
        ("subject;path\na;a1.jpg\n", "line 1: columns are separated by semicolons"),
        ("subject\tpath\na\ta1.jpg\n", "separated by tabs"),
    ],
)
def test_malformed_lines_are_named(tmp_path, text, problem):
    with pytest.raises(ManifestError, match=problem):
        read_manifest(write_csv(tmp_path, text))


def test_all_missing_files_are_counted_and_the_first_named(tmp_path):
    lines = "".join(f"p{i},{i}.jpg\n" for i in range(9))
    problem = (
        r"people.csv: 9 files are missing: line 3: 0.jpg is not there; line 4: .*; and 4 more .paths are"
    )
    with pytest.raises(ManifestError, match=problem):
        read_manifest(write_csv(tmp_path, f"subject,path\na,a1.jpg\n{lines}"))
    assert len(read_manifest(write_csv(tmp_path, f"subject,path\n{lines}"), must_exist=False).entries) == 9


def test_further_columns_are_groups_and_odd_ones_are_told(tmp_path):
    lines = "".join(f"p{i},a{i % 2 + 1}.jpg,day,{'FfM'[i % 3]},{i}.jpg,\n" for i in range(12))
    manifest = read_manifest(write_csv(tmp_path, f"subject,path,Session,sex,file,\n{lines}"))
    assert manifest.groups == ("Session", "sex", "file", "")
    told = " | ".join(manifest.warnings)
    for part in (
        "'Session' is taken as a group; for sessions, call it 'session'",
        "'F' and 'f' in column 'sex' look like one group",
        "'file' has another label on every line",
        "without a name",
    ):
        assert part in told
    assert len(manifest.warnings) == 4


def test_one_subject_is_too_few_to_calibrate_on(tmp_path):
    one = read_manifest(write_csv(tmp_path, "subject,path\nann,a1.jpg\nann,a2.jpg\n"))
    with pytest.raises(ManifestError, match=r"people: all 2 files are of one subject, 'ann'.*bring more"):
        refuse_one_subject(one)
    refuse_one_subject(read_manifest(write_csv(tmp_path, "subject,path\nann,a1.jpg\nbob,a2.jpg\n")))


def test_csv_of_another_encoding_is_refused(tmp_path):
    with pytest.raises(ManifestError, match="not UTF-8 at byte"):
        read_manifest(write_csv(tmp_path, "subject,path\nJosé,a1.jpg\n", encoding="latin-1"))


def test_nothing_there_and_nothing_usable(tmp_path):
    with pytest.raises(ManifestError, match="no such folder"):
        read_manifest(tmp_path / "gone")
    with pytest.raises(ManifestError, match="no photo or recording"):
        read_manifest(make(tmp_path, "al/notes.txt"))


@pytest.mark.parametrize(
    ("files", "layout", "way_out"),
    [
        ((), None, "fill it with a folder a subject"),
        (("al/notes.txt",), None, "fill it with a folder a subject"),
        (("al/1.jpg",), "file-per-subject", "try layout subject-folders"),
        (("1.jpg",), "subject-folders", "try layout file-per-subject"),
    ],
)
def test_another_layout_is_advised_only_where_it_would_find_something(tmp_path, files, layout, way_out):
    folder = tmp_path / "data"
    folder.mkdir()
    make(folder, *files)
    with pytest.raises(ManifestError, match=way_out):
        read_manifest(folder, layout=layout)


def test_a_loop_of_links_ends(tmp_path):
    make(tmp_path, "al/1.jpg")
    (tmp_path / "al" / "again").symlink_to(tmp_path, target_is_directory=True)
    assert pairs(read_manifest(tmp_path)) == [("al", "1.jpg")]


def test_near_equal_spellings_are_warned_of(tmp_path):
    text = "subject,path\nAda,a1.jpg\nada ,a2.jpg\nbo,sub/b1.jpg\n"
    (warning,) = read_manifest(write_csv(tmp_path, text)).warnings
    assert "'Ada'" in warning
    assert "'ada '" in warning
    assert "bo" not in warning


def test_equal_bytes_under_two_subjects_are_a_likely_label_error(tmp_path):
    make(tmp_path, "al/1.jpg", "bo/2.jpg", content=b"one photo")
    make(tmp_path, "al/3.jpg", "al/4.jpg", content=b"another")
    make(tmp_path, "bo/5.jpg", content=b"third")
    entries = read_manifest(tmp_path).entries
    parted = without_duplicates(entries, hashes=content_hashes(entry.path for entry in entries))
    assert [entry.path.name for entry in parted.entries] == ["3.jpg", "5.jpg"]
    assert [entry.path.name for entry in parted.copies] == ["4.jpg"]
    assert [[entry.subject_id for entry in group] for group in parted.conflicts] == [["al", "bo"]]
