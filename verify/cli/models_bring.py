"""``verify models pull`` and ``verify models build``: bringing bundles to this machine."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from verify.cli.output import json_option, print_json
from verify.cli.transfers import print_installed, transfer_bar

FILE = click.Path(exists=True, path_type=Path)
to_option = click.option(
    "--to", "models_dir", type=click.Path(path_type=Path), help="Folder of bundles [default: VERIFY_MODELS]."
)


@click.command()
@click.argument("names", nargs=-1, required=True, metavar="NAME...")
@click.option("--from-file", "from_files", type=FILE, multiple=True, help="Weights, wheel, bundle or folder.")
@click.option("--offline", is_flag=True, help="Ask no network.")
@click.option("--force", is_flag=True, help="Bring and build again what is here.")
@click.option("--accept-licence", is_flag=True, help="The licence's restriction holds for your use.")
@click.option("--sha256", default="", help="The hash to trust where the registry knows none.")
@click.option("--accept-hash", is_flag=True, help="Take such a file as it comes; its hash is recorded.")
@to_option
@json_option
def pull(names: tuple[str, ...], models_dir: Path | None, *, as_json: bool, **given: Any) -> None:
    """Bring models, and the locators that they need, from URL, package index or file."""
    from verify.models.acquire import PullOptions
    from verify.models.install import pull as pull_model

    with transfer_bar(quiet=as_json) as progress:
        options = PullOptions(progress=progress, **given)
        done = [item for name in names for item in pull_model(name, models_dir=models_dir, options=options)]
    print_json({"models": done}) if as_json else print_installed(done)


@click.command()
@click.argument("name")
@click.option("--weights", type=FILE, help="Torch weights of this network [default: those published].")
@click.option("--as", "new_name", default="", help="Name of the bundle; needed for weights of your own.")
@to_option
@json_option
def build(name: str, models_dir: Path | None, *, as_json: bool, weights: Path | None, new_name: str) -> None:
    """Build a bundle from torch weights, proven against torch (needs the extra train)."""
    from verify.training.bundles import build_proven

    with transfer_bar(quiet=as_json) as progress:
        done = build_proven(
            name, weights=weights, new_name=new_name, models_dir=models_dir, progress=progress
        )
    print_json({"models": done}) if as_json else print_installed(done)
