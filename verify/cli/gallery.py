"""``verify gallery``: the group, and delete (list and show: `gallery_list`; the rest: `gallery_upkeep`)."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from verify.cli.gallery_list import list_, show
from verify.cli.gallery_reindex import reindex
from verify.cli.gallery_upkeep import check, export, import_
from verify.cli.options import gallery_option
from verify.cli.output import json_option, print_json

if TYPE_CHECKING:
    from pathlib import Path


@click.group()
def gallery() -> None:
    """Enrolled references: list, show, delete, export, import, check, and bring them to a changed model."""


for command in (list_, show, export, import_, check, reindex):
    gallery.add_command(command)


@gallery.command()
@click.argument("subject")
@click.option("--yes", "-y", is_flag=True, help="Do not ask.")
@gallery_option
@json_option
def delete(subject: str, gallery: Path, *, yes: bool, as_json: bool) -> None:
    """Delete a subject, leaving no byte of its templates."""
    from verify.gallery import SqliteGallery

    with SqliteGallery(gallery, create=False) as store:
        found = store.require(subject)
        if not yes:
            if not sys.stdin.isatty():
                msg = "nobody is at the terminal to confirm: give --yes"
                raise click.UsageError(msg)
            click.confirm(
                f"Delete {found[0].subject_id!r} and its {len(found)} templates for good?", abort=True
            )
        count = store.delete(subject)
    if as_json:
        print_json({"subject_id": found[0].subject_id, "deleted_templates": count})
    else:
        click.echo(f"deleted {found[0].subject_id!r}: {count} templates, no bytes of them left")
