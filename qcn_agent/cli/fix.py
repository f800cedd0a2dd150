"""`fix`: hand the issue to the daemon, show what it does, report how it ended."""

import contextlib
import dataclasses
import json
import os
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from qcn_agent import config, paths
from qcn_agent.errors import DaemonDiedError, JournalError, QcnError, UsageError
from qcn_tools.environment import allowed_env

if TYPE_CHECKING:
    from qcn_agent.agent.journal import Journal


@click.command("fix")
@click.argument("issue")
@click.option("--workspace", type=click.Path(path_type=Path), default=".", help="The project. Default: here.")
@click.option(
    "--model", type=click.Path(path_type=Path), help="GGUF file. Default: what the daemon has, else qcn-mini."
)
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
    workspace: Path,
    model: Path | None,
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
    """
    root = workspace.expanduser().resolve()
    if not root.is_dir():
        raise UsageError(f"there is no folder {root}", hint="name the project with --workspace")
    flags = {"fix.tests": tests, "fix.max_steps": max_steps, "fix.max_attempts": max_attempts}
    settings = config.load(user_file=paths.config_file(), project_file=root / config.PROJECT_FILE, flags=flags)
    order = {
        "workspace": str(root),
        "issue": read_issue(issue),
        "env": allowed_env(os.environ),
        "fix": dataclasses.asdict(settings.fix),
        "model": str(model.expanduser().resolve()) if model else "",
        "seed": seed,
        "keep": keep,
        "dry_run": dry_run,
        "unsandboxed": unsandboxed,
    }
    try:
        return _run(order, settings.model.path, as_json=as_json)
    except QcnError as error:
        if not as_json:
            raise
        failure = {"ending": "error", "reason": str(error), "hint": error.hint, "exit_code": error.exit_code}
        click.echo(json.dumps({"kind": "error", "data": failure}), err=True)
        click.echo(json.dumps(failure, indent=2))
        return error.exit_code


def _run(order: dict[str, Any], model_path: str, *, as_json: bool) -> int:
    from qcn_agent.agent import journal
    from qcn_agent.cli.view import make_view
    from qcn_agent.daemon import client

    order["run_id"] = journal.new_run_id()
    with make_view(as_json=as_json, issue=order["issue"]) as view:
        view.say("connecting to the daemon")
        with client.connect(view.say, model_path) as connection:
            try:
                outcome = connection.request("qcn/fix", order, lambda _, event: view.show(event))
            except DaemonDiedError as error:
                raise DaemonDiedError(f"{error}\n{take_back(order)}", hint=error.hint) from error
            except KeyboardInterrupt:
                state = "what was changed stays" if order["keep"] else "your tree is as it was"
                click.echo(f"\ninterrupted; {state}", err=True)
                raise
    view.finish(outcome)
    return int(outcome["exit_code"])


def take_back(order: Mapping[str, Any], patience_s: float = 5.0) -> str:
    """After the daemon died: put the tree back from this run's own journal, and say so.

    `patience_s`: how long the run may still seem to live, while the kernel clears away or the daemon puts back itself.
    """
    if order["keep"]:
        return "What it had changed is still there; qcn-agent undo takes it back."
    try:
        last = _find_journal(order["run_id"], Path(order["workspace"]), patience_s)
        if last is None:
            return "It had changed nothing, or has put it back."
        with contextlib.closing(last):
            result = last.restore()
    except (JournalError, OSError) as error:
        return f"Nothing was put back: {error}. Try: qcn-agent undo"
    parts = [f"Put back from the journal: {', '.join(result.restored) or 'nothing'}"]
    if result.kept:
        parts.append(f"left alone, because they were changed since: {', '.join(result.kept)}")
    if result.failed:
        parts.append(f"could not be put back: {', '.join(result.failed)}")
    return "; ".join(parts)


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


def read_issue(text: str) -> str:
    """The issue itself, from an argument, a file (@FILE) or standard input (-). Raises UsageError."""
    try:
        if text == "-":
            return sys.stdin.read()
        if text.startswith("@"):
            return Path(text[1:]).expanduser().read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"can't read the issue: {error}") from error
    return text
