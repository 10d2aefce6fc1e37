"""``verify gallery list`` and ``show``."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from verify.cli.options import gallery_option
from verify.cli.output import json_option, print_json, print_table

if TYPE_CHECKING:
    from pathlib import Path

COLUMNS = ("subject", "templates", "modalities", "models", "newest")


@click.command("list")
@click.option("--limit", type=click.IntRange(min=1), default=50, show_default=True, help="Subjects to show.")
@click.option("--after", default="", metavar="SUBJECT", help="Go on behind this subject.")
@click.option("--all", "all_", is_flag=True, help="Print every subject, one tab-separated line each.")
@gallery_option
@json_option
def list_(gallery: Path, after: str, limit: int, *, all_: bool, as_json: bool) -> None:
    """List subjects in order of their ids."""
    from verify.gallery import SqliteGallery
    from verify.gallery.listing import line, stream_lines

    with SqliteGallery(gallery, read_only=True) as store:
        if all_ and not as_json:
            for cells in stream_lines(store, after=after):
                click.echo("\t".join(cells))
            return
        page = store.summaries(after=after, limit=sys.maxsize if all_ else limit)
        more = bool(page) and bool(store.summaries(after=page[-1].subject_id, limit=1))
    if as_json:
        print_json({"subjects": page, "next_after": page[-1].subject_id if more else None})
        return
    print_table(COLUMNS, [line(one) for one in page])
    if more:
        click.echo(f"there are more: verify gallery list --after {page[-1].subject_id!r}, or --all", err=True)


@click.command()
@click.argument("subject")
@gallery_option
@json_option
def show(subject: str, gallery: Path, *, as_json: bool) -> None:
    """Show where a subject's templates come from; never the templates."""
    from verify.gallery import SqliteGallery
    from verify.gallery.listing import RECORD_COLUMNS, record_line

    with SqliteGallery(gallery, read_only=True) as store:
        records = store.require(subject)
    if as_json:
        print_json({"subject_id": records[0].subject_id, "templates": records})
        return
    print_table(RECORD_COLUMNS, [record_line(record) for record in records], title=records[0].subject_id)
