"""``verify monitor``: do live scores still look like those that the threshold was proven on?"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from verify.cli.output import json_option, print_json, print_table

if TYPE_CHECKING:
    from verify.engine.drift_monitor import DriftReport

PATH = click.Path(path_type=Path)
COLUMNS = ("decisions", "from", "until", "rejected", "no capture", "stability", "alarms")
EXIT_QUIET, EXIT_ALARM, EXIT_NOT_JUDGED = 0, 1, 3


@click.command()
@click.argument("log", type=PATH)
@click.option(
    "--baseline", type=PATH, help="Report JSON of `verify calibrate`; default: the log's first window."
)
@click.option("--window", default=500, show_default=True, help="Decisions in a window, at least 50.")
@click.option("--confidence", default=0.999, show_default=True, help="Of each alarm.")
@json_option
def monitor(*, log: Path, baseline: Path | None, window: int, confidence: float, as_json: bool) -> int:
    """Judge the drift log LOG: have scores moved, are more claims rejected, do more captures fail?

    `verify match|compare|identify --drift-log LOG` (or VERIFY_DRIFT_LOG) writes it: scores and outcomes,
    no media, no templates, no subject ids. The report must be of the model and the score space in use.

    Exit codes: 0 no alarm, 1 alarm, 3 nothing could be judged yet.

    Example: verify monitor door.drift.jsonl --baseline report.json
    """
    from verify.engine.baseline import baseline_from_facts
    from verify.engine.drift_monitor import monitor as judge
    from verify.report.facts import read_facts

    expected = None if baseline is None else baseline_from_facts(read_facts(baseline), name=str(baseline))
    report = judge(log, baseline=expected, window=window, confidence=confidence)
    if as_json:
        print_json(
            {
                "alarmed": report.alarmed,
                "judged": report.judged,
                "advice": report.advice,
                "windows": report.windows,
                "too_few": report.too_few,
                "notes": report.notes,
            }
        )
    else:
        _show(report)
    if report.alarmed:
        return EXIT_ALARM
    return EXIT_QUIET if report.judged else EXIT_NOT_JUDGED


def _show(report: DriftReport) -> None:
    streams = dict.fromkeys((w.kind, w.modality, w.model_id, w.score_space) for w in report.windows)
    for stream in streams:
        kind, modality, model_id, space = stream
        windows = [w for w in report.windows if (w.kind, w.modality, w.model_id, w.score_space) == stream]
        rows = [
            (
                w.decisions,
                f"{w.start:%Y-%m-%d %H:%M}",
                f"{w.end:%Y-%m-%d %H:%M}",
                f"{w.rejects} of {w.decided}",
                w.capture_failures,
                "baseline" if w.stability is None else f"{w.stability.psi:.2f} {w.stability.level}",
                "\n".join(w.alarms),
            )
            for w in windows
        ]
        print_table(COLUMNS, rows, title=f"{kind}, {modality} {model_id[:12]}, {space}")
    for name, count in report.too_few.items():
        click.echo(f"{name}: {count} decisions, too few to judge")
    for note in report.notes:
        click.echo(note)
    click.secho(report.advice, bold=True)
