"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path

import click


def _chosen_or_default(ctx: click.Context, param: click.Parameter, value: Path | None) -> Path:
    del ctx, param
    if value is not None:
        return value
    from verify.gallery.location import default_path

    return default_path()


gallery_option = click.option(
    "--gallery",
    "-g",
    type=click.Path(path_type=Path),
    callback=_chosen_or_default,
    help="Gallery file. [default: VERIFY_GALLERY, else gallery.db in the platform's data folder]",
)
