"""`bench engine`: how much the engine evaluates, how long things take, what it holds; here, on this model."""

import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from qcn_agent import config, gguf, paths
from qcn_agent.cli.model import given_model
from qcn_agent.errors import UsageError

_SEED = 7


@click.group("bench")
def command() -> None:
    """Measure this program on this machine.

    qcn-agent bench engine --quick          a minute with the embedded model
    """


@command.command("engine")
@click.option("--model", metavar="PATH", help="GGUF to measure. Default: model.path, else qcn-mini.")
@click.option("--peer", is_flag=True, help="Measure a llama-server on the same traces, too (needs xllamacpp).")
@click.option("--quick", is_flag=True, help="Shorter traces, fewer rounds.")
@click.option("--seed", type=int, default=_SEED, show_default=True, help="Of the random tokens.")
@click.option("--json", "json_file", type=click.Path(path_type=Path, dir_okay=False), help="Write all figures.")
@click.option("--plot", "plot_file", type=click.Path(path_type=Path, dir_okay=False), help="Draw an SVG.")
def engine(
    model: str | None, peer: bool, quick: bool, seed: int, json_file: Path | None, plot_file: Path | None
) -> int:
    """Tokens evaluated beside the ideal, times to the first token, rates, snapshots, memory.

    The model is loaded into this process, beside whatever a running daemon holds (qcn-agent stop frees that).
    """
    import sys

    from qcn_agent.benchmark import peer as llama_server

    if peer and not llama_server.is_installed(sys.executable):
        raise UsageError("there is no llama-server to compare with", hint=llama_server.INSTALL)
    settings = config.load(user_file=paths.config_file(), flags={"model.path": given_model(model) or None})
    results = run(settings, with_peer=peer, quick=quick, seed=seed)
    _show(results)
    if json_file is not None:
        json_file.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    if plot_file is not None:
        plot_file.write_text(_plot(results), encoding="utf-8")
    return 0


def run(settings: config.Config, *, with_peer: bool, quick: bool, seed: int) -> dict[str, Any]:
    """Measure the sides one after another. JSON values: what was measured on, and each side's figures."""
    from dataclasses import replace

    from qcn_agent.benchmark import copies
    from qcn_agent.benchmark.local import LocalArm
    from qcn_agent.benchmark.measure import Plan, measure
    from qcn_agent.engine import trace
    from qcn_agent.engine.llama_model import num_threads
    from qcn_agent.models.embedded import embedded_model_path

    path = Path(settings.model.path) if settings.model.path else embedded_model_path()
    threads = num_threads(settings.model, gguf.model_bytes(gguf.check(path)))
    with tempfile.TemporaryDirectory(prefix="qcn-bench-") as folder:
        file = Path(folder, "trace.json")
        arm = LocalArm(replace(settings.model, n_threads=threads), path, settings.scheduler, file)
        try:
            _say(f"loading {path.name}")
            arm.start()
            status = arm.engine.status()
            plan = Plan.of(seed, status.n_ctx, is_quick=quick)
            ours, num_new = measure(arm, plan, _say)
        finally:
            arm.close()
        sides = {arm.name: replace(ours, costs=copies.costs(trace.read(file)))}
    if with_peer:
        sides |= _peers(path, status.n_ctx, threads, plan, num_new)
    return {
        "model": status.model_name or path.name,
        "file": path.name,
        "n_ctx": status.n_ctx,
        "n_threads": threads,
        "seed": seed,
        "quick": quick,
        "shrink": plan.shrink,
        "build": status.build,
        "model_bytes": status.model_bytes,
        "state_bytes": status.state_bytes,
        "sides": {name: figures.to_json() for name, figures in sides.items()},
    }


def _peers(path: Path, n_ctx: int, threads: int, plan: Any, num_new: Any) -> dict[str, Any]:
    """llama-server as it starts, and well tuned."""
    import sys

    from qcn_agent.benchmark.held import Setup
    from qcn_agent.benchmark.measure import measure
    from qcn_agent.benchmark.peer import DEFAULT, TUNED, PeerArm

    setup = Setup(path, n_ctx, threads)
    arms = [
        PeerArm("llama-server", sys.executable, setup, DEFAULT),
        PeerArm("tuned", sys.executable, setup, TUNED, pins_slots=True),
    ]
    found = {}
    for arm in arms:
        try:
            arm.start()
            found[arm.name] = measure(arm, plan, _say, num_new)[0]
        finally:
            arm.close()
    return found


def _say(line: str) -> None:
    click.echo(line, err=True)


def _show(results: Mapping[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    shorter = f", traces {results['shrink']} times shorter" if results["shrink"] > 1 else ""
    title = f"{results['model']}, {results['n_ctx']} tokens, {results['n_threads']} threads, seed {results['seed']}"
    table = Table(title=title + shorter)
    table.add_column("measure")
    for side in results["sides"]:
        table.add_column(side, justify="right")
    for measure, cells in _rows(list(results["sides"].values())):
        table.add_row(measure, *cells)
    Console().print(table)


def _rows(sides: list[dict[str, Any]]) -> list[tuple[str, list[str]]]:
    """(Measure, a cell for each side)."""
    rows = [
        (f"{name}: evaluated ÷ ideal", [f"{side['scores'][name]['ratio']:.3f}" for side in sides])
        for name in sides[0]["scores"]
    ]
    for key, label in (
        ("cold_ms", "first token of a cold prompt, ms"),
        ("next_turn_ms", "first token of its next turn, ms"),
        ("again_ms", "first token of the same prompt again, ms"),
        ("prefill_tokens_per_s", "prefill, tokens/s"),
        ("decode_tokens_per_s", "decode, tokens/s"),
    ):
        rows.append((label, [f"{side['times'][key]:,.1f}" for side in sides]))
    for name in sides[0]["costs"]:
        rows.append((f"{name}, ms", [_cost(side["costs"].get(name)) for side in sides]))
    rows.append(("states held, device + host", [f"{side['device_states']} + {side['host_states']}" for side in sides]))
    rows.append(("resident memory, MiB", [f"{side['resident_mib']:,.0f}" for side in sides]))
    return rows


def _cost(cost: Mapping[str, float] | None) -> str:
    return "–" if cost is None else f"{cost['median_ms']:.3f} ({cost['count']} times)"


def _plot(results: Mapping[str, Any]) -> str:
    from qcn_agent.benchmark.plot import bars

    ratios = {
        name: {trace: score["ratio"] for trace, score in side["scores"].items()}
        for name, side in results["sides"].items()
    }
    shorter = f", traces {results['shrink']} times shorter" if results["shrink"] > 1 else ""
    return bars(ratios, f"Prompt tokens evaluated ÷ ideal, {results['model']}{shorter}")
