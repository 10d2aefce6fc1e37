"""``verify train --adapter``: fit, measure on unseen people, write the bundle."""

from __future__ import annotations

import shlex
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

from verify.cli.adapting_results import facts_of, show_rates, split_file, write
from verify.cli.output import model_argument, print_json

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

RECIPE_ONLY = ("data", "changes", "resume", "dry_run", "device")
EXIT_NO_GAIN = 1


def run(*, as_json: bool, **options: Any) -> None:
    """Fit an adapter to people and write it with its encoders as a new bundle."""
    from verify.capture import Capturer
    from verify.cli.adapting_people import open_sets
    from verify.models.places import default_models_dir
    from verify.models.views import joint_contract
    from verify.training.adapters import fit_adapter, joined_people
    from verify.training.adapters.bundle import check_name

    names = _models(options)
    capturers = [Capturer.open(name, models_dir=options["models_dir"]) for name in names]
    joint_contract([one.bundle for one in capturers])  # refuses what no bundle could hold, before the work
    title = options["name"] or "-".join([*(one.bundle.name for one in capturers), options["adapter"]])
    check_name(title)
    target = options["output"] or (options["models_dir"] or default_models_dir()) / title
    _check_free(target)
    sets = open_sets(capturers, options, quiet=as_json)
    people = joined_people([one.fit for one in sets])
    with _bar(quiet=as_json) as listen:
        fitted = fit_adapter(options["adapter"], people, on_progress=listen)
    facts = facts_of(fitted, sets, encoders=[one.bundle.name for one in capturers])
    if not fitted.gained and len(capturers) == 1:
        _no_gain(facts, as_json=as_json)
    card = write(capturers, fitted, sets, name=title, target=target, facts=facts)
    made = [target / split_file(one) for one in sets if one.made]
    payload = {"name": title, "model_id": card.model_id, "path": target, "splits": made}
    if as_json:
        print_json({**payload, "adapter": facts, "parity": card.parity})
    else:
        show_rates(facts)
        _show_written(payload, card.parity)


def _no_gain(facts: Mapping[str, Any], *, as_json: bool) -> None:
    """Say so and end with 1: the bundle would be the same model under another name, or a worse one."""
    if as_json:
        print_json({"name": None, "adapter": facts})
    else:
        show_rates(facts)
        click.echo(
            f"nothing written: on training people left out of the fit no setting of {facts['kind']} did better than "
            "the model as it is; bring more people with several samples each, or try another adapter"
        )
    raise click.exceptions.Exit(EXIT_NO_GAIN)


def _show_written(payload: Mapping[str, Any], parity: Mapping[str, Any]) -> None:
    click.echo(
        f"written to {payload['path']} (model_id {payload['model_id'][:12]}); graph and encoders agree within "
        f"{parity['max_cosine_difference']:.1g} of cosine on {parity['samples']} samples"
    )
    splits = "".join(f" --split {shlex.quote(str(path))}" for path in payload["splits"])
    click.echo(
        "it has no operating point yet: verify calibrate PEOPLE --model "
        f"{model_argument(payload['path'])}{splits or ' --split FILE'} --install"
    )


def _models(options: Mapping[str, Any]) -> tuple[str, ...]:
    """The bundles named by --model, once or several times, or joined by a plus; refuses what goes with recipes."""
    from verify.models.fusions import is_fusion, part_names

    for key in RECIPE_ONLY:
        if options.get(key):
            msg = f"--{'set' if key == 'changes' else key.replace('_', '-')} goes with a recipe, not with --adapter"
            raise click.UsageError(msg)
    if not options["sources"]:
        msg = (
            "name the people to learn from: folders with one sub-folder a subject, or CSV files subject,path"
        )
        raise click.UsageError(msg)
    names = [part for name in options["model"] for part in (part_names(name) if is_fusion(name) else (name,))]
    if not names or len(set(names)) != len(names):
        msg = "name the bundle to adapt with --model, for example --model face; several, each once, are concatenated"
        raise click.UsageError(msg)
    return tuple(names)


def _check_free(target: Path) -> None:
    if target.exists():
        msg = f"{target} exists already: name another folder with -o, or another bundle with --as"
        raise click.UsageError(msg)
    if not target.absolute().parent.is_dir():
        msg = f"-o {target}: there is no folder {target.absolute().parent}; make it first"
        raise click.UsageError(msg)


@contextmanager
def _bar(*, quiet: bool) -> Iterator[Callable[[int, int], None]]:
    """A listener for (fits done, fits in all) that draws a bar on stderr."""
    if quiet or not sys.stderr.isatty():
        yield lambda done, total: None  # noqa: ARG005  nothing to draw on
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("fitting", total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
