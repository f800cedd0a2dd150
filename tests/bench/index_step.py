"""What a step of the engine costs while an index is built: short generations, the build stopped and going in turn."""

import os
import shutil
import signal
import tempfile
import threading
from pathlib import Path

from qcn_agent.benchmark.held import Setup
from qcn_agent.errors import IndexingError
from qcn_agent.index.index import Index
from qcn_agent.models.embedded import embedded_model_path
from tests.bench.ours import OurArm
from tests.bench.stats import Median
from tests.bench.steps import Workers, pairs_of, step_ms

N_CTX = 4096
MAX_PAIRS, LIMIT_S = 500, 60.0


class Builds(Workers):
    """Cold builds of one workspace, one after the other; the indexer and its workers are stopped at first."""

    def __init__(self, workspace: Path, folder: Path) -> None:
        self._workspace, self._folder = workspace, folder
        self._is_over, self._may_run = threading.Event(), threading.Event()
        self._index = self._opened()
        self.num_builds = 0
        self._thread = threading.Thread(target=self._build, daemon=True)
        self._thread.start()

    def pause(self) -> None:
        """Stop all processes; none is started meanwhile."""
        self._may_run.clear()
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let them go on."""
        self._signal(signal.SIGCONT)
        self._may_run.set()

    def close(self) -> None:
        """End them."""
        self._is_over.set()
        self.resume()
        if (pid := self._index._keeper.pid) is not None:
            os.kill(pid, signal.SIGKILL)
        self._thread.join()
        self._index.close()

    def _opened(self) -> Index:
        return Index.open(self._workspace, folder=self._folder, watch=False)

    def _build(self) -> None:
        while self._may_run.wait() and not self._is_over.is_set():
            try:
                self._index.refresh()
            except IndexingError:
                return  # it was ended
            self.num_builds += 1
            self._index.close()
            shutil.rmtree(self._folder, ignore_errors=True)
            self._index = self._opened()

    def _signal(self, number: signal.Signals) -> None:
        """To the indexer and its workers, whichever are there."""
        pid = self._index._keeper.pid
        for one in [*_children_of(pid), pid] if pid else []:
            try:
                os.kill(one, number)
            except ProcessLookupError:
                pass  # a worker may end at any time


def _children_of(pid: int) -> list[int]:
    found: list[int] = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            found += map(int, task.read_text(encoding="ascii").split())
        except OSError:
            continue
    return found


def step_ratio(workspace: Path) -> tuple[Median, int]:
    """(Milliseconds a token beside a build over idle, the number of builds that ended) with the embedded model.

    The engine has all cores but one, as a small machine would be set up.
    """
    setup = Setup(embedded_model_path(), N_CTX, max(1, (os.cpu_count() or 2) - 1))
    with tempfile.TemporaryDirectory() as place:
        arm = OurArm(setup, Path(place) / "engine")
        builds = Builds(workspace, Path(place) / "index")
        arm.start()
        try:
            step_ms(arm)
            pairs = pairs_of(lambda: step_ms(arm), builds, MAX_PAIRS, LIMIT_S)
        finally:
            builds.close()
            arm.close()
        return Median.of([loaded / alone for alone, loaded in pairs]), builds.num_builds
