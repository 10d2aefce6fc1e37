"""The options that say which engine decides, and the engine they describe."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from verify.cli.options import gallery_option

if TYPE_CHECKING:
    from collections.abc import Callable

    from verify.engine import Verifier

_MODEL = click.option(
    "--model",
    "-m",
    help="Model bundle: face, voice, a name of `verify models list` or a folder. [default: by the file's kind]",
)
_FMR = click.option(
    "--fmr",
    type=float,
    help="False match rate that a 1:1 decision must hold. [default: the ladder's rung nearest above 0.001]",
)
_FPIR = click.option(
    "--fpir", type=float, help="False alarm rate that a 1:N search must hold. [default: 0.01]"
)
_POINTS = click.option(
    "--operating-points",
    type=click.Path(path_type=Path),
    help="Ladder of thresholds made by `verify calibrate`. [default: the model bundle's own]",
)
_UNCALIBRATED = click.option(
    "--uncalibrated",
    type=float,
    metavar="COSINE",
    help="Judge by this raw threshold, which proves nothing; every output says so.",
)
_FACES = click.option(
    "--faces",
    type=click.Choice(("refuse", "largest")),
    default="refuse",
    show_default=True,
    help="A probe with several faces: no decision, or the most prominent one decides.",
)


def _with(*options: Callable[..., Any]) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


compare_options = _with(_MODEL, _FMR, _FACES, _POINTS, _UNCALIBRATED)
match_options = _with(_MODEL, _FMR, _FACES, _POINTS, _UNCALIBRATED, gallery_option)
identify_options = _with(_MODEL, _FPIR, _FACES, _POINTS, _UNCALIBRATED, gallery_option)
enroll_options = _with(_MODEL, _FMR, _POINTS, _UNCALIBRATED, gallery_option)


def open_verifier(
    sample: str | Path | None,
    *,
    model: str | None,
    operating_points: Path | None,
    uncalibrated: float | None,
    fmr: float | None = None,
    fpir: float | None = None,
    faces: str = "refuse",
    gallery: Path | None = None,
    **how: Any,
) -> Verifier:
    """Open the engine that the options describe; `sample` tells face from voice when no model is named.

    Raises:
        click.UsageError: an option that the uncalibrated threshold would silence.
    """
    from verify.capture import guess_modality
    from verify.engine import DEFAULT_TARGET_FPIR, Verifier

    if uncalibrated is not None and (fmr, fpir, operating_points) != (None, None, None):
        msg = "--uncalibrated judges by a threshold of your own: it takes no rate and no operating points"
        raise click.UsageError(msg)
    return Verifier.open(
        model or (guess_modality(sample).value if sample is not None else "face"),
        gallery=gallery,
        operating_points=operating_points,
        target_fmr=fmr,
        target_fpir=DEFAULT_TARGET_FPIR if fpir is None else fpir,
        uncalibrated=uncalibrated,
        faces=faces,
        **how,
    )
