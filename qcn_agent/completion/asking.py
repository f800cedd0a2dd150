"""From a cursor to a request: which prompt, planned how, asked of whom. Remembers what the engine has read."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from qcn_agent.completion import planner, stops
from qcn_agent.completion.place import Place
from qcn_agent.completion.planner import Budget, Candidate, Plan, Shape, Step
from qcn_agent.completion.prompt import ContextBlock, FimPrompt, PromptBuilder
from qcn_agent.completion.prompt_memory import PromptMemory
from qcn_agent.completion.rates import RateMeter
from qcn_agent.completion.values import Kind, Snapshot
from qcn_agent.config import CompletionConfig
from qcn_agent.engine.generator import GenerationRequest, Priority, SamplingParams, Usage

_GREEDY = SamplingParams(temperature=0.0)
_ANSWER_MS, _ANSWER_MS_RAM = 350.0, 600.0
_FIRST_SHARE = 2 / 3
_LOGPROBS_OFF = -100.0
AHEAD = Budget(5_000.0, 1e9)  # for reading what nobody waits for: it is to be of use while the file is open


@dataclass(frozen=True)
class Asked:
    """A request with the plan behind it."""

    request: GenerationRequest
    plan: Plan
    prompt: FimPrompt


def budget_of(config: CompletionConfig, *, experts_in_ram: bool) -> Budget:
    """The budget that the settings mean."""
    answer = config.answer_ms or (_ANSWER_MS_RAM if experts_in_ram else _ANSWER_MS)
    return Budget(min(config.budget_ms or _FIRST_SHARE * answer, answer), answer)


class Asker:
    """Plans and makes the requests of one model."""

    def __init__(
        self, builder: PromptBuilder, config: CompletionConfig, meter: RateMeter, n_ctx: int, project: str = ""
    ) -> None:
        self.builder = builder
        self.meter = meter
        self._config = config
        self._n_ctx = n_ctx
        self._project = project
        self._memory = PromptMemory()

    def ask(
        self,
        session: str,
        place: Place,
        context: Sequence[ContextBlock],
        budget: Budget,
        max_new_tokens: int,
        *,
        is_guess: bool = False,
        deadline_ms: float | None = None,
    ) -> Asked:
        """The largest prompt that fits `budget`, and the request for it."""
        snapshot = place.snapshot
        prompts: dict[Shape, FimPrompt] = {}

        def candidates() -> Iterator[Candidate]:
            fitting = self.builder.num_context_fitting(context, self._config.context_tokens)
            for shape in planner.shapes(fitting, self._config.prefix_tokens, self._config.suffix_tokens):
                prompt = self.builder.build(snapshot, context, shape)
                if len(prompt.tokens) + max_new_tokens <= self._n_ctx:
                    prompts[shape] = prompt
                    yield Candidate(shape, len(prompt.tokens), self._memory.num_cached(prompt.tokens))

        queue_ms = 0.0 if is_guess else self.meter.queue_ms
        plan = planner.plan(budget, self.meter.rates, queue_ms, candidates(), max_new_tokens)
        prompt = prompts[plan.shape]
        request = GenerationRequest(
            session,
            prompt.tokens,
            plan.max_new_tokens,
            prompt.boundaries,
            self._sampling(),
            stop=stops.engine_stops(place),
            priority=Priority.BACKGROUND if is_guess else Priority.COMPLETION,
            deadline_ms=deadline_ms,
            project=self._project,
        )
        return Asked(request, plan, prompt)

    def warm(self, session: str, snapshot: Snapshot, context: Sequence[ContextBlock]) -> Asked:
        """A request that reads the full prompt for later, or what of it is read in time, and says next to nothing."""
        return self.ask(session, Place(snapshot, Kind.LINE), context, AHEAD, 1, is_guess=True)

    def read_ms(self, asked: Asked) -> float:
        """How long reading its prompt will take, by the rates; the queue aside."""
        plan = asked.plan
        return self.meter.rates.prefill_ms(plan.num_prompt_tokens - plan.num_cached_tokens)

    def answered(self, asked: Asked, usage: Usage | None, num_read_tokens: int = 0, *, is_guess: bool) -> None:
        """Learn from what came of it: `usage`, or how far its prompt was read when it ended without an account."""
        if usage is None:
            self._memory.add(asked.prompt.until(num_read_tokens))
            return
        if usage.num_reused_tokens < asked.plan.num_cached_tokens // 2:
            self._memory.forget()
        self._memory.add(asked.prompt if usage.num_generated_tokens else asked.prompt.until(num_read_tokens))
        if not is_guess:
            self.meter.add(usage)
        elif not usage.steps_waited:  # what makes way for others takes longer, and says nothing of the model
            self.meter.add(replace(usage, queue_ms=self.meter.queue_ms))

    def _sampling(self) -> SamplingParams:
        wants_logprobs = self._config.min_logprob > _LOGPROBS_OFF
        return replace(_GREEDY, top_logprobs=0) if wants_logprobs else _GREEDY


def is_shrunk(asked: Asked) -> bool:
    """Whether there was no time for the full prompt."""
    return asked.plan.shape.step is not Step.FULL
