"""Several models as one engine: what ``--model sface+dlib`` and ``--face``/``--voice`` open."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from pathlib import Path

    from verify.engine.fusion import FusedVerifier
    from verify.types import PartScore

FACE_AND_VOICE = "face+voice"


def open_fused(
    models: str, *, uncalibrated: float | None, fpir: float | None = None, **how: Any
) -> FusedVerifier:
    """Open the engine of several models joined with ``+``.

    Raises:
        click.UsageError: an option that makes no sense for several models together.
    """
    from verify.engine.fusion import FusedVerifier

    if uncalibrated is not None:
        msg = "--uncalibrated is a raw cosine of one model; several models together are judged by their evidence"
        raise click.UsageError(msg)
    if fpir is not None:
        msg = "several models together decide 1:1 claims only: use `verify match`, or one of the models"
        raise click.UsageError(msg)
    return FusedVerifier.open(models, **how)


def claim_of(
    probe: Path | None, *, face: Path | None, voice: Path | None, model: str | None
) -> tuple[Any, str | None]:
    """What ``verify match`` was given, and the model for it: one sample, or a sample by modality for several models.

    Raises:
        click.UsageError: nothing, or both ways at once, or two samples for one model.
    """
    from verify.models.fusions import is_fusion
    from verify.types import Modality

    named = {Modality.FACE: face, Modality.VOICE: voice}
    given = {modality: path for modality, path in named.items() if path is not None}
    if (probe is None) == (not given):
        msg = "give one PROBE, or --face PHOTO, --voice RECORDING or both"
        raise click.UsageError(msg)
    if probe is not None:
        return probe, model
    if is_fusion(model) or len(given) > 1:
        if model is not None and not is_fusion(model):
            msg = f"--face with --voice needs a model for each, for example --model face+voice, not {model}"
            raise click.UsageError(msg)
        return given, model or FACE_AND_VOICE
    ((modality, path),) = given.items()
    return path, model or modality.value


def part_in_words(part: PartScore) -> str:
    """One model's share in a fused decision."""
    from verify.cli.decisions import evidence

    name = f"{part.modality.value} {part.model_id[:12]}"
    if part.cosine is None:
        return f"{name}  no share{f' ({part.failure.value})' if part.failure else ''}"
    told = "" if part.llr is None else f", {evidence(part.llr)}"
    return f"{name}  cosine {part.cosine:+.4f}{told}"
