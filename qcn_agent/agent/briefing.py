"""What a run is told about the project before its first turn: how large, and by whom it is made."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from qcn_agent.context.pack import Pack

MIN_TOKENS = 512
UNMEASURED_TOKENS_PER_S = 100.0  # before the first measurement: a slow machine's rate


@dataclass(frozen=True)
class Briefing:
    """Makes packs: `pack(issue, budget in tokens)` may raise QcnError. `prefill_tokens_per_s` is 0 if not measured."""

    pack: Callable[[str, int], Awaitable[Pack]]
    prefill_tokens_per_s: float = 0.0

    def budget(self, ttft_budget_s: float, n_ctx: int, num_other_tokens: int, max_turn_tokens: int) -> int:
        """Tokens of context that are read within `ttft_budget_s`, at most what the context leaves; 0: not worth it.

        A quarter of the context, or two of the longest turns, stays free for the conversation.
        """
        rate = self.prefill_tokens_per_s or UNMEASURED_TOKENS_PER_S
        room = n_ctx - num_other_tokens - max(n_ctx // 4, 2 * max_turn_tokens)
        budget = min(int(ttft_budget_s * rate) - num_other_tokens, room)
        return budget if budget >= MIN_TOKENS else 0
