"""Keeps an engine's process alive, and the requests in it through its deaths. Read `_live_once` first.

When the process ends by itself, those of its requests that were inside llama.cpp end with QuarantinedError. Of the
others, those whose consumer has heard nothing yet are sent again to the next process; a consumer that has had a part of
its answer gets EngineDiedError and may ask again.
"""

import dataclasses
import itertools
import logging
import queue
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field

from qcn_agent.engine import codec
from qcn_agent.engine.engine_child import Death, EngineChild
from qcn_agent.engine.engine_messages import (
    Answer,
    Cancel,
    Close,
    DropSession,
    Emitted,
    Ended,
    Failed,
    Generate,
    Load,
    Loaded,
    MarkedRequest,
    Order,
    Progress,
    Question,
    Report,
    Status,
    error_of,
)
from qcn_agent.engine.quarantine import CrashLimit, Quarantine
from qcn_agent.engine.status import EngineStatus
from qcn_agent.engine.stream import EventStream
from qcn_agent.errors import EngineDiedError, EngineError, QcnError, QuarantinedError

logger = logging.getLogger(__name__)

_RESTART_WAIT_S = 10.0  # a question blocks its thread, which may be the event loop's, no longer than that
_ANSWER_S = 30.0  # of the process, to a question; it is at a few of them for milliseconds
_STATUS_S = 2.0
_CLOSE_S = 60.0  # the sessions are being saved


@dataclass(eq=False)
class Call:
    """A generation that is under way or waits for a process."""

    number: int
    request: MarkedRequest
    stream: EventStream
    has_begun: bool = False  # its consumer has had an event
    asked_at: float = field(default_factory=time.monotonic)

    def request_at(self, now: float) -> MarkedRequest:
        """The request to be sent now: its deadline counts from when it was made."""
        if self.request.deadline_ms is None:
            return self.request
        return dataclasses.replace(self.request, deadline_ms=self.request.deadline_ms - 1e3 * (now - self.asked_at))


class EngineKeeper:
    """`start` once; then all else from any thread. `news` brings the first load: Progress, then Loaded or an error."""

    def __init__(self, load: Load, module: str, quarantine: Quarantine | None = None) -> None:
        self.news: queue.SimpleQueue[Progress | Loaded | QcnError] = queue.SimpleQueue()
        self.num_restarts = 0
        self._load = load
        self._module = module
        self._quarantine = quarantine or Quarantine()
        self._crashes = CrashLimit()
        self._changed = threading.Condition(threading.RLock())
        self._child: EngineChild | None = None
        self._is_up = False  # the child has loaded its model
        self._was_up = False
        self._end: QcnError | None = None  # why nothing more is done
        self._numbers = itertools.count(1)
        self._calls: dict[int, Call] = {}
        self._questions: dict[int, Future[Answer]] = {}
        self._status: EngineStatus
        self._thread = threading.Thread(target=self._run, name="qcn-engine-keeper", daemon=True)

    def start(self) -> None:
        """Start the first process."""
        self._thread.start()

    def generate(self, request: MarkedRequest, stream: EventStream) -> Call:
        """Begin a generation, or keep it until there is a process.

        Raises QuarantinedError, UsageError when it can't be sent, EngineError when there will be no process any more.
        """
        self._quarantine.check(request.fingerprint)
        call = Call(next(self._numbers), request, stream)
        packed = codec.pack(Generate(call.number, request))
        with self._changed:
            self._raise_end()
            self._calls[call.number] = call
            if self._child is not None and self._is_up:
                self._child.send_packed(packed)
        return call

    def cancel(self, call: Call) -> None:
        """Nobody listens any more."""
        with self._changed:
            if self._calls.pop(call.number, None) is not None and self._is_up:
                self._post(Cancel(call.number))

    def drop_session(self, name: str) -> None:
        """Forget a conversation. A process that is yet to come knows none by name."""
        with self._changed:
            if self._is_up:
                self._post(DropSession(name))

    def ask(self, question: Callable[[int], Question], timeout_s: float = _ANSWER_S) -> Answer:
        """The answer to `question(number)`; blocking. Waits ten seconds for a restart, then raises EngineDiedError.

        EngineError when a process that lives does not answer in time: it was halted, or hangs.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._is_up or self._end, _RESTART_WAIT_S)
            self._raise_end()
            if not self._is_up:
                raise EngineDiedError("the engine process is being started again", hint="try again in a moment")
            number = next(self._numbers)
            packed = codec.pack(question(number))
            answer = self._questions[number] = Future()
            if self._child is not None:
                self._child.send_packed(packed)
        try:
            return answer.result(timeout_s)
        except TimeoutError as error:
            with self._changed:
                self._questions.pop(number, None)
            raise EngineError("the engine process does not answer", hint=f"qcn-agent stop; {_LOG}") from error

    def status(self, question: Callable[[int], Question]) -> EngineStatus:
        """The status as it is now, or as it was last known while no process answers within two seconds."""
        with self._changed:
            can_answer = self._is_up
        if can_answer:
            try:
                answer = self.ask(question, _STATUS_S)
                self._status = answer.value if isinstance(answer, Status) else self._status
            except EngineError:
                logger.info("the engine process did not tell its status")
        fault = str(self._end or "")
        return dataclasses.replace(self._status, isolation="process", num_restarts=self.num_restarts, fault=fault)

    def close(self, *, at_once: bool = False) -> None:
        """End the process, in order unless `at_once` or while it still loads. Blocks until it is gone."""
        with self._changed:
            self._end = self._end or EngineError("the engine is closed")
            if self._child is not None and self._is_up and not at_once:
                self._child.send(Close())
            elif self._child is not None:
                self._child.kill()
        self._thread.join(_CLOSE_S)
        if self._thread.is_alive() and self._child is not None:
            logger.error("the engine process did not end in time and is killed")
            self._child.kill()
            self._thread.join()

    def _run(self) -> None:
        try:
            while self._live_once():
                pass
        except Exception as error:  # the border of the thread: nobody may wait for ever
            logger.exception("the keeper of the engine process failed in an unexpected way")
            try:
                if self._child is not None:
                    self._child.kill()
                    self._child.wait()
            finally:
                self._give_up(EngineError(f"internal error: {error!r}", hint="please report this"))

    def _live_once(self) -> bool:
        """One life of a process. Whether there is to be another."""
        with self._changed:
            if self._end is not None:
                self._give_up(self._end)
                return False
            child = self._child = EngineChild(self._module)
            child.send(self._load)
        for report in child.reports():
            self._take(report)
        death = child.wait()
        with self._changed:
            self._is_up, self._child = False, None
            return self._bury(death)

    def _take(self, report: Report) -> None:
        if isinstance(report, Emitted):
            call = self._calls.get(report.number)
            if call is not None:
                call.has_begun = True
                call.stream.push(report.event, urgent=True)  # the child's own stream has bundled them already
        elif isinstance(report, Ended):
            self._end_call(report.number, None)
        elif isinstance(report, Failed):
            self._fail(report.number, error_of(report))
        elif isinstance(report, Loaded):
            self._come_up(report)
        elif isinstance(report, Progress):
            if not self._was_up:
                self.news.put(report)
        else:
            self._answer(report)

    def _answer(self, report: Answer) -> None:
        question = self._questions.pop(report.number, None)
        if question is not None:  # else it was waited for too long
            question.set_result(report)

    def _come_up(self, loaded: Loaded) -> None:
        """The process can work: it gets what has waited, in the order of arrival."""
        with self._changed:
            self._status = loaded.status
            self._is_up = True
            for call in self._calls.values():
                self._post(Generate(call.number, call.request_at(time.monotonic())))
            self._changed.notify_all()
        if not self._was_up:
            self._was_up = True
            self.news.put(loaded)

    def _fail(self, number: int, error: QcnError) -> None:
        question = self._questions.pop(number, None)
        if question is not None:
            question.set_exception(error)
        elif number:
            self._end_call(number, error)
        else:
            self._give_up(error)

    def _end_call(self, number: int, error: QcnError | None) -> None:
        with self._changed:
            call = self._calls.pop(number, None)
        if call is not None:
            call.stream.close(error)

    def _bury(self, death: Death) -> bool:
        """After the end of a process: who is to blame, who is told, who waits for the next one."""
        if self._end is not None:
            self._give_up(self._end)
            return False
        logger.error(
            "the engine process %d ended: %s; inside were %d requests", death.pid, death.reason, len(death.entered)
        )
        if not self._was_up:
            self._give_up(
                EngineError(f"the engine process ended while it loaded the model ({death.reason})", hint=_LOG)
            )
            return False
        self._crashes.add()
        self._quarantine.add(death.entered)
        for call in list(self._calls.values()):
            if call.request.fingerprint in death.entered:
                self._end_call(call.number, _quarantined(death))
        if self._crashes.is_reached:
            self._give_up(_too_often(death))
            return False
        for call in [call for call in self._calls.values() if call.has_begun]:
            self._end_call(call.number, _interrupted(death))
        self._fail_questions(_interrupted(death))
        self.num_restarts += 1
        return True

    def _give_up(self, error: QcnError) -> None:
        """Nothing more is done: all who wait are told, and all who will ask."""
        with self._changed:
            self._end = error
            for number in list(self._calls):
                self._end_call(number, error)
            self._fail_questions(error)
            self._changed.notify_all()
        if not self._was_up:
            self.news.put(error)

    def _fail_questions(self, error: QcnError) -> None:
        while self._questions:
            self._questions.popitem()[1].set_exception(error)

    def _raise_end(self) -> None:
        if self._end is not None:
            raise type(self._end)(str(self._end), hint=self._end.hint)

    def _post(self, order: Order) -> None:
        if self._child is not None:
            self._child.send(order)


_LOG = "the daemon's log says more; if it happens again, please report it"


def _quarantined(death: Death) -> QuarantinedError:
    return QuarantinedError(
        f"the engine process ended ({death.reason}) while it worked on this request; this request is quarantined",
        hint=f"change the request, or try again in ten minutes; {_LOG}",
    )


def _interrupted(death: Death) -> EngineDiedError:
    return EngineDiedError(
        f"the engine process ended ({death.reason}), not because of this request", hint="try again; it is started again"
    )


def _too_often(death: Death) -> EngineError:
    return EngineError(
        f"the engine process ended three times within five minutes (the last time: {death.reason}), "
        "so it is not started again",
        hint=f"qcn-agent stop, then try again; {_LOG}",
    )
