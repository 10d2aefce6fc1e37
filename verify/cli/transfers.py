"""How ``verify models`` prints: the catalogue, a card, and a bar while something is fetched."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import click

from verify.cli.output import jsonable, print_table

_MEGABYTE = 1e6
_SHOWN = 24  # values of a list on a card


def print_catalogue(lines: Iterable[Any]) -> None:
    """One row a model; damaged bundles are explained below."""
    lines = list(lines)
    columns = ("name", "for", "here", "MB", "licence", "what it is")
    print_table(columns, [_row(line) for line in lines])
    for line in lines:
        if line.problem:
            click.echo(f"{line.name}: {line.problem}", err=True)


def _row(line: Any) -> tuple[str, ...]:
    name = f"{line.name} ({line.alias})" if line.alias else line.name
    licence = line.licence if line.commercial_use else f"{line.licence} !"
    return (name, line.modality, line.state, _megabytes(line.bytes), licence, line.description)


def print_installed(done: Iterable[Any]) -> None:
    """What a pull or build did, one line a model."""
    for item in done:
        source = f" from {item.source}" if item.source else ""
        tested = "" if item.selftest_cosine is None else ", self-test passed"
        click.echo(f"{item.name}: {item.status}{source}{tested} ({item.path}, model_id {item.model_id[:12]})")


def print_facts(facts: Mapping[str, Any], *, indent: str = "") -> None:
    """A card as indented text, in its own order."""
    for key, value in facts.items():
        plain = jsonable(value)
        if isinstance(plain, Mapping) and plain:
            click.echo(f"{indent}{key}:")
            print_facts(plain, indent=indent + "  ")
        elif isinstance(plain, list) and any(isinstance(item, Mapping) for item in plain):
            for item in plain:
                click.echo(f"{indent}{key}:")
                print_facts(item, indent=indent + "  ")
        elif plain not in (None, "", [], {}):
            shown = _listed(plain) if isinstance(plain, list) else plain
            click.echo(f"{indent}{key}: {shown}")


def _listed(values: list[Any]) -> str:
    shown = ", ".join(map(str, values[:_SHOWN]))
    return shown if len(values) <= _SHOWN else f"{shown}, ... ({len(values):,} in all)"


@contextmanager
def transfer_bar(*, quiet: bool = False) -> Iterator[Callable[[str, int, int], None]]:
    """A listener for (label, bytes so far, bytes in all or 0) that draws bars on stderr."""
    if quiet or not sys.stderr.isatty():
        yield lambda label, done, total: None  # noqa: ARG005  nothing to draw on
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        tasks: dict[str, Any] = {}

        def listen(label: str, done: int, total: int) -> None:
            if label not in tasks:
                tasks[label] = bar.add_task(label.rsplit("/", 1)[-1].replace("[", "\\["), total=total or None)
            bar.update(tasks[label], completed=done)

        yield listen


def _megabytes(size: int) -> str:
    return f"{size / _MEGABYTE:.1f}" if size else "?"
