"""Options of `verify evaluate` that look at embeddings, and the map that they ask for."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from verify.cli.output import print_table

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import datetime

    import numpy as np
    from numpy.typing import NDArray

    from verify.evaluation.conditions import Condition
    from verify.evaluation.embeddings import EmbeddedSet
    from verify.facts import CalibrationFacts
    from verify.report.embeddings import EmbeddingMap, Panel

    Projection = Callable[[NDArray[np.floating]], NDArray[np.float64]]

METHODS = {"t-sne": "t-SNE", "umap": "UMAP", "pca": "PCA"}
_OPTIONS = (
    click.option("--retrieval", is_flag=True, help="Recall@K, MRR, mAP@R, nDCG, k-NN, linear probe: each for all."),
    click.option(
        "--embeddings-plot", "plot", type=click.Path(path_type=Path), metavar="FILE.html",
        help="Draw the embeddings by identity and by capture condition, and say what gives the condition away.",
    ),
    click.option(
        "--colour", "--color", "colours", multiple=True, metavar="NAME",
        help="Of --embeddings-plot: manifest column or quality measure; default: every column.",
    ),
    click.option(
        "--projection", type=click.Choice(tuple(METHODS)), default="t-sne", show_default=True,
        help="Of --embeddings-plot; t-sne needs the extra train, pca nothing.",
    ),
)  # fmt: skip


def embedding_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add all of them to a command, in order."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def check_embedding_options(options: Mapping[str, Any]) -> None:
    """Refuse what has no embeddings of one folder to look at, and options of a map that nobody asked for."""
    if (options["retrieval"] or options["plot"]) and (options["trial_list"] or options["scores"]):
        msg = (
            "--retrieval and --embeddings-plot look at DATA's embeddings: leave --trial-list and --scores out"
        )
        raise click.UsageError(msg)
    if options["colours"] and not options["plot"]:
        msg = "--colour is of the map: name its file with --embeddings-plot FILE.html"
        raise click.UsageError(msg)


def projection_of(options: Mapping[str, Any]) -> Projection | None:
    """The projection asked for, or None without a map; a library that is missing is found out before the work."""
    if options["plot"] is None:
        return None
    from functools import partial

    if options["projection"] == "pca":
        from verify.evaluation.projection import pca

        return partial(pca, seed=options["seed"])
    from verify.training.projection import projection

    return partial(projection(options["projection"]), seed=options["seed"])


def embedding_map(
    embedded: EmbeddedSet,
    options: Mapping[str, Any],
    *,
    facts: CalibrationFacts,
    project: Projection,
    created_at: datetime,
) -> EmbeddingMap:
    """Probe the embeddings and lay them out in the plane."""
    import numpy as np

    from verify.evaluation.conditions import conditions_of
    from verify.evaluation.probes import identity_probe
    from verify.evaluation.projection import drawn, without_subjects
    from verify.report.embeddings import EmbeddingMap

    conditions = conditions_of(embedded, options["colours"])
    usable = np.flatnonzero(np.isfinite(embedded.vectors[:, 0]))
    subjects = [embedded.entries[row].subject_id for row in usable.tolist()]
    names, owner = np.unique(subjects, return_inverse=True)
    vectors, seed = embedded.vectors[usable], options["seed"]
    rows = drawn(subjects, seed=seed)
    shown = np.array(subjects)[rows].tolist()
    told = tuple(names.tolist())
    panels = [
        _panel(
            "identity", shown, told, lambda: identity_probe(vectors, subjects=owner, names=told, seed=seed)
        ),
        *(_of_condition(one, vectors, owner, usable=usable, rows=rows, seed=seed) for one in conditions),
    ]
    places = project(vectors[rows])
    words = (
        f"{rows.size:,} of {len(embedded.entries):,} samples of {len(set(shown)):,} of {len(told):,} subjects"
    )
    model, failed = facts["model"], len(embedded.entries) - usable.size
    return EmbeddingMap(
        title=facts["title"],
        model=(str(model.get("name", "")), str(model.get("model_id", ""))),
        method=METHODS[options["projection"]],
        places=[(float(x), float(y)) for x, y in places],
        subjects=shown,
        samples=[embedded.entries[row].path.name for row in usable[rows].tolist()],
        panels=panels,
        within=without_subjects(vectors[rows], owner[rows]),
        shown=f"{words} are drawn; {failed:,} failed to be captured; probes take all that did not.",
        figures=[(one["name"], one["value"], one["note"]) for one in facts["protocol"]["figures"]],
        created_at=created_at.isoformat(timespec="seconds"),
        command=facts["command"],
    )


def _of_condition(
    one: Condition,
    vectors: NDArray[np.float32],
    owner: NDArray[np.intp],
    *,
    usable: NDArray[np.intp],
    rows: NDArray[np.intp],
    seed: int,
) -> Panel:
    from verify.evaluation.probes import condition_probe

    labels = [one.labels[row] for row in usable.tolist()]
    return _panel(
        one.name,
        [labels[row] for row in rows.tolist()],
        one.values,
        lambda: condition_probe(vectors, subjects=owner, labels=labels, name=one.name, seed=seed),
        ordered=one.ordered,
    )


def _panel(
    name: str,
    labels: Sequence[str],
    values: tuple[str, ...],
    probe: Callable[[], Any],
    *,
    ordered: bool = False,
) -> Panel:
    from verify.errors import InsufficientTrialsError
    from verify.report.embeddings import Panel

    found, why = None, ""
    try:
        found = probe()
    except InsufficientTrialsError as error:
        why = str(error)
    present = set(labels)
    return Panel(
        name=name,
        labels=tuple(labels),
        values=tuple(value for value in values if value in present),
        probe=found,
        why=why,
        ordered=ordered,
        telling=name == "identity",
    )


def write_map(path: Path, drawn: EmbeddingMap) -> Path:
    """Write the page; its path."""
    from verify.report.embeddings import embeddings_page
    from verify.report.facts import write_text

    write_text(path, embeddings_page(drawn))
    return path


def show_probes(panels: Sequence[Panel]) -> None:
    """What can be read out of the embeddings, as a table."""
    rows = []
    for panel in panels:
        probe = panel.probe
        if probe is None:
            rows.append((panel.name, "", "", panel.why))
            continue
        upper = "" if probe.chance_upper is None else f", at most {probe.chance_upper:.1%}"
        shift = (
            ""
            if probe.non_mated_shift is None
            else f"two people under one condition {probe.non_mated_shift:+.4f}"
        )
        seen = "" if probe.chance_upper is None else f"{probe.says}; "
        rows.append((panel.name, f"{probe.accuracy:.1%}", f"{probe.chance:.1%}{upper}", seen + shift))
    columns = ("told from embeddings", "rightly", "by chance", "what to know")
    print_table(columns, rows, title="What a linear classifier reads out of them")
