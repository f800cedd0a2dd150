"""An endless stream of training documents as token ids with loss weights."""

import random
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from qcn_agent.training import documents, repairs, textbook
from qcn_agent.training.documents import Document, Part
from qcn_agent.training.excerpts import Excerpts
from qcn_agent.training.source_file import SourceFile
from qcn_agent.training.textbook import Module, Template

CODE_CHARS = 4000
FIM_WINDOW_CHARS = (300, 2600)
MAX_FAILED_DRAWS = 100


@dataclass(frozen=True)
class Mixture:
    """Shares of the kinds of documents; need not sum to 1. The defaults are for a long run on a GPU."""

    textbook_repair: float = 0.60
    corpus_repair: float = 0.08
    textbook_fim: float = 0.08
    corpus_fim: float = 0.16
    code: float = 0.07
    chat: float = 0.01


@dataclass(frozen=True)
class Encoded:
    """A document's tokens and the loss weight of each."""

    kind: str
    ids: list[int]
    weights: list[float]


@dataclass(frozen=True)
class Sources:
    """Where documents come from, on one side of the hold-out rules (`held_out` None: either side)."""

    excerpts: Excerpts
    templates: Sequence[Template]
    held_out: bool | None

    @classmethod
    def for_training(cls, files: Sequence[SourceFile]) -> "Sources":
        """Nothing held out."""
        return cls(Excerpts(files), textbook.trained_templates(), held_out=False)

    @classmethod
    def for_validation(cls, files: Sequence[SourceFile], *, unknown_templates: bool = False) -> "Sources":
        """Held-out functions only: of the trained templates, or of those never trained on."""
        templates = textbook.held_out_templates() if unknown_templates else textbook.trained_templates()
        return cls(Excerpts(files, held_out=True), templates, held_out=None if unknown_templates else True)

    def module(self, rng: random.Random) -> Module:
        """A textbook file. Raises LookupError when the template has none on this side."""
        return textbook.draw_module(rng, rng.choice(self.templates), held_out=self.held_out)


class DocumentStream:
    """Draws documents by `mixture`; equal seeds give equal streams."""

    def __init__(self, sources: Sources, tokenizer: Any, mixture: Mixture, seed: str) -> None:
        self._sources = sources
        self._tokenizer = tokenizer
        self._shares = {kind: share for kind, share in asdict(mixture).items() if share > 0}
        self.rng = random.Random(seed)
        self._makers: dict[str, Callable[[], Document]] = {
            "textbook_repair": self._textbook_repair,
            "corpus_repair": self._corpus_repair,
            "textbook_fim": self._textbook_fim,
            "corpus_fim": self._corpus_fim,
            "code": self._code,
            "chat": lambda: documents.chat(self.rng),
        }

    def draw(self, kind: str = "") -> Encoded:
        """One document, of `kind` if given. Raises LookupError when the sources have none."""
        kinds = list(self._shares)
        for _ in range(MAX_FAILED_DRAWS):
            chosen = kind or self.rng.choices(kinds, [self._shares[name] for name in kinds])[0]
            try:
                document = self._makers[chosen]()
            except LookupError:
                continue
            return encode(self._tokenizer, chosen, document)
        raise LookupError(f"no document of kind {kind or kinds}")

    def _textbook_repair(self) -> Document:
        task = repairs.textbook_task(self.rng, self._sources.templates, held_out=self._sources.held_out)
        return documents.repair(task, self.rng)

    def _corpus_repair(self) -> Document:
        return documents.repair(repairs.corpus_task(self.rng, self._sources.excerpts), self.rng)

    def _textbook_fim(self) -> Document:
        return documents.middle_filled(self.rng, self._sources.module(self.rng).text)

    def _corpus_fim(self) -> Document:
        if self._sources.held_out is False and self.rng.random() < 0.4:
            text = self._sources.excerpts.window(self.rng, self.rng.randint(*FIM_WINDOW_CHARS))
            return documents.middle_filled(self.rng, text)
        excerpt = self._sources.excerpts.draw(self.rng)
        return documents.middle_filled(self.rng, excerpt.text, excerpt.start)

    def _code(self) -> Document:
        if self.rng.random() < 0.2:
            return documents.code(self._sources.module(self.rng).text, is_whole=True)
        if self._sources.held_out is not False:
            return documents.code(self._sources.excerpts.draw(self.rng).text, is_whole=True)
        return documents.code(self._sources.excerpts.window(self.rng, CODE_CHARS), is_whole=False)


def encode(tokenizer: Any, kind: str, document: Document) -> Encoded:
    """Tokenise each piece alone, as the product does. A token's weight is that of its first character's span.

    `tokenizer` comes from tokenizer.load: text that spells a control token stays text.
    """
    ids: list[int] = []
    weights: list[float] = []
    for part in document:
        if part.special:
            ids.append(tokenizer.token_to_id(part.text))
            weights.append(part.spans[0][1] if part.spans else 0.0)
        else:
            encoding = tokenizer.encode(part.text)
            ids += encoding.ids
            weights += _weights_at([start for start, _ in encoding.offsets], part)
    return Encoded(kind, ids, weights)


def _weights_at(starts: list[int], part: Part) -> list[float]:
    """The weight at each of the ascending offsets `starts`."""
    weights = []
    spans = iter([*part.spans, (len(part.text) + 1, 0.0)])
    num_chars, weight = next(spans)
    for start in starts:
        while start >= num_chars:
            more, weight = next(spans)
            num_chars += more
        weights.append(weight)
    return weights
