"""Batches hold what (seed, epoch, sample, view) say, whoever reads them; failures have names."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.training.small_runs import small_set
from verify.errors import DataError, EnvironmentProblemError, MediaError, StorageError, UsageError
from verify.training.recipe import SetSection
from verify.training.training_set import open_training
from verify.types import Modality, Reason

torch = pytest.importorskip("torch", reason="needs the training extra")
loader = pytest.importorskip("verify.training.loader")

pytestmark = pytest.mark.train

ROOT = Path(__file__).resolve().parents[3]
CROP = 1600


class Made:
    """A training set in memory: sample i of a voice counts up from 100 i, a face is one grey level."""

    def __init__(
        self, modality: str, lengths: list[int], *, broken: int = -1, error: Exception | None = None
    ) -> None:
        self.modality = Modality(modality)
        self.lengths = np.array(lengths)
        self.labels = np.arange(len(lengths)) // 2
        self.broken, self.error = broken, error

    def media(self, i: int, *, start: int = 0, count: int | None = None):
        if i == self.broken:
            if self.error is None:
                os.kill(os.getpid(), signal.SIGKILL)
            raise self.error
        if self.modality == "face":
            return np.full((8, 8, 3), i, np.uint8)
        wave = (100 * i + np.arange(self.lengths[i])).astype(np.int16)
        return wave[start : None if count is None else start + count]

    def name(self, i: int) -> str:
        return f"made/someone/{i}.flac"


def batches_of(data, order, *, workers=0, crop=None, seed=0, epoch=0):
    with loader.Loader(data, order, crop_samples=crop, seed=seed, epoch=epoch, workers=workers) as one:
        return list(one)


def test_faces_come_as_they_are_stored_in_the_order_asked_for() -> None:
    found = batches_of(Made("face", [1] * 6), [[5, 0, 5], [1, 2, 3]])
    assert [b.samples.tolist() for b in found] == [[5, 0, 5], [1, 2, 3]]
    assert [b.labels.tolist() for b in found] == [[2, 0, 2], [0, 1, 1]]
    assert found[0].media.dtype == torch.uint8
    assert found[0].media.shape == (3, 8, 8, 3)
    assert found[0].media[:, 0, 0, 0].tolist() == [5, 0, 5]
    assert len(found[0]) == 3


@given(
    lengths=st.lists(st.integers(1, 300), min_size=1, max_size=5),
    crop=st.integers(1, 200),
    seed=st.integers(0, 2**40),
    epoch=st.integers(0, 100),
)
def test_a_voice_gives_a_stretch_or_goes_round(lengths, crop, seed, epoch) -> None:
    data = Made("voice", lengths)
    (batch,) = batches_of(data, [list(range(len(lengths)))], crop=crop, seed=seed, epoch=epoch)
    assert batch.media.dtype == torch.int16
    for i, (wave, length) in enumerate(zip(batch.media.numpy(), lengths, strict=True)):
        places = wave.astype(int) - 100 * i
        assert len(places) == crop
        assert ((places >= 0) & (places < length)).all()
        steps = np.diff(places)
        assert ((steps == 1) | ((steps == 1 - length) & (length < crop))).all()


def test_crops_reach_every_place_and_views_differ() -> None:
    data = Made("voice", [40])
    found = batches_of(data, [[0, 0, 0, 0]] * 1 + [[0]], crop=10, epoch=3)
    firsts = found[0].media[:, 0].tolist()
    assert len(set(firsts)) > 1
    assert found[1].media[0, 0] == firsts[0]  # the first view, whatever else is in the batch
    starts = {int(batches_of(data, [[0]], crop=10, epoch=e)[0].media[0, 0]) for e in range(400)}
    assert starts == set(range(31))


@pytest.mark.parametrize("modality", ["face", "voice"])
def test_batches_are_the_same_whoever_reads_them(tmp_path, modality) -> None:
    prepared, split = small_set(tmp_path, modality=modality, train=4, validation=2, samples=3)
    data = open_training([SetSection(prepared=str(prepared), split=str(split))])
    order = [[0, 5, 7, 7], [11, 2, 3, 1], [4, 4, 6, 8]]
    crop = CROP if modality == "voice" else None
    here = batches_of(data, order, crop=crop, seed=5, epoch=2)
    with loader.Loader(data, order, crop_samples=crop, seed=5, epoch=2, workers=2) as there:
        for once, again in [(here, list(there)), (here, list(there.again(iter(order), epoch=2)))]:
            assert len(once) == len(again) == 3
            for a, b in zip(once, again, strict=True):
                assert torch.equal(a.media, b.media)
                assert torch.equal(a.labels, b.labels)
                assert torch.equal(a.samples, b.samples)
        other = list(there.again(order, epoch=3))
    assert torch.equal(other[0].samples, here[0].samples)
    assert torch.equal(other[0].media, here[0].media) is (modality == "face")
    assert here[0].media[0].float().std() > 1


def test_more_readers_than_processors_are_not_started(recwarn) -> None:
    with loader.Loader(Made("face", [1] * 4), [[0, 1]], workers=10_000) as one:
        assert one._torch.num_workers <= (os.cpu_count() or 1)
    assert not recwarn.list


def test_an_epoch_that_is_left_early_leaves_nothing_behind() -> None:
    data = Made("face", [1] * 64)
    with loader.Loader(data, [[i] for i in range(64)], workers=2) as one:
        for batch in one:
            if batch.samples.item() == 3:
                break
        assert [b.samples.item() for b in one.again([[9], [8]], epoch=1)] == [9, 8]
    with pytest.raises(UsageError, match="closed"):
        next(iter(one))


@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize(
    ("error", "kind", "words"),
    [
        (DataError("shard-00001.arrow, row 3: its bytes are damaged"), DataError, r"made/someone/4.*row 3"),
        (
            MediaError("made/someone/4.flac: cut short", reason=Reason.TRUNCATED),
            DataError,
            r"^made/someone/4.flac: cut",
        ),
        (StorageError("the disk fails"), StorageError, "the disk fails"),
        (OSError(5, "Input/output error"), StorageError, "Input/output error"),
    ],
)
def test_a_sample_that_cannot_be_read_is_named(workers, error, kind, words) -> None:
    data = Made("voice", [50] * 6, broken=4, error=error)
    with pytest.raises(kind, match=words) as caught:
        batches_of(data, [[1, 2], [3, 4]], crop=10, workers=workers)
    assert "Traceback" not in str(caught.value)


def test_a_reader_that_is_killed_is_an_error_with_a_way_out() -> None:
    with pytest.raises(EnvironmentProblemError, match=r"shared memory.*lower data\.workers"):
        batches_of(Made("voice", [50] * 6, broken=4), [[1, 2], [3, 4], [5, 0]], crop=10, workers=1)


def test_a_recording_shorter_than_its_shard_says_is_named() -> None:
    data = Made("voice", [50, 50])
    data.media = lambda *_, **__: np.zeros(0, np.int16)
    with pytest.raises(DataError, match=r"made/someone/1.flac: \(0,\) samples of speech where 10"):
        batches_of(data, [[1]], crop=10)


def test_faces_of_two_sizes_in_a_batch_are_named() -> None:
    data = Made("face", [1, 1])
    data.media = lambda i, **_: np.zeros((8 + i, 8, 3), np.uint8)
    with pytest.raises(DataError, match=r"made/someone/1.flac: a face of \(9, 8, 3\)"):
        batches_of(data, [[0, 1]])


@pytest.mark.parametrize(("modality", "crop"), [("face", 100), ("voice", None), ("voice", 0)])
def test_crops_are_for_voices_and_voices_need_them(modality, crop) -> None:
    with pytest.raises(UsageError, match="crop_samples"):
        batches_of(Made(modality, [50]), [[0]], crop=crop)


INTERRUPTED = """
    import signal
    import numpy as np
    from verify.training.loader import Loader

    signal.signal(signal.SIGINT, signal.default_int_handler)  # in the background a shell lets it be ignored

    class Faces:
        modality = "face"
        labels = np.zeros(2, np.int64)
        media = staticmethod(lambda i: np.zeros((8, 8, 3), np.uint8))

    try:
        with Loader(Faces(), ([0, 1] for _ in range(10**9)), workers=2) as loader:
            for number, _ in enumerate(loader):
                if number == 5:
                    print("reading", flush=True)
    except KeyboardInterrupt:
        print("stopped", flush=True)
"""


def test_ctrl_c_ends_all_readers_without_a_word() -> None:
    run = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(INTERRUPTED)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert run.stdout is not None
    try:
        assert run.stdout.readline() == "reading\n"
        os.killpg(run.pid, signal.SIGINT)  # as a terminal does: to all of them
        out, err = run.communicate(timeout=120)
        assert (out, err, run.returncode) == ("stopped\n", "", 0)
        for _ in range(100):
            try:
                os.killpg(run.pid, 0)
            except ProcessLookupError:
                return
            time.sleep(0.05)
        pytest.fail("a reader outlived the training process")
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(run.pid, signal.SIGKILL)
        run.wait()


READER = """
    import sys
    from verify.training.loader import _in_worker

    _in_worker(0)
    for error in (ConnectionResetError("hung up"), EOFError("hung up"), ValueError("a fault")):
        sys.excepthook(type(error), error, None)
"""


def test_a_reader_keeps_silent_about_a_training_process_that_hung_up_and_about_nothing_else() -> None:
    command = [sys.executable, "-c", textwrap.dedent(READER)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stderr == "ValueError: a fault\n"
