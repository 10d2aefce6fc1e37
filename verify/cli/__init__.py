"""The command line: one file a command. Parse, call, print; nothing else decides, prints or exits.

Commands load on first use, so that ``verify --help`` imports neither numpy nor any model runtime.
"""

from __future__ import annotations

import importlib
import os
import sys
from contextlib import suppress

import click

from verify import __version__
from verify.errors import VerifyError

# command -> (module, attribute, one line for --help)
COMMANDS = {
    "demo": (
        "verify.cli.demo",
        "demo",
        "See real people enrolled, matched and refused, by face and by voice.",
    ),
    "enroll": ("verify.cli.enroll", "enroll", "Enrol one subject, or many from a folder tree or CSV."),
    "match": ("verify.cli.match", "match", "Decide whether a probe is the claimed subject (1:1)."),
    "identify": (
        "verify.cli.identify",
        "identify",
        "Find who a probe is, or that it is nobody enrolled (1:N).",
    ),
    "compare": ("verify.cli.compare", "compare", "Compare two files; nothing is stored."),
    "gallery": ("verify.cli.gallery", "gallery", "List, show, delete, export, import and check references."),
    "models": ("verify.cli.models", "models", "List, pull, show, build and remove model bundles."),
    "split": (
        "verify.cli.split",
        "split",
        "Part people into train, validation, calibration and test; find who is there twice.",
    ),
    "prepare": (
        "verify.cli.prepare",
        "prepare",
        "Align faces, or cut voices to their speech, once, for training.",
    ),
    "calibrate": (
        "verify.cli.calibrate",
        "calibrate",
        "Choose and prove a threshold for a target rate on your own data.",
    ),
    "report": (
        "verify.cli.report",
        "report",
        "Draw the report of a calibration as one HTML file, or two side by side.",
    ),
    "evaluate": (
        "verify.cli.evaluate",
        "evaluate",
        "Run a published protocol, or hold the thresholds against people of your own.",
    ),
    "train": (
        "verify.cli.train",
        "train",
        "Train a network on your own people, or adapt a model to them.",
    ),
    "export": (
        "verify.cli.export",
        "export",
        "Make a bundle of a training run, with the proof that it decides the same.",
    ),
    "monitor": (
        "verify.cli.monitor",
        "monitor",
        "Watch the scores of live decisions: say when to recalibrate.",
    ),
    "doctor": ("verify.cli.doctor", "doctor", "Check this installation, its models and its gallery."),
}

EXIT_ENVIRONMENT, EXIT_UNEXPECTED, EXIT_INTERRUPTED, EXIT_BROKEN_PIPE = 5, 70, 130, 141


class LazyGroup(click.Group):
    """A group that knows its commands' names and one-line helps without importing them."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Command names in the order that a newcomer meets them."""
        del ctx
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import and return one command; None if there is none of that name."""
        del ctx
        if cmd_name not in COMMANDS:
            return None
        module, attribute, _ = COMMANDS[cmd_name]
        command: click.Command = getattr(importlib.import_module(module), attribute)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command; a misspelt one names the nearest."""
        if args and not args[0].startswith("-") and args[0] not in COMMANDS:
            import difflib

            near = difflib.get_close_matches(args[0], COMMANDS, n=1)
            hint = f"did you mean `verify {near[0]}`?" if near else f"there are: {', '.join(COMMANDS)}"
            msg = f"no command {args[0][:40]!r}; {hint}"
            raise click.UsageError(msg, ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list of commands from the table above."""
        del ctx
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, _, text) in COMMANDS.items()])


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="verify")
def cli() -> None:
    """Face and speaker verification whose promised false-accept rate holds on people never seen.

    Exit codes: 0 accept or success, 1 reject, 2 usage, 3 no decision, 4 bad data, 5 model or
    environment, 70 unexpected, 130 interrupted, 141 nobody reads the output.
    """


def main(args: list[str] | None = None) -> None:
    """Run the command line and exit; the only place that turns errors into exit codes."""
    argv = sys.argv[1:] if args is None else args
    options = argv[: argv.index("--")] if "--" in argv else argv
    sys.exit(_run(argv, as_json="--json" in options))


def _run(argv: list[str], *, as_json: bool) -> int:
    try:
        # click's own `main` would end a broken pipe with 1, which here means "reject"
        with cli.make_context("verify", list(argv)) as context:
            code = cli.invoke(context)
        sys.stdout.flush()
    except click.exceptions.Exit as leave:
        return leave.exit_code
    except (click.exceptions.Abort, KeyboardInterrupt) as stop:
        message = (
            str(stop) or "interrupted: everything acknowledged so far is kept; run the same command to go on"
        )
        return _fail("Interrupted", message, EXIT_INTERRUPTED, as_json=as_json)
    except click.ClickException as error:
        with suppress(OSError):
            error.show()
        return _fail(
            type(error).__name__, error.format_message(), error.exit_code, as_json=as_json, say=False
        )
    except VerifyError as error:
        reason = getattr(error, "reason", None)
        return _fail(type(error).__name__, str(error), error.exit_code, as_json=as_json, reason=reason)
    except BrokenPipeError:
        _silence()
        return EXIT_BROKEN_PIPE
    except OSError as error:
        _silence()
        return _fail("OutputError", f"the output cannot be written: {error}", EXIT_ENVIRONMENT, as_json=False)
    except Exception as error:
        if os.environ.get("VERIFY_TRACEBACK"):
            raise
        message = (
            f"unexpected {type(error).__name__}: {error} (a fault in verify; VERIFY_TRACEBACK=1 shows where)"
        )
        return _fail(type(error).__name__, message, EXIT_UNEXPECTED, as_json=as_json)
    return code if isinstance(code, int) else 0


def _fail(
    name: str, message: str, code: int, *, as_json: bool, reason: str | None = None, say: bool = True
) -> int:
    """Say what went wrong, as JSON to stdout if asked and in words to stderr; return the exit code."""
    with suppress(OSError):
        if as_json:
            import json

            click.echo(json.dumps({"error": name, "message": message, "reason": reason, "exit_code": code}))
        if say:
            click.echo(f"error: {message}", err=True)
    return code


def _silence() -> None:
    """Nothing more can be written: what is still buffered must not fail again when Python exits."""
    with suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
