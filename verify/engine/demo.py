"""The demonstration: real people enrolled, matched, refused and identified, from a folder tree."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from verify.capture import guess_modality
from verify.errors import ManifestError
from verify.types import Decision, Enrolment, Identification, IdentifyOutcome, Modality, Outcome

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from verify.engine.verifier import Verifier

RIGHT, FALSE_REJECT, FALSE_ACCEPT, NO_DECISION = "right", "false reject", "FALSE ACCEPT", "no decision"

ENROLLED, STRANGERS, REFERENCES, PROBES = 6, 6, 3, 2
_LEAST_AUDIO_BYTES = 40_000  # a second or two of FLAC; single words are too short to decide on


@dataclass(frozen=True, slots=True)
class Cast:
    """Who plays which part, from one folder with one sub-folder a subject.

    Attributes:
        enrolled: subject id -> (files to enrol, files to probe with).
        strangers: subject id -> one probe file; never enrolled.
    """

    folder: Path
    modality: Modality
    enrolled: dict[str, tuple[list[Path], list[Path]]]
    strangers: dict[str, Path]


@dataclass(frozen=True, slots=True)
class Step:
    """One thing that the demonstration did, and whether it came out as it should.

    Attributes:
        kind: ``mated`` and ``non-mated`` are 1:1 claims, ``enrolled`` and ``stranger`` 1:N searches.
        verdict: ``right``, ``false reject``, ``FALSE ACCEPT`` or ``no decision``.
    """

    kind: str
    truth: str
    claim: str
    file: Path
    result: Decision | Identification
    verdict: str


def find_casts(root: Path) -> list[Cast]:
    """One cast for each modality that `root` has media of, from its most suitable folder.

    A folder is suitable if its sub-folders are subjects, at least one of them with two files or
    more. Of several folders, the one that fills the most parts is taken; colour sets and long
    recordings come before others by having larger files.

    Raises:
        ManifestError: no folder below `root` is suitable.
    """
    found: dict[Modality, list[Cast]] = {}
    for folder in (root, *sorted(root.glob("*/")), *sorted(root.glob("*/*/"))):
        cast = _cast(folder)
        if cast is not None:
            found.setdefault(cast.modality, []).append(cast)
    if not found:
        msg = f"{root}: no folder with one sub-folder a subject and two photos or recordings of one of them"
        raise ManifestError(msg)
    return [max(casts, key=_fitness) for _, casts in sorted(found.items())]


def play(cast: Cast, verifier: Verifier) -> Iterator[tuple[str, Enrolment | Step]]:
    """Enrol, then match and identify; yield (what it is, result) as it goes."""
    alive = []
    for subject, (references, _) in cast.enrolled.items():
        done = verifier.enroll(subject, references)
        alive += [subject] if done.added else []
        yield f"enrol {subject}", done
    if not alive:
        return
    for kind, truth, claim, probe in _claims(cast, alive):
        decision = verifier.match(claim, probe)
        yield f"match {probe.name}", Step(kind, truth, claim, probe, decision, _judged(decision, kind))
    searches = [("enrolled", subject, probe) for subject in alive for probe in cast.enrolled[subject][1]]
    searches += [("stranger", stranger, probe) for stranger, probe in cast.strangers.items()]
    for kind, truth, probe in searches:
        found = verifier.identify(probe)
        yield f"identify {probe.name}", Step(kind, truth, "", probe, found, _found(found, truth, kind))


def _claims(cast: Cast, alive: list[str]) -> Iterator[tuple[str, str, str, Path]]:
    """(kind, who the probe shows, who is claimed, probe): everybody as themselves and as the next one."""
    for position, subject in enumerate(alive):
        other = alive[(position + 1) % len(alive)]
        for probe in cast.enrolled[subject][1]:
            yield "mated", subject, subject, probe
            if other != subject:
                yield "non-mated", subject, other, probe
    for position, (stranger, probe) in enumerate(cast.strangers.items()):
        yield "non-mated", stranger, alive[position % len(alive)], probe


def _judged(decision: Decision, kind: str) -> str:
    if decision.outcome is Outcome.NO_DECISION:
        return NO_DECISION
    if decision.accepted == (kind == "mated"):
        return RIGHT
    return FALSE_ACCEPT if decision.accepted else FALSE_REJECT


def _found(found: Identification, truth: str, kind: str) -> str:
    if found.outcome in (IdentifyOutcome.NO_DECISION, IdentifyOutcome.AMBIGUOUS):
        return NO_DECISION
    if found.subject_id == (truth if kind == "enrolled" else None):
        return RIGHT
    return FALSE_REJECT if found.subject_id is None else FALSE_ACCEPT


def _cast(folder: Path) -> Cast | None:
    subjects = {child.name: _media(child) for child in sorted(folder.iterdir()) if child.is_dir()}
    subjects = {name: files for name, files in subjects.items() if files}
    several = [name for name, files in subjects.items() if len(files) > 1]
    if not several:
        return None
    modality = guess_modality(subjects[several[0]][0])
    if modality is Modality.VOICE and _typical_bytes(subjects[several[0]]) < _LEAST_AUDIO_BYTES:
        return None
    rich = sorted(several, key=lambda name: (-min(len(subjects[name]), REFERENCES + PROBES), _order(name)))
    enrolled = {name: _parts(subjects[name]) for name in rich[:ENROLLED]}
    rest = sorted((name for name in subjects if name not in enrolled), key=_order)
    return Cast(folder, modality, enrolled, {name: subjects[name][0] for name in rest[:STRANGERS]})


def _parts(files: list[Path]) -> tuple[list[Path], list[Path]]:
    references = min(REFERENCES, len(files) - 1)
    return files[:references], files[references : references + PROBES]


def _media(folder: Path) -> list[Path]:
    suffixes = {
        ".jpg",
        ".jpeg",
        ".png",
        ".webp",
        ".bmp",
        ".tif",
        ".tiff",
        ".wav",
        ".flac",
        ".ogg",
        ".mp3",
        ".aif",
        ".aiff",
    }
    return sorted(path for path in folder.iterdir() if path.suffix.lower() in suffixes and path.is_file())


def _order(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()  # a fixed draw, so that every run shows the same people


def _typical_bytes(files: list[Path]) -> int:
    return sorted(path.stat().st_size for path in files)[len(files) // 2]


def _fitness(cast: Cast) -> tuple[int, int]:
    parts = sum(len(references) + len(probes) for references, probes in cast.enrolled.values()) + len(
        cast.strangers
    )
    files = [path for references, probes in cast.enrolled.values() for path in references + probes]
    return parts, _typical_bytes(files)
