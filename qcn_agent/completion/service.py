"""`Completer`: a document and a cursor in, a completion or nothing out, within the budget, and never an exception.

Read `_complete` first. The latest request for a (client, document) wins; older ones end with nothing.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping
from typing import Any

from qcn_agent.completion import debounce, decision, filters, layout, speculation
from qcn_agent.completion.asking import Asked, Asker, budget_of, is_shrunk
from qcn_agent.completion.cache import CachedText, CompletionCache, Hit
from qcn_agent.completion.debounce import Edit
from qcn_agent.completion.desk import Desk, Request
from qcn_agent.completion.gates import Gates
from qcn_agent.completion.place import Place
from qcn_agent.completion.planner import Budget
from qcn_agent.completion.prompt import PromptBuilder
from qcn_agent.completion.rates import RateMeter
from qcn_agent.completion.ring import ContextRing
from qcn_agent.completion.speculation import SpeculationBudget
from qcn_agent.completion.stats import CompletionStats, record_of
from qcn_agent.completion.stream import Stream
from qcn_agent.completion.values import Completion, Kind, Snapshot, Trigger
from qcn_agent.config import CompletionConfig
from qcn_agent.engine.generator import Generator

logger = logging.getLogger(__name__)
_PATIENCE = 4  # times as long, for what was asked for
_ENOUGH_CHARS = 12
_MOST_WRONG = 1  # answers that no key has borne out, for a guess at what follows them
_TOLERANCE_MS = 5.0  # of the answer that is given when its time is up
LINGER_S = 0.03  # a cancelled generation waits so long for the next key, which may go on with it


class Completer:
    """Completions of one workspace by one model. Used on the event loop's thread only.

    `generator` is what makes completions (`LoadedEngine.completion`); `metadata` its model's header. `experts_in_ram`
    and `on_gpu` choose defaults; `is_busy` says whether the agent works, for `calm`.
    Raises ModelError when the model knows no fill-in-the-middle.
    """

    def __init__(
        self,
        generator: Generator,
        config: CompletionConfig,
        *,
        metadata: Mapping[str, str] | None = None,
        project: str = "",
        repository: str = "",
        experts_in_ram: bool = False,
        on_gpu: bool = False,
        is_ignored: Callable[[str], bool] = lambda path: False,
        is_busy: Callable[[], bool] = lambda: False,
        ring: ContextRing | None = None,
        meter: RateMeter | None = None,
    ) -> None:
        self.stats = CompletionStats()
        self.ring = ring or ContextRing()
        self._generator = generator
        self._config = config
        self._budget = budget_of(config, experts_in_ram=experts_in_ram)
        self._speculates = config.speculate == "on" or (config.speculate == "auto" and on_gpu)
        self._guesses = SpeculationBudget()
        builder = PromptBuilder(generator.vocabulary, layout.choose(config.layout, metadata or {}), repository)
        self._asker = Asker(builder, config, meter or RateMeter(), generator.n_ctx, project)
        self._gates = Gates(config, is_ignored, is_busy)
        self._cache = CompletionCache(_now)
        self._desks: dict[tuple[str, str], Desk] = {}
        self._num_completions = 0

    async def complete(self, snapshot: Snapshot, trigger: Trigger, client: str) -> Completion | None:
        """What to show at the cursor; None for nothing. Ends early with None when a newer request comes.

        Cancelling it stops the engine after its step, unless the next key goes on with what is being generated.
        """
        self.stats.request()
        desk = self._desks.setdefault((client, snapshot.uri), Desk(client, snapshot.uri))
        request = desk.begin(snapshot, trigger, _now())
        try:
            completion = await self._complete(desk, request)
        except asyncio.CancelledError:
            self.stats.nothing("cancelled")
            self._leave(desk, request)
            raise
        except Exception:  # a border: a key must never bring up an error
            logger.exception("a completion failed")
            self.stats.nothing("error")
            return None
        if completion is not None:
            desk.shown, desk.unanswered_s = completion, None
            now = _now()
            is_in_time = 1e3 * (now - request.asked_s) <= self._due_ms(request) + _TOLERANCE_MS
            self.stats.replied(completion.source, 1e3 * (now - request.came_s), is_in_time=is_in_time)
            desk.set_after(self._prepare(desk, request, completion))
        return completion

    def close(self, client: str, uri: str | None = None) -> None:
        """A document, or a client with all of its documents, has gone: nothing of it runs on."""
        for key in [key for key in self._desks if key[0] == client and uri in (None, key[1])]:
            desk = self._desks.pop(key)
            desk.clear()
            self._generator.drop_session(desk.session)

    def status(self) -> dict[str, Any]:
        """For `qcn/status` and `qcn-agent stats`; JSON-able."""
        rates, context = self._asker.meter.rates, self.ring.context
        return {
            **self.stats.status(),
            "layout": self._asker.builder.layout,
            "budget_ms": self._budget.first_token_ms,
            "answer_ms": self._budget.answer_ms,
            "decode_ms": rates.decode_ms,
            "queue_ms": self._asker.meter.queue_ms,
            "num_cached_completions": len(self._cache),
            "context_epoch": context.epoch,
            "num_context_blocks": len(context.blocks),
            "speculates": self._speculates,
        }

    async def _complete(self, desk: Desk, request: Request) -> Completion | None:
        """Gates, decision, cache, running stream, debounce, model: the first that settles it."""
        snapshot = request.snapshot
        if gate := self._gates.refusal(snapshot, request.trigger):
            self.stats.refused(gate)
            desk.clear()
            return None
        if request.edit is Edit.ACCEPTED:
            desk.num_wrong = 0
        kind = decision.decide(snapshot, request.trigger, self._config.multiline)
        if kind is Kind.NONE:
            desk.drop_stream()
            return self._nothing("none")
        place = Place(snapshot, kind, min_logprob=self._config.min_logprob)
        hit = self._cache.get(snapshot, self.ring.context.epoch)
        if hit is not None and _is_enough(hit):
            return self._from_cache(desk, request, place, hit)
        running = desk.stream
        if running is not None and running.rest(snapshot) is not None and not running.ended:
            running.adopt()
            desk.num_wrong *= not running.is_confirmed_by(snapshot)
            completion = await self._answer(request, place, running, "stream")
            is_settled = running.rest(snapshot) is not None or running.is_cancelled  # not: it says something else
            if completion is not None or request.is_overtaken or is_settled:
                return completion
        desk.drop_stream()
        if request.trigger is Trigger.AUTOMATIC and await request.overtaken_within(self._delay_s(desk, request)):
            return self._nothing("overtaken")
        request.asked_s, desk.unanswered_s = _now(), None
        asked = self._ask(desk, request, place)
        if self._asker.read_ms(asked) > self._hard_ms(request):  # not even the smallest prompt: read for later keys
            self._read_ahead(desk, snapshot)
            return self._nothing("slow")
        desk.asked, desk.stream = asked, self._stream(asked, place, is_guess=False)
        desk.num_wrong += 1
        stream = desk.stream
        completion = await self._answer(request, place, stream, "model")
        if stream.ended == "deadline":
            self._read_ahead(desk, snapshot)
        return completion

    def _from_cache(self, desk: Desk, request: Request, place: Place, hit: Hit) -> Completion | None:
        """An answer without the model. What still runs goes on for the cache, if it may be of use."""
        if desk.stream is not None:
            is_of_use = desk.stream.rest(request.snapshot) is not None
            desk.stream.orphan(may_go_on=is_of_use and self._is_idle(desk.stream))
        desk.num_wrong *= not hit.num_typed
        text = hit.rest if hit.entry.is_whole else filters.whole_lines(hit.rest)
        known = hit.entry.mean_logprob if not hit.num_typed else None
        if hit.entry.is_speculative and not hit.num_typed:
            self.stats.counters["guesses_used"] += 1
            self.stats.counters["shown_chars"] += len(text)
        return self._made(request, place, text, known, "cache", is_whole=hit.entry.is_whole)

    def _ask(self, desk: Desk, request: Request, place: Place) -> Asked:
        """What to ask of the model for an answer in time."""
        return self._asker.ask(
            desk.session,
            place,
            self.ring.context.without(request.snapshot.path),
            Budget(self._budget.first_token_ms, self._due_ms(request)),
            decision.max_tokens(place.kind, request.trigger, self._config.max_tokens),
            deadline_ms=self._hard_ms(request),
        )

    def _stream(self, asked: Asked, place: Place, *, is_guess: bool, for_cache: bool = True) -> Stream:
        """Start it. When it has ended, all that is to be learned from it is learned."""
        epoch, started = self.ring.context.epoch, _now()

        def ended(stream: Stream) -> None:
            self._asker.answered(asked, stream.usage, stream.num_read_tokens, is_guess=is_guess)
            if for_cache:
                self._guesses.add(1e3 * (_now() - started), is_guess=is_guess)
            cached = stream.cached
            if for_cache and (cached.text or cached.is_whole):
                entry = CachedText(cached.text, cached.is_whole, cached.mean_logprob, is_guess)
                self._cache.put(place.snapshot, epoch, entry)
            record = record_of(asked.plan, self._asker.builder.layout, stream, is_guess=is_guess)
            self.stats.asked(record, len(stream.text))

        stream = Stream(place, self._generator.vocabulary, self._asker.builder.fim.all, ended)
        stream.start(self._generator.generate(asked.request))
        return stream

    async def _answer(self, request: Request, place: Place, stream: Stream, source: str) -> Completion | None:
        """When the stream has ended: all of it. When time is up: its whole lines, as soon as there are any."""
        due_ms, hard_ms = self._due_ms(request), self._hard_ms(request)
        while not request.is_overtaken:
            # To the microsecond: the rest of a wait must not be so short that no clock moves in it.
            rest, spent_ms = stream.rest(request.snapshot), round(1e3 * (_now() - request.asked_s), 3)
            if rest is None:  # what was typed meanwhile is not what it says
                return None
            is_whole = stream.ended in ("stop", "cut", "marker")
            text = rest if is_whole else filters.whole_lines(rest)
            if stream.ended or (spent_ms >= due_ms and filters.run(text, place)[0]):
                return self._from_stream(request, place, stream, text, source, is_whole=is_whole)
            if spent_ms >= hard_ms:
                stream.orphan(may_go_on=self._is_idle(stream))
                return self._nothing("late")
            await stream.changed(((due_ms if spent_ms < due_ms else hard_ms) - spent_ms) / 1e3)
        return self._nothing("overtaken")

    def _from_stream(
        self, request: Request, place: Place, stream: Stream, text: str, source: str, *, is_whole: bool
    ) -> Completion | None:
        """What there is. A stream that goes on does so for the cache, while nothing else runs."""
        if stream.ended in ("error", "deadline"):
            return self._nothing("error" if stream.ended == "error" else "late")
        if not stream.ended:
            stream.orphan(may_go_on=self._is_idle(stream))
        made = self._made(request, place, text, stream.mean_logprob, source, is_whole=is_whole)
        if made is not None:
            typed = len(request.snapshot.before) - len(stream.place.snapshot.before)
            self.stats.counters["shown_chars"] += max(0, typed + len(made.text) - stream.num_seen_chars)
            stream.num_seen_chars = max(stream.num_seen_chars, typed + len(made.text))
        return made

    def _made(
        self, request: Request, place: Place, text: str, mean_logprob: float | None, source: str, *, is_whole: bool
    ) -> Completion | None:
        """The completion after the filters, if they leave something."""
        shown, dropped_by = filters.run(text, Place(place.snapshot, place.kind, mean_logprob, place.min_logprob))
        if not shown:
            return self._nothing(dropped_by)
        self._num_completions += 1
        snapshot = request.snapshot
        return Completion(self._num_completions, snapshot.uri, snapshot.version, shown, source, is_whole, place.kind)

    def _nothing(self, why: str) -> Completion | None:
        """Show nothing, and count why."""
        self.stats.nothing(why)
        return None

    def _leave(self, desk: Desk, request: Request) -> None:
        """The client has cancelled. Its next key may come at once; if not, the engine is freed."""
        stream = desk.stream
        if stream is not None and not request.is_overtaken:
            asyncio.get_running_loop().call_later(LINGER_S, desk.drop_unless_used, request, stream)

    async def _prepare(self, desk: Desk, request: Request, completion: Completion) -> None:
        """After something was shown, and a pause: the full prompt if it was shrunk, else what follows an acceptance."""
        await asyncio.sleep(speculation.IDLE_S)
        while desk.stream is not None and not desk.stream.ended:
            await desk.stream.changed(1.0)
        if desk.asked is not None and is_shrunk(desk.asked):
            await asyncio.shield(self._read_ahead(desk, request.snapshot))
        snapshot = speculation.accepted(request.snapshot, completion)
        if snapshot is None or not self._speculates or not self._guesses.allows or desk.num_wrong > _MOST_WRONG:
            return
        kind = decision.decide(snapshot, Trigger.AUTOMATIC, self._config.multiline)
        if kind is Kind.NONE or self._cache.get(snapshot, self.ring.context.epoch) is not None:
            return
        place, context = Place(snapshot, kind), self.ring.context.without(snapshot.path)
        asked = self._asker.ask(desk.session, place, context, self._budget, speculation.MAX_TOKENS, is_guess=True)
        await self._guess(asked, place, for_cache=True)

    def _read_ahead(self, desk: Desk, snapshot: Snapshot) -> "asyncio.Task[None]":
        """Read the full prompt, of which later ones differ little: behind all else, and on through the keys to come."""
        if desk.ahead is None or desk.ahead.done():
            context = self.ring.context.without(snapshot.path)
            asked, desk.asked = self._asker.warm(desk.session, snapshot, context), None
            reading = self._guess(asked, Place(snapshot, Kind.LINE), for_cache=False)
            desk.ahead = asyncio.get_running_loop().create_task(reading)
        return desk.ahead

    async def _guess(self, asked: Asked, place: Place, *, for_cache: bool) -> None:
        """Let the model work on something that nobody waits for, until the next request."""
        stream = self._stream(asked, place, is_guess=True, for_cache=for_cache)
        try:
            while not stream.ended:
                await stream.changed(60.0)
        finally:
            stream.stop()

    def _is_idle(self, stream: Stream) -> bool:
        """Whether no other completion is being made."""
        others = (desk.stream for desk in self._desks.values() if desk.stream is not stream)
        return all(other is None or other.ended for other in others)

    def _delay_s(self, desk: Desk, request: Request) -> float:
        """The debounce. What the model takes for a first token is no time lost to the reader."""
        records = [record.first_ms for record in self.stats.records if record.first_ms and not record.is_guess]
        ttft_ms = sum(records) / len(records) if records else 0.0
        score = debounce.promise(request.snapshot)
        setting, gap_ms = self._config.debounce_ms, desk.pace.mean_gap_ms
        delay_ms = debounce.delay_ms(request.edit, gap_ms, ttft_ms, score, setting)
        if request.edit is not Edit.TYPED or setting >= 0:
            return delay_ms / 1e3
        desk.unanswered_s = request.came_s if desk.unanswered_s is None else desk.unanswered_s
        left_ms = debounce.patience_ms(gap_ms, desk.num_wrong) - 1e3 * (request.came_s - desk.unanswered_s)
        return min(delay_ms, max(0.0, left_ms)) / 1e3

    def _due_ms(self, request: Request) -> float:
        """When the answer is due; who asked for it waits longer."""
        return self._budget.answer_ms if request.trigger is Trigger.AUTOMATIC else self._hard_ms(request)

    def _hard_ms(self, request: Request) -> float:
        """When nothing is shown any more."""
        patience = 1 if request.trigger is Trigger.AUTOMATIC else _PATIENCE
        return patience * max(self._config.hard_ms, self._budget.answer_ms)


def _is_enough(hit: Hit) -> bool:
    """Whether the rest of an unfinished text is worth showing instead of asking again."""
    return hit.entry.is_whole or "\n" in hit.rest.lstrip("\n") or len(filters.whole_words(hit.rest)) >= _ENOUGH_CHARS


def _now() -> float:
    """Seconds, by the loop's clock."""
    return asyncio.get_running_loop().time()
