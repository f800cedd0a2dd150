"""How people report a bug: from a bare "fix the failing test" to the exact call and value."""

import random
from collections.abc import Sequence

from qcn_agent.training.trial import Failure

BARE = (
    "`{name}` in {path} gives wrong results.",
    "Fix the bug in {path}: `{name}` is broken.",
    "There is a bug in `{name}` ({path}). Please fix it.",
    "{path} has a bug in {name}. Find it and fix it.",
    "The tests of {path} fail. Fix it.",
    "{path} has a bug. Please repair it.",
    "Fix {path}",
    "`{name}` is broken",
    "Fix `{name}`.",
    "{name} returns wrong results, please fix",
    "The tests fail. Please fix the bug.",
    "Fix the failing test",
    "fix {name}",
)
WITH_PURPOSE = (
    "{path}: `{name}` should {purpose}, but it does not.",
    "The function {name} in {path} is wrong. It should: {purpose}.",
    "`{name}` does not do what it says: {purpose}.",
)
WITH_FAILURE = (
    "{name} in {path}: {call} should be {want}, but I get {got}.",
    "{call} returns {got} instead of {want}.",
    "Fix {name} in {path}. Expected {call} == {want}, got {got}.",
    "`{call}` should give {want}, not {got}",
)
MAX_FAILURE_CHARS = 160  # longer calls and values are not typed into an issue


def write(rng: random.Random, *, path: str, name: str, doc: str, failures: Sequence[Failure] = ()) -> str:
    """One issue about the function `name` of `path`; `doc` says its purpose ("" if unknown)."""
    purpose = doc.strip().rstrip(".")
    short = [f for f in failures if len(f.expression) + len(f.got) < MAX_FAILURE_CHARS]
    if short and rng.random() < 0.4:
        failure = rng.choice(short)
        fields = {"call": failure.expression, "want": failure.want, "got": failure.got}
        return rng.choice(WITH_FAILURE).format(name=name, path=path, **fields)
    forms = BARE + (WITH_PURPOSE if purpose else ())
    return rng.choice(forms).format(name=name, path=path, purpose=purpose[:1].lower() + purpose[1:])
