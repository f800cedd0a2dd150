"""`Backend` over llama.cpp: one context with a unified KV cache and one recurrent cell per sequence id.

Exactness rests on a detail: `seq_cp(a, b, 0, 0)` copies no KV cells, and the recurrent half ignores the range and
shares a's state with b until either is decoded into. `selftest.py` checks this; `full_copies` is the way without it.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from qcn_agent.config import ModelConfig
from qcn_agent.engine import llama_cpp
from qcn_agent.engine.backend import AbortedError, AbortFlag, BackendInfo, Bytes, DecodeError, NoRoomError, Run
from qcn_agent.engine.generator import FloatArray, IntArray
from qcn_agent.engine.grammar import Grammar
from qcn_agent.engine.llama_batch import Batch
from qcn_agent.engine.llama_cpp import api
from qcn_agent.engine.llama_model import LlamaModel, context_length, num_threads
from qcn_agent.engine.llama_sampler import LlamaSampler
from qcn_agent.engine.llama_state import StateIO
from qcn_agent.engine.sampling import SamplingSettings
from qcn_agent.errors import ConfigError, EngineError, ModelError

_KV_TYPES = {"f16": "GGML_TYPE_F16", "q8_0": "GGML_TYPE_Q8_0", "q4_0": "GGML_TYPE_Q4_0"}
_MIN_OUTPUTS = 16
_MIN_CONTEXT = 16  # tokens; measuring alone takes nine


def num_sequences(config: ModelConfig) -> int:
    """Sequence ids that the settings ask for: one for each state and one to spare. Raises ConfigError."""
    wanted = config.max_states + 1
    limit = api.llama_max_parallel_sequences()
    if wanted > limit:
        raise ConfigError(f"model.max_states: {wanted - 1} is over {limit - 1}")
    return wanted


def _num_outputs(config: ModelConfig) -> int:
    """Fewer than sequences would be an assertion; the others are for drafts."""
    return max(num_sequences(config), _MIN_OUTPUTS)


def computes_on_cpu(config: ModelConfig) -> bool:
    """Whether some of the model's work is done by the CPU, the only device that polls the abort flag."""
    all_on_gpu = config.gpu_layers < 0 and not config.n_cpu_moe and not config.override_tensor
    return not (all_on_gpu and api.llama_supports_gpu_offload())


class LlamaBackend:
    """See `Backend`. Raises ModelError when the context can't be created.

    Takes ownership of `model` unless that `is_borrowed`: then its owner closes it, after this.
    """

    def __init__(self, model: LlamaModel, config: ModelConfig, *, is_borrowed: bool = False) -> None:
        self.model = model
        self._is_borrowed = is_borrowed
        self._context = _create_context(model, config)
        self._memory = api.llama_get_memory(self._context)
        self.n_outputs = _num_outputs(config)
        self._batch = Batch(api.llama_n_batch(self._context), api.llama_n_seq_max(self._context), self.n_outputs)
        self.n_vocab: int = model.vocab.n_tokens
        self.n_ctx: int = api.llama_n_ctx(self._context)
        self.n_batch: int = api.llama_n_batch(self._context)
        self.n_seq_max: int = api.llama_n_seq_max(self._context)
        self.needs_snapshots = model.needs_snapshots
        self.can_abort = computes_on_cpu(config)
        self._is_async = bool(api.llama_supports_gpu_offload())
        self._abort_flag: AbortFlag | None = None  # llama.cpp holds its address
        self.full_copies = False
        self._state_io = StateIO(self._context)
        self._state_bytes, self._kv_bytes_per_token = self._measure()

    @property
    def info(self) -> BackendInfo:
        """Facts for status pages."""
        return BackendInfo(
            build=llama_cpp.build(),
            system=api.llama_print_system_info().decode(),
            devices=tuple(f"{device.name}: {device.description}" for device in llama_cpp.devices()),
            gpu_offload=api.llama_supports_gpu_offload(),
            mmap=api.llama_supports_mmap(),
            num_params=self.model.num_params,
            state_bytes=self._state_bytes,
            kv_bytes_per_token=self._kv_bytes_per_token,
        )

    def decode(self, runs: Sequence[Run]) -> None:
        """See `Backend.decode`."""
        code = api.llama_decode(self._context, self._batch.fill(runs))
        if self._is_async:  # its work is timed, and whoever reads the logits keeps the interpreter
            api.llama_synchronize(self._context)
        if code == 0:
            return
        if code == 1:
            raise NoRoomError("the KV cache is full")
        where = ", ".join(f"{len(run.tokens)} tokens at position {run.position}" for run in runs)
        error = AbortedError if code == 2 else DecodeError
        raise error(f"llama_decode failed with code {code}: {where}")

    def abort_when(self, flag: AbortFlag | None) -> None:
        """See `Backend.abort_when`."""
        if flag is self._abort_flag or not self.can_abort:
            return
        if flag is None:
            api.llama_set_abort_callback(self._context, llama_cpp.NEVER_ABORT, None)
        else:
            api.llama_set_abort_callback(self._context, llama_cpp.abort_poll(), flag.address)
        self._abort_flag = flag

    def logits(self, row: int = -1) -> FloatArray:
        """See `Backend.logits`."""
        pointer = api.llama_get_logits_ith(self._context, row)
        if not pointer:
            raise EngineError("no logits were asked for")
        return np.ctypeslib.as_array(pointer, (self.n_vocab,)).copy()

    def snapshot(self, src: int, park: int) -> None:
        """See `Backend.snapshot`."""
        self._check_ids(src, park)
        if self.full_copies:
            api.llama_memory_seq_cp(self._memory, src, park, -1, -1)
        elif self.needs_snapshots:
            api.llama_memory_seq_cp(self._memory, src, park, 0, 0)

    def restore(self, park: int, dst: int, num_tokens: int) -> None:
        """See `Backend.restore`."""
        self._check_ids(park, dst)
        if self.full_copies:
            self.drop(dst)
            api.llama_memory_seq_cp(self._memory, park, dst, -1, -1)
            return
        if self.needs_snapshots:
            api.llama_memory_seq_cp(self._memory, park, dst, 0, 0)
        self.trim(dst, num_tokens)  # after the state, never before

    def fork(self, src: int, park: int, dst: int, num_tokens: int) -> None:
        """See `Backend.fork`."""
        self._check_ids(src, park, dst)
        self.drop(dst)
        if self.full_copies:
            api.llama_memory_seq_cp(self._memory, park, dst, -1, -1)
            return
        api.llama_memory_seq_cp(self._memory, src, dst, 0, num_tokens)
        if self.needs_snapshots:  # replaces the state of src's end, which the line above shared
            api.llama_memory_seq_cp(self._memory, park, dst, 0, 0)

    def drop(self, seq_id: int) -> None:
        """See `Backend.drop`."""
        self._check_ids(seq_id)
        api.llama_memory_seq_rm(self._memory, seq_id, -1, -1)

    def trim(self, seq_id: int, num_tokens: int) -> None:
        """See `Backend.trim`."""
        self._check_ids(seq_id)
        if not api.llama_memory_seq_rm(self._memory, seq_id, num_tokens, -1):
            raise DecodeError(f"sequence {seq_id} could not be cut back to {num_tokens} tokens")

    def share_kv(self, src: int, dst: int, begin: int, end: int) -> None:
        """See `Backend.share_kv`."""
        self._check_ids(src, dst)
        api.llama_memory_seq_cp(self._memory, src, dst, begin, end)

    def export_kv(self, src: int, begin: int, end: int, via: int) -> Bytes:
        """See `Backend.export_kv`."""
        self.share_kv(src, via, begin, end)
        try:
            if self.needs_snapshots:
                self._state_io.detach(via)
            return self._state_io.export_all(via)
        finally:
            self.drop(via)

    def import_kv(self, data: Bytes, via: int) -> None:
        """See `Backend.import_kv`."""
        self._check_ids(via)
        self._state_io.import_all(data, via)

    def export_state(self, src: int) -> Bytes:
        """See `Backend.export_state`."""
        self._check_ids(src)
        return self._state_io.export_state(src)

    def import_state(self, data: Bytes, dst: int) -> None:
        """See `Backend.import_state`."""
        self._check_ids(dst)
        self._state_io.import_state(data, dst)

    def length(self, seq_id: int) -> int:
        """See `Backend.length`."""
        self._check_ids(seq_id)
        return int(api.llama_memory_seq_pos_max(self._memory, seq_id)) + 1

    def sampler(self, settings: SamplingSettings, grammar: Grammar | None) -> LlamaSampler:
        """See `Backend.sampler`."""
        return LlamaSampler(self._context, self.model.vocab, settings, grammar)

    def tokenize(self, text: bytes, *, parse_special: bool) -> IntArray:
        """See `Backend.tokenize`."""
        return self.model.vocab.tokenize(text, parse_special=parse_special)

    def piece(self, token: int, *, special: bool) -> bytes:
        """See `Backend.piece`."""
        return self.model.vocab.piece(token, special=special)

    def is_end(self, token: int) -> bool:
        """See `Backend.is_end`."""
        return self.model.vocab.is_end(token)

    def close(self) -> None:
        """See `Backend.close`."""
        if self._context:
            api.llama_free(self._context)
            self._context = None
            if not self._is_borrowed:
                self.model.close()

    def _measure(self) -> tuple[int, float]:
        """Bytes of one recurrent state, headers included, and of a token's KV. Also warms the model up."""
        self.decode([Run(0, np.zeros(1, np.int32), 0)])
        state_bytes = self._state_io.state_size(0) if self.needs_snapshots else 0
        one = self._state_io.size(0)
        self.decode([Run(0, np.zeros(8, np.int32), 1)])
        kv_bytes = (self._state_io.size(0) - one) / 8
        self.drop(0)
        return state_bytes, kv_bytes

    def _check_ids(self, *seq_ids: int) -> None:
        """A wrong id would end the process inside llama.cpp."""
        for seq_id in seq_ids:
            if not 0 <= seq_id < self.n_seq_max:
                raise EngineError(f"no sequence {seq_id}")


def _create_context(model: LlamaModel, config: ModelConfig) -> Any:
    if config.kv_type != "f16" and not config.flash_attention:
        raise ConfigError(f"model.kv_type {config.kv_type} needs model.flash_attention")
    params = api.llama_context_default_params()
    params.n_ctx = context_length(config, model.n_ctx_train)
    if params.n_ctx < _MIN_CONTEXT:
        raise ConfigError(
            f"a context of {params.n_ctx} tokens is of no use", hint=f"model.n_ctx: {_MIN_CONTEXT} or more"
        )
    params.n_batch = params.n_ubatch = min(config.n_ubatch, params.n_ctx)
    params.n_seq_max, params.n_outputs_max = num_sequences(config), _num_outputs(config)
    params.n_threads = params.n_threads_batch = num_threads(config, model.num_bytes)
    params.type_k = params.type_v = getattr(api, _KV_TYPES[config.kv_type])
    params.flash_attn_type = int(config.flash_attention)
    params.kv_unified = True
    params.swa_full = True  # a sliding-window cache could not be cut back
    params.no_perf = True
    llama_cpp.forget_errors()
    context = api.llama_init_from_model(model.handle, params)
    if not context or not api.llama_get_memory(context):  # an embedding model has no cache
        if context:
            api.llama_free(context)
        reason = llama_cpp.latest_errors() or "llama.cpp gave no reason"
        raise ModelError(f"no context could be created: {reason}", hint="lower model.n_ctx or model.max_states")
    return context
