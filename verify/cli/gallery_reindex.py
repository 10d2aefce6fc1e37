"""``verify gallery reindex``: bring references to a changed model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from verify.cli.options import gallery_option
from verify.cli.output import json_option


@click.command()
@click.option(
    "--model", "-m", required=True, metavar="NEW", help="Model bundle that references are brought to."
)
@click.option(
    "--from",
    "old",
    multiple=True,
    metavar="OLD",
    help="Model whose references are replaced: its name, or the beginning of its model_id; may be repeated. "
    "[default: the gallery's one other model of the same kind]",
)
@click.option(
    "--sources",
    multiple=True,
    type=click.Path(path_type=Path),
    metavar="FOLDER",
    help="Look here, too, for samples that have moved; they are recognised by their content. May be repeated.",
)
@click.option(
    "--keep-old", is_flag=True, help="Leave the old templates in place: the old model goes on working."
)
@click.option(
    "--retire",
    is_flag=True,
    help="Also remove old references that cannot be embedded again, of subjects who have others of the new model.",
)
@click.option("--dry-run", is_flag=True, help="Say what would happen; nothing is embedded or written.")
@click.option(
    "--failures",
    type=click.Path(path_type=Path),
    help="Write the references that wait for re-enrolment to this CSV, with the reasons.",
)
@gallery_option
@json_option
def reindex(*, keep_old: bool, retire: bool, **options: Any) -> int:
    """Embed the enrolled samples again with another model, one transaction a subject.

    A sample is taken from where it was enrolled, if it still has the very same content. References whose
    samples are gone stay under the old model, are listed, and wait for `verify enroll`: templates of two
    models are never compared. Interrupted, run it again: it goes on where it was. Exit codes: 0 all done,
    3 some samples gave no template, 4 some samples are gone or unreadable.
    """
    from verify.cli.reindexing import reindex_gallery

    if keep_old and retire:
        msg = "--keep-old and --retire exclude each other: one leaves old templates in place, the other removes them"
        raise click.UsageError(msg)
    return reindex_gallery(keep_old=keep_old, retire=retire, **options)
