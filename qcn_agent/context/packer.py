"""From an issue to tokens: `make_pack` is the table of contents."""

from collections.abc import Sequence
from pathlib import Path

from qcn_agent.context.committed import changes_since_commit
from qcn_agent.context.head import head_budget, make_head
from qcn_agent.context.instructions import read_instructions
from qcn_agent.context.pack import Pack, Part, Tier
from qcn_agent.context.ranking import Ranking, rank
from qcn_agent.context.selection import select
from qcn_agent.context.sources import read_sources
from qcn_agent.context.tokenizer import Tokenizer
from qcn_agent.index.index import Index
from qcn_prompts import framing

MAX_RANKED = 1000
_TOKENS_A_FILE = 200
_MIN_RANKED = 300


def make_pack(index: Index, tokenizer: Tokenizer, issue: str, budget: int, trusted: Sequence[Path] = ()) -> Pack:
    """At most `budget` tokens about an issue; the same for the same tree, whichever run and index.

    `trusted`: folders whose AGENTS.md files are believed.
    """
    limit = max(_MIN_RANKED, min(MAX_RANKED, budget // _TOKENS_A_FILE))
    return pack_ranking(index, tokenizer, rank(index, issue, limit=limit), budget, trusted)


def pack_ranking(
    index: Index, tokenizer: Tokenizer, ranking: Ranking, budget: int, trusted: Sequence[Path] = ()
) -> Pack:
    """The same for files that were ranked before."""
    workspace = index.workspace
    head = make_head(index, tokenizer, head_budget(budget), read_instructions(workspace, trusted))
    opening, closing = tokenizer.encode(framing.ISSUE_PART)
    left = budget - sum(part.num_tokens for part in head) - len(opening) - len(closing)
    if left <= 0 or not ranking.files:
        return Pack(budget, head, ())
    sources = read_sources(index, workspace, ranking, left, changes_since_commit(workspace))
    chosen = select(sources, tokenizer, left)
    frame = (Part(Tier.FRAME, "", (opening,)), Part(Tier.FRAME, "", (closing,)))
    return Pack(budget, head, (frame[0], *chosen, frame[1]) if chosen else ())
