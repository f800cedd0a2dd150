"""How many guessed tokens are worth verifying, by how often guesses were right and what calls take. Pure.

With a chance p for each guess, a call that verifies k of them yields (1 - p^k) p / (1 - p) right ones, then its own
next token, which the call without guesses would yield, too (Leviathan et al. 2023, "Fast Inference from Transformers
via Speculative Decoding"). A recurrent state that took in a wrong guess goes back to before the call, and what
was right is read again in the next one.
"""

from collections.abc import Iterable

from qcn_agent.engine.deadline import CallTimes
from qcn_agent.engine.drafts import LONGEST_MATCH, SHORTEST_MATCH

_PRIOR, _PRIOR_WEIGHT = 0.7, 3.0  # guesses
_MEMORY = 0.95  # of what was seen, at each new call
_LEAST_REST, _LONGEST_REST = 2, 64  # tokens
_PROBE_EVERY = 8  # refusals
_MARGIN = 1.1  # a gain below the error of the estimates is none


class Acceptance:
    """Estimates the chance that a guess is right, by the length of the match it comes from."""

    def __init__(self) -> None:
        self._right = [_PRIOR * _PRIOR_WEIGHT] * _num_classes()
        self._tested = [_PRIOR_WEIGHT] * _num_classes()

    def rate(self, num_matched: int) -> float:
        """The chance, 0..1, if those before were right."""
        of = _class(num_matched)
        return self._right[of] / self._tested[of]

    def record(self, num_matched: int, num_drafted: int, num_accepted: int) -> None:
        """A call was made. What follows a wrong guess was not tested."""
        of = _class(num_matched)
        self._right[of] = _MEMORY * self._right[of] + num_accepted
        self._tested[of] = _MEMORY * self._tested[of] + num_accepted + (num_accepted < num_drafted)


class Gauge:
    """Decides how much of a draft is verified, and tries again later where it does not pay."""

    def __init__(self, acceptance: Acceptance, times: CallTimes, *, rolls_back: bool) -> None:
        self._acceptance = acceptance
        self._times = times
        self._rolls_back = rolls_back  # a recurrent state can't be cut
        self._num_refused = 0
        self._rest = _LEAST_REST
        self._num_to_rest = 0

    def is_resting(self) -> bool:
        """Whether not to look for a draft at this token: after one that did not pay, ever longer while none does."""
        self._num_to_rest -= 1
        return self._num_to_rest >= 0

    def num_worthwhile(self, num_unread: int, num_drafted: int, num_matched: int, limit_s: float) -> int:
        """How many of `num_drafted` guesses to verify in a call that has `num_unread` tokens to read anyway.

        0: none. No call longer than `limit_s` is chosen. Instead of each eighth refusal in a row a short draft is tried
        against the estimate, so that it can be corrected.
        """
        rate = self._acceptance.rate(num_matched)
        sizes = [size for size in _sizes(num_drafted) if self._call_s(num_unread + size) <= limit_s]
        gain, best = max(((self._gain(num_unread, size, rate), size) for size in sizes), default=(0.0, 0))
        if gain > 0:
            self._num_refused, self._rest = 0, _LEAST_REST
            return best
        self._num_to_rest, self._rest = self._rest, min(2 * self._rest, _LONGEST_REST)
        self._num_refused += bool(sizes)
        if self._num_refused < _PROBE_EVERY:
            return 0
        self._num_refused = 0
        return min(sizes, default=0)

    def _call_s(self, num_tokens: int) -> float:
        if num_tokens == 1:
            return self._times.typical_step_s()
        return self._times.call_s(num_tokens) or float("inf")

    def _gain(self, num_unread: int, num_drafted: int, rate: float) -> float:
        """Seconds saved on the tokens that this call is expected to yield, less a margin."""
        all_right = rate**num_drafted
        expected = num_drafted if rate == 1 else rate * (1 - all_right) / (1 - rate)
        step_s = self._call_s(1)
        spent_s = self._call_s(num_unread + num_drafted) + self._times.switch_s()
        if self._rolls_back and all_right < 1:
            right_before_wrong = (expected - num_drafted * all_right) / (1 - all_right)
            again = num_unread + right_before_wrong + 1
            spent_s += (1 - all_right) * max(0.0, self._call_s(round(again)) - step_s)
        return self._call_s(num_unread) + expected * step_s - _MARGIN * spent_s


def _sizes(num_drafted: int) -> Iterable[int]:
    """The whole draft, half of it, a quarter: the sizes to choose from."""
    return {size for size in (num_drafted, num_drafted // 2, num_drafted // 4) if size}


def _class(num_matched: int) -> int:
    return min(num_matched, LONGEST_MATCH).bit_length() - SHORTEST_MATCH.bit_length()


def _num_classes() -> int:
    return _class(LONGEST_MATCH) + 1
