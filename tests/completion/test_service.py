"""`Completer`, in virtual time over a scripted model: what is asked of the model, what is shown, and when."""

import asyncio
import json
import re
from collections.abc import Callable
from typing import Any

import pytest

from qcn_agent.completion.prompt import ContextBlock
from qcn_agent.completion.ring import ContextRing
from qcn_agent.completion.service import LINGER_S, Completer
from qcn_agent.completion.values import Completion, Kind, Snapshot, Trigger
from qcn_agent.config import CompletionConfig
from qcn_agent.engine.generator import Priority
from qcn_agent.errors import EngineError, ModelError
from tests.fakes.cursor import at
from tests.fakes.scripted import ByteVocabulary
from tests.fakes.timed import TimedGenerator
from tests.fakes.virtual_time import run

AUTO, ASKED = Trigger.AUTOMATIC, Trigger.INVOKED
LINE = "result = compute(first, second)"


def typist(line: str) -> Callable[[str], str]:
    """A model that knows the line: it says what is missing of it behind the prefix."""

    def speak(prompt: str) -> str:
        prefix = re.split(r"<\|fim_\w+\|>", prompt.partition("<|fim_prefix|>")[2])[0]
        typed = prefix.rpartition("\n")[2]
        return line[len(typed) :] + "\n" if line.startswith(typed) else "nothing_of_use"

    return speak


def made(generator: TimedGenerator, **settings: Any) -> Completer:
    """A completer without debounce unless told otherwise."""
    ring = settings.pop("ring", None)
    return Completer(generator, CompletionConfig(**{"debounce_ms": 0.0, **settings}), ring=ring)


async def ask(
    completer: Completer, text: str, trigger: Trigger = AUTO, client: str = "c", path: str = "app.py"
) -> str | None:
    """The text shown at ¦."""
    completion = await completer.complete(at(text, path), trigger, client)
    return None if completion is None else completion.text


def now() -> float:
    """Virtual seconds."""
    return asyncio.get_running_loop().time()


def test_a_line_is_completed_to_its_end() -> None:
    """One request of the class that goes before all others, ended by the line's end."""
    generator = TimedGenerator(typist(LINE))

    async def main() -> Completion | None:
        return await made(generator).complete(at("result = ¦\n"), AUTO, "c")

    completion = run(main())

    assert completion is not None
    assert (completion.text, completion.source, completion.is_whole) == ("compute(first, second)", "model", True)
    assert completion.kind is Kind.LINE
    request = generator.starts[0]
    assert (request.priority, request.sampling.temperature, request.deadline_ms) == (Priority.COMPLETION, 0.0, 900.0)


def test_typing_what_is_shown_costs_no_model() -> None:
    """Each key on is a hit, also when a word is accepted at once."""
    generator = TimedGenerator(typist(LINE))

    async def main() -> list[str | None]:
        completer = made(generator)
        places = ("result = ¦\n", "result = c¦\n", "result = co¦\n", "result = compute¦\n", "result = compute(f¦)\n")
        shown = [await ask(completer, place) for place in places]
        assert completer.status()["hit_rate"] == 0.8
        return shown

    shown = run(main())

    assert shown == [
        "compute(first, second)",
        "ompute(first, second)",
        "mpute(first, second)",
        "(first, second)",
        "irst, second",
    ]
    assert len(generator.starts) == 1


def test_a_hit_takes_no_time_and_no_debounce() -> None:
    """It answers within the same turn of the loop's clock."""

    async def main() -> float:
        completer = made(TimedGenerator(typist(LINE)), debounce_ms=-1.0)
        await ask(completer, "result = ¦\n")
        since = now()
        assert await ask(completer, "result = c¦\n") == "ompute(first, second)"
        return now() - since

    assert run(main()) == 0.0


def test_a_running_generation_is_used_on_while_its_text_is_typed() -> None:
    """Three keys, one start: the answer to the latest is the rest; those before get nothing."""
    generator = TimedGenerator(typist(LINE), decode_ms=10.0)

    async def main() -> list[str | None]:
        completer = made(generator)
        tasks = []
        for place in ("result = ¦\n", "result = c¦\n", "result = co¦\n"):
            tasks.append(asyncio.create_task(ask(completer, place)))
            await asyncio.sleep(0.06)
        return await asyncio.gather(*tasks)

    assert run(main()) == [None, None, "mpute(first, second)"]
    assert len(generator.starts) == 1


def test_another_key_than_it_says_starts_anew_and_stops_the_old_one() -> None:
    """Latest wins; never two completions of one document in the engine."""
    generator = TimedGenerator(typist("return total_of(all)"), decode_ms=10.0)

    async def main() -> list[str | None]:
        completer = made(generator)
        first = asyncio.create_task(ask(completer, "retu¦\n"))
        await asyncio.sleep(0.05)
        second = await ask(completer, "return tot¦\n") or ""
        return [await first, second]

    first, second = run(main())

    assert (first, second) == (None, "al_of(all)")
    assert len(generator.starts) <= 2
    assert generator.num_running == 0


def test_a_burst_of_keys_starts_the_model_few_times() -> None:
    """50 keys that the model did not foresee, 20 ms apart, with the adaptive debounce: at most 3 starts, one alive."""
    generator = TimedGenerator(lambda prompt: "zzz_unexpected()\n", decode_ms=20.0)
    alive: list[int] = []

    async def main() -> None:
        completer = made(generator, debounce_ms=-1.0)
        text = "value = some_function_name(argument_one, argument_two)"
        tasks = []
        for length in range(1, 51):
            tasks.append(asyncio.create_task(ask(completer, text[:length] + "¦\n")))
            await asyncio.sleep(0.02)
            alive.append(generator.num_running)
        await asyncio.gather(*tasks)

    run(main())

    assert len(generator.starts) <= 3
    assert max(alive) <= 1


def test_who_types_on_is_answered_all_the_same() -> None:
    """Keys 100 ms apart, in the middle of a word, where the debounce is longer: the third asks; one start in all."""
    generator = TimedGenerator(typist(LINE), decode_ms=2.0)

    async def main() -> list[str | None]:
        completer = made(generator, debounce_ms=-1.0)
        tasks = []
        for length in range(1, 9):
            tasks.append(asyncio.create_task(ask(completer, f"{LINE[:length]}¦\n")))
            await asyncio.sleep(0.1)
        return await asyncio.gather(*tasks)

    shown = run(main())

    assert shown[:2] == [None, None]
    assert shown[4:] == [LINE[length:] for length in range(5, 9)]
    assert len(generator.starts) == 1


def test_what_no_typist_follows_is_not_prepared_further() -> None:
    """After two answers that were not what came next, nothing is guessed behind the third."""
    generator = TimedGenerator(lambda prompt: "zzz_other()\n")

    async def main() -> None:
        completer = made(generator, speculate="on")
        for text in ("a = ¦\n", "a = b¦\n", "a = bc¦\n"):
            await ask(completer, text)
        await asyncio.sleep(1)

    run(main())

    assert [request.priority for request in generator.starts] == [Priority.COMPLETION] * 3


def test_a_prompt_that_takes_too_long_is_read_ahead() -> None:
    """No request is sent that could only be late; in the background the full prompt is read, through further keys."""
    text = "".join(f"value_{n} = {n}\n" for n in range(60))
    generator = TimedGenerator(typist(LINE), prefill_ms=20.0, decode_ms=2.0)

    async def main() -> tuple[str | None, dict[str, Any]]:
        completer = made(generator)
        for typed in ("r", "re", "res"):
            await ask(completer, f"{text}{typed}¦\n{text}")
        await asyncio.sleep(60)
        return await ask(completer, f"{text}resu¦\n{text}"), completer.status()

    shown, status = run(main())

    assert shown == LINE[4:]
    assert status["dropped"].keys() & {"late", "slow"}
    background = [request for request in generator.starts if request.priority is Priority.BACKGROUND]
    assert len(background) == 1
    assert len(generator.starts[-1].prompt) >= len(background[0].prompt)


def test_closing_ends_what_is_read_ahead() -> None:
    """The engine is free."""
    text = "".join(f"value_{n} = {n}\n" for n in range(200))
    generator = TimedGenerator(typist(LINE), prefill_ms=20.0)

    async def main() -> int:
        completer = made(generator)
        await ask(completer, f"{text}r¦\n{text}")
        await ask(completer, f"{text}re¦\n{text}")
        await asyncio.sleep(0.1)
        running = generator.num_running
        completer.close("c")
        await asyncio.sleep(0.01)
        assert generator.num_running == 0
        return running

    assert run(main()) == 1


def test_a_cancelled_request_is_counted_as_such() -> None:
    """It says nothing of the budget."""
    generator = TimedGenerator(typist(LINE), decode_ms=50.0)

    async def main() -> dict[str, Any]:
        completer = made(generator)
        task = asyncio.create_task(ask(completer, "result = ¦\n"))
        await asyncio.sleep(0.01)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        return completer.status()

    status = run(main())

    assert status["dropped"] == {"cancelled": 1}
    assert status["budget_kept"] is None


def test_a_key_that_waited_in_vain_for_a_running_generation_does_not_ask_again() -> None:
    """Its time is up; it is counted once. Another file's generation runs, so that its own does not go on."""
    generator = TimedGenerator(typist(LINE), decode_ms=2_000.0)

    async def main() -> dict[str, Any]:
        completer = made(generator)
        first = asyncio.create_task(ask(completer, "result = ¦\n"))
        await asyncio.sleep(0.5)
        other = asyncio.create_task(ask(completer, "result = ¦\n", path="other.py"))
        assert await ask(completer, "result = c¦\n") is None
        assert await first is None
        assert [one.session.rpartition("/")[2] for one in generator.starts] == ["app.py", "other.py"]
        other.cancel()
        return completer.status()

    status = run(main())

    assert status["dropped"] == {"overtaken": 1, "late": 1}


def test_a_hung_engine_keeps_no_key_waiting() -> None:
    """200 keys 30 ms apart, each cancelled by the next: nothing piles up."""
    generator = TimedGenerator(typist(LINE))
    generator.hangs = True
    tasks_alive: list[int] = []

    async def main() -> dict[str, Any]:
        completer = made(generator, debounce_ms=-1.0)
        task = asyncio.create_task(asyncio.sleep(0))
        for length in range(200):
            task.cancel()
            task = asyncio.create_task(ask(completer, f"name_{length * 'x'}¦\n"))  # type: ignore[arg-type]
            await asyncio.sleep(0.03)
            tasks_alive.append(len(asyncio.all_tasks()))
        completer.close("c")
        await asyncio.gather(task, return_exceptions=True)
        return completer.status()

    status = run(main())

    assert status["counters"]["requests"] == 200
    assert max(tasks_alive) <= 8
    assert len(generator.starts) <= 8


def test_what_is_cancelled_before_its_debounce_never_starts() -> None:
    """70 requests come and are cancelled: the engine hears of none."""
    generator = TimedGenerator(typist(LINE))

    async def main() -> None:
        completer = made(generator, debounce_ms=100.0)
        tasks = [asyncio.create_task(ask(completer, f"x{number} = ¦\n", path=f"f{number}.py")) for number in range(70)]
        await asyncio.sleep(0.05)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.sleep(5)

    run(main())

    assert generator.starts == []


def test_a_cancelled_generation_ends_unless_the_next_key_goes_on_with_it() -> None:
    """An editor cancels before it asks again; without a next key the engine is free a moment later."""
    generator = TimedGenerator(typist(LINE), decode_ms=10.0)

    async def main() -> tuple[int, str | None]:
        completer = made(generator)
        first = asyncio.create_task(ask(completer, "result = ¦\n"))
        await asyncio.sleep(0.05)
        first.cancel()
        second = asyncio.create_task(ask(completer, "result = c¦\n"))
        await asyncio.sleep(0.05)
        running = generator.num_running
        second.cancel()
        await asyncio.sleep(LINGER_S + 0.001)
        assert generator.num_running == 0
        return running, await ask(completer, "result = com¦\n")

    running, shown = run(main())

    assert (running, shown) == (1, "pute(first, second)")


def test_time_up_gives_whole_words_and_the_rest_warms_the_cache() -> None:
    """At the budget what is there is shown, never half a name; the next key finds more."""
    generator = TimedGenerator(typist("result = alpha + beta + gamma_delta_epsilon"), prefill_ms=1.0, decode_ms=25.0)

    async def main() -> tuple[float, Completion | None]:
        completer = made(generator)
        completion = await completer.complete(at("result = ¦\n"), AUTO, "c")
        took = now()
        assert completer.status()["budget_kept"] == 1.0
        return took, completion

    took, completion = run(main())

    assert completion is not None
    assert took == pytest.approx(0.35, abs=0.03)
    assert completion.text in ("alpha +", "alpha + beta", "alpha + beta +")
    assert not completion.is_whole


def test_a_whole_line_is_shown_when_the_block_is_not_done() -> None:
    """Lines come first; what is unfinished stays away."""
    block = "\n    first = 1\n    second = 2\n    third = 3\n"
    generator = TimedGenerator(lambda prompt: block, decode_ms=14.0)

    async def main() -> str | None:
        return await ask(made(generator), "def f():¦\n")

    assert run(main()) == "\n    first = 1"


def test_nothing_is_shown_after_the_hard_limit() -> None:
    """A model that says nothing by then is not waited for."""
    generator = TimedGenerator(typist(LINE), queue_ms=700.0, decode_ms=400.0)

    async def main() -> tuple[str | None, float, dict[str, Any]]:
        completer = made(generator)
        shown = await ask(completer, "result = ¦\n")
        return shown, now(), completer.status()

    shown, took, status = run(main())

    assert shown is None
    assert took == pytest.approx(0.9, abs=0.02)
    assert status["dropped"] == {"late": 1}


def test_the_engines_refusal_of_a_deadline_is_silence() -> None:
    """It knows that the first token can't come in time."""
    generator = TimedGenerator(typist(LINE), queue_ms=5_000.0)

    async def main() -> str | None:
        return await ask(made(generator), "result = ¦\n")

    assert run(main()) is None


@pytest.mark.parametrize("error", [EngineError("no"), RuntimeError("a bug")])
def test_an_error_is_silence_and_counted(error: Exception, caplog: pytest.LogCaptureFixture) -> None:
    """A key never brings up a message; the log has it."""
    generator = TimedGenerator(typist(LINE))
    generator.error = error

    async def main() -> tuple[str | None, dict[str, Any]]:
        completer = made(generator)
        return await ask(completer, "result = ¦\n"), completer.status()

    shown, status = run(main())

    assert (shown, status["dropped"]) == (None, {"error": 1})


def test_a_model_without_markers_is_said_at_once() -> None:
    """When the completer is made, not at each key."""

    class Plain(ByteVocabulary):
        def encode(self, pieces: Any) -> Any:
            return super().encode([(text, False) for text, _ in pieces])

    generator = TimedGenerator(typist(LINE))
    generator.vocabulary = Plain()

    with pytest.raises(ModelError):
        made(generator)


def test_gates_cost_nothing_and_are_counted() -> None:
    """A secret file: no start, no debounce."""
    generator = TimedGenerator(typist(LINE))

    async def main() -> tuple[str | None, float, dict[str, Any]]:
        completer = made(generator, debounce_ms=-1.0)
        return await ask(completer, "KEY=¦\n", path=".env"), now(), completer.status()

    shown, took, status = run(main())

    assert (shown, took, generator.starts) == (None, 0.0, [])
    assert status["refusals"] == {"secret_file": 1}
    assert status["refused_share"] == 1.0


def test_two_windows_do_not_supersede_each_other() -> None:
    """Each has its session and its answer."""
    generator = TimedGenerator(typist(LINE), decode_ms=5.0)

    async def main() -> list[str | None]:
        completer = made(generator)
        return list(
            await asyncio.gather(ask(completer, "result = ¦\n", client="a"), ask(completer, "result = ¦\n", client="b"))
        )

    assert run(main()) == ["compute(first, second)"] * 2
    assert len({request.session for request in generator.starts}) == 2


def test_after_a_completion_the_next_one_is_prepared() -> None:
    """In the background, once the user pauses; accepting it then costs no model."""

    def speak(prompt: str) -> str:
        return "\nprint(result)\n" if "second)" in prompt else "compute(first, second)\n"

    generator = TimedGenerator(speak)

    async def main() -> str | None:
        completer = made(generator, speculate="on")
        assert await ask(completer, "result = ¦\n") == "compute(first, second)"
        await asyncio.sleep(1)
        assert [request.priority for request in generator.starts] == [Priority.COMPLETION, Priority.BACKGROUND]
        return await ask(completer, "result = compute(first, second)¦\n")

    assert run(main()) == "\nprint(result)"
    assert len(generator.starts) == 2


def test_what_is_accepted_was_right() -> None:
    """After each acceptance the next completion is prepared, however many there were."""
    generator = TimedGenerator(lambda prompt: f"call_{len(generator.starts)}(first)\n")

    async def main() -> None:
        completer, text = made(generator, speculate="on"), "x = 1\ny = "
        for _ in range(4):
            text += await ask(completer, text + "¦\n") or ""
            await asyncio.sleep(2)
            await ask(completer, text + "¦\n")
            await asyncio.sleep(2)
            text += "\nz = "

    run(main())

    assert [request.priority for request in generator.starts].count(Priority.BACKGROUND) >= 3


def test_a_key_ends_what_is_prepared() -> None:
    """Nobody waits for it; the engine is free at its next step."""
    generator = TimedGenerator(lambda prompt: "abcdef_" + "ghi_" * 200 + "\n", decode_ms=5.0)

    async def main() -> None:
        completer = made(generator, speculate="on", max_tokens=40)
        await ask(completer, "a¦\n")
        await asyncio.sleep(0.2)
        await ask(completer, "def x(¦\n")
        completer.close("c")
        await asyncio.sleep(0.01)
        assert generator.num_running == 0

    run(main())

    assert generator.dropped == ["completion:c:file:///w/app.py"]


def test_a_shrunk_prompt_is_read_whole_when_nobody_waits() -> None:
    """The first answer comes from a small prompt; the next one has all of it, cached."""
    text = "".join(f"value_{n} = {n}\n" for n in range(200))
    generator = TimedGenerator(typist(LINE), prefill_ms=0.5)

    async def main() -> dict[str, Any]:
        completer = made(generator)
        await ask(completer, text + "result = ¦\n" + text)
        await asyncio.sleep(5)
        await ask(completer, text + "result = q¦\n" + text)
        return completer.status()

    status = run(main())

    lengths = [len(request.prompt) for request in generator.starts]
    assert lengths[0] < lengths[1]
    assert lengths[2] >= lengths[1]
    assert status["steps"].keys() >= {"full"}
    assert generator.starts[1].max_new_tokens == 1


def test_who_asks_is_given_more_time_and_no_debounce() -> None:
    """An answer after a second is better than none then."""
    generator = TimedGenerator(typist(LINE), prefill_ms=0.1, decode_ms=40.0)

    async def main() -> tuple[str | None, str | None]:
        automatic = await ask(made(generator), "result = ¦\n")
        return automatic, await ask(made(generator), "result = ¦\n", ASKED)

    automatic, asked = run(main())

    assert automatic != "compute(first, second)"
    assert asked == "compute(first, second)"


def test_a_doubtful_line_is_not_shown() -> None:
    """The gate of confidence; off when the setting is."""
    generator = TimedGenerator(typist(LINE))
    generator.logprob = -2.0

    async def main() -> tuple[str | None, str | None]:
        doubted = await ask(made(generator), "result = ¦\n")
        return doubted, await ask(made(generator, min_logprob=-100.0), "result = ¦\n")

    assert run(main()) == (None, "compute(first, second)")
    assert [request.sampling.top_logprobs for request in generator.starts] == [0, None]


def test_context_of_the_ring_goes_into_the_prompt() -> None:
    """In its order; a new epoch is another place for the cache."""

    async def find(snapshot: Snapshot) -> list[ContextBlock]:
        return [ContextBlock("lib.py", "def compute(first, second): ...")]

    generator = TimedGenerator(typist(LINE))

    async def main() -> None:
        ring = ContextRing(find)
        completer = made(generator, ring=ring)
        await ask(completer, "result = ¦\n")
        assert await ring.refresh(at("result = ¦\n"), 10.0)
        await ask(completer, "result = ¦\n")

    run(main())

    assert "lib.py\ndef compute(first, second): ..." in generator.prompt(-1)
    assert len([request for request in generator.starts if request.priority is Priority.COMPLETION]) == 2


def test_status_is_json_and_holds_no_source() -> None:
    """For the wire and the log."""
    generator = TimedGenerator(typist(LINE))

    async def main() -> dict[str, Any]:
        completer = made(generator)
        await ask(completer, "result = ¦\n")
        return completer.status()

    status = run(main())

    text = json.dumps(status)
    assert "compute" not in text
    assert status["reply_ms"]["p95"] > 0
    assert status["counters"]["engine_starts"] == 1
    assert status["plans"][0]["ended"] == "stop"
    assert status["unseen_tokens"] <= 2


@pytest.mark.parametrize("factor", [1.0, 10.0, 100.0])
def test_answers_keep_their_budget_at_any_speed(factor: float) -> None:
    """A model that reads 20,000 and says 1,000 tokens a second, and slower ones: after the first keys the plan fits."""
    text = "".join(f"value_{n} = {n}\n" for n in range(120))
    generator = TimedGenerator(typist(LINE), prefill_ms=0.05 * factor, decode_ms=0.1 * factor)

    async def main() -> dict[str, Any]:
        completer = made(generator)
        for number in range(12):
            await ask(completer, f"{text}{'# ' * number}\nresult = ¦\n{text}", path=f"f{number % 3}.py")
            await asyncio.sleep(2)
        return completer.status()

    status = run(main())

    assert status["budget_kept"] >= (0.9 if factor < 100 else 0.0)
    assert set(status["steps"]) - {"full"} or factor == 1.0
