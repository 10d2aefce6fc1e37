"""EER of a voice model by net speech duration, from raw files through the product's own capture.

    python tools/bench/voice_eer.py --data ../shared/data --model voice

Arabic Speech Commands: words of one speaker are joined until they hold the wanted net speech. LibriSpeech
test-other: recordings are cropped to it; the LibriSpeech cohort gives one crop a speaker, as further
impostors. All pairs within a set are trials. The minimum of net speech is lifted for the 1 s row and for the
rows by number of words; elsewhere the model card's holds, and what it refuses counts as failure to acquire.
The bounds are one-sided, 95 %, over subjects, at the EER threshold.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from verify.capture import CapturePolicy, Capturer
from verify.metrics.dyadic import mated_rate, non_mated_rate
from verify.metrics.equal_error import eer_rocch
from verify.metrics.rates import error_curve, fnmr, threshold_at_fmr
from verify.voice.decode import RATE_HZ, open_audio
from verify.voice.locate import SileroLocator

DURATIONS_S = (1.0, 2.0, 4.0, 8.0)
SLACK_S = 0.1  # a crop's speech is measured anew, by a VAD without what came before


@dataclass(frozen=True)
class Row:
    """One line of the table."""

    set: str
    speech: str
    net_speech_s: float
    subjects: int
    samples: int
    failures: int
    mated: int
    non_mated: int
    eer: float
    fmr_upper: float
    fnmr_upper: float
    fnmr_at_fmr_1e2: float
    threshold_at_eer: float
    mean_mated: float
    mean_non_mated: float


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--model", default="voice")
    parser.add_argument("--models-dir", type=Path)
    parser.add_argument("--per-subject", type=int, default=10, help="samples a subject and row, at most")
    parser.add_argument("--subjects", type=int, default=10_000, help="subjects a set, at most")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", type=Path, help="write the rows there, too")
    args = parser.parse_args()
    capturer = Capturer.open(args.model, models_dir=args.models_dir, threads=1)
    locator = SileroLocator(capturer.bundle.locator())
    rng = np.random.default_rng(args.seed)
    voices = args.data / "voices"
    began = time.perf_counter()
    words = read_folder(voices / "arabic_commands", locator, subjects=args.subjects)
    long = read_folder(voices / "librispeech_test_other", locator, subjects=args.subjects)
    cohort = read_files(sorted((voices / "librispeech_cohort").glob("*.flac"))[: args.subjects], locator)
    rows = []
    for count in (1, 4):
        samples = {
            name: join_count(found, count, rng=rng)[: args.per_subject] for name, found in words.items()
        }
        rows.append(measure(capturer, samples, "arabic_commands", f"{count} words", gate_s=0.0))
    for duration_s in DURATIONS_S:
        label, gate_s = f"{duration_s:g} s", 0.0 if duration_s < 2 else None
        samples = {
            name: join_net(found, duration_s, rng=rng)[: args.per_subject] for name, found in words.items()
        }
        rows.append(measure(capturer, samples, "arabic_commands", label, gate_s=gate_s))
        crops = {name: crop_all(found, duration_s)[: args.per_subject] for name, found in long.items()}
        rows.append(measure(capturer, crops, "librispeech_test_other", label, gate_s=gate_s))
        strangers = {f"cohort {name}": crop_all(found, duration_s)[:1] for name, found in cohort.items()}
        if sum(map(len, strangers.values())) >= 30:
            rows.append(measure(capturer, crops | strangers, "  + cohort", label, gate_s=gate_s))
    print(f"model {capturer.bundle.name} {capturer.model_id[:12]}, {time.perf_counter() - began:.0f} s")
    show(rows)
    if args.json:
        args.json.write_text(json.dumps([asdict(row) for row in rows], indent=2) + "\n")


@dataclass(frozen=True)
class Recording:
    """Samples and where their speech is, in seconds."""

    wave: np.ndarray
    spans: tuple[tuple[float, float], ...]

    @property
    def net_s(self) -> float:
        """Net speech."""
        return sum(end - start for start, end in self.spans)


def read_folder(folder: Path, locator: SileroLocator, *, subjects: int) -> dict[str, list[Recording]]:
    found = {}
    for subject in [path for path in sorted(folder.iterdir()) if path.is_dir()][:subjects]:
        found[subject.name] = [read(path, locator) for path in sorted(subject.glob("*.flac"))]
    return found


def read_files(paths: list[Path], locator: SileroLocator) -> dict[str, list[Recording]]:
    return {path.stem: [read(path, locator)] for path in paths}


def read(path: Path, locator: SileroLocator) -> Recording:
    blocks = list(open_audio(path))
    spans = tuple((r.start_s, r.end_s) for block in blocks for r in locator.locate(block))
    return Recording(np.concatenate([block.media for block in blocks]), spans)


def join_count(found: list[Recording], count: int, *, rng: np.random.Generator) -> list[np.ndarray]:
    order = rng.permutation(len(found))
    groups = [order[at : at + count] for at in range(0, len(order) - count + 1, count)]
    return [np.concatenate([found[index].wave for index in group]) for group in groups]


def join_net(found: list[Recording], net_s: float, *, rng: np.random.Generator) -> list[np.ndarray]:
    joined, group, held_s = [], [], 0.0
    for index in rng.permutation(len(found)):
        group.append(found[index].wave)
        held_s += found[index].net_s
        if held_s >= net_s + SLACK_S:
            joined.append(np.concatenate(group))
            group, held_s = [], 0.0
    return joined


def crop_all(found: list[Recording], net_s: float) -> list[np.ndarray]:
    return [crop for recording in found for crop in crop_one(recording, net_s)]


def crop_one(recording: Recording, net_s: float) -> list[np.ndarray]:
    """Crops of `net_s` of speech each, one after the other, with the pauses that lie between."""
    crops: list[np.ndarray] = []
    wanted = net_s + SLACK_S
    begin, held_s = None, 0.0
    for start, end in recording.spans:
        at = start
        while at < end:
            begin = at if begin is None else begin
            taken = min(end - at, wanted - held_s)
            at, held_s = at + taken, held_s + taken
            if held_s >= wanted - 1e-9:
                low, high = max(0.0, begin - 0.2), at + 0.2
                crops.append(recording.wave[int(low * RATE_HZ) : int(high * RATE_HZ)])
                begin, held_s = None, 0.0
    return crops


def measure(
    capturer: Capturer, samples: dict[str, list[np.ndarray]], name: str, label: str, *, gate_s: float | None
) -> Row:
    policy = CapturePolicy(min_net_speech_s=gate_s)
    vectors, subjects, net_s, failures = [], [], [], 0
    for number, waves in enumerate(samples.values()):
        for capture in capturer.capture_many(waves, workers=1, policy=policy):
            if capture.template is None or capture.quality is None:
                failures += 1
                continue
            vectors.append(capture.template.vector)
            subjects.append(number)
            net_s.append(capture.quality.measures["net_speech_s"])
    who = np.array(subjects)
    left, right = np.triu_indices(len(who), k=1)
    scores = np.einsum("nd,nd->n", np.array(vectors)[left], np.array(vectors)[right])
    same = who[left] == who[right]
    mated, non_mated = scores[same], scores[~same]
    curve = error_curve(mated=mated, non_mated=non_mated)
    threshold = float(curve.thresholds[np.abs(curve.fmr - curve.fnmr).argmin()])
    false_matches = non_mated_rate(
        non_mated=non_mated, subject_a=who[left][~same], subject_b=who[right][~same], threshold=threshold
    )
    missed = mated_rate(mated=mated, subject=who[left][same], threshold=threshold)
    return Row(
        set=name,
        speech=label,
        net_speech_s=float(np.mean(net_s)),
        subjects=len(set(subjects)),
        samples=len(who),
        failures=failures,
        mated=len(mated),
        non_mated=len(non_mated),
        eer=eer_rocch(mated=mated, non_mated=non_mated).value,
        fmr_upper=false_matches.upper,
        fnmr_upper=missed.upper,
        fnmr_at_fmr_1e2=fnmr(mated=mated, threshold=threshold_at_fmr(non_mated=non_mated, target=1e-2)),
        threshold_at_eer=threshold,
        mean_mated=float(mated.mean()),
        mean_non_mated=float(non_mated.mean()),
    )


def show(rows: list[Row]) -> None:
    print(
        "set                     speech   net s  subjects  samples  failed  mated  non-mated     EER"
        "   FMR <=  FNMR <=  FNMR@1e-2  threshold"
    )
    for row in rows:
        print(
            f"{row.set:23} {row.speech:8} {row.net_speech_s:5.2f}  {row.subjects:8} {row.samples:8} {row.failures:7}"
            f" {row.mated:6} {row.non_mated:10}  {row.eer:6.2%}  {row.fmr_upper:6.2%}   {row.fnmr_upper:6.2%}"
            f"     {row.fnmr_at_fmr_1e2:6.2%}      {row.threshold_at_eer:.3f}"
        )


if __name__ == "__main__":
    main()
