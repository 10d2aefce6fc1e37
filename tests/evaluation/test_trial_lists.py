from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest

from tests.evaluation.people import MODEL_ID, PeopleCapturer, write_people
from verify.errors import ManifestError, UsageError
from verify.evaluation.cache import EmbeddingCache
from verify.evaluation.trial_list_lines import read_trial_list
from verify.evaluation.trial_listing import ListStyle
from verify.evaluation.trial_lists import TrialListSource


@pytest.fixture
def people(tmp_path):
    """Four people with three files each; person000 has one more, which shows nobody."""
    return write_people(tmp_path / "people", subjects=4, samples=3, failing=1)


@pytest.fixture
def lists(people):
    def write(text, *, name="trials.txt"):
        file = people / name
        file.write_text(text, encoding="utf-8")
        return file

    return write


def everyone(source):
    return np.ones(len(source.subjects), dtype=bool)


def all_trials(source, *, mated_only=False):
    found = list(source.blocks(everyone(source), mated_only=mated_only))
    return {
        name: np.concatenate([getattr(block, name) for block in found]) for name in found[0].__slots__[:6]
    }


VOX = """1 person000/0.jpg person000/1.jpg
0 person000/0.jpg person001/0.jpg

1 person001/0.jpg person001/2.jpg
0 person002/0.jpg person003/1.jpg
1 person000/nobody.jpg person000/1.jpg
0 person000/nobody.jpg person003/1.jpg
0 person000/nobody.jpg person002/0.jpg
"""


def test_listed_trials_are_scored_and_failed_captures_are_failures(lists):
    capturer = PeopleCapturer()
    source = TrialListSource.open(lists(VOX), capturer=capturer)
    assert (source.name, source.kind, source.model_id) == ("trials", "trial list", MODEL_ID)
    assert len(capturer.captured) == len(set(capturer.captured)) == 7  # each file once
    assert source.subjects == ("person000", "person001", "person002", "person003")
    assert source.failed == (1, 2)
    assert [one.failure for one in source.attempts].count("no_face") == 1
    assert "3 of 7 trials need a sample whose capture failed" in source.warnings[0]
    scores = source.scores()
    assert np.isnan(scores).tolist() == [False] * 4 + [True] * 3
    assert source.mated.tolist() == [True, False, True, False, True, False, False]
    assert source.folds is None
    trials = all_trials(source)
    np.testing.assert_array_equal(trials["score"], scores[:4].astype(np.float32))
    np.testing.assert_array_equal(trials["mated"], source.mated[:4])
    assert trials["subject_a"].dtype == trials["attempt_a"].dtype == np.int32
    assert source.attempts[trials["attempt_b"][2]].name.endswith("person001/2.jpg")
    vectors = [capturer._capture(Path(one.name)).template for one in source.attempts]
    for row in range(4):
        a, b = (vectors[trials[side][row]].vector for side in ("attempt_a", "attempt_b"))
        assert trials["score"][row] == pytest.approx(float(a @ b), abs=1e-6)
    assert all_trials(source, mated_only=True)["mated"].tolist() == [True, True]


def test_sides_and_crossing_trials(lists):
    source = TrialListSource.open(lists(VOX), capturer=PeopleCapturer())
    among = np.array([True, False, True, True])
    found = [block.subject_a.tolist() for block in source.blocks(among)]
    assert found == [[0, 2]]
    assert source.crossing(among) == 1
    assert not list(source.blocks(np.zeros(4, dtype=bool)))
    with pytest.raises(UsageError, match=r"no quality measure 'snr_db' \(there is: none\)"):
        list(source.blocks(among, measures=["snr_db"]))


def test_the_hash_is_of_the_files_and_of_the_list(lists, people):
    first = TrialListSource.open(lists(VOX), capturer=PeopleCapturer()).data_sha256
    assert TrialListSource.open(lists(VOX), capturer=PeopleCapturer()).data_sha256 == first
    fewer = TrialListSource.open(lists(VOX.splitlines()[0]), capturer=PeopleCapturer())
    assert fewer.data_sha256 != first
    (people / "person000" / "0.jpg").write_text("0:99")
    assert TrialListSource.open(lists(VOX), capturer=PeopleCapturer()).data_sha256 != first


def test_the_cache_is_used(lists, tmp_path):
    with EmbeddingCache(tmp_path / "cache.db") as cache:
        before = TrialListSource.open(lists(VOX), capturer=PeopleCapturer(), cache=cache)
        idle = PeopleCapturer()
        after = TrialListSource.open(lists(VOX), capturer=idle, cache=cache)
    assert not idle.captured
    np.testing.assert_array_equal(before.scores(), after.scores())


def test_media_may_lie_elsewhere(people, tmp_path):
    elsewhere = tmp_path / "lists" / "veri.txt"
    elsewhere.parent.mkdir()
    elsewhere.write_text(VOX)
    with pytest.raises(
        ManifestError, match=r"7 files are missing: person000/0.jpg is not there; .*and 2 more"
    ):
        TrialListSource.open(elsewhere, capturer=PeopleCapturer())
    source = TrialListSource.open(elsewhere, capturer=PeopleCapturer(), media_root=people)
    assert source.scores().size == 7


def test_copies_stand_for_their_original_and_claimed_files_are_left_out(lists, people):
    (people / "person001" / "copy.jpg").write_text("1:0")
    (people / "person003" / "stolen.jpg").write_text("2:0")
    source = TrialListSource.open(
        lists(
            "1 person001/0.jpg person001/1.jpg\n"
            "1 person001/copy.jpg person001/1.jpg\n"
            "1 person001/copy.jpg person001/0.jpg\n"
            "0 person001/0.jpg person003/stolen.jpg\n"
            "0 person001/0.jpg person003/0.jpg\n"
            "1 person002/0.jpg person002/1.jpg\n"
        ),
        capturer=PeopleCapturer(),
    )
    scores = source.scores()
    assert np.isnan(scores).tolist() == [False, False, True, True, False, True]
    assert scores[0] == scores[1]
    assert source.copies == 1
    assert source.conflicts == (("person003: stolen.jpg", "person002: 0.jpg"),)
    told = " | ".join(source.warnings)
    for part in (
        "1 trials of a sample with itself or a copy",
        "2 trials need a file that several",
        "1 trials compare",
    ):
        assert part in told


def test_label_last_and_in_words(lists):
    listed = read_trial_list(
        lists("a/1.wav a/2.wav target\na/1.wav ./b/1.wav nontarget\n/a/1.wav b/1.wav nontarget\n")
    )
    assert listed.style is ListStyle.VOXCELEB
    assert listed.mated.tolist() == [True, False, False]
    assert listed.subjects == ("a", "b")
    assert listed.files == ("a/1.wav", "a/2.wav", "./b/1.wav", "/a/1.wav", "b/1.wav")


def test_lfw_with_its_folds(lists):
    text = "2\t2\nAn_Na\t1\t2\nBo\t1\t3\nAn_Na\t1\tBo\t3\nBo\t1\tCy\t12\n"
    text += "Cy\t1\t2\nCy\t1\t12\nAn_Na\t2\tCy\t1\nAn_Na\t2\tCy\t2\n"
    listed = read_trial_list(lists(text, name="pairs.txt"))
    assert listed.style is ListStyle.LFW
    assert listed.folds.tolist() == [0] * 4 + [1] * 4
    assert listed.mated.tolist() == [True, True, False, False] * 2
    assert listed.files[:3] == ("An_Na/An_Na_0001.jpg", "An_Na/An_Na_0002.jpg", "Bo/Bo_0001.jpg")
    assert "Cy/Cy_0012.jpg" in listed.files
    assert listed.subjects == ("An_Na", "Bo", "Cy")
    one_fold = read_trial_list(lists("1\nBo\t1\t2\nBo\t1\tCy\t1\n"))
    assert one_fold.folds.tolist() == [0, 0]


def test_csv_with_labels_subjects_and_groups(lists):
    text = (
        "mated,path_a,path_b,sex_a,sex_b,dur_a,dur_b\n1,a/1.wav,a/2.wav,f,f,1,2\nno,a/1.wav,b/1.wav,f,,1,2\n"
    )
    listed = read_trial_list(lists(text, name="trials.csv"))
    assert listed.style is ListStyle.CSV
    assert listed.mated.tolist() == [True, False]
    assert listed.groups == {"sex": ("f", "")}
    assert listed.sha256 == hashlib.sha256(text.encode()).hexdigest()
    assert "'dur_a' and 'dur_b' hold numbers: not used" in listed.warnings[0]
    text = "subject_a,path_a,subject_b,path_b\nAnn,1.wav,Ann,x/2.wav\nAnn,1.wav,ann,3.wav\n"
    listed = read_trial_list(lists(text))
    assert listed.mated.tolist() == [True, False]
    assert listed.subjects == ("Ann", "ann")
    assert "look like one subject" in listed.warnings[0]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "is empty"),
        ("hello world\n", "line 1: 'hello world' begins no trial list that is known"),
        ("1 a/1.wav a/2.wav\n1 a/1.wav\n", "line 2: 2 words where a label and two paths"),
        ("1 a/1.wav a/2.wav\n2 a/1.wav a/2.wav\n", "line 2: the label '2' is not 1/0"),
        ("1 a/1.wav a/2.wav\n\n1 a/1.wav b/2.wav\n", "line 3: the trial is called mated, but of 'a' and 'b'"),
        ("0 a/1.wav a/2.wav\n", "line 1: the trial is called non-mated, but both of 'a'"),
        ("1 1.wav 2.wav\n", "line 1: 1.wav has no folder that would say whose it is"),
        ("10\t300\nBo\t1\t2\n", "1 pairs up to line 2, where the head announces 10 folds of 300"),
        ("1 2\nBo 1 2\nBo 1 Cy 1\n", "line 3: a mated pair is due here"),
        ("1 1\nBo 1 2\nBo 1 x\n", "line 3: neither 'name i j' nor"),
        ("0 0\n", "lists no trials"),
        ("mated,path_a\n1,a/1.wav\n", "no column 'path_b' among mated, path_a"),
        ("path_a,path_b\na/1.wav,a/2.wav\n", "no column 'mated'"),
        ("subject_a,path_a,path_b\na,1.wav,2.wav\n", "no column 'subject_b'"),
        ("mated;path_a;path_b\n1;a/1.wav;a/2.wav\n", "separated by semicolons"),
        ("mated,path_a,path_b\n", "has a header and no trials"),
        ("mated,path_a,path_b\n1,a/1.wav,\n", "line 2: a path is empty"),
        ("mated,path_a,path_b\n1,a/1.wav,a/2.wav\n\n?,a/1.wav,a/2.wav\n", r"line 4: the label '\?'"),
        ("mated,path_a,path_b\n1,a/1.wav\n", "line 2: 2 cells where the header has 3"),
        (
            "subject_a,path_a,subject_b,path_b\na,1.wav,a,2.wav\na,1.wav,b,2.wav\n",
            "line 3: 2.wav is of 'b' here",
        ),
        ("subject_a,path_a,subject_b,path_b\na\x07,1.wav,a,2.wav\n", "line 2: .* cannot be printed"),
        ("1 a/1.wav a/\0.wav\n", "NUL"),
        ("PAR1....", "a Parquet file of scores is a score file"),
    ],
)
def test_what_is_wrong_is_named(lists, text, problem):
    with pytest.raises(ManifestError, match=problem):
        read_trial_list(lists(text))


def test_a_list_that_is_not_there_or_no_text(lists, people):
    with pytest.raises(ManifestError, match="cannot be read"):
        read_trial_list(people / "gone.txt")
    with pytest.raises(ManifestError, match="is a folder"):
        read_trial_list(people)
    file = lists("")
    file.write_bytes("1 josé/1.wav josé/2.wav\n".encode("latin-1"))
    with pytest.raises(ManifestError, match="not UTF-8 at byte 5"):
        read_trial_list(file)


@pytest.mark.media
def test_the_published_lfw_list(data_dir):
    folder = data_dir / "faces" / "lfw"
    listed = read_trial_list(folder / "pairs.txt")
    assert listed.mated.size == 6000
    assert np.bincount(listed.folds).tolist() == [600] * 10
    assert [int(listed.mated[listed.folds == fold].sum()) for fold in range(10)] == [300] * 10
    assert len(listed.files) == 7701
    assert all((folder / file).is_file() for file in listed.files)
