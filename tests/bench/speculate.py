"""What speculation gains: `python -m tests.bench.speculate [--model GGUF] [--pairs N]`, tokens/s with it and without.

Two traces over textbook bugs. *edit*: the conversation of a fix run up to the model's edit, which is its own and copies
some of the file. *copy*: a grammar lets it spell the whole file again, the best case for prompt lookup. Each request is
asked of both arms, one right after the other, in turns first; the ratio is that of a pair.
"""

import argparse
import asyncio
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from qcn_agent.config import ModelConfig, SchedulerConfig
from qcn_agent.engine.engine import Engine
from qcn_agent.engine.generator import Finished, GenerationRequest, SamplingParams, Usage
from qcn_agent.engine.grammar import Grammar
from qcn_agent.models.embedded import embedded_model_path
from tests.bench.report import Target, conclude, progress, table
from tests.bench.stats import Median

BUGS = Path(__file__).parent / "textbook_bugs.jsonl"
GOLDEN = Path(__file__).parent.parent / "golden" / "conversation_mini.txt"
EDIT = "<tool_call>\n<function=edit_file>"  # what the golden conversation goes on with
MAX_NEW_TOKENS = 200
LEAST_RATIO = 0.97  # what a wrong decision may cost


@dataclass(frozen=True)
class Pair:
    """The same request without speculation and with it."""

    off: Usage
    auto: Usage
    is_same: bool  # token for token

    @property
    def ratio(self) -> float:
        """Tokens/s with speculation over tokens/s without."""
        return rate(self.auto) / rate(self.off)


def rate(usage: Usage) -> float:
    """Tokens/s after the prompt."""
    return 1e3 * usage.num_generated_tokens / usage.decode_ms


def edit_prompt(bug: dict[str, str], source: str, golden: str) -> str:
    """A fix run that has just read the file."""
    head = golden[: golden.index(EDIT)]
    head = head.replace("clamp ignores its upper bound", bug["issue"]).replace("calc.py", bug["path"])
    return head.replace("def clamp(value, low, high):\n    return max(low, value)\n", source)


def request(engine: Engine, trace: str, number: int, bug: dict[str, str], source: str) -> GenerationRequest:
    """Greedy."""
    prompt = engine.vocabulary.encode([(edit_prompt(bug, source, GOLDEN.read_text(encoding="utf-8")), True)])
    grammar = Grammar(f"root ::= {json.dumps(source)}") if trace == "copy" else None
    sampling = SamplingParams(temperature=0.0)
    return GenerationRequest(f"{trace}{number}", prompt, MAX_NEW_TOKENS, sampling=sampling, grammar=grammar)


async def ask(engine: Engine, wanted: GenerationRequest) -> Finished:
    """The answer's end."""
    async for event in engine.generate(wanted):
        if isinstance(event, Finished):
            engine.drop_session(wanted.session)
            return event
    raise AssertionError("a generation ended without Finished")


async def measure(off: Engine, auto: Engine, trace: str, num_pairs: int) -> list[Pair]:
    """Interleaved; after two pairs that only warm up."""
    bugs = [json.loads(line) for line in BUGS.read_text(encoding="utf-8").splitlines()]
    pairs: list[Pair] = []
    for number in range(num_pairs + 2):
        bug = bugs[number % len(bugs)]
        wanted = request(off, trace, number, bug, bug["files"][bug["path"]])
        arms = (off, auto) if number % 2 else (auto, off)
        answers = {arm: await ask(arm, wanted) for arm in arms}
        same = answers[off].tokens.tolist() == answers[auto].tokens.tolist()
        pairs.append(Pair(answers[off].usage, answers[auto].usage, same))
        if number % 50 == 0:
            progress(f"{trace}: {number} of {num_pairs}")
    return pairs[2:]


def row(trace: str, pairs: Sequence[Pair]) -> list[object]:
    """A line of the table."""
    ratio = Median.of([pair.ratio for pair in pairs])
    drafted = sum(pair.auto.num_drafted_tokens for pair in pairs)
    accepted = sum(pair.auto.num_accepted_tokens for pair in pairs)
    generated = sum(pair.auto.num_generated_tokens for pair in pairs)
    return [
        trace,
        len(pairs),
        generated // len(pairs),
        f"{Median.of([rate(pair.off) for pair in pairs]).value:.0f}",
        f"{Median.of([rate(pair.auto) for pair in pairs]).value:.0f}",
        f"{ratio.value:.3f} [{ratio.low:.3f}, {ratio.high:.3f}]",
        f"{drafted / generated:.2f}",
        f"{accepted / generated:.2f}",
        f"{sum(pair.is_same for pair in pairs)}",
    ]


def main() -> None:
    """Print a table, a target a trace, and the verdict."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, default=embedded_model_path())
    parser.add_argument("--pairs", type=int, default=250)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    config = ModelConfig(n_ctx=4096, disk_cache_mb=0)
    off = Engine.load(config, options.model, scheduling=SchedulerConfig(speculate="off"))
    auto = Engine.load(config, options.model, scheduling=SchedulerConfig(speculate="auto"))
    results = {trace: asyncio.run(measure(off, auto, trace, options.pairs)) for trace in ("edit", "copy")}
    header = ["trace", "pairs", "tokens", "tok/s off", "tok/s auto", "auto/off", "drafted/tok", "accepted/tok", "same"]
    rows = [row(trace, pairs) for trace, pairs in results.items()]
    print(table(header, rows))
    ratios = {trace: Median.of([pair.ratio for pair in pairs]) for trace, pairs in results.items()}
    targets = [
        Target(f"{trace}: at least {LEAST_RATIO} of the speed without", f"{ratio.value:.3f}", ratio.low >= LEAST_RATIO)
        for trace, ratio in ratios.items()
    ]
    targets.append(Target("copy: faster than without", f"{ratios['copy'].value:.3f}", ratios["copy"].low > 1))
    conclude(targets, {"rows": [dict(zip(header, cells, strict=True)) for cells in rows]}, options.json)
    off.close()
    auto.close()


if __name__ == "__main__":
    main()
