"""How decisions are printed and which exit code they end with."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import click

from verify.cli.output import print_json, print_table
from verify.types import IdentifyOutcome, Outcome, Reason

if TYPE_CHECKING:
    from collections.abc import Iterable

    from verify.types import Capture, Decision, Identification

_SPACES = {
    "llr": "log likelihood ratio",
    "fused-llr": "log likelihood ratio of several models",
    **{f"{kind}-norm": f"{kind}-norm, in deviations of strangers' scores" for kind in ("z", "t", "s", "as")},
}
_MOST = 1_000_000
_WEAK_NATS, _LARGE_NATS = math.log(2), math.log(_MOST)

EXIT_ACCEPT, EXIT_REJECT, EXIT_NO_DECISION, EXIT_BAD_DATA = 0, 1, 3, 4

_EXIT = {
    Outcome.ACCEPT: EXIT_ACCEPT,
    Outcome.REJECT: EXIT_REJECT,
    Outcome.NO_DECISION: EXIT_NO_DECISION,
    IdentifyOutcome.MATCH: EXIT_ACCEPT,
    IdentifyOutcome.UNKNOWN: EXIT_REJECT,
    IdentifyOutcome.AMBIGUOUS: EXIT_NO_DECISION,
    IdentifyOutcome.NO_DECISION: EXIT_NO_DECISION,
}

_UNREADABLE = frozenset(
    {
        Reason.MISSING_FILE,
        Reason.NOT_A_FILE,
        Reason.EMPTY_FILE,
        Reason.UNSUPPORTED_FORMAT,
        Reason.TRUNCATED,
        Reason.OVER_LIMITS,
        Reason.INVALID_SAMPLES,
    }
)


def print_decision(decision: Decision, *, as_json: bool, attempts: int = 1) -> int:
    """Print a 1:1 decision, of one of `attempts` in a transaction; return its exit code."""
    if as_json:
        print_json(_with_verdict(decision))
        return _EXIT[decision.outcome]
    click.secho(_headline(decision), bold=True)
    if decision.score is not None and decision.threshold is not None:
        sign = ">=" if decision.accepted else "<"
        space = _SPACES.get(decision.score_space, decision.score_space)
        click.echo(f"  score      {decision.score:+.4f} {sign} threshold {decision.threshold:+.4f} ({space})")
        if decision.cosine is not None and decision.score_space != "cosine":
            click.echo(f"  cosine     {decision.cosine:+.4f}")
    if decision.llr is not None:
        click.echo(f"  evidence   {evidence(decision.llr)}")
    for part in decision.parts:
        from verify.cli.fused import part_in_words

        click.echo(f"  part       {part_in_words(part)}")
    _print_basis(decision, attempts=attempts)
    return _EXIT[decision.outcome]


def print_identification(found: Identification, *, as_json: bool, attempts: int = 1) -> int:
    """Print the outcome of a 1:N search, one of `attempts` in a transaction; return its exit code."""
    if as_json:
        print_json(_with_verdict(found) | {"subject_id": found.subject_id})
        return _EXIT[found.outcome]
    click.secho(_headline(found), bold=True)
    if found.candidates and found.threshold is not None:
        rows = [
            (rank, c.subject_id, f"{c.score:+.4f}", "at or above" if c.score >= found.threshold else "below")
            for rank, c in enumerate(found.candidates, 1)
        ]
        print_table(("rank", "subject", "score", f"threshold {found.threshold:+.4f}"), rows)
    _print_basis(found, attempts=attempts)
    return _EXIT[found.outcome]


def evidence(llr: float) -> str:
    """A natural-log likelihood ratio in words, as forensic reports put it.

    What no data of ours could bear out is not spelled out: the tail of the map is a straight line.

    >>> evidence(5.48)
    '240 : 1 for one subject'
    >>> evidence(-3.0)
    '20 : 1 for two subjects'
    """
    side = "one subject" if llr >= 0 else "two subjects"
    nats = abs(llr)
    if nats < _WEAK_NATS:
        return f"{math.exp(nats):.2f} : 1 for {side}, which is next to none"
    if nats < _LARGE_NATS:
        return f"{float(f'{math.exp(nats):.2g}'):,.0f} : 1 for {side}"
    return f"more than {_MOST:,} : 1 for {side}"


def exit_code_of_failures(failures: Iterable[Capture | Reason | None]) -> int:
    """0 without failures, 4 if anything could not be read, else 3."""
    reasons = [getattr(failure, "failure", failure) for failure in failures]
    if not reasons:
        return EXIT_ACCEPT
    return (
        EXIT_BAD_DATA
        if any(reason is None or reason in _UNREADABLE for reason in reasons)
        else EXIT_NO_DECISION
    )


def _with_verdict(result: Decision | Identification) -> dict[str, Any]:
    from verify.cli.output import jsonable

    payload: dict[str, Any] = jsonable(result)
    return payload | {"accepted": _EXIT[result.outcome] == EXIT_ACCEPT, "exit_code": _EXIT[result.outcome]}


def _headline(result: Decision | Identification) -> str:
    name = result.outcome.value.upper().replace("_", " ")
    who = "" if result.subject_id is None else f" {result.subject_id}"
    mark = "" if result.calibrated else "  [UNCALIBRATED: proves no error rate]"
    if result.operating_point is not None and result.operating_point.extrapolated:
        mark += "  [EXTRAPOLATED: a fitted tail, not trials, stands behind the threshold]"
    if result.operating_point is not None and result.operating_point.failed_its_test:
        mark += "  [FAILED: its test subjects showed more false matches than its target]"
    return f"{name}{who} ({result.reason.value}){mark}"


def _print_basis(result: Decision | Identification, *, attempts: int) -> None:
    click.echo(f"  because    {result.message}")
    point = result.operating_point
    if point is not None:
        one, other = ("FPIR", "FNIR") if point.mode == "1:N" else ("FMR", "FNMR")
        per = " per attempt" if attempts > 1 else ""
        if point.attempts > 1:
            per = f" in transactions of {point.attempts} attempts"
        rates = (
            f"{one} {point.fmr.value:.2e} (<= {point.fmr.upper:.2e}), "
            f"{other} {point.fnmr.value:.2%} (<= {point.fnmr.upper:.2%}){per}"
        )
        bound = "prediction" if point.fmr.bound.endswith("-prediction") else "population"
        click.echo(
            f"  proof      on unseen subjects {rates}, {bound} bound at {point.confidence:.0%} confidence"
        )
    click.echo(f"  model      {result.modality.value} {result.model_id[:12]}")
