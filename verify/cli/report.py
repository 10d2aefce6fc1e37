"""``verify report``: the facts of a calibration or evaluation as a page, or two of them side by side."""

from __future__ import annotations

from pathlib import Path

import click

from verify.cli.destinations import check_writable
from verify.cli.output import json_option, print_json

PATH = click.Path(path_type=Path)


@click.command()
@click.argument("facts", nargs=-1, required=True, type=PATH)
@click.option("-o", "--output", type=PATH, help="The page to write; default: FACTS with the ending .html.")
@click.option(
    "--compare", "compares", is_flag=True, help="Put two FACTS side by side: models, dates or settings."
)
@click.option(
    "--thumbnails",
    "media",
    type=PATH,
    help="Show suspects' photos from this folder; the page then holds faces.",
)
@click.option("--force", is_flag=True, help="Replace an existing page.")
@json_option
def report(
    facts: tuple[Path, ...],
    *,
    output: Path | None,
    compares: bool,
    media: Path | None,
    force: bool,
    as_json: bool,
) -> None:
    """Draw the report of a calibration or evaluation: one HTML file that loads nothing from anywhere.

    FACTS is the JSON that `verify calibrate` or `verify evaluate` wrote. With --compare there are two of
    them. The exit code says whether the page was written, not what the verdict is: that is in --json.

    Example: verify report calibration.json -o calibration.html
    """
    from verify.cli.report_pages import compared, drawn
    from verify.report.facts import facts_sha256, read_facts, write_text

    if len(facts) != (2 if compares else 1) or (compares and media):
        msg = "one file makes a page, --compare takes two, --thumbnails belongs to the page of one"
        raise click.UsageError(msg)
    default = f"{facts[0].stem}-{facts[1].stem}.html" if compares else f"{facts[0].stem}.html"
    target = output or facts[0].with_name(default)
    if any(target.resolve() == one.resolve() for one in facts):
        msg = f"{target} is the file to read: name another one with -o"
        raise click.UsageError(msg)
    check_writable({target: "-o"}, replace=force)
    read = [read_facts(one) for one in facts]
    page, warnings = compared(read) if compares else drawn(read[0], media)
    write_text(target, page)
    if as_json:
        sources = [
            {"path": p, "sha256": facts_sha256(f), "verdicts": f["verdicts"]}
            for p, f in zip(facts, read, strict=True)
        ]
        print_json({"page": target, "bytes": len(page.encode()), "warnings": warnings, "facts": sources})
        return
    for one in warnings:
        click.echo(f"warning: {one}", err=True)
    click.echo(f"{target} ({len(page.encode()) / 1000:,.0f} kB)")
