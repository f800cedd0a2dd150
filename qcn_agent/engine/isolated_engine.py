"""An engine in a process of its own, with the interface of `Engine`. llama.cpp is not even imported here."""

import asyncio
import contextlib
import dataclasses
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from qcn_agent.config import CompletionConfig, ModelConfig, SchedulerConfig
from qcn_agent.engine.engine_keeper import EngineKeeper
from qcn_agent.engine.engine_messages import (
    AskStatus,
    Decode,
    Encode,
    Facts,
    Load,
    Loaded,
    MarkedRequest,
    Text,
    Tokens,
    fingerprint,
)
from qcn_agent.engine.generator import Event, GenerationRequest, IntArray
from qcn_agent.engine.status import EngineStatus
from qcn_agent.engine.stream import EventStream
from qcn_agent.errors import RequestCancelledError

ENGINE_PROCESS = "qcn_agent.engine.engine_process"
_COMPLETION = CompletionConfig()
_SCHEDULING = SchedulerConfig()


class _RemoteGenerator:
    """`Generator` over an engine of the child: the agent's, or the completions' own."""

    def __init__(self, keeper: EngineKeeper, facts: Facts, *, for_completion: bool) -> None:
        self._keeper = keeper
        self._for_completion = for_completion
        self.n_ctx = facts.n_ctx
        self.metadata: Mapping[str, str] = facts.metadata
        self.vocabulary = RemoteVocabulary(keeper, frozenset(facts.end_tokens.tolist()), for_completion=for_completion)

    async def generate(self, request: GenerationRequest) -> AsyncGenerator[Event, None]:
        """See `Engines.generate`. Raises QuarantinedError and EngineDiedError, too."""
        stream = EventStream(asyncio.get_running_loop())
        fields = {f.name: getattr(request, f.name) for f in dataclasses.fields(GenerationRequest)}
        marked = MarkedRequest(**fields, fingerprint=fingerprint(request), for_completion=self._for_completion)
        call = self._keeper.generate(marked, stream)
        try:
            async with contextlib.aclosing(stream.events()) as events:
                async for event in events:
                    yield event
        finally:
            self._keeper.cancel(call)

    def drop_session(self, name: str) -> None:
        """See `Engines.drop_session`."""
        self._keeper.drop_session(name)


class IsolatedEngine(_RemoteGenerator):
    """Use `IsolatedEngine.load`. Methods may be called from any thread; `generate` needs a running asyncio loop.

    A crash of llama.cpp ends one request; see `engine_keeper` for the others. `completion` is in the same process.
    """

    def __init__(self, keeper: EngineKeeper, loaded: Loaded) -> None:
        super().__init__(keeper, loaded.agent, for_completion=False)
        second = loaded.completion
        self.completion = self if second is None else _RemoteGenerator(keeper, second, for_completion=True)

    @classmethod
    def load(
        cls,
        config: ModelConfig,
        path: Path,
        *,
        completion: CompletionConfig = _COMPLETION,
        scheduling: SchedulerConfig = _SCHEDULING,
        on_progress: Callable[[float], bool | None] | None = None,
        trace: Path | None = None,
        module: str = ENGINE_PROCESS,
    ) -> "IsolatedEngine":
        """See `Engines.load`. `on_progress` is called in this thread. `module` is what the child runs.

        Raises EngineError, too, when the process ends before the model is loaded.
        """
        keeper = EngineKeeper(Load(config, str(path), scheduling, str(trace or ""), completion), module)
        with contextlib.ExitStack() as cleanup:
            cleanup.callback(keeper.close, at_once=True)
            keeper.start()
            while not isinstance(news := keeper.news.get(), Loaded):
                if isinstance(news, Exception):
                    raise news
                if on_progress is not None and on_progress(news.fraction) is False:
                    raise RequestCancelledError("loading the model was cancelled")
            cleanup.pop_all()
        return cls(keeper, news)

    def status(self) -> EngineStatus:
        """See `Engines.status`: the child's, or the latest known one while it is being started again."""
        return self._keeper.status(AskStatus)

    def close(self) -> None:
        """See `Engines.close`. A child that does not end within a minute is killed."""
        self._keeper.close()


class RemoteVocabulary:
    """`Vocabulary` of the child's model; one round trip a call. Raises EngineError when the child dies or is closed."""

    def __init__(self, keeper: EngineKeeper, end_tokens: frozenset[int], *, for_completion: bool) -> None:
        self._keeper = keeper
        self._for_completion = for_completion
        self._end_tokens = end_tokens

    def encode(self, pieces: Sequence[tuple[str, bool]]) -> IntArray:
        """See `Vocabulary.encode`."""
        answer = self._keeper.ask(lambda number: Encode(number, tuple(pieces), self._for_completion))
        assert isinstance(answer, Tokens)  # noqa: S101 - the protocol
        return answer.value

    def decode(self, tokens: IntArray, *, special: bool = False) -> str:
        """See `Vocabulary.decode`."""
        answer = self._keeper.ask(lambda number: Decode(number, np.asarray(tokens), special, self._for_completion))
        assert isinstance(answer, Text)  # noqa: S101 - the protocol
        return answer.value

    def is_end(self, token: int) -> bool:
        """See `Vocabulary.is_end`; known here."""
        return token in self._end_tokens
