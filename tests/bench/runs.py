"""Whole fix runs in this process, as the daemon does them, and what each of them cost."""

import asyncio
import contextlib
import hashlib
import os
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from qcn_agent import paths
from qcn_agent.agent.events import RunEvent
from qcn_agent.agent.fix import FixRequest, FixRun
from qcn_agent.agent.outcome import Outcome
from qcn_agent.config import FixConfig, ModelConfig
from qcn_agent.daemon.hosting import choose_profile
from qcn_agent.engine.engine import Engine
from qcn_tools.environment import find_test_command
from qcn_tools.process import CommandRunner
from qcn_tools.sandbox import probe

TARGET_RATIO = 1.02  # tokens evaluated to tokens that had to be


@dataclass(frozen=True)
class RunRecord:
    """One run. It counts as fixed only when the judge says so and no test at all is red.

    `num_tries` are all samples from the tree as found, the free ones that never reached the tests included.
    `num_patches` are the patches that were tested, `num_test_runs` all runs after the first, the judge's included.
    `num_needed_tokens` is each prompt token once and each generated token once.
    """

    fixed: bool
    ending: str
    num_attempts: int
    num_tries: int
    num_patches: int
    num_test_runs: int
    elapsed_s: float
    num_evaluated_tokens: int
    num_generated_tokens: int
    num_needed_tokens: int

    @property
    def at_first_attempt(self) -> bool:
        """Whether the very first sample was right."""
        return self.fixed and self.num_tries == 1

    @property
    def evaluated_ratio(self) -> float:
        """Tokens evaluated for each that had to be; 0 when the model was never asked."""
        return self.num_evaluated_tokens / self.num_needed_tokens if self.num_needed_tokens else 0.0

    def to_json(self) -> dict[str, Any]:
        """JSON values."""
        return asdict(self)


class TestRunCounter:
    """Listens to a run and counts samples and test runs."""

    __test__ = False

    def __init__(self) -> None:
        self.num_tries = 0
        self.num_patches = 0
        self.num_test_runs = -1  # the first one is of the tree as found
        self.is_green = False
        self._is_tested = True

    def __call__(self, event: RunEvent) -> None:
        """Take note of an event."""
        if event.kind == "attempt":
            self.num_tries += 1
            self._is_tested = False
        elif event.kind == "tests":  # at the start, and when the judge confirms what is there
            self._count(new_patch=not self._is_tested)
            self.is_green = bool(event.data.get("green"))
        elif event.kind == "observation" and event.data["kind"] == "test_report":
            self._count(new_patch=True)

    def _count(self, *, new_patch: bool) -> None:
        self.num_test_runs += 1
        self.num_patches += new_patch
        self._is_tested = True


class Workbench:
    """A loaded model that fixes projects one after another. Close it at the end."""

    def __init__(self, model: Path, num_threads: int = 0, runner: CommandRunner | None = None) -> None:
        self.engine = Engine.load(ModelConfig(n_threads=num_threads), model)
        self._profile = choose_profile(self.engine.metadata)
        self._runner = runner or CommandRunner(unsandboxed=not probe().available, hidden=(paths.state_dir(),))

    def fix(self, project: Path, issue: str, config: FixConfig, seed: int = 0) -> RunRecord:
        """Run `fix` in the folder `project`, which is changed when it succeeds."""
        counter = TestRunCounter()
        outcome = asyncio.run(self._fix(FixRequest(project, issue, config, seed), counter))
        self.engine.drop_session(f"fix-{outcome.run_id}")
        return record(outcome, counter)

    async def _fix(self, request: FixRequest, counter: TestRunCounter) -> Outcome:
        env = {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "HOME": os.environ.get("HOME", "/")}
        command = await find_test_command(request.workspace, env, self._runner)
        return await FixRun(request, self.engine, self._profile, self._runner, command, counter).run()

    def describe(self) -> dict[str, str]:
        """The model, by the hash of its file, and the build of llama.cpp that runs it."""
        status = self.engine.status()
        with Path(status.model_path).open("rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        name = f"{status.model_name} {Path(status.model_path).name} sha256 {sha256[:12]}"
        return {"model": name, "profile": self._profile.id, "build": status.build, "system": status.system}

    def close(self) -> None:
        """Free the model."""
        self.engine.close()


def record(outcome: Outcome, counter: TestRunCounter) -> RunRecord:
    """What a run that `counter` has watched came to."""
    totals = outcome.totals
    return RunRecord(
        fixed=outcome.ending == "fixed" and counter.is_green,
        ending=outcome.ending,
        num_attempts=totals.num_attempts,
        num_tries=counter.num_tries,
        num_patches=counter.num_patches,
        num_test_runs=counter.num_test_runs,
        elapsed_s=round(totals.elapsed_s, 3),
        num_evaluated_tokens=totals.num_evaluated_tokens,
        num_generated_tokens=totals.num_generated_tokens,
        num_needed_tokens=totals.num_new_prompt_tokens + totals.num_generated_tokens,
    )


@contextlib.contextmanager
def private_home() -> Iterator[Path]:
    """Keep journals and caches of the benchmark apart from the user's own."""
    before = os.environ.get("QCN_AGENT_HOME")
    with tempfile.TemporaryDirectory(prefix="qcn-bench-") as folder:
        os.environ["QCN_AGENT_HOME"] = folder
        try:
            yield Path(folder)
        finally:
            del os.environ["QCN_AGENT_HOME"]
            if before is not None:
                os.environ["QCN_AGENT_HOME"] = before
