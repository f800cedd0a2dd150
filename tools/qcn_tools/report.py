"""What a test run said: JUnit XML or an exit code, turned into values that runs can be compared by."""

import re
import xml.etree.ElementTree as ET  # the input is decoded first and refused when it declares entities
from collections.abc import Iterator
from dataclasses import dataclass
from typing import cast

MAX_XML_BYTES = 32 * 1024 * 1024
MAX_MESSAGE_CHARS = 500
_CHUNK = 64 * 1024
_LOCATION = re.compile(r"^([^\s:][^:\n]*):(\d+): ", re.MULTILINE)
_SYNTAX_LOCATION = re.compile(r'^E\s+File "(.+)", line (\d+)$', re.MULTILINE)
_ERROR_LINE = re.compile(r"^E\s+(\S.*)$", re.MULTILINE)


@dataclass(frozen=True)
class TestFailure:
    """One red test.

    `message` is a first line and up to two `+  where` lines, separated by newlines; `location` is `file:line`, or
    empty where it is unknown.
    """

    __test__ = False  # not a test class, whatever pytest thinks of its name

    test_id: str
    message: str
    location: str = ""


@dataclass(frozen=True)
class TestReport:
    """The outcome of one test run. Ids are `file::[Class::]name`; an id is in at most one of the two sets.

    `num_errors` counts collection, set-up and tear-down errors, which are in `failed_ids` and `failures` too.
    `partial`: only the tests that were asked for ran, so green says nothing about the others.
    """

    __test__ = False

    command: str
    exit_code: int
    timed_out: bool = False
    num_passed: int = 0
    num_failed: int = 0
    num_errors: int = 0
    num_skipped: int = 0
    failures: tuple[TestFailure, ...] = ()
    passed_ids: frozenset[str] = frozenset()
    failed_ids: frozenset[str] = frozenset()
    output: str = ""
    duration_s: float = 0.0
    partial: bool = False

    @property
    def is_green(self) -> bool:
        """Whether the run proves something: it ended by itself with 0, a test passed, and none failed."""
        red = self.num_failed or self.num_errors or self.timed_out
        return self.exit_code == 0 and self.num_passed > 0 and not red


@dataclass(frozen=True)
class _Case:
    test_id: str
    outcome: str  # passed, failure, error, skipped
    failure: TestFailure | None = None


def report_from_junit(
    xml: bytes, *, command: str, exit_code: int, timed_out: bool = False, output: str = "", duration_s: float = 0.0
) -> TestReport:
    """Read pytest's `--junitxml` (family xunit1).

    A report that is missing, cut short, too large or hostile counts no test, so the run can't be green.
    """
    cases = _cases(xml)
    failed = frozenset(case.test_id for case in cases if case.failure)
    passed = frozenset(case.test_id for case in cases if case.outcome == "passed") - failed
    outcomes = [case.outcome for case in cases]
    return TestReport(
        command=command,
        exit_code=exit_code,
        timed_out=timed_out,
        num_passed=outcomes.count("passed"),
        num_failed=outcomes.count("failure"),
        num_errors=outcomes.count("error"),
        num_skipped=outcomes.count("skipped"),
        failures=tuple(case.failure for case in cases if case.failure),
        passed_ids=passed,
        failed_ids=failed,
        output=output,
        duration_s=duration_s,
    )


def report_from_exit(
    *, command: str, exit_code: int, timed_out: bool = False, output: str = "", duration_s: float = 0.0
) -> TestReport:
    """Report of a command whose exit code is all we know: it counts as one test, with the command's text as id."""
    good = exit_code == 0 and not timed_out
    ids = frozenset({command})
    message = "timed out" if timed_out else _last_line(output) or f"exit code {exit_code}"
    return TestReport(
        command=command,
        exit_code=exit_code,
        timed_out=timed_out,
        num_passed=int(good),
        num_failed=int(not good),
        failures=() if good else (TestFailure(command, message[:MAX_MESSAGE_CHARS]),),
        passed_ids=ids if good else frozenset(),
        failed_ids=frozenset() if good else ids,
        output=output,
        duration_s=duration_s,
    )


def condense(message: str) -> str:
    """The part of an assertion's or exception's text worth showing: its first line and up to two `+  where` lines.

    `AssertionError: ` is dropped where it only announces an `assert`. A message the test's author gave is kept
    together with the `assert` line that follows it.
    """
    lines = [line.rstrip() for line in message.strip().splitlines() if line.strip()]
    if not lines:
        return ""
    first = re.sub(r"^AssertionError: (?=assert )", "", lines[0])
    kept = [first]
    if not first.startswith("assert "):
        kept += [line for line in lines[1:] if line.startswith("assert ")][:1]
    kept += [line.strip() for line in lines[1:] if re.match(r"\s*\+\s+where ", line)][:2]
    return "\n".join(line[:MAX_MESSAGE_CHARS] for line in kept)


def _cases(xml: bytes) -> list[_Case]:
    if not xml or len(xml) > MAX_XML_BYTES:
        return []
    try:
        text = xml.decode("utf-8")
    except UnicodeDecodeError:
        return []
    if "<!DOCTYPE" in text or "<!ENTITY" in text:  # pytest writes neither; inside text nodes `<` is always escaped
        return []
    parser: ET.XMLPullParser[ET.Element] = ET.XMLPullParser(("end",))
    cases = []
    try:
        for start in range(0, len(text), _CHUNK):  # in pieces, so that other threads get their turn
            parser.feed(text[start : start + _CHUNK])
            for _, element in cast(Iterator[tuple[str, ET.Element]], parser.read_events()):
                if element.tag == "testcase":
                    cases.append(_case(element))
                    element.clear()
        parser.close()
    except ET.ParseError:
        return []
    return cases


def _case(element: ET.Element) -> _Case:
    test_id = _test_id(element.get("file", ""), element.get("classname", ""), element.get("name", ""))
    for outcome in ("error", "failure", "skipped"):
        child = element.find(outcome)
        if child is None:
            continue
        if outcome == "skipped":
            return _Case(test_id, outcome)
        detail = child.text or ""
        place = _location(detail, element.get("file", ""))
        return _Case(test_id, outcome, TestFailure(test_id, _message(child, detail), place))
    return _Case(test_id, "passed")


def _test_id(file: str, classname: str, name: str) -> str:
    module = re.sub(r"\.py$", "", file).replace("/", ".")
    if not file:
        return "::".join(part for part in (classname, name) if part)
    if not classname:  # the module itself could not be collected
        return file if name in (module, "") else f"{file}::{name}"
    classes = classname.removeprefix(module).strip(".") if classname.startswith(module) else ""
    return "::".join([file, *classes.split("."), name] if classes else [file, name])


def _message(child: ET.Element, detail: str) -> str:
    message = child.get("message", "")
    if message in ("", "collection failure"):  # the cause is the last line marked E
        errors = _ERROR_LINE.findall(detail)
        message = errors[-1] if errors else _last_line(detail) or message
    return condense(message)


def _location(detail: str, file: str) -> str:
    for path, line in _SYNTAX_LOCATION.findall(detail):
        return f"{file if file and path.endswith(file) else path}:{line}"
    places = [f"{path}:{line}" for path, line in _LOCATION.findall(detail)]
    inside = [place for place in places if not place.startswith(("/", "<"))]  # outside the project it is a library
    return (inside or places or [""])[-1]


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else ""
