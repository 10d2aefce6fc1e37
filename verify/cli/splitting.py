"""From the options of `verify split` to a split file and the audit beside it."""

from __future__ import annotations

import csv
import io
import json
from collections import Counter
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from verify.cli.destinations import check_writable
from verify.cli.output import jsonable, print_table, progress

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from verify.data.manifest import Manifest
    from verify.data.split_checks import SplitData
    from verify.evaluation.audit import Audit, Suspect

MIN_SPEECH_S = 0.5  # as `verify prepare` asks for: whatever is trained on is looked at
_SHOWN = 40


@dataclass(frozen=True, slots=True)
class Done:
    """What was written: counts are of subjects and files by part."""

    written: list[Path]
    sha256: str
    subjects: Mapping[str, int]
    files: Mapping[str, int]
    warnings: tuple[str, ...]
    audit: Audit | None = None


def run(
    *, data: Path, output: Path, fractions: str, seed: int, layout: str | None, same: Path | None,
    others: Sequence[str], audits: bool, force: bool, quiet: bool, **embedding: Any,
) -> Done:  # fmt: skip
    """Split, check, audit, write; nothing is written if a check refuses.

    Raises:
        click.UsageError: options that cannot be.
        ManifestError: data or splits that cannot be read, or a person or file in two parts.
    """
    from verify.data.duplicates import content_hashes
    from verify.data.manifest import read_manifest, refuse_one_subject
    from verify.data.split_checks import SplitData, check_contents, check_ids
    from verify.data.splits import split_subjects, write_split

    page = output.with_name(f"{output.stem}.audit.json")
    check_writable({output: "-o"} | ({page: "-o"} if audits else {}), replace=force)
    shares = _shares(fractions)
    manifest = read_manifest(data, layout=layout)
    refuse_one_subject(manifest)
    made = split_subjects(
        manifest.subjects, name=manifest.name, seed=seed, fractions=shares, same=_same(same)
    )
    paths = [entry.path for entry in manifest.entries]
    hashed = content_hashes(progress(paths, total=len(paths), label="reading", quiet=quiet))
    sets = [SplitData(made, manifest, hashed), *(_other(text) for text in others)]
    check_ids(made, [one.split for one in sets[1:]])
    warnings = (*manifest.warnings, *check_contents(sets), *_empty(made.parts, shares))
    found = _audited(sets, quiet=quiet, **embedding) if audits else None
    write_split(output, made)
    if found is not None:
        from verify.atomic import write_file

        text = json.dumps(
            jsonable({"split_sha256": made.sha256, "audit": found}), ensure_ascii=False, indent=1
        )
        write_file(page, f"{text}\n".encode(errors="replace"))
    subjects = Counter(made.parts.values())
    files = Counter(made.parts[entry.subject_id] for entry in manifest.entries)
    return Done(
        written=[output] + [page] * audits, sha256=made.sha256, warnings=warnings, audit=found,
        subjects={part: subjects[part] for part in shares}, files={part: files[part] for part in shares},
    )  # fmt: skip


def show(done: Done) -> None:
    """Print counts, warnings, and whom the audit suspects."""
    rows = [(part, f"{count:,}", f"{done.files[part]:,}") for part, count in done.subjects.items()]
    print_table(("part", "subjects", "files"), rows, title=f"split {done.sha256[:12]}")
    for warning in done.warnings:
        click.echo(f"warning: {warning}")
    if done.audit is not None:
        _show_audit(done.audit)
    click.echo(f"written to {', '.join(map(str, done.written))}")


def _show_audit(found: Audit) -> None:
    suspects = found.suspects
    across = sum(one.across for one in suspects)
    click.echo(
        f"audit: {found.samples:,} samples of {found.identities:,} identities ({found.failed:,} captures failed and "
        f"were not looked at): {len(suspects):,} suspects, {across:,} of them in two parts"
    )
    if suspects:
        columns = ("what", "cosine", "by chance", "identity", "part", "identity", "part")
        print_table(columns, (_row(one) for one in suspects[:_SHOWN]))
        click.echo(
            "look at them: take a wrong file out, give one person one id or keep both ids in one part (--same), and "
            "split again; 'by chance' is the number of pairs of strangers expected to be so alike"
        )
    if len(suspects) > _SHOWN:
        click.echo(f"... and {len(suspects) - _SHOWN:,} more: see the file, or --json")


def _row(one: Suspect) -> tuple[str, ...]:
    chance = "" if one.expected != one.expected else f"{one.expected:.2g}"
    is_sample = one.kind == "near-duplicate"
    names = [
        f"{name} ({Path(file).name})" if is_sample else name
        for name, file in zip((one.one, one.other), one.files, strict=True)
    ]
    return (one.kind, f"{one.cosine:.3f}", chance, names[0], one.parts[0], names[1], one.parts[1])


def _shares(text: str) -> dict[str, float]:
    from verify.config import unknown
    from verify.data.splits import PARTS, part_of

    shares: dict[str, float] = {}
    for item in text.split(","):
        part, _, share = (piece.strip() for piece in item.partition("="))
        if part not in PARTS:
            msg = f"--fractions: {unknown(part, PARTS, what='part')}"
            raise click.UsageError(msg)
        try:
            number = float(share)
        except ValueError:
            number = -1.0
        if not 0 <= number <= 1 or part in shares:
            msg = f"--fractions: {item!r} is no PART=SHARE, or there twice; for example train=0.8,test=0.2"
            raise click.UsageError(msg)
        shares[part] = number
    part_of("anybody", seed=0, fractions=shares)  # raises unless they sum to 1
    return {part: shares[part] for part in PARTS if part in shares}


def _same(file: Path | None) -> list[list[str]]:
    """The groups of ids in a CSV, one a line."""
    if file is None:
        return []
    try:
        rows = list(csv.reader(io.StringIO(file.read_text(encoding="utf-8"), newline="")))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        msg = f"--same {file}: cannot be read as CSV ({error})"
        raise click.UsageError(msg) from error
    for number, row in enumerate(rows, 1):
        if len(row) == 1:
            msg = f"--same {file}, line {number}: names one id; a line is id,id of one person"
            raise click.UsageError(msg)
    return [row for row in rows if row]


def _other(text: str) -> SplitData:
    """What ``--check SPLIT`` or ``--check SPLIT=DATA`` names."""
    from verify.data.duplicates import content_hashes
    from verify.data.manifest import read_manifest
    from verify.data.split_checks import SplitData
    from verify.evaluation.given_split import open_split, taking_part

    file, _, data = text.partition("=")
    split = open_split(file)
    if not data:
        return SplitData(split, None, {})
    manifest = taking_part(read_manifest(data), split, parts=sorted(set(split.parts.values())))
    return SplitData(split, manifest, content_hashes(entry.path for entry in manifest.entries))


def _empty(parts: Mapping[str, str], shares: Mapping[str, float]) -> list[str]:
    counts = Counter(parts.values())
    few = [part for part, share in shares.items() if share > 0 and counts[part] < 2]  # noqa: PLR2004
    return [
        f"{counts[part]} {'subject is' if counts[part] == 1 else 'subjects are'} in {part}, and two are the least for "
        "a comparison: bring more subjects, or choose other fractions or another seed, before anything is measured"
        for part in few
    ]


def _audited(
    sets: Sequence[SplitData], *, quiet: bool, model: str | None, duplicate_cosine: float, chance: float,
    workers: int | None, cache: Path | None, no_cache: bool,
) -> Audit:  # fmt: skip
    from verify.capture import Capturer, guess_modality
    from verify.evaluation.audit import Audited, audit
    from verify.evaluation.cache import EmbeddingCache, default_cache_path
    from verify.evaluation.embeddings import embed_all
    from verify.types import Modality

    known: list[tuple[Manifest, Mapping[str, str]]] = [
        (one.manifest, one.split.parts) for one in sets if one.manifest is not None
    ]
    modality = guess_modality(known[0][0].entries[0].path)
    least_s = MIN_SPEECH_S if modality is Modality.VOICE else None
    capturer = Capturer.open(model or modality.value, min_net_speech_s=least_s)
    path = None if no_cache else (cache or default_cache_path())
    with nullcontext() if path is None else EmbeddingCache(path) as store:
        embedded = [
            embed_all(
                capturer,
                manifest,
                cache=store,
                workers=workers,
                progress=lambda items, total: progress(items, total=total, label="capturing", quiet=quiet),
            )
            for manifest, _ in known
        ]
    return audit(
        [Audited(one, parts) for one, (_, parts) in zip(embedded, known, strict=True)],
        duplicate_cosine=duplicate_cosine,
        chance=chance,
        progress=lambda items, total: progress(items, total=total, label="comparing", quiet=quiet),
    )
