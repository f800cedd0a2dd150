"""`status`: what the daemon is, holds and has done."""

import json
from typing import Any

import click

from qcn_agent.cli.text import visible
from qcn_agent.daemon import client


@click.command("status")
@click.option("--json", "as_json", is_flag=True, help="All of it, as JSON.")
def command(as_json: bool) -> int:
    """Show the daemon, its model and its counters. Exit code 6 when none is running."""
    connection = client.connect_to_running()
    if connection is None:
        click.echo(json.dumps({"running": False}) if as_json else "no daemon is running (fix starts one by itself)")
        return 6
    with connection:
        status = {"running": True, **connection.request("qcn/status", {})}
    click.echo(json.dumps(status, indent=2) if as_json else "\n".join(visible(_lines(status))))
    return 0


def _lines(status: dict[str, Any]) -> list[str]:
    sandbox = status["sandbox"]
    lines = [f"qcn-agent {status['version']}, process {status['pid']}, up {status['uptime_s']:.0f} s"]
    lines.append(f"clients  {status['num_clients']}   runs  {', '.join(status['runs']) or 'none'}")
    lines.append(f"sandbox  {'on' if sandbox['available'] else 'not available'}  {sandbox['reason']}".rstrip())
    lines.append(f"memory   {status['resident_bytes'] / 1e6:,.0f} MB resident")
    return [*lines, *_model_lines(status["model"])]


def _model_lines(model: dict[str, Any]) -> list[str]:
    if model["state"] == "failed":
        return [f"model    could not be loaded: {model['reason']}", f"         → {model['hint']}"]
    if model["state"] == "none":
        return [f"model    none yet; the next fix loads {model['path']}"]
    if model["state"] == "loading":
        return [f"model    loading {model['path']}"]
    counted = model["num_evaluated_tokens"] + model["num_reused_tokens"]
    reused = model["num_reused_tokens"] / counted if counted else 0.0
    return [
        f"model    {model['model_name']} ({model['architecture']}), prompts {model['profile']}, {model['model_path']}",
        f"         {model['model_bytes'] / 1e6:,.0f} MB of weights, context {model['n_ctx']:,} tokens, "
        f"{len(model['sessions'])} sessions, {model['state_bytes'] / 1e6:,.2f} MB a snapshot",
        f"tokens   {model['num_evaluated_tokens']:,} evaluated, {model['num_reused_tokens']:,} reused"
        f" ({reused:.0%}), {model['num_generated_tokens']:,} generated",
        f"speed    {model['prefill_tokens_per_s']:,.0f} tokens/s prefill, {model['decode_tokens_per_s']:,.0f} decode",
        f"build    {'GPU' if model['gpu_offload'] else 'CPU only'}: {', '.join(model['devices'])}",
        *_process_lines(model),
        *_context_lines(model),
    ]


def _process_lines(model: dict[str, Any]) -> list[str]:
    """The process that holds the model, where that is not the daemon's own, or why there is none."""
    if model.get("fault"):  # a daemon of another version has none
        return [f"engine   {model['fault']}", "         → qcn-agent stop, then try again"]
    if model["isolation"] != "process":
        return []
    return [f"engine   process {model['engine_pid']}, restarted {model['num_restarts']} times"]


def _context_lines(model: dict[str, Any]) -> list[str]:
    """Who makes completions, where it isn't simply the agent's context."""
    if model["completion_note"]:
        return [f"typing   completions share the agent's context: {model['completion_note']}"]
    return [
        f"typing   {own['model_name'] or own['model_path']}, context {own['n_ctx']:,} tokens, "
        f"{own['queue_length']} waiting, {own['num_requests']:,} completions"
        for own in model["contexts"][1:]
    ]
