"""Stack traces made up from a tree: the error is raised in one function, called from others of the tree."""

import random
from collections.abc import Callable, Iterator, Sequence

from qcn_agent.index.index import Index
from qcn_agent.index.tags import Definition
from tests.bench.localise_rankers import candidates
from tests.bench.localise_set import Item

TRACES_A_PROJECT = 5
NUM_CALLERS = 4
_ERRORS = (
    "TypeError: 'NoneType' object is not iterable",
    "KeyError: 'name'",
    "ValueError: invalid value",
    "IndexError",
)


def trace_items(items: Sequence[Item], open_index: Callable[[Item], Index]) -> Iterator[Item]:
    """TRACES_A_PROJECT traces for each project, on the tree of its first item; the gold file raises the error."""
    first = {item.project: item for item in reversed(items)}
    for item in first.values():
        chance = random.Random(item.project)
        index = open_index(item)
        places = [(file.path, index.definitions_of(file.file_id)) for file in candidates(index)]
        index.close()
        functions = [(path, one) for path, found in places for one in found if one.kind in ("function", "method")]
        for _ in range(TRACES_A_PROJECT):
            chain = chance.sample(functions, min(NUM_CALLERS + 1, len(functions)))
            yield Item(item.project, item.before, item.after, _text(chain, chance), (chain[-1][0],))


def _text(chain: Sequence[tuple[str, Definition]], chance: random.Random) -> str:
    lines = ["It crashes since the last update.", "", "```", "Traceback (most recent call last):"]
    lines += ['  File "/home/me/app/run.py", line 3, in <module>', "    main()"]
    for path, one in chain:
        line = chance.randint(one.start_line, one.end_line)
        lines.append(f'  File "/home/me/venv/lib/python3.11/site-packages/{path}", line {line}, in {one.name}')
        lines.append("    result = do_it(value)")
    return "\n".join([*lines, chance.choice(_ERRORS), "```"])
