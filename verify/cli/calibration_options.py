"""Options of `verify calibrate`: what to hold, and how it is proven."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from verify.evaluation.job import Method
    from verify.evaluation.targets import Target

KINDS = ("fmr", "far", "fnmr", "frr", "fpir", "fnir")
_SAYS = {
    "fmr": "False-match rate to hold (default 1e-3); several times for a ladder.",
    "far": "False-accept rate to hold: false matches among attempts, failed captures included.",
    "fnmr": "False-non-match rate to hold: the strictest threshold that keeps it.",
    "frr": "False-reject rate to hold: rejections among attempts, failed captures included.",
    "fpir": "Mode 1:N: rate of searches by strangers that find somebody.",
    "fnir": "Mode 1:N: rate of searches that miss the enrolled subject.",
}
PATH = click.Path(path_type=Path)

_TARGETS = tuple(
    click.option(f"--target-{kind}", f"target_{kind}", type=float, multiple=True, help=_SAYS[kind])
    for kind in KINDS
)
_METHOD = (
    click.option("--mode", type=click.Choice(("1:1", "1:N")), default="1:1", help="Claims (default) or searches."),
    click.option("--gallery-size", type=click.IntRange(1), help="Mode 1:N: subjects enrolled."),
    click.option("--confidence", default=0.95, show_default=True, help="Of the one-sided bounds."),
    click.option(
        "--bound", type=click.Choice(("prediction", "population")), default="prediction", show_default=True,
        help="Promise what as many further people will show, or the rate over all people like these.",
    ),
    click.option(
        "--norm", type=click.Choice(("none", "z", "t", "s", "as")), default="none", show_default=True,
        help="Normalise scores by a cohort of strangers.",
    ),
    click.option("--cohort", type=PATH, help="Folder or CSV of strangers for --norm; one template of each is used."),
    click.option("--top-k", type=click.IntRange(2), help="Of --norm as: highest cohort scores used (default 200)."),
    click.option("--quality", is_flag=True, help="Let quality enter the evidence: the modality's usual measures."),
    click.option(
        "--quality-measure", "measures", multiple=True, metavar="NAME",
        help="Let this measure of quality enter the evidence; several times for several.",
    ),
    click.option("--attempts", type=click.IntRange(1), default=1, show_default=True, help="Attempts of a transaction."),
    click.option("--extrapolate", is_flag=True, help="Beyond the trials: fit a tail, and say EXTRAPOLATED."),
    click.option("--groups", multiple=True, metavar="COLUMN", help="Rates by this manifest column; default: all."),
    click.option("--seed", default=0, show_default=True, help="Of the split and of sampled trials."),
)  # fmt: skip


def method_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add all of them to a command, in order."""
    for option in reversed(_TARGETS + _METHOD):
        command = option(command)
    return command


def asked_of(options: Mapping[str, Any]) -> tuple[tuple[Target, ...], Method]:
    """The targets and the method that the parsed options ask for; see `verify.evaluation.job`."""
    from verify.evaluation.job import Method
    from verify.evaluation.targets import Kind, Target

    targets = tuple(Target(Kind(kind), rate) for kind in KINDS for rate in options[f"target_{kind}"])
    if not targets and options["mode"] == "1:1":
        targets = (Target(Kind.FMR, 1e-3),)
    names = ("mode", "confidence", "bound", "norm", "top_k", "attempts", "extrapolate", "groups", "seed")
    return targets, Method(
        **{name: options[name] for name in names},
        gallery_size=options["gallery_size"] or 0,
        quality=options["measures"] if options["measures"] or options["quality"] else None,
    )
