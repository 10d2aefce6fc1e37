"""From the options of `verify prepare` to a prepared set."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from verify.cli.output import progress

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path
    from typing import Any

    from verify.models import ModelBundle
    from verify.training.prepare import Prepared
    from verify.types import Modality


def run(
    *,
    data: Path,
    out: Path,
    model: str | None,
    alignment: str | None,
    locator: str | None,
    layout: str | None,
    min_speech_s: float,
    gate: bool,
    png: bool,
    workers: int | None,
    force: bool,
    quiet: bool,
) -> tuple[Prepared, tuple[str, ...]]:
    """Prepare; the warnings are the manifest's.

    Raises:
        click.UsageError: options that exclude each other.
        VerifyError: see `verify.training.prepare.prepare`.
    """
    from verify.capture import guess_modality
    from verify.data.manifest import read_manifest
    from verify.training.extraction import JPEG, PCM, PNG, open_extractor
    from verify.training.prepare import Preparation, prepare
    from verify.types import Modality

    manifest = read_manifest(data, layout=layout)
    seen = guess_modality(manifest.entries[0].path)
    modality, contract, finder = _target(model, alignment=alignment, locator=locator, seen=seen)
    is_face = modality is Modality.FACE
    if png and not is_face:
        msg = "--png is for faces, and these are voices: they are always kept exactly"
        raise click.UsageError(msg)
    encoding = PCM if not is_face else PNG if png else JPEG
    rules: dict[str, Any] = {"gate": gate} if is_face else {"gate": gate, "min_speech_s": min_speech_s}
    how = Preparation(
        modality=modality,
        contract=contract,
        locator={"name": finder.name, "model_id": finder.model_id},
        encoding=encoding,
        rules=rules,
    )
    extractor = open_extractor(
        finder, modality=modality, contract=contract, encoding=encoding, min_speech_s=min_speech_s, gate=gate
    )
    done = prepare(
        manifest, out, how=how, extractor=extractor, root=data if data.is_dir() else data.parent,
        workers=workers, force=force,
        progress=lambda items, total, label: progress(items, total=total, label=label, quiet=quiet),
    )  # fmt: skip
    left_out = tuple(f"{count} files left out as {why}" for why, count in sorted(manifest.skipped.items()))
    return done, (*(f"warning: {warning}" for warning in manifest.warnings), *left_out)


def _target(
    model: str | None, *, alignment: str | None, locator: str | None, seen: Modality
) -> tuple[Modality, Mapping[str, Any], ModelBundle]:
    """Modality, input contract and locator that the options ask for."""
    from verify.models import open_bundle
    from verify.training.extraction import contract_of
    from verify.types import Modality

    if model is not None:
        if alignment or locator:
            msg = "--model says by itself how its inputs are aligned and found: leave --alignment and --locator out"
            raise click.UsageError(msg)
        bundle = open_bundle(model)
        if bundle.card.task == "embedder":
            return bundle.modality, bundle.card.input, bundle.locator()
        if bundle.modality is Modality.VOICE:
            return bundle.modality, contract_of(Modality.VOICE), bundle
        locator = bundle.name
        seen = Modality.FACE
    if seen is Modality.VOICE:
        if alignment or locator:
            msg = "--alignment and --locator are for faces, and the data are voices"
            raise click.UsageError(msg)
        return seen, contract_of(seen), open_bundle("silero-vad")
    chosen = alignment or ("facenet-160" if locator == "mtcnn" else "arcface-112")
    finder = open_bundle(locator or ("mtcnn" if chosen == "facenet-160" else "yunet"))
    if finder.card.task != "locator" or finder.modality is not Modality.FACE:
        msg = f"--locator {locator}: finds no faces; there are yunet and mtcnn"
        raise click.UsageError(msg)
    return seen, contract_of(seen, alignment=chosen), finder
