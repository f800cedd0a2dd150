"""Latency budgets: what a call will take by what calls took, how large one may be, and which deadline can't be met.

The curve t(m), seconds of a call of m tokens, is learned from the calls that are made anyway. Where nothing was
measured it is taken as a straight line, which is too low where small calls cost as much as large ones (experts in RAM):
then the small one is tried, measured, and not chosen again.
"""

import math
from collections import deque
from statistics import median

from qcn_agent.config import SchedulerConfig

_SAMPLES = 5  # calls of about one size; their median ignores a hiccup
_STEPS = 15  # of the decode loop; their median, too
_WEIGHT = 0.1  # of the newest decode call
_SMALLEST_CHUNK = 16
_KNEE_COST = 1.5  # times the least time per token
_MOST_COST = 3.0  # the same, where that keeps somebody from waiting longer than the target
_MAX_DRIFT = 2.0  # of all sizes, by what one call says
_PROBE_EVERY = 8  # refusals; an estimate that refuses everything would never be corrected


class CallTimes:
    """Live estimates of t(m) for calls of 1 .. `n_batch` tokens."""

    def __init__(self, n_batch: int) -> None:
        self.n_batch = n_batch
        self.decode_step_s = 0.0  # one call of the decode loop; 0: none yet
        self._steps: deque[float] = deque(maxlen=_STEPS)
        self._switches: deque[float] = deque(maxlen=_STEPS)  # what a step after a larger call took longer
        self._has_switched = False
        self._samples: dict[int, deque[tuple[int, float]]] = {}  # by size, in powers of two
        self._points: list[tuple[float, float]] = []  # (tokens, seconds): the medians of the samples, ascending
        self._sizes: list[tuple[int, float]] = []  # (tokens, expected seconds) of the chunks to choose from
        self._knee = n_batch
        self._least_cost_s = 0.0  # of a token, in the chunk where it is least

    @property
    def knee(self) -> int:
        """The smallest chunk that does not waste time: a token costs at most 1.5 times what it costs at best."""
        return self._knee

    @property
    def is_steady(self) -> bool:
        """Whether the latest call was a step of the decode loop, like the next one."""
        return not self._has_switched

    def add_prefill(self, num_tokens: int, seconds: float) -> None:
        """Record a call of several tokens."""
        self._has_switched = True
        samples = self._samples.setdefault((num_tokens - 1).bit_length(), deque(maxlen=_SAMPLES))
        before, was_full = _point(samples), len(samples) == _SAMPLES
        samples.append((num_tokens, seconds))
        self._drift(samples, before, was_full=was_full)
        self._points = sorted(_point(group) for group in self._samples.values())
        self._sizes = [(size, self.call_s(size) or 0.0) for size in _chunk_sizes(self.n_batch)]
        self._least_cost_s = least = min(took / size for size, took in self._sizes)
        self._knee = min(size for size, took in self._sizes if took <= _KNEE_COST * least * size)

    def _drift(self, measured: deque[tuple[int, float]], before: tuple[float, float], *, was_full: bool) -> None:
        """A path that grows and a processor that heats up slow down calls of every size, not only those made now.

        Sizes that were last measured under better conditions would else look cheaper than they are. Only a median of
        five says so: the first calls of a process are slow by themselves.
        """
        now = _point(measured)
        if before[0] != now[0] or before[1] <= 0 or not was_full:
            return
        factor = min(max(now[1] / before[1], 1 / _MAX_DRIFT), _MAX_DRIFT)
        for bucket, group in self._samples.items():
            if group is not measured:
                self._samples[bucket] = deque([(size, took * factor) for size, took in group], _SAMPLES)

    def add_decode(self, seconds: float) -> None:
        """Record a step of the decode loop."""
        self.decode_step_s += (_WEIGHT if self.decode_step_s else 1.0) * (seconds - self.decode_step_s)
        if self._has_switched and self._steps:
            self._switches.append(max(0.0, seconds - self.typical_step_s()))
        else:
            self._steps.append(seconds)
        self._has_switched = False

    def typical_step_s(self) -> float:
        """The median of recent steps of the decode loop that followed another one; 0 before the first."""
        return median(self._steps) if self._steps else 0.0

    def switch_s(self) -> float:
        """What a step costs more after a call of several tokens: llama.cpp builds its graph anew."""
        return median(self._switches) if self._switches else 0.0

    def call_s(self, num_tokens: int) -> float | None:
        """Expected seconds of a prefill call. None before the first one."""
        if not self._points:
            return None
        above = next((point for point in self._points if point[0] > num_tokens), None)
        below = next((point for point in reversed(self._points) if point[0] <= num_tokens), (0.0, self.decode_step_s))
        if above is None:  # beyond what was measured, time grows with the tokens
            return below[1] * num_tokens / below[0]
        return below[1] + (above[1] - below[1]) * (num_tokens - below[0]) / (above[0] - below[0])

    def prefill_s(self, num_tokens: int) -> float | None:
        """Expected seconds to read `num_tokens` in calls as large as possible. None before the first call."""
        full, rest = divmod(num_tokens, self.n_batch)
        call_s = self.call_s(self.n_batch)
        if call_s is None:
            return None
        return full * call_s + ((self.call_s(rest) or 0.0) if rest else 0.0)

    def chunk(self, target_s: float) -> int:
        """The largest chunk that takes at most `target_s`; n_batch before the first call.

        None that costs over three times the least time per token: the knee then, however long it takes.
        """
        dearest = _MOST_COST * self._least_cost_s
        fitting = (size for size, took in self._sizes if took <= target_s and took <= dearest * size)
        return max(fitting, default=self._knee)


def _point(samples: deque[tuple[int, float]]) -> tuple[float, float]:
    """The medians of (tokens, seconds); zeros without samples."""
    if not samples:
        return 0.0, 0.0
    return median(size for size, _ in samples), median(took for _, took in samples)


def _chunk_sizes(n_batch: int) -> list[int]:
    """Few sizes, so that calls of the same shape come again."""
    sizes = [n_batch]
    while sizes[-1] >= 2 * _SMALLEST_CHUNK:
        sizes.append(sizes[-1] // 2)
    return sizes


def quantum_s(config: SchedulerConfig, *, idle_s: float, owed_s: float, is_shared: bool) -> float:
    """How long a prefill call may take.

    `idle_s`: since the latest completion arrived. `owed_s`: what completions owe other requests, to be paid in one call
    because each completion waits for one call only. `is_shared`: whether other requests run.
    """
    if idle_s < config.typing_window_s:
        return max(config.typing_quantum_ms / 1e3, owed_s)
    return (config.shared_quantum_ms if is_shared else config.quantum_ms) / 1e3


class Admission:
    """Decides which deadlines are worth trying."""

    def __init__(self) -> None:
        self._num_refused = 0

    def admits(self, expected_s: float | None, left_s: float) -> bool:
        """Whether a first token expected in `expected_s` (None: unknown) may come within `left_s`.

        After seven refusals in a row one is tried against the estimate, so that it can be corrected.
        """
        if math.isinf(left_s):
            return True
        if left_s <= 0:
            return False
        self._num_refused += 1
        if expected_s is None or expected_s <= left_s or self._num_refused >= _PROBE_EVERY:
            self._num_refused = 0
            return True
        return False
