"""Draws tokens with llama.cpp's sampler chain, and holds a grammar beside it.

Most tokens a trained model draws fit the grammar anyway. So the chain draws first, the one drawn token is checked, and
only when the grammar rejects it are all candidates filtered and the draw repeated.
"""

import ctypes
from typing import Any

import numpy as np

from qcn_agent.engine.grammar import Grammar
from qcn_agent.engine.llama_cpp import api
from qcn_agent.engine.llama_grammar import GrammarGate
from qcn_agent.engine.llama_vocab import LlamaVocab
from qcn_agent.engine.sampling import SamplingSettings, mix_seed
from qcn_agent.errors import EngineError

_PENALTY_WINDOW = 64  # tokens
_MAX_BANS = 32

CANDIDATE = np.dtype([("id", np.int32), ("logit", np.float32), ("p", np.float32)])


class LlamaSampler:
    """See `Sampler`. Reads the logits of `context`; raises EngineError when the grammar does not parse."""

    def __init__(self, context: Any, vocab: LlamaVocab, settings: SamplingSettings, grammar: Grammar | None) -> None:
        self._context = context
        self._n_vocab = vocab.n_tokens
        self._row = -1
        self._seed = settings.seed
        self._greedy = settings.temperature == 0
        self._has_history = settings.repeat_penalty != 1.0
        self._gate = GrammarGate(vocab, grammar) if grammar is not None else None
        self._chain = build_chain(vocab.n_tokens, settings)
        self._draw_link = api.llama_sampler_chain_n(self._chain) - 1

    def sample(self, position: int, row: int = -1) -> int:
        """See `Sampler.sample`."""
        self._row = row
        self._reseed(position)
        if self._gate is None:
            return int(api.llama_sampler_sample(self._chain, self._context, row))
        token = self._draw_fitting(self._gate)
        self._gate.accept(token)
        api.llama_sampler_accept(self._chain, token)
        return token

    def close(self) -> None:
        """See `Sampler.close`."""
        if self._chain:
            api.llama_sampler_free(self._chain)
            self._chain = None
        if self._gate is not None:
            self._gate.close()

    def _reseed(self, position: int) -> None:
        """Replace the link that draws: its randomness depends on nothing but seed and position."""
        if self._greedy:
            return
        api.llama_sampler_free(api.llama_sampler_chain_remove(self._chain, self._draw_link))
        api.llama_sampler_chain_add(self._chain, api.llama_sampler_init_dist(mix_seed(self._seed, position)))

    def _draw_fitting(self, gate: GrammarGate) -> int:
        token = self._draw_first()
        if gate.allows(token):
            return token
        if gate.is_active:
            return self._draw(gate.filtered(self._candidates()))
        return self._draw_avoiding(gate, token)

    def _draw_first(self) -> int:
        """Draw without the grammar. llama.cpp's shortcut accepts the token, which only a penalty remembers."""
        if self._has_history:
            return self._draw(self._candidates())
        return int(api.llama_sampler_sample(self._chain, self._context, self._row))

    def _draw_avoiding(self, gate: GrammarGate, token: int) -> int:
        """Draw again without the tokens that would start the grammar on text it does not accept."""
        candidates = self._candidates()
        for _ in range(_MAX_BANS):
            candidates["logit"][token] = -np.inf
            token = self._draw(candidates.copy())
            if gate.allows(token):
                return token
        gate.give_up()
        return token

    def _candidates(self) -> Any:
        """All tokens with their logits, entry i for token i."""
        pointer = api.llama_get_logits_ith(self._context, self._row)
        if not pointer:
            raise EngineError("no logits were asked for")
        candidates = np.empty(self._n_vocab, CANDIDATE)
        candidates["id"] = np.arange(self._n_vocab, dtype=np.int32)
        candidates["logit"] = np.ctypeslib.as_array(pointer, (self._n_vocab,))
        candidates["p"] = 0.0
        return candidates

    def _draw(self, candidates: Any) -> int:
        """Apply the chain; `candidates` is used up."""
        array = as_token_array(candidates)
        api.llama_sampler_apply(self._chain, ctypes.byref(array))
        if not 0 <= array.selected < array.size:
            raise EngineError("the sampler chose no token")
        return int(array.data[array.selected].id)


def as_token_array(candidates: Any) -> Any:
    """llama.cpp's view of an array of CANDIDATE, which must outlive it."""
    data = ctypes.cast(candidates.ctypes.data, api.llama_token_data_p)
    return api.llama_token_data_array(data=data, size=len(candidates), selected=-1, sorted=False)


def build_chain(n_vocab: int, settings: SamplingSettings) -> Any:
    """Penalties, top_k, top_p, min_p, temperature, draw: llama.cpp's own order. The last link draws."""
    params = api.llama_sampler_chain_default_params()
    params.no_perf = True
    chain = api.llama_sampler_chain_init(params)
    add = api.llama_sampler_chain_add
    if settings.repeat_penalty != 1.0:
        add(chain, api.llama_sampler_init_penalties(n_vocab, _PENALTY_WINDOW, settings.repeat_penalty, 0.0, 0.0))
    if settings.temperature == 0:
        add(chain, api.llama_sampler_init_greedy())
        return chain
    add(chain, api.llama_sampler_init_top_k(settings.top_k))
    add(chain, api.llama_sampler_init_top_p(settings.top_p, 1))
    add(chain, api.llama_sampler_init_min_p(settings.min_p, 1))
    add(chain, api.llama_sampler_init_temp(settings.temperature))
    add(chain, api.llama_sampler_init_dist(0))
    return chain
