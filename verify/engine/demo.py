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
        right: True or False; None when there was no decision, which is neither.
    """

    kind: str
    truth: str
    claim: str
    file: Path
    result: Decision | Identification
    right: bool | None


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
    for subject, (references, _) in cast.enrolled.items():
        yield f"enrol {subject}", verifier.enroll(subject, references)
    subjects = list(cast.enrolled)
    claims: list[tuple[str, str, Path, str]] = []
    for position, (subject, (_, probes)) in enumerate(cast.enrolled.items()):
        other = subjects[(position + 1) % len(subjects)]
        claims += [(subject, subject, probe, "mated") for probe in probes]
        claims += [(subject, other, probe, "non-mated") for probe in probes if other != subject]
    for position, (stranger, probe) in enumerate(cast.strangers.items()):
        claims.append((stranger, subjects[position % len(subjects)], probe, "non-mated"))
    for truth, claim, probe, kind in claims:
        decision = verifier.match(claim, probe)
        right = None if decision.outcome is Outcome.NO_DECISION else decision.accepted == (kind == "mated")
        yield f"match {probe.name}", Step(kind, truth, claim, probe, decision, right)
    searches = [
        (subject, probe, "enrolled") for subject, (_, probes) in cast.enrolled.items() for probe in probes
    ]
    searches += [(stranger, probe, "stranger") for stranger, probe in cast.strangers.items()]
    for truth, probe, kind in searches:
        found = verifier.identify(probe)
        yield f"identify {probe.name}", Step(kind, truth, "", probe, found, _identified(found, truth, kind))


def _identified(found: Identification, truth: str, kind: str) -> bool | None:
    if found.outcome in (IdentifyOutcome.NO_DECISION, IdentifyOutcome.AMBIGUOUS):
        return None
    return found.subject_id == (truth if kind == "enrolled" else None)


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
