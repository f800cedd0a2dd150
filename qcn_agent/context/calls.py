"""One hop by what the best symbols use: files that define a name which they call, access or inherit from."""

from collections.abc import Iterable
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
    evidence = Evidence()
    for caller in callers:
        for name in _used(index, caller):
            definers = index.few_definers(name, MAX_DEFINERS)
            for file_id in definers if caller.file_id not in definers else ():
                evidence.add(file_id, caller.share / len(definers), f"{caller.name} uses {name}")
    return evidence


def _used(index: IndexReader, caller: Caller) -> list[str]:
    """The names on a caller's lines, by their first line in it."""
    found = []
    for name, lines in index.references_in(caller.file_id).items():
        inside = [line for line in lines if caller.start_line <= line <= caller.end_line]
        if inside and name != caller.name:
            found.append((inside[0], name))
    return [name for _line, name in sorted(found)[:MAX_NAMES]]
