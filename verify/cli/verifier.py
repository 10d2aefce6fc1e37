"""The options that say which engine decides, and the engine they describe."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from verify.cli.options import gallery_option

if TYPE_CHECKING:
    from collections.abc import Callable

    from verify.engine import Verifier
    from verify.engine.fusion import FusedVerifier

_MODEL = click.option(
    "--model",
    "-m",
    help="Model bundle: face, voice, a name of `verify models list` or a folder; several as one: sface+dlib. "
    "[default: by the file's kind]",
)
_FMR = click.option(
    "--fmr",
    type=float,
    help="False match rate that a 1:1 decision must hold. [default: 0.001, or the strictest rung, at most 0.05]",
)
_FAR = click.option(
    "--far",
    type=float,
    help="False accept rate that a 1:1 transaction must hold, in place of --fmr: FAR = FMR (1 - FTA) <= FMR.",
)
_POINT = click.option(
    "--point", metavar="NAME", help="Decide by the operating point of this name, whatever its target."
)
_ATTEMPTS = click.option(
    "--attempts",
    type=click.IntRange(1, 1000),
    default=1,
    show_default=True,
    help="Attempts that you grant in one transaction; rates are then per transaction.",
)
_EXTRAPOLATED = click.option(
    "--allow-extrapolated",
    is_flag=True,
    help="Also use operating points that a fitted tail supports in place of trials.",
)
_DRIFT_LOG = click.option(
    "--drift-log",
    type=click.Path(path_type=Path, dir_okay=False),
    envvar="VERIFY_DRIFT_LOG",
    show_envvar=True,
    help="Append score and outcome here (no media, templates or names) for `verify monitor`.",
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


_RULES = (_POINT, _ATTEMPTS, _EXTRAPOLATED, _POINTS, _UNCALIBRATED)
compare_options = _with(_MODEL, _FMR, _FAR, _FACES, *_RULES, _DRIFT_LOG)
match_options = _with(_MODEL, _FMR, _FAR, _FACES, *_RULES, _DRIFT_LOG, gallery_option)
identify_options = _with(_MODEL, _FPIR, _FACES, *_RULES, _DRIFT_LOG, gallery_option)
enroll_options = _with(_MODEL, _FMR, _POINTS, _UNCALIBRATED, gallery_option)


def open_verifier(
    sample: str | Path | None,
    *,
    model: str | None,
    uncalibrated: float | None = None,
    operating_points: Path | None = None,
    fmr: float | None = None,
    far: float | None = None,
    fpir: float | None = None,
    point: str | None = None,
    drift_log: Path | None = None,
    **how: Any,
) -> Verifier | FusedVerifier:
    """Open the engine that the options describe; `sample` tells face from voice when no model is named.

    Models joined with ``+`` decide as one.

    Raises:
        click.UsageError: options that exclude each other.
    """
    from verify.capture import guess_modality
    from verify.engine import Verifier
    from verify.models.fusions import is_fusion

    _check_by_hand(uncalibrated, fmr, far, fpir, point, operating_points)
    given = {"--fmr": fmr, "--far": far, "--point": point}
    several = [name for name, value in given.items() if value is not None]
    if len(several) > 1:
        msg = f"{' and '.join(several)} exclude each other: each says by itself which threshold decides"
        raise click.UsageError(msg)
    if drift_log is not None:
        from verify.engine.drift_log import DriftLog

        how["on_decision"] = DriftLog(drift_log).record
    if is_fusion(model):
        from verify.cli.fused import open_fused

        rates = {"target_fmr": fmr, "target_far": far, "point": point}
        return open_fused(
            str(model),
            uncalibrated=uncalibrated,
            fpir=fpir,
            operating_points=operating_points,
            **rates,
            **how,
        )
    if how.pop("everyone", False):
        msg = "--everyone goes with face and voice together: give --face and --voice, or --model face+voice"
        raise click.UsageError(msg)
    return Verifier.open(
        model or (guess_modality(sample).value if sample is not None else "face"),
        operating_points=operating_points,
        target_fmr=fmr,
        target_far=far,
        target_fpir=fpir,
        uncalibrated=uncalibrated,
        point=point,
        **how,
    )


def _check_by_hand(uncalibrated: float | None, *silenced: object) -> None:
    if uncalibrated is not None and any(value is not None for value in silenced):
        msg = "--uncalibrated judges by a threshold of your own: it takes no rate and no operating points"
        raise click.UsageError(msg)
