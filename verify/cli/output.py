"""How commands print: JSON for programs, tables and progress bars for people.

Results go to stdout, progress and errors to stderr. Templates and media are never printed.
"""

from __future__ import annotations

import dataclasses
import json
import math
import os
import shlex
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from enum import Enum
from pathlib import Path
from typing import Any, TypeVar

import click

from verify.types import Rate, Template

T = TypeVar("T")

json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON document to stdout.")


def jsonable(value: Any) -> Any:
    """Turn a result into plain JSON values; templates become their model_id only, NaN becomes null."""
    if isinstance(value, Template):
        return {"model_id": value.model_id, "modality": value.modality.value}
    if isinstance(value, Rate):
        return {f.name: jsonable(getattr(value, f.name)) for f in dataclasses.fields(value)} | {
            "value": jsonable(value.value)
        }
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {
            f.name: jsonable(getattr(value, f.name)) for f in dataclasses.fields(value) if f.name != "vector"
        }
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, Mapping):
        return {str(key): jsonable(item) for key, item in value.items()}
    if hasattr(value, "tolist"):
        return jsonable(value.tolist())
    if isinstance(value, (list, tuple, set, frozenset)):
        return [jsonable(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def model_argument(path: Path) -> str:
    """A bundle's folder as ``--model`` takes it in a shell: with a separator, or it would be looked up as a name."""
    return shlex.quote(os.path.join(path, ""))  # noqa: PTH118  pathlib drops the separator


def print_json(payload: Any) -> None:
    """Print one JSON document."""
    click.echo(json.dumps(jsonable(payload), ensure_ascii=False, indent=2))


def print_table(columns: Sequence[str], rows: Iterable[Sequence[Any]], *, title: str | None = None) -> None:
    """Print a table that fits the terminal; values are printed as text, never as markup."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(width=None if sys.stdout.isatty() else 140)
    table = Table(title=title, title_justify="left", header_style="bold", box=None, pad_edge=False)
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*(Text("" if cell is None else str(cell)) for cell in row))
    console.print(table)


def progress(items: Iterable[T], *, total: int | None, label: str, quiet: bool = False) -> Iterator[T]:
    """Yield `items` with a bar on stderr; silent when `quiet` or when stderr is no terminal."""
    if quiet or not sys.stderr.isatty():
        yield from items
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(label, total=total)
        for item in items:
            yield item
            bar.advance(task)
