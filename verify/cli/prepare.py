"""``verify prepare``: detect and align, or find the speech, once; training reads the result."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from verify.cli.output import json_option

if TYPE_CHECKING:
    from collections.abc import Iterator

    from verify.training.prepare import Prepared

PATH = click.Path(path_type=Path)


@click.command()
@click.argument("data", type=PATH)
@click.option("-o", "--out", type=PATH, required=True, help="Folder of the set, empty or not there yet.")
@click.option(
    "--model", "-m", help="Prepare for this bundle: its alignment and its locator. [default: by the files]"
)
@click.option(
    "--alignment", help="Faces: arcface-112 (default), facenet-160 or dlib-chip, in place of --model."
)
@click.option("--locator", help="Faces: yunet, or mtcnn (default of facenet-160), in place of --model.")
@click.option("--layout", help="Of DATA: subject-folders, file-per-subject or csv. [default: as it looks]")
@click.option(
    "--min-speech-s", default=0.5, show_default=True, help="Voices: less net speech gives no sample."
)
@click.option("--gate", is_flag=True, help="Leave out what fails the quality checks of a probe.")
@click.option(
    "--png", is_flag=True, help="Faces: keep exact pixels; twice the size of JPEG 98, slower to read."
)
@click.option("--workers", type=click.IntRange(1), help="Files under way at once. [default: one a CPU]")
@click.option("--force", is_flag=True, help="Make a set anew that is there with other settings.")
@json_option
def prepare(*, as_json: bool, **options: Any) -> None:
    """Prepare DATA for training: align its faces, or cut its voices to their speech.

    DATA is a folder with one sub-folder a subject, a flat folder with one file a subject, or a CSV with the
    columns subject,path[,session,group...]. The folder of the set gets Arrow shards, index.json and fta.csv:
    each file that gave no sample, and why. Killed or interrupted, the same command goes on where it stopped; run
    again on a finished set it checks every sample and makes anew what is damaged or has changed.

    Example: verify prepare people/ -o prepared/people

    Example: verify prepare people/ -o prepared/people --alignment facenet-160 --locator mtcnn
    """
    from verify.cli.output import print_json
    from verify.cli.preparation import run

    done, warnings = run(quiet=as_json, **options)
    if as_json:
        print_json({"prepared": done, "warnings": warnings})
        return
    for line in (*_told(done), *warnings):
        click.echo(line)


def _told(done: Prepared) -> Iterator[str]:
    yield f"{done.path}: {done.samples:,} samples of {done.subjects:,} subjects, sha256 {done.sha256[:12]}"
    yield f"shards: {done.made} made, {done.kept} kept and checked"
    failed = sum(done.failures.values())
    why = ", ".join(f"{reason} {count}" for reason, count in done.failures.items())
    yield f"{failed:,} files gave no sample{f' ({why})' if why else ''}: see {done.path / 'fta.csv'}"
    if done.copies:
        yield f"{done.copies:,} files left out: the same subject has the same bytes already"
