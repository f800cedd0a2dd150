"""Small workspaces with an index and a tokenizer, for what is made from both."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from qcn_agent.context.issue import IssueQuery, query_of
from qcn_agent.context.pack import Pack
from qcn_agent.context.packer import pack_ranking
from qcn_agent.context.ranking import RankedFile, RankedSymbol, Ranking
from qcn_agent.context.tokenizer import Tokenizer
from qcn_agent.engine.generator import IntArray, Vocabulary
from qcn_agent.index.index import Index
from tests.fakes.indexed import IndexedTree, indexed
from tests.fakes.scripted import ByteVocabulary


def query(text: str = "something is wrong") -> IssueQuery:
    """An issue that says nothing."""
    return query_of(text)


class CountingVocabulary(ByteVocabulary):
    """Remembers what it was asked to tokenise."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    def encode(self, pieces: Sequence[tuple[str, bool]]) -> IntArray:
        """One token a byte."""
        self.texts += [text for text, _special in pieces]
        return super().encode(pieces)


@dataclass
class Workbench:
    """A workspace, its index and a tokenizer."""

    tree: IndexedTree
    index: Index
    tokenizer: Tokenizer
    vocabulary: Vocabulary

    def symbol(self, path: str, name: str) -> RankedSymbol:
        """A definition as the ranking would name it."""
        file_id = self.tree.id_of(path)
        one = next(one for one in self.index.definitions_of(file_id) if one.name == name)
        return RankedSymbol(file_id, path, name, one.qualified, one.kind, one.start_line, one.end_line, 1.0, ())

    def ranking(self, *paths: str, symbols: Mapping[str, Sequence[str]] | None = None) -> Ranking:
        """Files in this order, and the names of their symbols."""
        wanted = symbols or {}
        files = (
            RankedFile(
                self.tree.id_of(path),
                path,
                1.0,
                (),
                tuple(self.symbol(path, name) for name in wanted.get(path, ())),
            )
            for path in paths
        )
        return Ranking(query(), tuple(files))

    def pack(self, ranking: Ranking, budget: int, trusted: Sequence[Path] = ()) -> Pack:
        """The pack of a ranking."""
        return pack_ranking(self.index, self.tokenizer, ranking, budget, trusted)

    def text(self, pack: Pack) -> str:
        """What it says."""
        return self.vocabulary.decode(pack.tokens, special=True)


@contextmanager
def workbench(
    workspace: Path, files: Mapping[str, str | bytes], vocabulary: Vocabulary | None = None
) -> Iterator[Workbench]:
    """A workspace with these files; tokens are bytes unless there is a `vocabulary`."""
    words = vocabulary or CountingVocabulary()
    with indexed(workspace, files) as tree:
        index = Index(workspace.resolve(), tree.database, num_workers=1, watch=False)
        tokenizer = Tokenizer.open(words, workspace.parent / "tokens", workspace.name)
        with closing(index), closing(tokenizer):
            yield Workbench(tree, index, tokenizer, words)


def functions(count: int, prefix: str = "f", num_lines: int = 6) -> str:
    """Python source with functions of so many lines."""
    body = "".join(f"    x{line} = {line}\n" for line in range(num_lines - 2))
    return "\n".join(f"def {prefix}{number}(a, b):\n{body}    return a\n" for number in range(count))
