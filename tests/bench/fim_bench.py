"""Lines filled in by the embedded model: `make bench-fim`, with `BENCH_ARGS='--holes N --model PATH --json FILE'`.

Holes are in code that it was not trained on (`fim_holes.py`). Asked as the product asks, greedy, in both orders of a
prompt; with and without the filters, the gate of confidence among them; beside copying from the same file
(`fim_score.py`). Tokens a key: keys typed on in some of the lines, each one asked for, no answer used again.
"""

import argparse
import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from qcn_agent.completion import filters, stops
from qcn_agent.completion.layout import choose
from qcn_agent.completion.place import Place
from qcn_agent.completion.planner import Shape
from qcn_agent.completion.prompt import Layout, PromptBuilder
from qcn_agent.completion.stream import Stream
from qcn_agent.completion.values import Kind, Snapshot
from qcn_agent.config import CompletionConfig, ModelConfig
from qcn_agent.engine.engine import Engine
from qcn_agent.engine.generator import Finished, GenerationRequest, Priority, SamplingParams
from qcn_agent.models.embedded import embedded_model_path
from tests.bench.fim_holes import DRAWS, Hole, holes
from tests.bench.fim_score import Answer, Score, copied
from tests.bench.report import Target, conclude, progress, table
from tests.bench.stats import Mean

LAYOUTS: tuple[Layout, ...] = ("psm", "spm")
SHAPE = Shape(0, 1024, 192)
MAX_NEW_TOKENS = 48
GREEDY = SamplingParams(temperature=0.0, top_logprobs=0)
THRESHOLDS = (-100.0, -2.5, -1.5, -0.9, -0.6, -0.3)
TYPED_HOLES, TYPED_KEYS = 8, 6
DEFAULTS = CompletionConfig()


def snapshot_of(hole: Hole, num_typed: int = 0) -> Snapshot:
    """The document without the rest of the line; some of it typed."""
    before = hole.before + hole.rest[:num_typed]
    return Snapshot("file:///w/module.py", "module.py", "python", num_typed, before, hole.after)


async def filled(engine: Engine, builder: PromptBuilder, hole: Hole, number: int) -> Answer:
    """What the model says, ended as the product ends it; the filters aside."""
    place = Place(snapshot_of(hole), Kind.LINE)
    prompt = builder.build(place.snapshot, (), SHAPE)
    request = GenerationRequest(
        f"fim{number}", prompt.tokens, MAX_NEW_TOKENS, prompt.boundaries, GREEDY, stop=stops.engine_stops(place)
    )
    stream = Stream(place, engine.vocabulary, builder.fim.all, lambda ended: None)
    stream.start(engine.generate(request))
    while not stream.ended:
        await stream.changed(60.0)
    engine.drop_session(request.session)
    return Answer(stream.text, hole.rest, stream.mean_logprob)


def shown(answer: Answer, hole: Hole, min_logprob: float = DEFAULTS.min_logprob) -> Answer:
    """What the filters leave."""
    place = Place(snapshot_of(hole), Kind.LINE, answer.logprob, min_logprob)
    return Answer(filters.run(answer.text, place)[0], hole.rest, answer.logprob)


async def read_per_key(engine: Engine, builder: PromptBuilder, some: Sequence[Hole]) -> Mean:
    """Prompt tokens evaluated for a key after the first."""
    counts: list[float] = []
    for number, hole in enumerate(some):
        for num_typed in range(min(TYPED_KEYS, len(hole.rest))):
            prompt = builder.build(snapshot_of(hole, num_typed), (), SHAPE)
            session = f"typing-{builder.layout}{number}"
            request = GenerationRequest(
                session, prompt.tokens, 1, prompt.boundaries, GREEDY, priority=Priority.COMPLETION
            )
            async for event in engine.generate(request):
                if isinstance(event, Finished) and num_typed:
                    counts.append(event.usage.num_prompt_tokens - event.usage.num_reused_tokens)
        engine.drop_session(session)
    return Mean.of(counts)


@dataclass
class Found:
    """Answers of one source: by layout, and those copied."""

    holes: list[Hole]
    by_layout: dict[Layout, list[Answer]] = field(default_factory=dict)
    copied: list[Answer] = field(default_factory=list)


async def measure(engine: Engine, num_holes: int) -> tuple[dict[str, Found], dict[Layout, Mean]]:
    """All sources in both orders."""
    builders = {layout: PromptBuilder(engine.vocabulary, layout) for layout in LAYOUTS}
    found: dict[str, Found] = {}
    for name in DRAWS:
        progress(name)
        of = found[name] = Found(holes(name, num_holes, engine.vocabulary))
        of.copied = [Answer(copied(hole), hole.rest) for hole in of.holes]
        for layout, builder in builders.items():
            of.by_layout[layout] = [await filled(engine, builder, hole, n) for n, hole in enumerate(of.holes)]
    long = found["own"].holes[:TYPED_HOLES]
    return found, {layout: await read_per_key(engine, builder, long) for layout, builder in builders.items()}


def rows(found: dict[str, Found]) -> list[list[str]]:
    """Of each source: both orders without and with filters, and copying."""
    made = []
    for name, of in found.items():
        for layout, answers in of.by_layout.items():
            filtered = [shown(answer, hole) for answer, hole in zip(answers, of.holes, strict=True)]
            made.append([name, layout, *Score.of(answers).cells()])
            made.append([name, f"{layout}, filtered", *Score.of(filtered).cells()])
        made.append([name, "copied", *Score.of(of.copied).cells()])
    return made


def gate_rows(found: dict[str, Found], layout: Layout) -> list[list[str]]:
    """Over all sources, what each threshold of confidence lets through."""
    pairs = [pair for of in found.values() for pair in zip(of.by_layout[layout], of.holes, strict=True)]
    made = []
    for threshold in THRESHOLDS:
        answers = [shown(answer, hole, threshold) for answer, hole in pairs]
        offered = [answer for answer in answers if answer.text]
        precise = f"{sum(answer.is_exact for answer in offered) / max(1, len(offered)):.1%}"
        made.append([f"{threshold:g}", *Score.of(answers).cells(), precise])
    return made


def targets(found: dict[str, Found], per_key: dict[Layout, Mean], chosen: Layout) -> list[Target]:
    """The default order is not clearly worse in what it says, and where it costs more tokens a key it is better."""
    other: Layout = "spm" if chosen == "psm" else "psm"
    quality = {
        layout: Mean.of([answer.similarity for of in found.values() for answer in of.by_layout[layout]])
        for layout in LAYOUTS
    }
    is_cheaper = per_key[chosen].value <= per_key[other].value
    is_met = quality[chosen].high >= quality[other].low if is_cheaper else quality[chosen].low > quality[other].value
    ours, theirs = (f"{layout} {quality[layout]}, {per_key[layout].value:.0f} a key" for layout in (chosen, other))
    return [Target(f"the default order ({chosen}) is worth its tokens: edit similarity", f"{ours}; {theirs}", is_met)]


def main() -> None:
    """Fill, print, judge."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--holes", type=int, default=100, help="of each source")
    parser.add_argument("--model", type=Path, default=embedded_model_path())
    parser.add_argument("--json", type=Path, metavar="FILE")
    options = parser.parse_args()
    engine = Engine.load(ModelConfig(n_ctx=8192, max_states=9, disk_cache_mb=0, host_cache_mb=0), options.model)
    try:
        found, per_key = asyncio.run(measure(engine, options.holes))
        chosen = choose("auto", engine.metadata)
    finally:
        engine.close()
    header = ["code", "asked", "exact lines", "offered", "edit similarity of what is offered"]
    print(table(header, rows(found)))
    for order in LAYOUTS:
        header = ["min_logprob", "exact lines", "offered", "edit similarity", "exact of those offered"]
        print(f"\nWhat the gate of confidence lets through, {order}\n\n{table(header, gate_rows(found, order))}")
    print("\nprompt tokens read a key: " + ", ".join(f"{order} {mean}" for order, mean in per_key.items()) + "\n")
    results = {"rows": rows(found), "per_key": {order: mean.value for order, mean in per_key.items()}}
    conclude(targets(found, per_key, chosen), results, options.json)


if __name__ == "__main__":
    main()
