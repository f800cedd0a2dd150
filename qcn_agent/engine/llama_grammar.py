"""A grammar over generated tokens that never lets llama.cpp see a token it would refuse.

llama.cpp throws across the C border, which ends the process, when a grammar is made to accept what it forbids. So each
token is tested before it is accepted, and a lazy grammar is started here: its trigger is searched in the latest tokens
only (a search through the whole answer at each token would be quadratic), and the text from the trigger on is fed in.
"""

import ctypes
import re
from collections import deque
from typing import Any

import numpy as np

from qcn_agent.engine.grammar import Grammar
from qcn_agent.engine.llama_cpp import api
from qcn_agent.engine.llama_vocab import LlamaVocab
from qcn_agent.errors import EngineError

_WINDOW = 48  # tokens in which a trigger must lie


class GrammarGate:
    """Decides which tokens may come next. Raises EngineError when the grammar or a trigger does not parse."""

    def __init__(self, vocab: LlamaVocab, grammar: Grammar) -> None:
        self._vocab = vocab
        self._gbnf = grammar.gbnf.encode()
        self._triggers = [_compiled(trigger) for trigger in grammar.triggers]
        self._recent: deque[tuple[int, bytes]] = deque(maxlen=_WINDOW)
        self._started: tuple[int, Any] | None = None  # the token that would start the grammar, and the grammar then
        first = _new_grammar(vocab, self._gbnf)
        self._sampler: Any = first
        if self._triggers:
            _free(first)
            self._sampler = None

    @property
    def is_active(self) -> bool:
        """Whether the grammar constrains the next token; before its trigger a lazy one does not."""
        return self._sampler is not None

    def allows(self, token: int) -> bool:
        """Whether `token` may come next."""
        if self._sampler is not None:
            return self._fits(self._sampler, token)
        text = b"".join(part for _, part in self._recent) + self._piece(token)
        start = self._trigger_start(text)
        if start is None:
            return True
        self._forget_start()
        started = self._start(token, start)
        self._started = (token, started) if started is not None else None
        return started is not None

    def accept(self, token: int) -> None:
        """Go on past `token`, for which `allows` was true or which is let through after `give_up`."""
        if self._sampler is not None:
            api.llama_sampler_accept(self._sampler, token)
        elif self._started is not None and self._started[0] == token:
            self._sampler, self._started = self._started[1], None
        else:
            self._recent.append((token, self._piece(token)))

    def filtered(self, candidates: Any) -> Any:
        """The candidates that an active grammar accepts. Raises EngineError when there are none."""
        candidates["logit"][self._vocab.is_control[candidates["id"]]] = -np.inf
        _apply(self._sampler, candidates)
        fitting = candidates[np.isfinite(candidates["logit"])]
        if not len(fitting):
            raise EngineError("the grammar allows no token here", hint="the grammar has a dead end")
        return fitting

    def give_up(self) -> None:
        """Forget a trigger after which the grammar can't start, and watch for the next one."""
        self._recent.clear()
        self._forget_start()

    def close(self) -> None:
        """Free the grammar. Harmless when repeated."""
        self._forget_start()
        if self._sampler is not None:
            _free(self._sampler)
            self._sampler = None

    def _forget_start(self) -> None:
        if self._started is not None:
            _free(self._started[1])
            self._started = None

    def _fits(self, sampler: Any, token: int) -> bool:
        """Whether the grammar accepts `token` next. A control token is no text, though llama.cpp would spell it."""
        if self._vocab.is_control[token]:
            return False
        one = api.llama_token_data(id=token, logit=1.0, p=0.0)
        array = api.llama_token_data_array(data=ctypes.pointer(one), size=1, selected=-1, sorted=False)
        api.llama_sampler_apply(sampler, ctypes.byref(array))
        return bool(np.isfinite(one.logit))

    def _piece(self, token: int) -> bytes:
        return self._vocab.piece(token, special=False)

    def _trigger_start(self, text: bytes) -> int | None:
        """Offset of the grammar's own text, if a trigger matches."""
        for trigger in self._triggers:
            match = trigger.search(text)
            if match is not None:
                return match.start(1) if trigger.groups and match.start(1) >= 0 else match.start()
        return None

    def _start(self, token: int, offset: int) -> Any | None:
        """A grammar that has accepted the text from `offset` on, or None when it refuses that text."""
        sampler = _new_grammar(self._vocab, self._gbnf)
        for part in self._tokens_from(token, offset):
            if not self._fits(sampler, part):
                _free(sampler)
                return None
            api.llama_sampler_accept(sampler, part)
        return sampler

    def _tokens_from(self, token: int, offset: int) -> list[int]:
        """Tokens that spell the text from `offset` on: the token the cut goes through is spelled by others."""
        tokens: list[int] = []
        for part, text in [*self._recent, (token, self._piece(token))]:
            if offset <= 0:
                tokens.append(part)
            elif offset < len(text):
                tokens.extend(int(t) for t in self._vocab.tokenize(text[offset:], parse_special=False))
            offset -= len(text)
        return tokens


def _compiled(trigger: str) -> "re.Pattern[bytes]":
    try:
        return re.compile(trigger.encode())
    except re.error as error:
        raise EngineError(f"trigger {trigger!r} is no regular expression: {error}") from error


def _new_grammar(vocab: LlamaVocab, gbnf: bytes) -> Any:
    usable = gbnf.strip() and b"\0" not in gbnf  # llama.cpp takes an empty text for "no grammar"
    sampler = api.llama_sampler_init_grammar(vocab.handle, gbnf, b"root") if usable else None
    if not sampler:
        raise EngineError("the grammar does not parse", hint="it must be GBNF with a rule called root")
    return sampler


def _free(sampler: Any) -> None:
    api.llama_sampler_free(sampler)


def _apply(sampler: Any, candidates: Any) -> None:
    data = ctypes.cast(candidates.ctypes.data, api.llama_token_data_p)
    array = api.llama_token_data_array(data=data, size=len(candidates), selected=-1, sorted=False)
    api.llama_sampler_apply(sampler, ctypes.byref(array))
