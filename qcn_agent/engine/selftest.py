"""Proves, once per build, model and device, that cheap snapshots are right here; else switches to full copies.

The cheap way leans on details of llama.cpp (see `llama_backend.py`). The proof compares logits with a plain replay that
makes the same decode calls. They are equal up to the order of sums, which follows the order of KV cells.
"""

import hashlib
import json
import logging
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from qcn_agent import paths
from qcn_agent.config import ModelConfig
from qcn_agent.engine.backend import Backend, DecodeError, Run
from qcn_agent.engine.generator import FloatArray, IntArray

logger = logging.getLogger(__name__)

PASSED, FULL_COPIES, NOT_NEEDED = "passed", "failed: full copies", "not needed"
_LIVE, _OTHER, _PARK = 0, 1, 2
_TOLERANCE = 0.02  # standard deviations of the logits; a state of another place gives 0.2 and more


def ensure(backend: Backend, config: ModelConfig, fingerprint: str) -> str:
    """The result for this combination, from the cache or by running it. May set `backend.full_copies`."""
    if not backend.needs_snapshots:
        return NOT_NEEDED
    cache = paths.cache_dir() / "selftest" / f"{_key(backend, config, fingerprint)}.json"
    try:
        result = str(json.loads(cache.read_text(encoding="utf-8"))["result"])
    except (OSError, ValueError, KeyError, TypeError):
        result = PASSED if run(backend) else FULL_COPIES
        _remember(cache, result)
    backend.full_copies = result != PASSED
    if backend.full_copies:
        logger.warning("cheap snapshots are not exact with this build, model and device: copying whole sequences")
    return result


def _remember(cache: Path, result: str) -> None:
    """Without a cache, e.g. in a read-only home, each start runs the test."""
    try:
        cache.parent.mkdir(parents=True, exist_ok=True)
        cache.write_text(json.dumps({"result": result}), encoding="utf-8")
    except OSError as error:
        logger.info("the self-test's result is not kept: %s", error)


def run(backend: Backend) -> bool:
    """Whether rollback and fork give the logits of a replay. Leaves the backend empty."""
    scale = min(1.0, backend.n_ctx / 512)
    head, left, right = _tokens(backend, tuple(int(scale * length) for length in (160, 96, 40)))
    try:
        rolled_back, forked, original = _reused(backend, head, left, right)
        expected = _replayed(backend, (head, left)), _replayed(backend, (head, right))
    except DecodeError:
        return False
    finally:
        for seq_id in (_LIVE, _OTHER, _PARK):
            backend.drop(seq_id)
    pairs = ((rolled_back, expected[1]), (forked, expected[1]), (original, expected[0]))
    return all(np.abs(got - wanted).max() <= _TOLERANCE * wanted.std() for got, wanted in pairs)


def _reused(backend: Backend, head: IntArray, left: IntArray, right: IntArray) -> tuple[FloatArray, ...]:
    """Logits after head+right by rollback, head+right by fork, and head+left on the source of the fork."""
    _feed(backend, _LIVE, (head,))
    backend.snapshot(_LIVE, _PARK)
    _feed(backend, _LIVE, (left,), len(head))
    backend.restore(_PARK, _LIVE, len(head))
    rolled_back = _feed(backend, _LIVE, (right,), len(head))
    backend.fork(_LIVE, _PARK, _OTHER, len(head))
    forked = _feed(backend, _OTHER, (right,), len(head))
    backend.restore(_PARK, _LIVE, len(head))
    return rolled_back, forked, _feed(backend, _LIVE, (left,), len(head))


def _replayed(backend: Backend, parts: tuple[IntArray, ...]) -> FloatArray:
    backend.drop(_LIVE)
    return _feed(backend, _LIVE, parts)


def _feed(backend: Backend, seq_id: int, parts: Iterable[IntArray], position: int = 0) -> FloatArray:
    for part in parts:
        for begin in range(0, len(part), backend.n_batch):
            chunk = part[begin : begin + backend.n_batch]
            backend.decode([Run(seq_id, chunk, position, True)])
            position += len(chunk)
    return backend.logits()


def _tokens(backend: Backend, lengths: tuple[int, ...]) -> list[IntArray]:
    random = np.random.default_rng(0)
    return [random.integers(0, backend.n_vocab, length).astype(np.int32) for length in lengths]


def _key(backend: Backend, config: ModelConfig, fingerprint: str) -> str:
    layout = (config.gpu_layers, config.n_cpu_moe, config.override_tensor, config.tensor_split, config.kv_type)
    kernel = (config.flash_attention, backend.n_batch, backend.n_seq_max)
    parts = (fingerprint, backend.info.build, backend.info.system, backend.info.devices, layout, kernel)
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:32]
