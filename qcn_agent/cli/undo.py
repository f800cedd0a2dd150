"""`undo`: take back the last run, from its journal; needs no daemon and no git."""

import contextlib
from pathlib import Path

import click

from qcn_agent.errors import JournalError, UsageError


@click.command("undo")
@click.option("--workspace", type=click.Path(path_type=Path), default=".", help="The project. Default: here.")
def command(workspace: Path) -> int:
    """Take back what the last run changed, byte by byte.

    A file that you have changed since then, or that can't be written, is left alone and named; the exit code is 1
    then.
    """
    from qcn_agent.agent import journal

    root = workspace.expanduser().resolve()
    try:
        last = journal.latest(root)
    except JournalError as error:  # the run is still going on, or its journal is damaged
        raise UsageError(f"can't take back: {error}", hint=error.hint) from error
    if last is None:
        hint = "runs that changed nothing or were taken back don't count; --workspace names another project"
        raise UsageError(f"nothing to take back in {root}", hint=hint)
    click.echo(f"taking back the run of {last.about}")
    with contextlib.closing(last):
        result = last.restore()
    for path in result.restored:
        click.echo(f"restored {path}")
    for path in result.kept:
        click.echo(f"left alone {path}: it was changed after the run")
    for path in result.failed:
        click.echo(f"could not restore {path}", err=True)
    return 1 if result.kept or result.failed else 0
