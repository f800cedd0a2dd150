"""How well a model completes held-out code: exact holes through the product's engine, and loss in PyTorch.

    python -m qcn_agent.training.evaluate qcn-mini.gguf --corpus corpus.jsonl.gz [--checkpoint run/final.pt]

Repairs are judged elsewhere, by the whole product: tests/bench.
"""

import argparse
import asyncio
import json
import random
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from qcn_agent.config import ModelConfig
from qcn_agent.engine.engine import Engine
from qcn_agent.engine.generator import Finished, GenerationRequest, Generator, SamplingParams
from qcn_agent.training import packing, tokenizer
from qcn_agent.training.documents import FIM_PREFIX_CHARS, FIM_SUFFIX_CHARS
from qcn_agent.training.source_file import SourceFile
from qcn_agent.training.stream import Sources

MAX_NEW_TOKENS = 60
MIN_LINE_CHARS, MAX_LINE_CHARS = 8, 80
NUM_DRAWS = 200


@dataclass(frozen=True)
class Hole:
    """A line (or its rest) cut out of held-out code."""

    prefix: str
    middle: str
    suffix: str


@dataclass(frozen=True)
class FimResult:
    """Of `num_holes`: how many were filled exactly, and how many had the right first line."""

    num_holes: int
    num_exact: int
    num_first_line: int


def draw_hole(rng: random.Random, text: str, start: int) -> Hole | None:
    """One line after the offset `start`, in half of the cases from within; None when there is none to ask for."""
    lines = [
        match
        for match in re.finditer(r"(?m)^ *\S[^\n]*$", text[start:])
        if MIN_LINE_CHARS <= len(match[0].strip()) <= MAX_LINE_CHARS
    ][1:]
    if not lines:
        return None
    begin, end = (start + offset for offset in rng.choice(lines).span())
    begin += len(text[begin:end]) - len(text[begin:end].lstrip())
    if rng.random() < 0.5:
        begin = rng.randint(begin, max(begin, end - 6))
    return Hole(text[max(0, begin - FIM_PREFIX_CHARS) : begin], text[begin:end], text[end : end + FIM_SUFFIX_CHARS])


def holes(draw_text: Callable[[random.Random], tuple[str, int]], count: int) -> list[Hole]:
    """`count` holes in texts of (text, offset to start from); always the same ones."""
    found = []
    for index in range(NUM_DRAWS * count):
        rng = random.Random(f"fim-{index}")
        hole = draw_hole(rng, *draw_text(rng))
        if hole is not None:
            found.append(hole)
        if len(found) == count:
            return found
    raise LookupError("too few texts with a line to cut out")


def hole_sets(files: Sequence[SourceFile], count: int) -> dict[str, list[Hole]]:
    """Holes by source: textbook functions of known and unknown templates, and the corpus if there is one."""
    known, unknown = Sources.for_validation(files), Sources.for_validation(files, unknown_templates=True)

    def corpus_text(rng: random.Random) -> tuple[str, int]:
        excerpt = known.excerpts.draw(rng)
        return excerpt.text, excerpt.start

    sets = {"known": holes(_module_text(known), count), "unknown": holes(_module_text(unknown), count)}
    return sets | ({"corpus": holes(corpus_text, count)} if files else {})


def _module_text(sources: Sources) -> Callable[[random.Random], tuple[str, int]]:
    def draw(rng: random.Random) -> tuple[str, int]:
        while True:
            try:
                module = sources.module(rng)
            except LookupError:
                continue
            lines = module.text.split("\n")
            return "\n".join(lines[: module.last_line]), sum(len(line) + 1 for line in lines[: module.first_line - 1])

    return draw


async def complete(generator: Generator, hole: Hole) -> str:
    """The model's greedy answer to one hole."""
    pieces = [
        ("<|fim_prefix|>", True),
        (hole.prefix, False),
        ("<|fim_suffix|>", True),
        (hole.suffix, False),
        ("<|fim_middle|>", True),
    ]
    prompt = generator.vocabulary.encode(pieces)
    request = GenerationRequest("fim", prompt, MAX_NEW_TOKENS, sampling=SamplingParams(temperature=0.0))
    async for event in generator.generate(request):
        if isinstance(event, Finished):
            return generator.vocabulary.decode(event.tokens)
    return ""


async def evaluate(generator: Generator, holes: Iterable[Hole]) -> FimResult:
    """Fill all holes, one after another."""
    answers = [(hole.middle, await complete(generator, hole)) for hole in holes]
    exact = sum(answer == middle for middle, answer in answers)
    first_line = sum(answer.split("\n")[0].strip() == middle.strip() for middle, answer in answers)
    return FimResult(len(answers), exact, first_line)


def validation_loss(checkpoint_path: Path, files: Sequence[SourceFile], length: int = 768) -> Mapping[str, float]:
    """Loss of a checkpoint on the fixed validation rows, in nats a token (needs PyTorch)."""
    from qcn_agent.training import checkpoint, validation

    model, _ = checkpoint.load(checkpoint_path)
    sets = validation.build(files, tokenizer.load(), length, num_rows=8)
    return validation.evaluate(model, sets, "cpu", micro_rows=4)


def main() -> None:
    """Command line: one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("gguf", type=Path)
    parser.add_argument("--corpus", type=Path)
    parser.add_argument("--checkpoint", type=Path, help="for the loss")
    parser.add_argument("--holes", type=int, default=100, help="of each source")
    args = parser.parse_args()
    files = packing.load_files(args.corpus)
    engine = Engine.load(ModelConfig(n_ctx=4096, gpu_layers=0), args.gguf)
    try:
        fim = {
            name: asdict(asyncio.run(evaluate(engine, found))) for name, found in hole_sets(files, args.holes).items()
        }
    finally:
        engine.close()
    loss = validation_loss(args.checkpoint, files) if args.checkpoint else {}
    print(json.dumps({"fim": fim, "loss": loss}, indent=1))


if __name__ == "__main__":
    main()
