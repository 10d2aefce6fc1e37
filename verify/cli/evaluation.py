"""From the options of `verify evaluate` to what it prints and writes."""

from __future__ import annotations

import shlex
import sys
from contextlib import nullcontext
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from verify.cli.destinations import check_writable, page_of
from verify.cli.evaluation_embeddings import (
    check_embedding_options,
    embedding_map,
    projection_of,
    show_probes,
    write_map,
)
from verify.cli.model_facts import model_facts
from verify.cli.output import print_json, print_table, progress

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from verify.evaluation.embeddings import EmbeddedSet
    from verify.evaluation.sources import TrialSource
    from verify.facts import CalibrationFacts
    from verify.report.embeddings import Panel
    from verify.types import OperatingPoint

EXIT_KEPT, EXIT_EXCEEDED = 0, 1


def run(options: Mapping[str, Any], *, as_json: bool) -> int:
    """Evaluate, print, write; the exit code."""
    from verify.evaluation.protocols import evaluate

    _check(options)
    page = None if options["no_report"] else page_of(options["report"])
    if page is not None:
        check_writable({page: "--report", page.with_suffix(".json"): "--report"}, replace=options["force"])
    if options["plot"] is not None:
        check_writable({options["plot"]: "--embeddings-plot"}, replace=options["force"])
    project = projection_of(options)
    source, points, model, embedded = _opened(options, quiet=as_json)
    now = datetime.now(UTC)
    facts = evaluate(
        source,
        points=points,
        gallery_sizes=options["sizes"],
        title=f"{model['name']} on {source.name}" if model else source.name,
        command=shlex.join(["verify", *sys.argv[1:]]),
        created_at=now,
        model=model,
        groups=options["groups"],
        quality=options["quality"],
        confidence=options["confidence"],
        seed=options["seed"],
        test_half=options["test_half"],
        retrieval=options["retrieval"],
    )
    written = [] if page is None else _write(page, facts)
    panels: Sequence[Panel] = ()
    if embedded is not None and project is not None:
        drawn = embedding_map(embedded, options, facts=facts, project=project, created_at=now)
        written.append(write_map(options["plot"], drawn))
        panels = drawn.panels
    if as_json:
        probes = [{"name": one.name, "probe": one.probe, "why": one.why} for one in panels]
        print_json({"facts": facts, "written": written} | ({"probes": probes} if probes else {}))
    else:
        _show(facts, written, panels)
    failed = any(verdict["verdict"] == "FAIL" for verdict in facts["verdicts"])
    return EXIT_EXCEEDED if failed else EXIT_KEPT


def _check(options: Mapping[str, Any]) -> None:
    scores, data, model = options["scores"], options["data"], options["model"]
    if scores is not None and (data is not None or model is not None or options["trial_list"] is not None):
        msg = "--scores needs neither DATA nor --model nor --trial-list: the scores are there already"
        raise click.UsageError(msg)
    if scores is None and (model is None or (data is None and options["trial_list"] is None)):
        msg = "name DATA and --model (face, voice, a bundle), or a matcher's scores with --scores"
        raise click.UsageError(msg)
    if options["sizes"] and (options["trial_list"] or scores):
        msg = "--gallery-size searches a folder's subjects: leave --trial-list and --scores out"
        raise click.UsageError(msg)
    if options["split"] and (options["trial_list"] or scores or options["test_half"]):
        msg = (
            "--split takes the subjects of one part of DATA: leave --trial-list, --scores and --test-half out"
        )
        raise click.UsageError(msg)
    check_embedding_options(options)


def _opened(
    options: Mapping[str, Any], *, quiet: bool
) -> tuple[TrialSource, Sequence[OperatingPoint], dict[str, Any] | None, EmbeddedSet | None]:
    """The trials, the thresholds to hold them against, what is said of the model, and DATA's captures."""
    from verify.models.operating_points import read_operating_points

    given = options["operating_points"]
    if options["scores"] is not None:
        from verify.evaluation.score_files import ScoreFileSource

        source = ScoreFileSource.open(
            options["scores"], seed=options["seed"], distances=options["distances"],
            groups=options["groups"], quality=options["quality"],
        )  # fmt: skip
        return source, () if given is None else read_operating_points(given), None, None
    from verify.capture import Capturer
    from verify.data.manifest import read_manifest, refuse_one_subject
    from verify.evaluation.acquaintance import told_of_acquainted
    from verify.evaluation.cache import EmbeddingCache, default_cache_path
    from verify.evaluation.embedded_source import EmbeddedSource
    from verify.evaluation.embeddings import embed_all
    from verify.evaluation.given_split import open_split, taking_part
    from verify.evaluation.trial_lists import TrialListSource

    capturer = Capturer.open(options["model"], models_dir=options["models_dir"])
    points = capturer.bundle.operating_points() if given is None else read_operating_points(given)
    _check_model(points, capturer.model_id, given)
    path = None if options["no_cache"] else (options["cache"] or default_cache_path())
    how: dict[str, Any] = {
        "workers": options["workers"],
        "progress": lambda captures, total: progress(captures, total=total, label="capturing", quiet=quiet),
    }
    with nullcontext() if path is None else EmbeddingCache(path) as cache:
        made: TrialSource
        embedded: EmbeddedSet | None = None
        if options["trial_list"] is not None:
            made = TrialListSource.open(
                options["trial_list"], capturer=capturer, media_root=options["data"], cache=cache, **how
            )
        else:
            manifest, chosen = read_manifest(options["data"]), {}
            if options["split"] is not None:
                chosen = {"split": open_split(options["split"]), "part": options["part"]}
                manifest = taking_part(manifest, chosen["split"], parts=(options["part"],))
            refuse_one_subject(manifest)
            embedded = embed_all(capturer, manifest, cache=cache, **how)
            told = (*manifest.warnings, *told_of_acquainted(capturer, embedded))
            made = EmbeddedSource.of(embedded, model_id=capturer.model_id, warnings=told, **chosen)
    return made, points, model_facts(capturer), embedded


def _check_model(points: Sequence[OperatingPoint], model_id: str, given: Path | None) -> None:
    from verify.errors import ModelMismatchError

    for point in points:
        if point.model_id != model_id:
            msg = (
                f"{given}: operating point {point.name!r} holds for model {point.model_id[:12]}, not for the model in "
                f"use ({model_id[:12]})"
            )
            raise ModelMismatchError(msg)


def _write(page: Path, facts: CalibrationFacts) -> list[Path]:
    from verify.report.calibration import calibration_page
    from verify.report.facts import write_facts, write_text

    write_facts(page.with_suffix(".json"), facts)
    write_text(page, calibration_page(facts))
    return [page, page.with_suffix(".json")]


def _show(facts: CalibrationFacts, written: Sequence[Path], panels: Sequence[Panel]) -> None:
    for verdict in facts["verdicts"]:
        click.echo(f"{verdict['verdict']}: {verdict['message']}")
        if verdict["fnmr"] is not None:
            missed = verdict["fnmr"]
            click.echo(
                f"    missed {missed['value']:.3g} ({missed['errors']:,} of {missed['trials']:,}, at most "
                f"{missed['upper']:.3g})"
            )
    rows = [
        (figure["name"], f"{figure['value']:.6g}", figure["note"]) for figure in facts["protocol"]["figures"]
    ]
    print_table(
        ("figure", "value", "what to know"), rows, title=f"{facts['title']}: {facts['protocol']['name']}"
    )
    if panels:
        show_probes(panels)
    one = facts["sets"][0]["test"]
    failed = ", ".join(f"{reason} {count}" for reason, count in one["failures_to_acquire"].items()) or "none"
    click.echo(
        f"{one['subjects']:,} subjects, {one['samples']:,} samples, {one['mated_trials']:,} mated and "
        f"{one['non_mated_trials']:,} non-mated trials; failures to acquire: {failed}"
    )
    for line in (*facts["sets"][0]["warnings"], *facts["notes"]):
        click.echo(line)
    click.echo(f"written to {', '.join(map(str, written))}" if written else "nothing written")
