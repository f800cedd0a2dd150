"""One hop by what the best symbols use: files that define a name which they call, access or inherit from."""

import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from qcn_agent.context.evidence import Evidence
from qcn_agent.index.reader import IndexReader

MAX_DEFINERS = 5  # a name that more files define says nothing
MAX_NAMES = 30  # of one caller


@dataclass(frozen=True)
class Caller:
    """A symbol that fits, with its lines (from 1, inclusive); `share` says how well, 0 .. 1."""

    file_id: int
    name: str
    start_line: int
    end_line: int
    share: float


def calls_of(index: IndexReader, callers: Iterable[Caller]) -> Evidence:
    """Evidence for the files that define what the callers use; a name of their own file is that file's."""
    used = list(_used(index, callers))
    definers = index.few_definers({name for _caller, names in used for name in names}, MAX_DEFINERS)
    evidence = Evidence()
    for caller, names in used:
        for name in names:
            found = definers.get(name, [])
            for file_id in found if caller.file_id not in found else ():
                evidence.add(file_id, caller.share / len(found), f"{caller.name} uses {name}")
    return evidence


def _used(index: IndexReader, callers: Iterable[Caller]) -> Iterator[tuple[Caller, list[str]]]:
    """The names on each caller's lines, by their first line in it."""
    for file_id, own in itertools.groupby(callers, lambda caller: caller.file_id):
        table = index.references_in(file_id)
        for caller in own:
            names = table.used_between(caller.start_line, caller.end_line)
            yield caller, [name for name in names if name != caller.name][:MAX_NAMES]
