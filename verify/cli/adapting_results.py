"""What came of an adapter: measured on people it never saw, written with its bundle, shown."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click
import numpy as np

from verify.cli.output import print_table

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from verify.capture import Capturer
    from verify.cli.adapting_people import PeopleSet
    from verify.models.card import Card
    from verify.training.adapters import Fitted

PROOF_SAMPLES = 24


def facts_of(fitted: Fitted, sets: Sequence[PeopleSet], *, encoders: Sequence[str]) -> dict[str, Any]:
    """All that the card says of the adapter: how it was chosen, from whom, and what it does to unseen people."""
    from verify import __version__
    from verify.training.adapters import verdict

    measured = {one.name: _measured(one, fitted, encoders) for one in sets if one.test.repeated()}
    return {
        "kind": fitted.kind,
        "encoders": [
            {"name": name, "centre": centre, "weight": weight}
            for name, centre, weight in zip(
                encoders, fitted.placement.centres, fitted.placement.weights, strict=True
            )
        ],
        "setting": dict(fitted.setting),
        "settings_tried": len(fitted.tried),
        "gained_on_people_left_out": fitted.gained,
        "trained_on": [_origin(one) for one in sets],
        "unseen": measured,
        "verdict": verdict(list(measured.values())),
        "verify": __version__,
    }


def _origin(one: PeopleSet) -> dict[str, Any]:
    return {
        "name": one.name,
        "subjects": len(one.fit.subjects),
        "samples": len(one.fit),
        "subjects_with_two_samples": one.fit.repeated(),
        "samples_not_captured": one.left_out,
        "data_sha256": one.data_sha256,
        "split_sha256": one.split.sha256,
    }


def _measured(one: PeopleSet, fitted: Fitted, encoders: Sequence[str]) -> dict[str, Any]:
    """Rates of the test part before and after; each encoder alone beside them where there are several."""
    from verify.training.adapters import AFTER, BEFORE, Affine, before_and_after

    people = one.test
    vectors = {
        BEFORE: Affine.identity(people.vectors.shape[1]).apply(people.vectors),
        AFTER: fitted.affine.apply(people.vectors),
    }
    if len(encoders) > 1:
        blocks = np.split(people.vectors, np.cumsum(people.dims)[:-1], axis=1)
        vectors |= dict(zip(encoders, blocks, strict=True))
    return before_and_after(people, vectors=vectors)


def write(
    capturers: Sequence[Capturer],
    fitted: Fitted,
    sets: Sequence[PeopleSet],
    *,
    name: str,
    target: Path,
    facts: Mapping[str, Any],
) -> Card:
    """Write the bundle, proven on samples of people that the adapter never saw, as far as there are any."""
    from verify.training.adapters import thresholds
    from verify.training.adapters.bundle import Origin, write_adapted

    unseen = next((one for one in sets if one.test.repeated()), None)
    count = sum(len(one.fit.subjects) for one in sets)
    origin = Origin(
        kind=fitted.kind,
        people=f"{count} subjects of {', '.join(one.name for one in sets)}",
        measured=facts,
        learnt_from=tuple(mark for one in sets for mark in one.learnt_from),
        samples=[path for one in sets for path in one.files[:PROOF_SAMPLES]][:PROOF_SAMPLES],
        thresholds={}
        if unseen is None
        else thresholds(unseen.test, fitted.affine.apply(unseen.test.vectors)),
    )
    return write_adapted(
        [one.bundle for one in capturers],
        fitted.affine,
        name=name,
        target=target,
        origin=origin,
        splits={split_file(one): one.split for one in sets if one.made},
    )


def split_file(one: PeopleSet) -> str:
    """Name of the file, in the bundle's folder, that says who was learnt from."""
    return f"{one.name}.split.csv"


def show_rates(facts: Mapping[str, Any]) -> None:
    """A table for each set of unseen people, and the verdict in words."""
    words = ", ".join(f"{name} {value:g}" for name, value in facts["setting"].items())
    placed = "; ".join(
        f"{one['name']} centred by {one['centre']:g}, weight {one['weight']:g}" for one in facts["encoders"]
    )
    people = sum(one["subjects"] for one in facts["trained_on"])
    click.echo(f"{facts['kind']}: fitted to {people:,} subjects; chosen on people left out of the fit:")
    click.echo(f"{placed}; beyond that {words or 'nothing was better'}")
    for name, found in facts["unseen"].items():
        others = [
            key
            for key in next(iter(found["measures"].values()))
            if key not in ("before", "after", "difference")
        ]
        columns = ("unseen subjects", *others, "before", "after", "change (95 % bounds)")
        rows = [
            (
                _called(measure),
                *(_percent(figures[key]) for key in (*others, "before", "after")),
                _change(figures["difference"]),
            )
            for measure, figures in found["measures"].items()
        ]
        pairs = f"{found['mated']:,} mated and {found['non_mated']:,} non-mated pairs"
        print_table(columns, rows, title=f"{name}: {found['subjects']:,} subjects, {pairs}")
    if not facts["unseen"]:
        click.echo(
            "the gain on unseen people is not known: the split's test part has nobody with two samples; "
            "give it more people (`verify split --fractions`, or another --seed)"
        )
    else:
        click.echo(f"on people that the adapter never saw: {facts['verdict']}")


def _called(measure: str) -> str:
    """``fnmr_at_fmr_0.01`` as people write it."""
    name, at, rate = measure.partition("_at_fmr_")
    return f"{name.upper()} at FMR {rate}" if at else name.upper()


def _percent(figure: Mapping[str, float]) -> str:
    return f"{figure['value']:.2%} (at most {figure['upper']:.2%})"


def _change(figure: Mapping[str, float]) -> str:
    return f"{figure['value']:+.2%} ({figure['lower']:+.2%} to {figure['upper']:+.2%})"
