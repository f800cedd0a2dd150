"""`fix`: hand the issue to the daemon, show what it does, report how it ended."""

import contextlib
import dataclasses
import json
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from qcn_agent import config, paths
from qcn_agent.cli.issue import read_issue
from qcn_agent.cli.model import given_model
from qcn_agent.cli.project import given_project
from qcn_agent.errors import DaemonDiedError, JournalError, QcnError
from qcn_tools.environment import allowed_env

if TYPE_CHECKING:
    from qcn_agent.agent.journal import Journal
    from qcn_agent.daemon.client import Client


@click.command("fix")
@click.argument("issue")
@click.option("--workspace", metavar="DIR", help="The project. Default: the one that this folder is in.")
@click.option("--model", metavar="PATH", help="GGUF file. Default: what the daemon has, else qcn-mini.")
@click.option("--tests", metavar="CMD", help="Test command. Default: pytest in the project's environment.")
@click.option("--dry-run", is_flag=True, help="Show the patch, leave the tree as it is.")
@click.option("--keep", is_flag=True, help="Keep the last patch even if the tests are red.")
@click.option("--unsandboxed", is_flag=True, help="Run tests with all your rights. Only for code you trust.")
@click.option("--max-steps", type=int, help="Model turns of the whole run.")
@click.option("--max-attempts", type=int, help="Attempts from the tree as found.")
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of the sampling.")
@click.option("--json", "as_json", is_flag=True, help="Print the outcome as JSON, events as JSON lines on stderr.")
def command(
    issue: str,
    workspace: str | None,
    model: str | None,
    tests: str | None,
    dry_run: bool,
    keep: bool,
    unsandboxed: bool,
    max_steps: int | None,
    max_attempts: int | None,
    seed: int,
    as_json: bool,
) -> int:
    """Fix ISSUE: text, @FILE, or - for standard input.

    The tests run first; the change counts as a fix when a red test turns green and none turns red, judged with the
    tests as they were. A run that fails leaves the tree as it was.

    The project is the nearest folder, from here up to the root of the git repository, with a pyproject.toml, setup.py,
    setup.cfg, pytest.ini or tox.ini, else that root, else this folder.
    """
    warnings: list[str] = []
    try:
        project = given_project(workspace)
        flags = {"fix.tests": tests, "fix.max_steps": max_steps, "fix.max_attempts": max_attempts}
        project_file = project.root / config.PROJECT_FILE
        settings = config.load(user_file=paths.config_file(), project_file=project_file, flags=flags)
        order = {
            "workspace": str(project.root),
            "issue": read_issue(issue),
            "env": allowed_env(os.environ),
            "fix": dataclasses.asdict(settings.fix),
            "model": given_model(model),
            "seed": seed,
            "keep": keep,
            "dry_run": dry_run,
            "unsandboxed": unsandboxed,
        }
        return _run(order, settings.model.path, project.why, warnings, as_json=as_json)
    except QcnError as error:
        if not as_json:
            raise
        ending = "interrupted" if isinstance(error, InterruptedRunError) else "error"
        failure: dict[str, Any] = {"ending": ending, "reason": str(error), "hint": error.hint, "warnings": warnings}
        failure["exit_code"] = error.exit_code
        click.echo(json.dumps({"kind": "error", "data": failure}), err=True)
        click.echo(json.dumps(failure, indent=2))
        return error.exit_code


class InterruptedRunError(QcnError):
    """The user has stopped the run; says what became of the tree."""

    exit_code = 130


def _run(order: dict[str, Any], model_path: str, why_here: str, warnings: list[str], *, as_json: bool) -> int:
    """Do it and show it. `warnings` collects what was warned of, for an end without an outcome."""
    from qcn_agent.agent import journal
    from qcn_agent.cli.view import make_view
    from qcn_agent.daemon import client

    order["run_id"] = journal.new_run_id()
    with make_view(as_json=as_json, issue=order["issue"]) as view:

        def show(_: str, event: dict[str, Any]) -> None:
            warnings.extend([event["data"]["text"]] if event["kind"] == "warning" else [])
            view.show(event)

        if why_here:
            view.show({"kind": "note", "data": {"text": why_here}})
        view.say("connecting to the daemon")
        with client.connect(view.say, model_path) as connection:
            try:
                outcome = connection.request("qcn/fix", order, show)
            except DaemonDiedError as error:
                raise DaemonDiedError(f"{error}\n{take_back(order)}", hint=error.hint) from error
            except KeyboardInterrupt as interrupt:
                for method, event in connection.missed:
                    show(method, event)
                raise InterruptedRunError(f"interrupted; {_tree_after(connection, order)}") from interrupt
            except OSError:  # the view can't show any more what it hears
                click.echo("\n".join(_tree_warnings(connection)), err=True, nl=bool(_tree_warnings(connection)))
                raise
    try:
        view.finish({**outcome, "workspace": order["workspace"]})
    except OSError:  # nobody has heard how it ended, so it ends like an interrupted run
        take_back(order)
        raise
    return int(outcome["exit_code"])


def _tree_after(connection: "Client", order: Mapping[str, Any]) -> str:
    """What became of the tree when a run was interrupted."""
    if not connection.is_confirmed:
        return f"the daemon has not confirmed it. {take_back(order)}"
    if order["keep"]:
        return "what was changed stays; qcn-agent undo takes it back"
    return "your tree is as it was" + (", but for the files of the warnings" if _tree_warnings(connection) else "")


def _tree_warnings(connection: "Client") -> list[str]:
    """What the daemon had to warn of while it put the tree back."""
    return [event["data"]["text"] for _, event in connection.missed if event["kind"] == "warning"]


def take_back(order: Mapping[str, Any], patience_s: float = 5.0) -> str:
    """After the daemon died: put the tree back from this run's own journal, and say so.

    `patience_s`: how long the run may still seem to live, while the kernel clears away or the daemon puts back itself.
    """
    from qcn_agent.agent.mixed import mixed_warnings

    if order["keep"]:
        return "What it had changed is still there; qcn-agent undo takes it back."
    try:
        last = _find_journal(order["run_id"], Path(order["workspace"]), patience_s)
        if last is None:
            return "It had changed nothing, or has put it back."
        with contextlib.closing(last):
            result = last.restore()
            warnings = mixed_warnings(last)
    except (JournalError, OSError) as error:
        return f"Nothing was put back: {error}. Try: qcn-agent undo"
    parts = [f"Put back from the journal: {', '.join(result.restored) or 'nothing'}", *warnings]
    parts += [f"could not be put back: {path}; qcn-agent undo tries again" for path in result.failed]
    return "\n".join(parts)


def _find_journal(run_id: str, workspace: Path, patience_s: float) -> "Journal | None":
    from qcn_agent.agent import journal

    deadline = time.monotonic() + patience_s
    while True:
        try:
            return journal.find(run_id, workspace)
        except JournalError:
            if time.monotonic() >= deadline:
                raise
        time.sleep(0.05)
