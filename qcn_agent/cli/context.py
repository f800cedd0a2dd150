"""`context`: what a model would be shown for an issue before its first answer."""

import array
import json
import sys
from pathlib import Path
from typing import Any

import click

from qcn_agent import config, paths
from qcn_agent.cli.issue import read_issue
from qcn_agent.cli.model import given_model
from qcn_agent.cli.project import given_project
from qcn_agent.cli.text import visible
from qcn_agent.daemon.orders import MAX_BUDGET, MIN_BUDGET
from qcn_agent.errors import UsageError

_MAX_SPANS = 6
_NOTHING = (
    "nothing is packed for the issue: no file fits it, or the budget is too small\n"
    "  → name a function, a module or the error's message, or give more with --budget"
)


@click.command("context")
@click.argument("issue")
@click.option(
    "--budget",
    type=click.IntRange(MIN_BUDGET, MAX_BUDGET),
    metavar="N",
    help="Tokens. Default: three quarters of the model's context.",
)
@click.option("--workspace", metavar="DIR", help="The project. Default: the one that this folder is in.")
@click.option("--model", metavar="PATH", help="GGUF whose tokens count. Default: what the daemon has, else qcn-mini.")
@click.option("--tokens", metavar="FILE", help="Write the token ids to FILE (int32, little-endian).")
@click.option("--json", "as_json", is_flag=True, help="Print it as JSON.")
def command(
    issue: str, budget: int | None, workspace: str | None, model: str | None, tokens: str | None, as_json: bool
) -> int:
    """Show what is packed for ISSUE: text, @FILE, or - for standard input.

    The head (what AGENTS.md asks for, tree, signatures) is the same for every issue; after it come (parts of) the files
    that the issue is about. `fix` starts from it with models that can use it, within fix.ttft_budget_s.
    """
    from qcn_agent.daemon import client

    project = given_project(workspace)
    if project.why:
        click.echo(visible(project.why), err=True)
    settings = config.load(user_file=paths.config_file(), project_file=project.root / config.PROJECT_FILE)
    order = {
        "workspace": str(project.root),
        "issue": read_issue(issue),
        "budget": budget or 0,
        "trusted": list(settings.fix.trusted),
        "model": given_model(model),
        "with_tokens": tokens is not None,
    }
    with client.connect(_say, settings.model.path) as connection:
        packed = connection.request("qcn/context", order, lambda _, event: _say(event["data"].get("text", "")))
    if tokens is not None:
        write_tokens(Path(tokens).expanduser(), packed.pop("tokens"))
    click.echo(json.dumps(packed, indent=2) if as_json else "\n".join(visible(lines_of(packed))))
    if not packed["num_issue_tokens"]:
        click.echo(_NOTHING, err=True)
    return 0


def _say(text: str) -> None:
    if sys.stderr.isatty():
        click.echo(visible(text), err=True)


def write_tokens(file: Path, tokens: list[int]) -> None:
    """The ids one after another, four bytes each, little-endian. Raises UsageError where the file can't be written."""
    values = array.array("i", tokens)
    if sys.byteorder == "big":
        values.byteswap()
    try:
        file.write_bytes(values.tobytes())
    except OSError as error:
        raise UsageError(f"can't write {file}: {error.strerror}", hint="name another file with --tokens") from error


def lines_of(packed: dict[str, Any]) -> list[str]:
    """A line for each part, then the sums."""
    parts = [part for part in packed["parts"] if part["tier"] != "frame"]
    rows = [f"{part['tier']:<12} {part['num_tokens']:>8,}  {part['path']}{_spans(part['lines'])}" for part in parts]
    num_tokens, budget = packed["num_tokens"], packed["budget"]
    share = f" ({num_tokens / budget:.1%})" if budget else ""
    return [
        *rows,
        f"{'head':<12} {packed['num_head_tokens']:>8,}  the same for every issue",
        f"{'issue part':<12} {packed['num_issue_tokens']:>8,}",
        f"{'all':<12} {num_tokens:>8,}  of {budget:,} tokens{share}",
    ]


def _spans(lines: list[list[int]]) -> str:
    shown = [f"{first}-{last}" for first, last in lines[:_MAX_SPANS]]
    more = [f"… {len(lines) - _MAX_SPANS} more"] if len(lines) > _MAX_SPANS else []
    return f"  {', '.join([*shown, *more])}" if shown else ""
