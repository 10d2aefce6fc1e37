"""From the options of `verify calibrate` to files written."""

from __future__ import annotations

import shlex
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from verify.cli.calibration_files import Outputs
from verify.cli.calibration_options import asked_of
from verify.cli.model_facts import model_facts
from verify.cli.output import progress

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from verify.capture import Capturer
    from verify.cli.calibration_files import Done

MEDIA_OPTIONS = ("splits", "layout", "max_samples_per_subject", "trials", "workers", "cache", "cohort")


def run(data: tuple[Path, ...], options: Mapping[str, Any], *, quiet: bool) -> Done:
    """Calibrate and write; raises before any work if files would be replaced unasked."""
    from verify.evaluation.facts_of import calibration_facts
    from verify.models.fusions import is_fusion

    targets, method = asked_of(options)
    if is_fusion(options["model"]):
        from verify.cli.calibration_fused import run_fused

        return run_fused(data, options, targets=targets, method=method, quiet=quiet)
    capturer = _capturer(data, options)
    outputs = Outputs.of(options, capturer)
    if capturer is None:
        from verify.evaluation.job import calibrate_scores
        from verify.types import Modality

        job = calibrate_scores(
            options["scores"], targets=targets, method=method, model_id=options["model_id"],
            modality=Modality(options["modality"]), distances=options["distances"],
        )  # fmt: skip
        title, model = ", ".join(path.name for path in options["scores"]), None
    else:
        from verify.evaluation.job import run_calibration

        job = run_calibration(
            capturer, data, targets=targets, method=method, keep_cache=not options["no_cache"],
            trial_lists=options["trial_list"],
            progress=lambda captures, total: progress(captures, total=total, label="capturing", quiet=quiet),
            **{name: options[name] for name in MEDIA_OPTIONS},
        )  # fmt: skip
        title = capturer.bundle.name
        model = model_facts(capturer)
    facts = calibration_facts(
        job, title=f"Calibration of {title}", command=shlex.join(["verify", *sys.argv[1:]]),
        created_at=datetime.now(UTC), model=model,
    )  # fmt: skip
    return outputs.write(title, job, facts)


def _capturer(data: tuple[Path, ...], options: Mapping[str, Any]) -> Capturer | None:
    """The model to capture with; None for score files, which need none."""
    if options["scores"]:
        for name in ("model", "install", "cohort", "trial_list", "splits"):
            if options[name] or data:
                what = "DATA" if data else f"--{name.removesuffix('s').replace('_', '-')}"
                msg = f"--scores takes no {what}: the scores are there already"
                raise click.UsageError(msg)
        return None
    if not data and not options["trial_list"]:
        msg = "name DATA (folders or CSV files of people), or a score file with --scores"
        raise click.UsageError(msg)
    if not options["model"]:
        msg = "name the model to calibrate with --model, for example --model face"
        raise click.UsageError(msg)
    from verify.capture import Capturer

    return Capturer.open(options["model"], models_dir=options["models_dir"])
