"""What the planner makes of 150, 350 and 600 ms on machines that are not here: `make plan-sim`.

The product's own `Asker` plans a line in a file, with context from others, at rates from `plan_machines.py`. *Cold*:
nothing of the prompt is cached. *Typing*: the full prompt was read, and a key was typed since.
Writes the table into the README of the completion room, and the picture beside it.
"""

import argparse
import re
from collections.abc import Iterator
from dataclasses import dataclass

from qcn_agent.completion.asking import Asker, budget_of
from qcn_agent.completion.decision import MAX_TOKENS
from qcn_agent.completion.place import Place
from qcn_agent.completion.planner import LINE_TOKENS, Plan
from qcn_agent.completion.prompt import ContextBlock, PromptBuilder
from qcn_agent.completion.rates import RateMeter, Rates
from qcn_agent.completion.values import Kind, Snapshot
from qcn_agent.config import CompletionConfig
from qcn_agent.engine.generator import Usage, Vocabulary
from qcn_agent.engine.text import LlamaVocabulary
from tests.bench.plan_machines import MACHINES, SMALL_NAME
from tests.bench.plan_svg import Bar, Group, picture
from tests.bench.policy_engine import embedded_backend
from tests.bench.report import table
from tests.bench.typing_traces import SOURCES

BUDGETS_MS = (150.0, 350.0, 600.0)
ROOM = SOURCES / "completion"
README, PICTURE = ROOM / "README.md", ROOM / "planned.svg"
BEGIN, END = "<!-- simulated: make plan-sim -->\n", "<!-- end of simulated -->"
N_CTX = 1 << 16
HEADER = ["machine, model", "answer in", "cold: prompt", "first token", "line", "typing: prompt", "first token", "line"]


@dataclass(frozen=True)
class Case:
    """One line of the table: the plans without and with the prompt in the cache."""

    machine: str
    answer_ms: float
    cold: Plan
    typing: Plan

    @property
    def is_of_use(self) -> bool:
        """Whether a line comes in time while one types."""
        return self.typing.fits

    def row(self) -> list[str]:
        """Its cells."""
        return [self.machine, f"{self.answer_ms:.0f} ms", *_cells(self.cold), *_cells(self.typing)]


def _cells(plan: Plan) -> list[str]:
    """Prompt with what is to be read of it, when the first token comes, and how much of a line comes in time."""
    fresh = plan.num_prompt_tokens - plan.num_cached_tokens
    return [f"{plan.num_prompt_tokens}, {fresh} to read", f"{plan.expected_first_ms:.0f} ms", _label(plan)]


def scene() -> tuple[Snapshot, list[ContextBlock]]:
    """A cursor in the middle of a file of functions, and pieces of five others. Only their lengths matter."""
    text = "".join(map(_function, range(60)))
    at = text.index("total_30 = ") + len("total_30 = sc")
    snapshot = Snapshot("file:///w/shop.py", "shop.py", "python", 1, text[:at], text[text.index("\n", at) :])
    blocks = [ContextBlock(f"part{n}.py", "".join(map(_function, range(4 * n, 4 * n + 4)))) for n in range(5)]
    return snapshot, blocks


def _function(number: int) -> str:
    """Eight lines of code."""
    return (
        f"def scaled_price_{number}(prices, factor={number}, limit=None):\n"
        f'    """The sum of the prices times {number}, at most `limit`."""\n'
        f"    total_{number} = scale(sum(prices), by=factor)\n"
        f"    if limit is not None and total_{number} > limit:\n"
        f"        total_{number} = limit\n"
        f"    return total_{number}\n\n\n"
    )


def plans(vocabulary: Vocabulary, rates: Rates, answer_ms: float, *, experts_in_ram: bool) -> tuple[Plan, Plan]:
    """Cold, and typing on."""
    config = CompletionConfig(answer_ms=answer_ms)
    budget, (snapshot, context) = budget_of(config, experts_in_ram=experts_in_ram), scene()
    before = Snapshot(snapshot.uri, snapshot.path, "python", 0, snapshot.before[:-1], snapshot.after)

    def asker() -> Asker:
        return Asker(PromptBuilder(vocabulary, "spm", "qcn-agent"), config, RateMeter(rates), N_CTX)

    def plan(asker: Asker) -> Plan:
        return asker.ask("s", Place(snapshot, Kind.LINE), context, budget, MAX_TOKENS[Kind.LINE]).plan

    warm = asker()
    read = warm.warm("s", before, context)
    warm.answered(read, Usage(len(read.prompt.tokens), num_generated_tokens=1), is_guess=True)
    return plan(asker()), plan(warm)


def cases(vocabulary: Vocabulary) -> Iterator[Case]:
    """All machines and budgets; a second, small model where the big one gives no line in some budget."""
    for machine in MACHINES:
        found: list[Case] = []
        for name, rates in (
            (machine.name, machine.rates),
            (SMALL_NAME, machine.small.rates if machine.small else None),
        ):
            if rates is None or (found and all(case.is_of_use for case in found)):
                break
            for answer_ms in BUDGETS_MS:
                in_ram = machine.experts_in_ram and name == machine.name
                made = plans(vocabulary, rates, answer_ms, experts_in_ram=in_ram)
                label = name if name == machine.name else f"{machine.name.partition(',')[0]}: {name}"
                found.append(Case(label, answer_ms, *made))
        yield from found


def markdown(found: list[Case]) -> str:
    """The table."""
    return table(HEADER, [case.row() for case in found]) + "\n"


def drawn(found: list[Case]) -> str:
    """The picture."""
    groups = []
    for case in found:
        bars = tuple(Bar(name, plan.num_prompt_tokens, _label(plan)) for name, plan in _named(case))
        groups.append(Group(case.machine, f"{case.answer_ms:.0f} ms", bars))
    return picture(groups, "Simulated: the prompt that fits into the time, and how much of a line comes in it")


def _named(case: Case) -> tuple[tuple[str, Plan], tuple[str, Plan]]:
    return ("cold", case.cold), ("typing on", case.typing)


def _label(plan: Plan) -> str:
    if not plan.num_answer_tokens:
        return "too late"
    return f"{plan.num_answer_tokens} tokens" + ("" if plan.fits else ": no line")


def with_table(readme: str, text: str) -> str:
    """The README with the table in its place."""
    begin, end = re.escape(BEGIN), re.escape(END)
    return re.sub(f"(?s){begin}.*?{end}", lambda _: BEGIN + "\n" + text + "\n" + END, readme)


def main() -> None:
    """Plan, write, print."""
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    with embedded_backend() as real:
        found = list(cases(LlamaVocabulary(real)))
    README.write_text(with_table(README.read_text(encoding="utf-8"), markdown(found)), encoding="utf-8")
    PICTURE.write_text(drawn(found), encoding="utf-8")
    print(markdown(found))
    print(f"a line is {LINE_TOKENS} tokens, or what is asked for if that is less")


if __name__ == "__main__":
    main()
