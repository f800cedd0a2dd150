"""Draws tokens with llama.cpp's sampler chain, and holds a grammar beside it.

Most tokens a trained model draws fit the grammar anyway. So the chain draws first, the one drawn token is checked, and
only when the grammar rejects it are all candidates filtered and the draw repeated.
"""

import ctypes
from collections.abc import Iterator
from typing import Any

import numpy as np

from qcn_agent.engine.generator import FloatArray, TokenLogprob
from qcn_agent.engine.grammar import Grammar
from qcn_agent.engine.llama_cpp import api, quick
from qcn_agent.engine.llama_grammar import GrammarGate
from qcn_agent.engine.llama_vocab import LlamaVocab
from qcn_agent.engine.sampling import SamplingSettings, mix_seed
from qcn_agent.errors import EngineError, UsageError

_PENALTY_WINDOW = 64  # tokens
_DRY_WINDOW = 4096
_MAX_BANS = 32

CANDIDATE = np.dtype([("id", np.int32), ("logit", np.float32), ("p", np.float32)])


class LlamaSampler:
    """See `Sampler`. Reads the logits of `context`; raises EngineError when the grammar does not parse."""

    def __init__(self, context: Any, vocab: LlamaVocab, settings: SamplingSettings, grammar: Grammar | None) -> None:
        self._context = context
        self._n_vocab = vocab.n_tokens
        self._row = -1
        self._kept: FloatArray | None = None  # logits of an earlier call, to be drawn from instead
        self._seed = settings.seed
        self._greedy = settings.temperature == 0
        self._has_history = settings.has_history
        self._top_logprobs = settings.top_logprobs
        self._gate = GrammarGate(vocab, grammar) if grammar is not None else None
        self._chain = build_chain(vocab.n_tokens, settings, vocab.handle)
        self._draw_link = api.llama_sampler_chain_n(self._chain) - 1

    def sample(self, position: int, row: int = -1, kept: FloatArray | None = None) -> int:
        """See `Sampler.sample`."""
        self._row, self._kept = row, kept
        self._reseed(position)
        if self._gate is None and kept is None:
            return int(quick.llama_sampler_sample(self._chain, self._context, row))
        if self._gate is None:
            token = self._draw(self._candidates())
            quick.llama_sampler_accept(self._chain, token)
            return token
        token = self._draw_fitting(self._gate)
        self._gate.accept(token)
        quick.llama_sampler_accept(self._chain, token)
        return token

    def logprob(self, token: int, row: int = -1) -> TokenLogprob | None:
        """See `Sampler.logprob`."""
        if self._top_logprobs is None:
            return None
        self._row = row
        logits = self._logits()
        highest = float(logits.max())
        total = highest + float(np.log(np.exp(logits - highest, dtype=np.float64).sum()))
        first = max(len(logits) - self._top_logprobs, 0)
        best = np.argpartition(logits, min(first, len(logits) - 1))[first:]
        best = best[np.argsort(-logits[best], kind="stable")]
        top = tuple((int(index), float(logits[index]) - total) for index in best)
        return TokenLogprob(token, float(logits[token]) - total, top)

    def close(self) -> None:
        """See `Sampler.close`."""
        if self._chain:
            quick.llama_sampler_free(self._chain)
            self._chain = None
        if self._gate is not None:
            self._gate.close()

    def _reseed(self, position: int) -> None:
        """Replace the link that draws: its randomness depends on nothing but seed and position."""
        if self._greedy:
            return
        quick.llama_sampler_free(quick.llama_sampler_chain_remove(self._chain, self._draw_link))
        quick.llama_sampler_chain_add(self._chain, quick.llama_sampler_init_dist(mix_seed(self._seed, position)))

    def _draw_fitting(self, gate: GrammarGate) -> int:
        token = self._draw_first()
        if gate.allows(token):
            return token
        if gate.is_active:
            return self._draw(gate.filtered(self._candidates()))
        return self._draw_avoiding(gate, token)

    def _draw_first(self) -> int:
        """Draw without the grammar. llama.cpp's shortcut accepts the token, which only a penalty remembers."""
        if self._has_history or self._kept is not None:
            return self._draw(self._candidates())
        return int(quick.llama_sampler_sample(self._chain, self._context, self._row))

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
        logits = self._logits()
        candidates = np.empty(self._n_vocab, CANDIDATE)
        candidates["id"] = np.arange(self._n_vocab, dtype=np.int32)
        candidates["logit"] = logits
        candidates["p"] = 0.0
        return candidates

    def _logits(self) -> FloatArray:
        """A view, valid until the next call of the model."""
        if self._kept is not None:
            return self._kept
        pointer = quick.llama_get_logits_ith(self._context, self._row)
        if not pointer:
            raise EngineError("no logits were asked for")
        return np.ctypeslib.as_array(pointer, (self._n_vocab,))

    def _draw(self, candidates: Any) -> int:
        """Apply the chain; `candidates` is used up."""
        array = as_token_array(candidates)
        quick.llama_sampler_apply(self._chain, ctypes.byref(array))
        if not 0 <= array.selected < array.size:
            raise EngineError("the sampler chose no token")
        return int(array.data[array.selected].id)


def as_token_array(candidates: Any) -> Any:
    """llama.cpp's view of an array of CANDIDATE, which must outlive it."""
    data = ctypes.cast(candidates.ctypes.data, api.llama_token_data_p)
    return api.llama_token_data_array(data=data, size=len(candidates), selected=-1, sorted=False)


def build_chain(n_vocab: int, settings: SamplingSettings, vocab: Any = None) -> Any:
    """Bias, penalties, DRY, top_k, top_p, min_p, temperature, draw: llama.cpp's own order. The last link draws.

    `vocab`, llama.cpp's handle, is needed for DRY alone. Raises UsageError for a bias on a foreign token.
    """
    params = api.llama_sampler_chain_default_params()
    params.no_perf = True
    history = list(_history_links(n_vocab, settings, vocab))  # may raise: before anything else is allocated
    chain = api.llama_sampler_chain_init(params)
    for link in (*history, *_draw_links(settings)):
        api.llama_sampler_chain_add(chain, link)
    return chain


def _history_links(n_vocab: int, settings: SamplingSettings, vocab: Any) -> Iterator[Any]:
    """What changes logits, before any token is left out."""
    if settings.logit_bias:
        yield _bias_link(n_vocab, settings.logit_bias)
    penalties = settings.repeat_penalty, settings.frequency_penalty, settings.presence_penalty
    if penalties != (1.0, 0.0, 0.0):
        yield api.llama_sampler_init_penalties(n_vocab, _PENALTY_WINDOW, *penalties)
    if settings.dry_multiplier:  # no breakers: they would cost a pass through the whole vocabulary a generation
        strength = settings.dry_multiplier, settings.dry_base, settings.dry_allowed_length
        yield api.llama_sampler_init_dry(vocab, *strength, _DRY_WINDOW, None, 0)


def _bias_link(n_vocab: int, bias: tuple[tuple[int, float], ...]) -> Any:
    if any(not 0 <= token < n_vocab for token, _ in bias):
        raise UsageError(f"sampling: a logit_bias for a token outside 0 .. {n_vocab - 1}")
    entries = (api.llama_logit_bias * len(bias))(*bias)
    return api.llama_sampler_init_logit_bias(n_vocab, len(bias), entries)


def _draw_links(settings: SamplingSettings) -> Iterator[Any]:
    if settings.temperature == 0:
        yield api.llama_sampler_init_greedy()
        return
    yield api.llama_sampler_init_top_k(settings.top_k)
    yield api.llama_sampler_init_top_p(settings.top_p, 1)
    yield api.llama_sampler_init_min_p(settings.min_p, 1)
    yield api.llama_sampler_init_temp(settings.temperature)
    yield api.llama_sampler_init_dist(0)
