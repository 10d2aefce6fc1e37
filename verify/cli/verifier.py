"""The options that say which engine decides, and the engine they describe."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from verify.cli.options import gallery_option

if TYPE_CHECKING:
    from collections.abc import Callable

    from verify.engine import Verifier

_OPTIONS = (
    click.option(
        "--model",
        "-m",
        help="Model bundle: face, voice, a name of `verify models list` or a folder. [default: by the file's kind]",
    ),
    click.option(
        "--fmr",
        type=float,
        help="False match rate that a 1:1 decision must hold. [default: the ladder's rung nearest above 0.001]",
    ),
    click.option("--fpir", type=float, help="False alarm rate that a 1:N search must hold. [default: 0.01]"),
    click.option(
        "--operating-points",
        type=click.Path(path_type=Path),
        help="Ladder of thresholds made by `verify calibrate`. [default: the model bundle's own]",
    ),
    click.option(
        "--uncalibrated",
        type=float,
        metavar="COSINE",
        help="Judge by this raw threshold, which proves nothing; every output says so.",
    ),
)


def verifier_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the engine's options to a command that uses no gallery."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def gallery_verifier_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the engine's options and ``--gallery``."""
    return verifier_options(gallery_option(command))


def open_verifier(
    sample: str | Path | None,
    *,
    model: str | None,
    fmr: float | None,
    fpir: float | None,
    operating_points: Path | None,
    uncalibrated: float | None,
    gallery: Path | None = None,
    read_only: bool = False,
) -> Verifier:
    """Open the engine that the options describe; `sample` tells face from voice when no model is named."""
    from verify.capture import guess_modality
    from verify.engine import DEFAULT_TARGET_FPIR, Verifier

    return Verifier.open(
        model or (guess_modality(sample).value if sample is not None else "face"),
        gallery=gallery,
        read_only=read_only,
        operating_points=operating_points,
        target_fmr=fmr,
        target_fpir=DEFAULT_TARGET_FPIR if fpir is None else fpir,
        uncalibrated=uncalibrated,
    )
