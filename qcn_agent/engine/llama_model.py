"""Loads a model file into llama.cpp according to `ModelConfig`."""

import ctypes
import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from qcn_agent.config import ModelConfig
from qcn_agent.engine import llama_cpp
from qcn_agent.engine.llama_cpp import api
from qcn_agent.engine.llama_vocab import LlamaVocab
from qcn_agent.errors import ConfigError, ModelError, ModelFormatError, RequestCancelledError

ProgressCallback = Callable[[float], bool | None]

_DEFAULT_N_CTX = 32768
_WEIGHT_BYTES_PER_THREAD = 64 << 20


class _Override(ctypes.Structure):
    _fields_ = (("pattern", ctypes.c_char_p), ("buffer_type", ctypes.c_void_p))


@dataclass
class LlamaModel:
    """Handles of a loaded model. `n_ctx_train` is the context length it was trained for, `num_bytes` its weights."""

    handle: Any
    vocab: LlamaVocab
    n_ctx_train: int
    num_bytes: int
    num_params: int
    needs_snapshots: bool

    def close(self) -> None:
        """Free the weights. Harmless when repeated."""
        if self.handle:
            self.vocab.close()
            api.llama_model_free(self.handle)
            self.handle = None


def load_model(config: ModelConfig, files: tuple[Path, ...], on_progress: ProgressCallback | None = None) -> LlamaModel:
    """Load the parts of one model; blocking. `on_progress` gets 0..1 and aborts by returning False.

    Raises ConfigError for settings that don't fit the build, ModelFormatError for a file or architecture that
    llama.cpp refuses, RequestCancelledError when aborted.
    """
    llama_cpp.start()
    params = api.llama_model_default_params()
    _set_placement(params, config)
    overrides = tensor_overrides(config)  # kept alive until the load is over
    if overrides is not None:
        params.tensor_buft_overrides = ctypes.cast(overrides, ctypes.c_void_p)
    params.load_mode = api.LLAMA_LOAD_MODE_MMAP if config.mmap else api.LLAMA_LOAD_MODE_NONE
    progress = _Progress(on_progress)
    params.progress_callback = progress.callback
    handle = _load(files, params)
    progress.finish(loaded=bool(handle))
    if not handle:
        raise _refused(files[0])
    return _describe(handle)


def _load(files: tuple[Path, ...], params: Any) -> Any:
    llama_cpp.forget_errors()
    paths = (ctypes.c_char_p * len(files))(*(os.fsencode(path) for path in files))
    if len(files) == 1:
        return api.llama_model_load_from_file(paths[0], params)
    return api.llama_model_load_from_splits(paths, len(files), params)


def _set_placement(params: Any, config: ModelConfig) -> None:
    params.n_gpu_layers = config.gpu_layers
    if config.tensor_split:
        limit = api.llama_max_devices()
        if len(config.tensor_split) > limit:
            raise ConfigError(
                f"model.tensor_split: {len(config.tensor_split)} shares, this build has {limit} devices at most"
            )
        params.tensor_split = (ctypes.c_float * limit)(*config.tensor_split)


def tensor_overrides(config: ModelConfig) -> Any:
    """The NULL-terminated table of placements, or None when there are none. Raises ConfigError."""
    entries = [(pattern.encode(), llama_cpp.buffer_type(name)) for pattern, name in _placements(config)]
    entries += [(pattern.encode(), llama_cpp.cpu_buffer_type()) for pattern in expert_patterns(config.n_cpu_moe)]
    if len(entries) >= api.llama_max_tensor_buft_overrides():
        raise ConfigError("model.override_tensor: too many placements")
    if not entries:
        return None
    return (_Override * (len(entries) + 1))(*(_Override(*entry) for entry in entries), _Override(None, None))


def expert_patterns(num_layers: int) -> Iterator[str]:
    """Patterns that match the expert tensors of the first `num_layers` layers."""
    return (rf"blk\.{layer}\.ffn_(up|down|gate|gate_up)_(ch|)exps" for layer in range(num_layers))


def _placements(config: ModelConfig) -> Iterator[tuple[str, str]]:
    for item in config.override_tensor:
        pattern, equals, name = item.rpartition("=")
        if not equals or not pattern:
            raise ConfigError(f"model.override_tensor: {item!r} is not PATTERN=BUFFER")
        try:
            re.compile(pattern)
        except re.error as error:
            raise ConfigError(f"model.override_tensor: {pattern!r} is no regular expression: {error}") from error
        yield pattern, name


class _Progress:
    """Carries progress out of C, and an exception of the caller's function past it."""

    def __init__(self, on_progress: ProgressCallback | None) -> None:
        self._on_progress = on_progress
        self._error: BaseException | None = None
        self._aborted = False
        self.callback = api.llama_progress_callback(self._call)

    def _call(self, fraction: float, _user_data: object) -> bool:
        try:
            self._aborted = self._on_progress is not None and self._on_progress(fraction) is False
        except BaseException as error:  # an exception can't cross C: kept, and raised in finish()
            self._error = error
        return not self._aborted and self._error is None

    def finish(self, *, loaded: bool) -> None:
        """Raise what stopped the load, if the caller did."""
        if self._error is not None:
            raise self._error
        if self._aborted and not loaded:
            raise RequestCancelledError("loading the model was cancelled")


def _refused(path: Path) -> ModelError:
    reason = llama_cpp.latest_errors() or "llama.cpp gave no reason"
    if "unknown model architecture" in reason:
        hint = "this build of llama.cpp does not know the architecture: update qcn-agent or pick another model"
    else:
        hint = "see the daemon's log; the file may be damaged or made for another program"
    return ModelFormatError(f"{path} can't be loaded: {reason}", hint=hint)


def _describe(handle: Any) -> LlamaModel:
    if not _is_generator(handle):
        api.llama_model_free(handle)
        raise ModelFormatError("this model does not generate text from left to right", hint="pick a decoder-only model")
    return LlamaModel(
        handle=handle,
        vocab=LlamaVocab(api.llama_model_get_vocab(handle)),
        n_ctx_train=api.llama_model_n_ctx_train(handle),
        num_bytes=api.llama_model_size(handle),
        num_params=api.llama_model_n_params(handle),
        needs_snapshots=api.llama_model_is_recurrent(handle) or api.llama_model_is_hybrid(handle),
    )


def _is_generator(handle: Any) -> bool:
    """A decoder-only model with a tokenizer; anything else would run into llama.cpp's assertions later."""
    other = api.llama_model_has_encoder(handle) or api.llama_model_is_diffusion(handle)
    has_vocab = api.llama_vocab_type(api.llama_model_get_vocab(handle)) != api.LLAMA_VOCAB_TYPE_NONE
    return bool(has_vocab and api.llama_model_has_decoder(handle) and not other)


def context_length(config: ModelConfig, n_ctx_train: int) -> int:
    """The context window in tokens: what was asked for, else the model's own up to 32768."""
    return config.n_ctx or min(n_ctx_train, _DEFAULT_N_CTX)


def num_threads(config: ModelConfig, model_bytes: int) -> int:
    """CPU threads. By default one per core, fewer for a model so small that they would wait for one another."""
    if config.n_threads:
        return config.n_threads
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(cores, model_bytes // _WEIGHT_BYTES_PER_THREAD))
