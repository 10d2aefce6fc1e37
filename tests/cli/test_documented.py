"""Every command is documented, in the README and by --help, and every error of usage is a usage error."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import click
import pytest

from tests.cli.runner import Runner
from verify.cli import COMMANDS, cli

ROOT = Path(__file__).resolve().parents[2]


def all_commands() -> list[tuple[str, ...]]:
    found: list[tuple[str, ...]] = []
    context = click.Context(cli)
    for name in COMMANDS:
        command = cli.get_command(context, name)
        found.append((name,))
        if isinstance(command, click.Group):
            found += [(name, sub) for sub in command.list_commands(context)]
    return found


@pytest.mark.parametrize("command", all_commands(), ids=" ".join)
def test_help_says_what_it_is_for(command: tuple[str, ...], run: Runner) -> None:
    result = run(*command, "--help")
    assert result.code == 0
    assert len(result.out.splitlines()) > 4
    assert f"verify {' '.join(command)}" in result.out


@pytest.mark.parametrize("command", all_commands(), ids=" ".join)
def test_readme_names_every_command(command: tuple[str, ...]) -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if f"verify {command[0]}" in line]
    assert lines, f"the README does not show `verify {command[0]}`"
    assert any(command[-1] in line for line in lines), (
        f"the README does not show `verify {' '.join(command)}`"
    )


@pytest.mark.parametrize("command", all_commands(), ids=" ".join)
def test_unknown_option_is_a_usage_error(command: tuple[str, ...], run: Runner) -> None:
    assert run(*command, "--no-such-option").code == 2


def test_unknown_command_is_a_usage_error(run: Runner) -> None:
    result = run("enrol")
    assert result.code == 2
    assert "enroll" in result.err


@pytest.mark.parametrize(
    "arguments",
    [
        ("match", "anna"),
        ("match", "anna", "x.jpg", "--fpir", "0.1"),
        ("identify", "x.jpg", "--fmr", "0.1"),
        ("compare", "a.jpg", "b.jpg", "--uncalibrated", "0.4", "--fmr", "0.1"),
        ("enroll", "anna"),
        ("enroll", "anna", "a.jpg", "--failures", "f.csv"),
        ("gallery", "frobnicate"),
        ("models", "pull"),
        ("nonsense",),
    ],
    ids=" ".join,
)
def test_usage_errors_are_one_json_document_too(arguments: tuple[str, ...], run: Runner) -> None:
    result = run(*arguments, "--json")
    assert result.code == 2
    assert result.json["exit_code"] == 2
    assert result.json["message"]


@pytest.mark.parametrize("reader", ["head -c 10 >/dev/null", "true"])
def test_a_reader_that_leaves_is_no_reject(reader: str) -> None:
    command = f"{sys.executable} -m verify gallery list --help | {reader}; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, cwd=ROOT, check=True)
    assert done.stdout.split()[-1] in ("0", "141")


def test_output_that_cannot_be_written_is_an_environment_error() -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "verify", "--help"],
            stdout=full,
            stderr=subprocess.PIPE,
            cwd=ROOT,
            check=False,
        )
    assert done.returncode == 5
