"""Where a command writes: everything that can be wrong with a place is found out before the work."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


def page_of(report: Path) -> Path:
    """The page's path: the name given with ``--report``, with ``.html`` behind it where that is missing."""
    if report.suffix.lower() in (".html", ".htm"):
        return report
    if report.suffix.lower() == ".json":
        msg = f"--report {report} names the page: give FILE.html, and FILE.json is written beside it"
        raise click.UsageError(msg)
    return report.with_name(f"{report.name}.html")


def check_writable(files: Mapping[Path, str], *, replace: bool) -> None:
    """Refuse what cannot be written, and to replace a file unasked.

    Args:
        files: path -> the option that names it.
        replace: whether files that are there may be replaced.
    """
    for path, option in files.items():
        folder = path.absolute().parent
        if not folder.is_dir():
            msg = f"{option} {path}: there is no folder {folder}; make it first"
            raise click.UsageError(msg)
        if path.is_dir():
            msg = f"{option} {path} is a folder: name a file in it"
            raise click.UsageError(msg)
        if not os.access(folder, os.W_OK):
            msg = f"{option} {path}: nothing may be written in {folder}; name another folder"
            raise click.UsageError(msg)
        if path.exists() and not replace:
            msg = f"{path} exists already: name another file with {option}, or give --force"
            raise click.UsageError(msg)
