"""How a run ended, and the exit code that says so."""

from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from qcn_agent.agent.judge import Verdict

Ending = Literal["fixed", "unproven", "red", "no_patch", "budget"]
EXIT_CODES: dict[Ending, int] = {"fixed": 0, "unproven": 1, "red": 1, "no_patch": 3, "budget": 4}


@dataclass
class Totals:
    """What a run cost, over all its attempts."""

    num_attempts: int = 0
    num_steps: int = 0
    num_test_runs: int = 0
    num_prompt_tokens: int = 0
    num_reused_tokens: int = 0
    num_evaluated_tokens: int = 0
    num_generated_tokens: int = 0
    num_new_prompt_tokens: int = 0  # prompt tokens that no earlier request of this run held
    elapsed_s: float = 0.0


@dataclass(frozen=True)
class Outcome:
    """The end of a run. `diff` is the best patch; `applied` says whether the tree holds it now.

    `left_alone` are the files that hold what somebody else saved during the run; `warnings` say what to do about them,
    and whatever else the user must know to judge the result.
    """

    ending: Ending
    reason: str
    diff: str = ""
    applied: bool = False
    run_id: str = ""
    left_alone: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    totals: Totals = field(default_factory=Totals)

    @property
    def exit_code(self) -> int:
        """0 fixed, 1 a patch that is unproven or red, 3 no patch, 4 a budget ended the run."""
        return EXIT_CODES[self.ending]

    def to_json(self) -> dict[str, Any]:
        """JSON values, for the wire and for `--json`."""
        lists = {"left_alone": list(self.left_alone), "warnings": list(self.warnings)}
        return {**asdict(self), **lists, "exit_code": self.exit_code}


def ending_of(verdict: Verdict) -> Ending:
    """The ending that a judged patch leads to."""
    endings: dict[Verdict, Ending] = {
        Verdict.FIXED: "fixed",
        Verdict.UNPROVEN: "unproven",
        Verdict.RED: "red",
    }
    return endings[verdict]
