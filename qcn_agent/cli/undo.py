"""`undo`: take back the last run, from its journal; needs no daemon and no git."""

import contextlib
from pathlib import Path

import click

from qcn_agent.cli.project import Project, given_project
from qcn_agent.cli.text import visible
from qcn_agent.errors import JournalError, UsageError


@click.command("undo")
@click.option("--workspace", metavar="DIR", help="The project. Default: the one that this folder is in.")
def command(workspace: str | None) -> int:
    """Take back what the last run changed, byte by byte.

    A file that you have changed since then, or that can't be written, is left alone and named; the exit code is 1
    then. Called again, it takes back the run before.

    Journals: the last 20 runs of each project are kept, older ones only as long as a file still holds what they wrote
    or the run is going on. Of a project whose folder is gone they are kept for 30 days. The others are removed when
    the next run starts.
    """
    from qcn_agent.agent import journal
    from qcn_agent.agent.mixed import mixed_warnings

    project = given_project(workspace)
    places = {project.root} if workspace is not None else {project.root, Path.cwd()}  # `fix --workspace .` was here
    try:
        last = journal.latest(*places)
    except JournalError as error:  # the run is still going on, or its journal is damaged
        raise UsageError(f"can't take back: {error}", hint=error.hint) from error
    if last is None:
        raise _nothing(project)
    if last.workspace != Path.cwd():
        click.echo(f"in {last.workspace}")
    click.echo(f"taking back the run of {visible(last.about)}")
    with contextlib.closing(last):
        result = last.restore()
    for path in result.restored:
        click.echo(f"restored {visible(path)}")
    for text in mixed_warnings(last):
        click.echo(f"left alone: {visible(text)}")
    for path in result.failed:
        click.echo(f"could not restore {visible(path)}", err=True)
    return 1 if result.kept or result.failed else 0


def _nothing(project: Project) -> UsageError:
    hint = "runs that changed nothing or were taken back don't count; --workspace names another project"
    return UsageError(f"nothing to take back in {project.root}", hint=hint)
