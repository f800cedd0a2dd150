"""How much each kind of evidence counts: tuned by `make bench-localise` on its first half of projects."""

from dataclasses import dataclass, field


@dataclass(frozen=True)
class IssueWeights:
    """Of the words of a text, by the kind of stretch they stand in.

    `shaped` and `plain`: of a name in prose that looks like an identifier, and of one that may be a mere word.
    """

    title: float = 1.5
    prose: float = 1.0
    code: float = 0.5
    marked: float = 1.0
    quoted: float = 1.2
    error: float = 1.2
    trace: float = 0.7
    shaped: float = 0.8
    plain: float = 0.15

    def of(self, kind: str) -> float:
        """The weight of a stretch of this kind."""
        return float(getattr(self, kind))


@dataclass(frozen=True)
class FieldWeights:
    """BM25F: a weight and a length normalisation b for each field of words.FIELDS, and the saturation k1."""

    weight: tuple[float, ...] = (4.0, 3.0, 1.5, 1.0, 1.2)
    b: tuple[float, ...] = (0.3, 0.5, 0.6, 0.6, 0.6)
    k1: float = 2.0


@dataclass(frozen=True)
class RankWeights:
    """Of the kinds of evidence about a file; BM25F's best file counts 1.

    `test` and `text` are factors on files that are tests, and on those in no language, unless the text names them.
    """

    definition: float = 0.3
    path: float = 0.5
    module: float = 0.3
    frame: float = 1.5
    strings: float = 0.1
    symbol: float = 0.2
    hop: float = 0.1
    call: float = 0.05
    test: float = 0.4
    text: float = 0.4


@dataclass(frozen=True)
class Weights:
    """All of them."""

    issue: IssueWeights = field(default_factory=IssueWeights)
    fields: FieldWeights = field(default_factory=FieldWeights)
    rank: RankWeights = field(default_factory=RankWeights)


DEFAULT = Weights()
