"""``verify gallery export``, ``import`` and ``check``."""

from __future__ import annotations

from pathlib import Path

import click

from verify.cli.options import gallery_option
from verify.cli.output import json_option, print_json

EXIT_BROKEN = 4


@click.command()
@click.option("--output", "-o", type=click.Path(path_type=Path), required=True, help="New file to write.")
@gallery_option
@json_option
def export(output: Path, gallery: Path, *, as_json: bool) -> None:
    """Write all references to one file, with their templates: keep it as safe as the gallery."""
    from datetime import UTC, datetime

    from verify.gallery import SqliteGallery
    from verify.gallery.export import export_gallery

    with SqliteGallery(gallery, read_only=True) as store:
        done = export_gallery(store, output, now=datetime.now(UTC))
    if as_json:
        print_json(done)
    else:
        click.echo(
            f"wrote {done.path}: {done.subjects} subjects, {done.templates} templates, sha256 {done.sha256}"
        )


@click.command("import")
@click.argument("source", type=click.Path(path_type=Path), metavar="FILE")
@click.option(
    "--on-conflict",
    type=click.Choice(("error", "skip", "replace")),
    default="error",
    show_default=True,
    help="For a subject that has other templates of the same model.",
)
@click.option("--allow-other-models", is_flag=True, help="Take templates of models new to this gallery.")
@gallery_option
@json_option
def import_(
    source: Path, on_conflict: str, gallery: Path, *, allow_other_models: bool, as_json: bool
) -> None:
    """Take an export in: all of it is checked first, then all or nothing is written."""
    from verify.gallery import SqliteGallery
    from verify.gallery.restore import OnConflict, import_gallery

    with SqliteGallery(gallery) as store:
        done = import_gallery(
            store, source, on_conflict=OnConflict(on_conflict), allow_other_models=allow_other_models
        )
    if as_json:
        print_json(done)
    else:
        counts = f"{done.added} added, {done.unchanged} here already, {done.skipped} skipped"
        click.echo(f"{counts}, {done.replaced} replaced; {done.templates} templates written to {gallery}")


@click.command()
@gallery_option
@json_option
def check(gallery: Path, *, as_json: bool) -> int:
    """Check the file, every reference and the search; exit 4 if anything is broken."""
    from verify.gallery.check import check_path
    from verify.gallery.listing import report_lines

    report = check_path(gallery)
    if as_json:
        print_json({"ok": report.ok, "report": report})
    else:
        for line in report_lines(report):
            click.echo(line)
    return 0 if report.ok else EXIT_BROKEN
