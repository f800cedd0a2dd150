"""Green means green: a run is judged by the project's tests, as they were when the run began."""

import asyncio
import enum
import shutil
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from qcn_agent.agent.protected import Protected
from qcn_tools.process import private_tmp
from qcn_tools.report import TestReport


class Verdict(enum.Enum):
    """What the tests say about a patch."""

    FIXED = "fixed"  # a test that was red is green, and none that was green is red
    RED = "red"  # tests fail
    UNPROVEN = "unproven"  # nothing that could tell: no tests, none red at the start, or only with changed tests


@dataclass(frozen=True)
class Judgement:
    """A verdict and the sentence that explains it. `provable` is False where no test could have told."""

    verdict: Verdict
    reason: str
    provable: bool = True


TestRunner = Callable[[Path], Awaitable[TestReport | None]]


def compare(baseline: TestReport | None, final: TestReport | None) -> Judgement:
    """Judge `final` against `baseline`; None means that the tests could not be run."""
    if baseline is None or final is None:
        return Judgement(Verdict.UNPROVEN, "there are no tests that could be run", provable=False)
    if baseline.timed_out and final.timed_out:
        return Judgement(Verdict.RED, "the tests still take too long")
    if not baseline.passed_ids and not baseline.failed_ids:
        return _without_baseline(baseline, final)
    newly_red = sorted(baseline.passed_ids - final.passed_ids)
    newly_green = sorted(name for name in baseline.failed_ids if _is_green(name, final))
    if newly_red:
        return Judgement(Verdict.RED, f"green before, not green now: {_some(newly_red)}")
    if _is_as_slow(baseline, final):
        return AS_SLOW
    if not newly_green:
        if baseline.is_green and final.is_green:
            return Judgement(Verdict.UNPROVEN, "all tests were green before the change too", provable=False)
        return Judgement(Verdict.RED, f"still red: {_some(sorted(final.failed_ids)) or 'the test run'}")
    if final.failed_ids:
        return Judgement(
            Verdict.FIXED, f"now green: {_some(newly_green)}; still red: {_some(sorted(final.failed_ids))}"
        )
    return Judgement(Verdict.FIXED, f"now green: {_some(newly_green)}")


AS_SLOW = Judgement(Verdict.UNPROVEN, "the tests took too long at the start and nearly as long now")


def _is_as_slow(baseline: TestReport, final: TestReport) -> bool:
    """Whether ending in time proves nothing: the start ran into the limit, and this run came close to it."""
    return baseline.timed_out and final.duration_s > baseline.duration_s / 2


def _is_green(name: str, final: TestReport) -> bool:
    """Whether a test that was red is green; a module that could not be collected is, when all its tests are."""
    if name in final.passed_ids:
        return True
    inside = f"{name}::"
    is_red = any(red == name or red.startswith(inside) for red in final.failed_ids)
    return not is_red and any(green.startswith(inside) for green in final.passed_ids)


NO_TESTS_COLLECTED = 5  # pytest's exit code


def _without_baseline(baseline: TestReport, final: TestReport) -> Judgement:
    """No single test was seen at the start: there are none, or they could not even be collected."""
    if baseline.exit_code in (0, NO_TESTS_COLLECTED):
        return Judgement(Verdict.UNPROVEN, "there was no test at the start", provable=False)
    if final.is_green and _is_as_slow(baseline, final):
        return AS_SLOW
    if final.is_green:
        return Judgement(Verdict.FIXED, "the tests could not be run before and are green now")
    return Judgement(Verdict.RED, f"the tests still can't be run (exit code {final.exit_code})")


async def judge(
    root: Path,
    files: Callable[[], Iterable[str]],
    protected: Protected,
    baseline: TestReport | None,
    run_tests: TestRunner,
) -> Judgement:
    """Run the tests on the patched tree and judge it.

    Where protected files were changed, the tests run on a copy that has them as they were: a patch that is only green
    with its own tests is unproven.
    """
    changed = await asyncio.to_thread(protected.changed, root)
    if not changed:
        judgement = compare(baseline, await run_tests(root))
        changed = await asyncio.to_thread(protected.changed, root)  # a test run may rewrite the tests themselves
        if not changed or judgement.verdict is not Verdict.FIXED:
            return judgement
    async with private_tmp("judge") as folder:
        copy = folder / root.name
        if not await asyncio.to_thread(_copy_with_originals, root, copy, files, protected):
            return Judgement(Verdict.UNPROVEN, f"tests or their configuration were changed: {_some(changed)}")
        original = compare(baseline, await run_tests(copy))
    if original.verdict is Verdict.FIXED:
        return original
    return Judgement(
        Verdict.UNPROVEN,
        f"tests or their configuration were changed ({_some(changed)}), and with the original ones: {original.reason}",
    )


def _copy_with_originals(root: Path, copy: Path, files: Callable[[], Iterable[str]], protected: Protected) -> bool:
    """Copy the tree, protected files as they were. False when one of those was too large to be kept."""
    for name in files():
        source, target = root / name, copy / name
        if protected.covers(name) or not source.is_file():
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(source, target, follow_symlinks=False)
    for name in protected.hashes:
        if name not in protected.contents:
            return False
        target = copy / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(protected.contents[name])
    return True


def _some(names: list[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
