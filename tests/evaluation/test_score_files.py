from __future__ import annotations

import gzip
import hashlib
import shutil
from collections import Counter
from functools import cache
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from verify.errors import MissingExtraError, ScoreError, StorageError, UsageError
from verify.evaluation import score_arrow, score_intake, spool
from verify.evaluation.score_files import ScoreFileSource

HEADER = "score,mated,subject_a,subject_b"
SMALL = f"{HEADER}\n0.9,1,ann,ann\n0.8,1,bob,bob\n0.1,0,ann,bob\n0.2,0,bob,cid\n"
READERS = [pytest.param(True, id="pyarrow"), pytest.param(False, id="csv module")]


@pytest.fixture(params=READERS)
def reads(request, tmp_path):
    """Write bytes or text and open them with one of the two readers."""

    def read(content, *, name="scores.csv", **options: Any):
        file = tmp_path / name
        file.write_bytes(content if isinstance(content, bytes) else content.encode())
        return ScoreFileSource.open(file, use_arrow=request.param, **options)

    return read


def everyone(source):
    return np.ones(len(source.subjects), dtype=bool)


def trials(source, **options: Any):
    """(score, mated, subjects) of each trial, in any order."""
    names = source.subjects
    found = Counter()
    for block in source.blocks(options.pop("among", everyone(source)), **options):
        assert block.subject_a.dtype == block.attempt_b.dtype == np.int32
        rows = zip(block.score.tolist(), block.mated.tolist(), block.subject_a, block.subject_b, strict=True)
        found.update((score, mated, names[a], names[b]) for score, mated, a, b in rows)
    return found


def test_scores_alone_are_a_source_of_trials(reads):
    source = reads(SMALL)
    assert (source.name, source.kind, source.model_id) == ("scores", "score file", None)
    assert source.subjects == ("ann", "bob", "cid")
    assert source.data_sha256 == hashlib.sha256(SMALL.encode()).hexdigest()
    assert (source.attempts, source.groups, source.measures, source.warnings) == ((), {}, (), ())
    assert (source.trials, source.mated_trials) == (4, 2)
    everything = trials(source)
    assert everything == Counter(
        [
            (0.9, True, "ann", "ann"),
            (0.8, True, "bob", "bob"),
            (0.1, False, "ann", "bob"),
            (0.2, False, "bob", "cid"),
        ]
    )
    assert trials(source) == everything  # again and again
    (block,) = source.blocks(everyone(source), mated_only=True)
    assert block.mated.all()
    assert (block.attempt_a == -1).all()


def test_a_side_gets_its_own_trials_and_the_crossing_ones_are_counted(reads):
    source = reads(SMALL)
    among = np.array([True, True, False])
    assert set(trials(source, among=among)) == {
        (0.9, True, "ann", "ann"),
        (0.8, True, "bob", "bob"),
        (0.1, False, "ann", "bob"),
    }
    assert source.crossing(among) == 1
    assert source.crossing(~among) == 1
    assert source.crossing(everyone(source)) == 0
    assert not trials(source, among=np.zeros(3, dtype=bool))


def test_groups_measures_and_samples(reads):
    source = reads(
        f"{HEADER},sex_a,sex_b,site,snr_a,snr_b,sample_a,sample_b\n"
        "0.9,yes,ann,ann,f,f,north,10.5,,1.wav,2.wav\n"
        "0.8,TRUE,bob,bob,m,m,,3,4,1.wav,2.wav\n"
        "0.1,no,ann,bob,f,m,,10.5,3,1.wav,1.wav\n"
        "0.2,False,ann,cid,f,,south,10.5,1e1,2.wav,1.wav\n"
    )
    assert source.groups == {"sex": ("f", "m", ""), "site": ("", "", "south")}
    (several,) = source.warnings
    assert "1 subjects have several labels in 'site' (ann)" in several
    assert "give site_a and site_b" in several
    assert source.measures == ("snr",)
    assert Counter((source.subjects[one.subject], one.name) for one in source.attempts) == Counter(
        [("ann", "1.wav"), ("ann", "2.wav"), ("bob", "1.wav"), ("bob", "2.wav"), ("cid", "1.wav")]
    )
    found = {}
    for block in source.blocks(everyone(source), measures=["snr"]):
        x, y = block.quality["snr"]
        for row, score in enumerate(block.score.tolist()):
            a, b = (source.attempts[places[row]] for places in (block.attempt_a, block.attempt_b))
            assert (a.subject, b.subject) == (block.subject_a[row], block.subject_b[row])
            found[score] = (a.name, b.name, x[row], y[row])
    assert found.keys() == {0.9, 0.8, 0.1, 0.2}
    assert found[0.2] == ("2.wav", "1.wav", 10.5, 10.0)
    assert found[0.9][:3] == ("1.wav", "2.wav", 10.5)
    assert np.isnan(found[0.9][3])
    with pytest.raises(UsageError, match=r"no quality measure 'pitch' .*snr"):
        list(source.blocks(everyone(source), measures=["pitch"]))


def test_measures_and_groups_can_be_insisted_on(reads):
    text = (
        f"{HEADER},snr_a,snr_b,skin_a,skin_b,year\n"
        "0.9,1,ann,ann,1,2,3,3,1990\n0.8,1,bob,bob,1,2,4,4,1990\n0.1,0,ann,bob,1,2,3,4,1990\n"
    )
    source = reads(text)
    assert source.measures == ("snr", "skin")
    (told,) = source.warnings
    assert "'year' holds numbers" in told
    source = reads(text, quality=["snr"], groups=["skin", "year"])
    assert source.measures == ("snr",)
    assert source.groups == {"skin": ("3", "4"), "year": ("1990", "1990")}
    with pytest.raises(UsageError, match=r"no quality measure 'age' .there is: snr, skin"):
        reads(text, quality=["age"])
    with pytest.raises(UsageError, match="no group 'sex'"):
        reads(text, groups=["sex"])


def test_columns_without_a_meaning_are_told(reads):
    names = "".join(f"{0.1 + i / 1e4},0,ann,bob,7,t{i},5\n" for i in range(1200))
    source = reads(f"{HEADER},,trial,snr_a\n0.9,1,ann,ann,7,x,5\n{names}")
    assert source.groups == {}
    assert source.measures == ()
    told = " | ".join(source.warnings)
    for part in (
        "without a name",
        "'trial' has more than 1000 different labels",
        "'snr_a' holds numbers of one",
    ):
        assert part in told


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "is empty"),
        (HEADER, "has a header and no trials"),
        (f"{HEADER}\n\n\n", "has a header and no trials"),
        ("score,mated,subject_a\n1,1,a\n", "line 1: no column 'subject_b' among score, mated, subject_a"),
        ("Score,mated,subject_a,subject_b\n1,1,a,a\n", "no column 'score' among Score.*is it 'Score'"),
        ("similarity,mated,subject_a,subject_b\n1,1,a,a\n", "is it 'similarity'"),
        ("score,label,subject_a,subject_b\n1,1,a,a\n", "no column 'mated'.*is it 'label'"),
        (f"{HEADER},score\n1,1,a,a,1\n", "line 1: column 'score' stands there twice"),
        (f"{HEADER},sample_a\n1,1,a,a,1\n", "'sample_a' stands alone"),
        (f"{HEADER},sex,sex_a\n1,1,a,a,f,f\n", "say the same thing twice"),
        (SMALL.replace(",", ";"), "line 1: columns are separated by semicolons"),
        (SMALL.replace(",", "\t"), "line 1: columns are separated by tabs"),
        (SMALL.replace("\n", "\r"), "bare carriage returns"),
        (SMALL + "nan,0,ann,bob\n", "line 6: score is 'nan', not a finite number"),
        (SMALL + "inf,0,ann,bob\n", "line 6: score is 'inf', not a finite number"),
        (SMALL + "-Infinity,0,ann,bob\n", "line 6: score is '-Infinity'"),
        (SMALL + "1e999,0,ann,bob\n", "line 6: score is '1e999'"),
        (SMALL + ",0,ann,bob\n", "line 6: score is empty"),
        (SMALL + "high,0,ann,bob\n", "line 6: score is 'high', not a number"),
        (SMALL + "1_0,0,ann,bob\n", "line 6: score is '1_0', not a number"),
        (SMALL + "٣,0,ann,bob\n", "line 6: score is '٣', not a number"),
        (SMALL + "\n0,3\n", "line 7: 2 cells where the header has 4"),
        (SMALL + "\r\n0.4,2,ann,ann\n", "line 7: mated is '2', not 1/0"),
        (SMALL + "0.4,,ann,ann\n", "line 6: mated is ''"),
        (SMALL + "0.4,1,ann,bob\n", "line 6: mated says mated, but the subjects are 'ann' and 'bob'"),
        (SMALL + "0.4,1,ann,Ann \n", "line 6: .*one subject in two spellings"),
        (SMALL + "0.4,0,ann,ann\n", "line 6: mated says non-mated, but both subjects are 'ann'"),
        (SMALL + "0.4,0,ann,\n", "line 6: subject_b the subject is empty"),
        (SMALL + "0.4,0," + "ä" * 200 + ",ann\n", "line 6: subject_a .* longer than 256 bytes"),
        (SMALL + "0.4,0,a\x07,ann\n", "line 6: subject_a .* cannot be printed"),
        (SMALL + '0.4,0,"ann,bob\n', "line 6: "),
        (SMALL + '0.4,0,"a\nnn",bob\n', "line 6: "),
        (SMALL.encode() + b"0.4,0,\0,bob\n", "holds a NUL byte at byte 94"),
        (SMALL.encode() + "0.4,0,José,bob\n".encode("latin-1"), "not UTF-8 at byte 97"),
        (SMALL.encode("utf-16"), "is UTF-16 text"),
        (b"PK\x03\x04" + bytes(100), "is a zip or Excel workbook"),
        (b"\x28\xb5\x2f\xfd" + bytes(100), "compressed with zstd"),
        (gzip.compress(SMALL.encode() * 50, mtime=0)[:-20], "ends too early|cut off"),
        (gzip.compress(SMALL.encode(), mtime=0)[:20] + bytes(30), "damaged gzip"),
        (b"x" * 3_000_000, "line longer than"),
        (SMALL.encode() + b"0.4" * 1_000_000, "line longer than"),
        (f"{HEADER}\n0.5,1,ann,ann\n0.5,0,ann,bob\n", "all scores are 0.5: they tell nobody apart"),
        (f"{HEADER}\n0.5,1,ann,ann\n0.6,1,ann,ann\n", "all trials are of one subject, 'ann'"),
        (f"{HEADER}\n0.5,1,ann,ann\n0.6,1,bob,bob\n", "none of 2 trials is non-mated, so no FMR"),
        (f"{HEADER}\n0.5,0,ann,bob\n0.6,0,bob,ann\n", "none of 2 trials is mated, so no FNMR"),
        (f"{HEADER}\n0.1,1,ann,ann\n0.6,0,bob,ann\n", "median 0.1 against 0.6.*give --distances"),
        (f"{HEADER},q_a,q_b\n0.9,1,a,a,1,2\n0.1,0,a,b,inf,1\n", "line 3: q_a is infinite"),
        (f"{HEADER},sample_a,sample_b\n0.9,1,a,a,1,2\n0.1,0,a,b,1,\n", "line 3: sample_b is empty"),
    ],
)
def test_what_is_wrong_is_named(reads, content, problem):
    with pytest.raises(ScoreError, match=problem):
        reads(content)


def test_a_measure_that_turns_into_words_is_named(reads):
    lines = "".join(f"0.{i + 100},0,ann,bob,5,6\n" for i in range(1500))
    with pytest.raises(ScoreError, match=r"line 1503: q_a is 'good', not a number.*as a group"):
        reads(f"{HEADER},q_a,q_b\n0.9,1,ann,ann,1,2\n{lines}0.1,0,ann,bob,good,bad\n")


def test_the_line_is_right_far_down_and_behind_blank_lines(reads):
    lines = "".join(f"{i / 6e4},0,ann,bob\n" for i in range(40_000))
    text = f"{HEADER}\n0.9,1,ann,ann\n\n\r\n{lines}x,0,ann,bob\n{lines}"
    with pytest.raises(ScoreError, match="line 40005: score is 'x'"):
        reads(text)
    with pytest.raises(ScoreError, match="line 40005: score is 'x'"):
        reads(gzip.compress(text.encode(), 1), name="scores.csv.gz")


def test_a_folder_and_nothing_are_no_score_files(tmp_path):
    with pytest.raises(ScoreError, match="is a folder"):
        ScoreFileSource.open(tmp_path)
    with pytest.raises(ScoreError, match=r"cannot be read \(No such file"):
        ScoreFileSource.open(tmp_path / "gone.csv")


def test_three_rows_are_data(reads):
    source = reads(f"{HEADER}\n0.9,1,ann,ann\n0.1,0,ann,bob\n0.2,0,bob,ann\n")
    assert source.trials == 3


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"], ids=["plain", "with mark"])
@pytest.mark.parametrize("end", ["\n", "\r\n"], ids=["lf", "crlf"])
def test_packing_mark_quotes_and_line_ends_change_nothing(reads, mark, end):
    plain = trials(reads(SMALL))
    text = SMALL.replace("ann", '"ann"').replace("\n", end).rstrip().encode()
    assert trials(reads(mark + text)) == plain
    packed = reads(gzip.compress(mark + text), name="scores.csv.gz")
    assert trials(packed) == plain
    assert packed.name == "scores"


def test_numbers_as_people_write_them(reads):
    rows = ["+.5,1.0,ann,ann", "5e-1 ,genuine,bob,bob", " -3.,impostor,ann,bob", "0,Nontarget,bob,ann"]
    source = reads("\n".join([HEADER, *rows]))
    assert sorted(score for score, *_ in trials(source)) == [-3.0, 0.0, 0.5, 0.5]


def test_distances_are_negated(reads):
    text = f"{HEADER}\n0.1,1,ann,ann\n0.0,1,bob,bob\n0.6,0,bob,ann\n"
    source = reads(text, distances=True)
    assert {(score, mated) for score, mated, *_ in trials(source)} == {
        (-0.1, True),
        (0.0, True),
        (-0.6, False),
    }
    with pytest.raises(ScoreError, match=r"smaller distance must mean more alike; .*leave --distances out"):
        reads(SMALL, distances=True)


def test_trials_twice_and_samples_against_themselves(reads):
    head = f"{HEADER},sample_a,sample_b\n"
    source = reads(head + "0.9,1,ann,ann,1,2\n0.91,1,ann,ann,2,1\n1.0,1,ann,ann,1,1\n0.1,0,ann,bob,1,1\n")
    assert source.trials == 3
    assert (1.0, True, "ann", "ann") not in trials(source)
    told = " | ".join(source.warnings)
    assert "1 trials of a sample with itself" in told
    assert "about 1 trials compare two samples that another trial compares" in told
    fine = "".join(f"0.{i:07d},0,ann,bob\n" for i in range(1, 500))
    assert "about 499 trials" in " ".join(reads(f"{HEADER}\n0.9,1,ann,ann\n{fine}{fine}").warnings)
    coarse = "".join(f"0.{i % 7},0,ann,bob\n" for i in range(500))
    assert reads(f"{HEADER}\n0.9,1,ann,ann\n{coarse}").warnings == ()


def test_near_equal_subjects_are_warned_of(reads):
    source = reads(SMALL + "0.15,0,ann,Bob\n")
    assert source.warnings == ("'Bob' and 'bob' look like one subject in two spellings",)


cells = st.sampled_from(["", "a", "b ", "ünï", "7", "-1.5", '"x"', "nan"])


@st.composite
def score_files(draw):
    """A random score file, most often a sound one."""
    subjects = draw(st.lists(st.sampled_from(["ann", "bob", "Ann", "cid", "7", "ä"]), min_size=2, max_size=4))
    lines = [
        f"{HEADER},g_a,g_b,h,q_a,q_b,sample_a,sample_b",
        '2.5,1,zoe,zoe,"a","b","c",1,2,x,y',
        "-1,0,zoe,yan,,,,,,x,x",
    ]
    for _ in range(draw(st.integers(0, 12))):
        a, b = draw(st.sampled_from(subjects)), draw(st.sampled_from(subjects))
        score = draw(st.floats(-2, 2).map(repr) | st.sampled_from(["1", "+2", " .5", "1e-3"]))
        words = [draw(cells).replace('"', "") for _ in range(3)]
        measures = [draw(st.sampled_from(["", "1", " 2.5", "nan", "1e3"])) for _ in range(2)]
        samples = [draw(st.sampled_from(["x", "y", "z"])) for _ in range(2)]
        lines.append(",".join([score, str(int(a == b)), a, b, *words, *measures, *samples]))
        if draw(st.booleans()) and draw(st.booleans()):
            lines.append(draw(st.sampled_from(["", "1,1", "x,0,ann,bob,,,,,,x,x", "1,1,ann,bob,,,,,,x,x"])))
    return "\n".join(lines)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=score_files())
def test_both_readers_agree(text, tmp_path):
    file = tmp_path / "scores.csv"
    file.write_text(text)
    results = []
    for use_arrow in (True, False):
        try:
            source = ScoreFileSource.open(file, use_arrow=use_arrow)
        except ScoreError as error:
            results.append(str(error))
            continue
        quality = sorted(
            repr(row)
            for block in source.blocks(everyone(source), measures=["q"])
            for row in zip(
                block.attempt_a.tolist(),
                block.attempt_b.tolist(),
                *map(np.ndarray.tolist, block.quality["q"]),
                strict=True,
            )
        )
        results.append(
            (source.subjects, source.groups, source.attempts, source.warnings, trials(source), quality)
        )
    assert results[0] == results[1]


def test_parquet_gives_what_csv_gives(tmp_path):
    pa = pytest.importorskip("pyarrow")
    from pyarrow import csv, parquet

    text = tmp_path / "scores.csv"
    text.write_text(
        f"{HEADER},sex_a,sex_b,q_a,q_b,sample_a,sample_b\n"
        "0.9,true,ann,ann,f,f,1,2.5,1.jpg,2.jpg\n0.1,false,ann,bob,f,,1,,1.jpg,1.jpg\n"
    )
    table = csv.read_csv(text)
    assert table.schema.field("mated").type == pa.bool_()
    file = tmp_path / "again.parquet"
    parquet.write_table(table, file)
    one, other = ScoreFileSource.open(text), ScoreFileSource.open(file)
    assert other.name == "again"
    assert other.data_sha256 == hashlib.sha256(file.read_bytes()).hexdigest()
    for attribute in ("subjects", "groups", "attempts", "measures", "warnings"):
        assert getattr(one, attribute) == getattr(other, attribute)
    assert trials(one) == trials(other)
    x, y = next(other.blocks(everyone(other), measures=["q"], mated_only=True)).quality["q"]
    assert (x.tolist(), y.tolist()) == ([1.0], [2.5])


@pytest.mark.parametrize(
    ("columns", "problem"),
    [
        ({"score": [0.9, None]}, "row 2: score is empty"),
        ({"score": [0.9, float("nan")]}, "row 2: score is 'nan', not a finite number"),
        ({"score": ["0.9", "high"]}, "row 2: score is 'high', not a number"),
        ({"mated": [1, 5]}, "row 2: mated is '5'"),
        ({"mated": [True, True]}, "row 2: mated says mated, but the subjects are '1' and '2'"),
        ({"subject_b": [None, 2]}, "row 1: subject_b the subject is empty"),
    ],
)
def test_parquet_rows_are_named(tmp_path, columns, problem):
    pa = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    sound = {"score": [0.9, 0.1], "mated": [True, False], "subject_a": [1, 1], "subject_b": [1, 2]}
    file = tmp_path / "scores.parquet"
    parquet.write_table(pa.table(sound), file)
    assert ScoreFileSource.open(file).subjects == ("1", "2")
    parquet.write_table(pa.table(sound | columns), file)
    with pytest.raises(ScoreError, match=problem):
        ScoreFileSource.open(file)


def test_damaged_and_empty_parquet(tmp_path):
    pa = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    file = tmp_path / "scores.parquet"
    parquet.write_table(
        pa.table({"score": pa.array([], pa.float64()), "mated": pa.array([], pa.bool_())}), file
    )
    with pytest.raises(ScoreError, match="has columns and no trials"):
        ScoreFileSource.open(file)
    parquet.write_table(pa.table({"score": [0.5] * 1000}), file)
    with pytest.raises(ScoreError, match="no column 'mated' among score"):
        ScoreFileSource.open(file)
    parquet.write_table(pa.table({"score": [0.5], "mated": [[1, 0]]}), file)
    with pytest.raises(ScoreError, match="column 'mated' holds no texts or numbers"):
        ScoreFileSource.open(file)
    file.write_bytes(file.read_bytes()[:-30])
    with pytest.raises(ScoreError, match="damaged or cut off Parquet"):
        ScoreFileSource.open(file)


def test_parquet_without_pyarrow_names_the_extra_and_csv_goes_on(tmp_path, monkeypatch):
    monkeypatch.setattr(score_arrow, "find_spec", lambda _: None)
    file = tmp_path / "scores.parquet"
    file.write_bytes(b"PAR1" + bytes(20))
    with pytest.raises(MissingExtraError, match="pip install pyarrow"):
        ScoreFileSource.open(file)
    file = tmp_path / "scores.csv"
    file.write_text(SMALL)
    assert ScoreFileSource.open(file).trials == 4


@cache
def many(rows):
    rng = np.random.default_rng(5)
    a, b = rng.integers(0, 40, (2, rows))
    b[:40] = a[:40] = np.arange(40)
    scores = rng.normal(0, 0.1, rows) + (a == b)
    lines = (f"{s:.6f},{int(x == y)},p{x},p{y}" for s, x, y in zip(scores, a, b, strict=True))
    return "\n".join([HEADER, *lines, ""])


def test_many_trials_go_to_disk_and_leave_nothing_behind(reads, tmp_path, monkeypatch):
    text = many(20_000)
    small = trials(reads(text))
    monkeypatch.setattr(spool, "_IN_MEMORY_BYTES", 1 << 16)
    monkeypatch.setattr(spool, "BLOCK_ROWS", 10_000)
    folder = tmp_path / "room"
    folder.mkdir()
    source = reads(text, folder=folder)
    assert trials(source) == small
    first, second = source.blocks(everyone(source)), source.blocks(everyone(source))
    for one, other in zip(first, second, strict=True):  # two readers in turns
        np.testing.assert_array_equal(one.score, other.score)
    del source, first, second, one, other
    assert not list(folder.iterdir())


def test_a_disk_without_room_is_told_before_it_is_filled(reads, tmp_path, monkeypatch):
    monkeypatch.setattr(spool, "_IN_MEMORY_BYTES", 1 << 10)
    monkeypatch.setattr(score_arrow, "_ARROW_BYTES", 1 << 14)
    free = 300 << 20
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(spool, "shutil", SimpleNamespace(disk_usage=lambda _: usage._replace(free=free)))
    text = many(80_000)
    assert reads(text).trials == 80_000
    free = (256 << 20) + 1000
    with pytest.raises(StorageError, match=r"scores.csv \(.* kB|MB, about .* trials\) needs .*set TMPDIR"):
        reads(text)
    monkeypatch.setattr(spool, "shutil", shutil)
    with pytest.raises(StorageError, match="nowhere"):
        reads(text, folder=tmp_path / "nowhere")


def test_a_full_disk_is_a_storage_error(reads, disk, monkeypatch):
    monkeypatch.setattr(spool, "_IN_MEMORY_BYTES", 1 << 16)
    monkeypatch.setattr("verify.evaluation.score_files.check_room", lambda *_, **__: None)
    with pytest.raises(StorageError, match="No space left"):
        trials(reads(many(80_000), folder=disk.folder))


def test_trial_numbers_for_subjects_are_refused(reads, monkeypatch):
    monkeypatch.setattr(score_intake, "MAX_NAMES", 30)
    with pytest.raises(ScoreError, match="more than 30 subjects by row"):
        reads(many(20_000))


def test_progress_is_told_in_bytes(reads):
    text = many(20_000)
    told = []
    reads(
        gzip.compress(text.encode()), name="s.csv.gz", progress=lambda done, total: told.append((done, total))
    )
    done, totals = zip(*told, strict=True)
    assert list(done) == sorted(done)
    assert done[-1] == totals[0] == len(gzip.compress(text.encode()))


def test_a_file_that_grows_while_it_is_read_is_refused(reads, tmp_path):
    def grow(_done: int, _total: int) -> None:
        with (tmp_path / "scores.csv").open("a") as file:
            file.write("0.3,0,ann,bob\n")

    with pytest.raises(ScoreError, match="was changed while it was read"):
        reads(SMALL, progress=grow)
