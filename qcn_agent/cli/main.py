"""The command group, and the one place where an error becomes a line on the terminal and an exit code."""

import contextlib
import importlib
import os
from collections.abc import Iterator, Sequence
from typing import Any

import click

from qcn_agent import __version__
from qcn_agent.cli.text import visible
from qcn_agent.errors import QcnError

COMMANDS = {  # name → the line in --help; the module of the same name holds the command
    "fix": "Fix an issue in a project and prove it with the project's tests.",
    "locate": "Show which files and functions an issue is about.",
    "context": "Show what a model would be shown for an issue.",
    "serve": "Start the daemon that hosts the model.",
    "status": "Show the daemon, its model and its counters.",
    "stop": "Stop the daemon.",
    "lsp": "Serve an editor over standard input and output.",
    "stats": "Show what became of completions.",
    "undo": "Take back what the last run changed, byte by byte.",
    "bench": "Measure this program on this machine.",
}
INTERRUPTED, NOBODY_READS = 130, 141  # as a shell counts SIGINT and SIGPIPE


class OutputClosedError(Exception):
    """Whoever read our output went away. Not a BrokenPipeError, as click would make exit code 1 of that."""


@contextlib.contextmanager
def _noticing_a_closed_output() -> Iterator[None]:
    try:
        yield
    except BrokenPipeError as error:
        raise OutputClosedError from error


class LazyGroup(click.Group):
    """Imports a command when it is called; `--help` needs none of them."""

    def make_context(self, *args: Any, **kwargs: Any) -> click.Context:
        """As click does, with OutputClosedError."""
        with _noticing_a_closed_output():
            return super().make_context(*args, **kwargs)

    def invoke(self, ctx: click.Context) -> Any:
        """As click does, with OutputClosedError."""
        with _noticing_a_closed_output():
            return super().invoke(ctx)

    def list_commands(self, ctx: click.Context) -> list[str]:
        """All commands, in the order of COMMANDS."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command `cmd_name`, imported now."""
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = importlib.import_module(f"qcn_agent.cli.{cmd_name}").command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The list in --help, without importing anything."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="qcn-agent")
def cli() -> None:
    """A coding agent that runs on your own machine.

    \b
    qcn-agent fix "clamp returns the wrong bound"     in a folder of the project
    qcn-agent fix @issue.md --workspace ~/project
    qcn-agent undo                                    take it back

    Exit codes: 0 fixed and green, 1 a patch that is unproven or red, 2 usage, 3 no patch, 4 budget used up,
    5 no sandbox, 6 daemon, 130 interrupted, 141 nobody reads the output.
    """


def run(arguments: Sequence[str]) -> int:
    """Run the command line and return its exit code. Never shows a traceback for an error of ours."""
    try:
        result = cli.main(args=list(arguments), prog_name="qcn-agent", standalone_mode=False)
        return result if isinstance(result, int) else 0
    except click.exceptions.Abort:
        return INTERRUPTED
    except KeyboardInterrupt:
        click.echo("interrupted", err=True)
        return INTERRUPTED
    except click.ClickException as error:
        error.show()
        return 2
    except QcnError as error:
        say_error(error)
        return error.exit_code
    except (OutputClosedError, BrokenPipeError):
        for descriptor in (1, 2):  # what is still buffered goes nowhere, without a word at the end
            os.dup2(os.open(os.devnull, os.O_WRONLY), descriptor)
        return NOBODY_READS
    except OSError as error:
        click.echo(f"qcn-agent: {visible(str(error))}", err=True)
        return 1


def say_error(error: QcnError) -> None:
    """What went wrong and what to do next, on stderr."""
    click.echo(f"qcn-agent: {visible(str(error))}", err=True)
    if error.hint:
        click.echo(f"  → {visible(error.hint)}", err=True)
