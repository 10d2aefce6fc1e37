"""``verify models``: list, show and remove model bundles (pull and build: `verify.cli.models_bring`)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from verify.cli.models_bring import build, pull, to_option
from verify.cli.output import json_option, print_json
from verify.cli.transfers import print_catalogue, print_facts

if TYPE_CHECKING:
    from pathlib import Path


@click.group()
def models() -> None:
    """Face and voice models: what there is, under which licence, and bringing it here."""


models.add_command(pull)
models.add_command(build)


@models.command("list")
@to_option
@json_option
def list_(models_dir: Path | None, *, as_json: bool) -> None:
    """List the known models and the bundles on this machine."""
    from verify.models.catalogue import catalogue

    lines = catalogue(models_dir=models_dir)
    print_json({"models": lines}) if as_json else print_catalogue(lines)


@models.command()
@click.argument("name")
@to_option
@json_option
def show(name: str, models_dir: Path | None, *, as_json: bool) -> None:
    """Show the licence and card of a model: a name, or the path of a bundle."""
    from verify.models.catalogue import describe

    facts = describe(name, models_dir=models_dir)
    print_json(facts) if as_json else print_facts(facts)


@models.command()
@click.argument("name")
@to_option
@json_option
def remove(name: str, models_dir: Path | None, *, as_json: bool) -> None:
    """Delete a bundle, and say which others used it."""
    from verify.models.shelf import remove as remove_model

    path, users = remove_model(name, models_dir=models_dir)
    if as_json:
        print_json({"removed": path, "used_by": users})
    else:
        click.echo(f"removed {path}" + (f"; it was the locator of {', '.join(users)}" if users else ""))
