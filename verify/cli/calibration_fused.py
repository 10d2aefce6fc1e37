"""``verify calibrate --model sface+dlib``: several models together."""

from __future__ import annotations

import shlex
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from verify.cli.calibration_files import Outputs
from verify.cli.model_facts import model_facts
from verify.cli.output import progress

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from verify.cli.calibration_files import Done
    from verify.evaluation.job import Method
    from verify.evaluation.targets import Target

_NOT_FOR_SEVERAL = ("scores", "trial_list", "cohort", "install")


def run_fused(
    data: tuple[Path, ...],
    options: Mapping[str, Any],
    *,
    targets: Sequence[Target | float],
    method: Method,
    quiet: bool,
) -> Done:
    """Calibrate and write; raises before any work if files would be replaced unasked."""
    from verify.capture import Capturer
    from verify.evaluation.facts_of import calibration_facts
    from verify.evaluation.fused_job import run_fused_calibration
    from verify.models.fusions import JOINT, part_names

    refused = [f"--{name.replace('_', '-')}" for name in _NOT_FOR_SEVERAL if options[name]]
    if refused or not data:
        what = f"no {' or '.join(refused)}" if refused else "DATA: folders or CSV files of people"
        msg = f"several models together take {what}"
        raise click.UsageError(msg)
    outputs = Outputs.of(options, None)
    capturers = [
        Capturer.open(name, models_dir=options["models_dir"]) for name in part_names(options["model"])
    ]
    job = run_fused_calibration(
        capturers,
        data,
        targets=targets,
        method=method,
        keep_cache=not options["no_cache"],
        progress=lambda captures, total: progress(captures, total=total, label="capturing", quiet=quiet),
        **{
            name: options[name]
            for name in ("splits", "layout", "max_samples_per_subject", "trials", "workers", "cache")
        },
    )
    title = JOINT.join(one.bundle.name for one in capturers)
    facts = calibration_facts(
        job,
        title=f"Calibration of {title}",
        command=shlex.join(["verify", *sys.argv[1:]]),
        created_at=datetime.now(UTC),
        model={
            "name": title,
            "modality": JOINT.join(dict.fromkeys(str(one.modality) for one in capturers)),
            "parts": {one.bundle.name: model_facts(one) for one in capturers},
        },
    )
    return outputs.write(title, job, facts)
