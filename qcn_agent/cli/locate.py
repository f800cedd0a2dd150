"""`locate`: which files and symbols an issue is about, and why. Needs no daemon and no model."""

import dataclasses
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from qcn_agent.cli.issue import read_issue
from qcn_agent.cli.project import given_project
from qcn_agent.cli.text import visible
from qcn_agent.errors import IndexingError, QcnError

if TYPE_CHECKING:
    from qcn_agent.context.ranking import RankedFile
    from qcn_agent.index.index import Index

NUM_SYMBOLS = 3
_FILES_A_WORD = 200  # between two words of progress


@click.command("locate")
@click.argument("issue")
@click.option("-k", "num_files", type=click.IntRange(1, 300), default=10, show_default=True, help="Files to show.")
@click.option("--workspace", metavar="DIR", help="The project. Default: the one that this folder is in.")
@click.option("--json", "as_json", is_flag=True, help="Files, symbols, scores and reasons as JSON.")
def command(issue: str, num_files: int, workspace: str | None, as_json: bool) -> int:
    """Show which files ISSUE is about: text, @FILE, or - for standard input.

    The likeliest file comes first, with the lines of its symbols that fit best, and why. No model is asked, so it says
    where words and names of the issue lead, not what is wrong. Files are indexed first, outside of the project; after
    that only what has changed is read.
    """
    from qcn_agent.context.ranking import rank
    from qcn_agent.index.index import Index

    project, text = given_project(workspace), read_issue(issue)
    if project.why:
        click.echo(visible(project.why), err=True)
    index = Index.open(project.root, watch=False)
    try:
        _refresh(index)
        files = rank(index, text, limit=num_files).files
        num_indexed = index.status().num_files
    finally:
        index.close()
    click.echo(_as_json(project.root, files) if as_json else visible(_as_text(files)), nl=bool(files) or as_json)
    if not files:
        click.echo(_why_nothing(project.root, num_indexed), err=True)
    return 0


def _refresh(index: "Index") -> None:
    """Bring the index up to date; where that fails, what it holds is asked, with a warning."""
    progress = _Progress()
    try:
        index.refresh(progress.show)
    except IndexingError as error:
        if not index.status().num_files:
            raise
        click.echo(visible(f"warning: what changed lately is not seen: {error}"), err=True)
    finally:
        progress.end()
    status = index.status()
    if not status.is_writer and not status.num_files:
        raise QcnError("another process is building the index of this project", hint="ask again when it is done")
    if not status.is_writer and (num_stale := index.num_stale()):
        click.echo(f"warning: another process keeps the index; files it has yet to read: {num_stale}", err=True)


class _Progress:
    """A line on stderr that counts files; in a terminal it stays one line."""

    def __init__(self) -> None:
        self._is_terminal, self._told = sys.stderr.isatty(), 0

    def show(self, done: int, total: int) -> None:
        """So many of all files are indexed."""
        if total < _FILES_A_WORD or done - self._told < _FILES_A_WORD:
            return
        if self._is_terminal or not self._told:
            click.echo(
                f"{chr(13) * self._is_terminal}indexing: {done} of {total} files", err=True, nl=not self._is_terminal
            )
        self._told = done

    def end(self) -> None:
        """Leave the line."""
        if self._is_terminal and self._told:
            click.echo(err=True)


def _as_json(root: Path, files: "tuple[RankedFile, ...]") -> str:
    listed: list[dict[str, Any]] = [dataclasses.asdict(file) for file in files]
    for entry in listed:
        entry.pop("file_id")
        entry["symbols"] = [{k: v for k, v in one.items() if k not in ("file_id", "path")} for one in entry["symbols"]]
    return json.dumps({"workspace": str(root), "files": listed}, indent=2)


def _as_text(files: "tuple[RankedFile, ...]") -> str:
    lines = []
    for number, file in enumerate(files, 1):
        best = file.symbols[:NUM_SYMBOLS]
        lines.append(f"{number:3}  {file.path}:{best[0].start_line if best else 1}")
        lines += [f"       {file.path}:{one.start_line}  {one.kind} {one.qualified}" for one in best]
        lines += [f"       · {reason}" for reason in file.reasons]
    return "\n".join(lines)


def _why_nothing(root: Path, num_indexed: int) -> str:
    if not num_indexed:
        return f"{visible(str(root))} holds no files\n  → name the project's folder with --workspace"
    return "no file has a word of the issue\n  → name a function, a module or the error's message"
