"""What a person sees of a run: a live view in a terminal, plain lines elsewhere, JSON lines for programs.

What comes from a repository or a model may hold control characters, which would act on the terminal: `visible` is
applied where a text enters a view that is read by people.
"""

import contextlib
import errno
import json
import sys
import time
from collections.abc import Iterator
from typing import Any, Protocol

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.markup import escape
from rich.syntax import Syntax
from rich.text import Text

from qcn_agent.cli.text import first_line, visible

TITLES = {
    "fixed": "[bold green]FIXED[/]",
    "unproven": "[bold yellow]UNPROVEN[/]",
    "red": "[bold red]NOT FIXED[/]",
    "no_patch": "[bold red]NO PATCH[/]",
    "budget": "[bold red]BUDGET USED UP[/]",
}


class View(Protocol):
    """Shows a run."""

    def say(self, text: str) -> None:
        """Show what is going on now."""

    def show(self, event: dict[str, Any]) -> None:
        """Show one event of the run."""

    def finish(self, outcome: dict[str, Any]) -> None:
        """Show how it ended."""


@contextlib.contextmanager
def make_view(*, as_json: bool, issue: str) -> Iterator[View]:
    """The view that fits the output: JSON, a live terminal, or plain lines."""
    if as_json:
        yield JsonView()
        return
    console = PipeConsole(highlight=False, soft_wrap=True)
    console.print(f"[bold]issue[/]    {escape(first_line(visible(issue)))}")
    with LiveLine(console) as line:
        yield LineView(console, line)


class PipeConsole(Console):
    """A console whose reader may go away, as `head` does: that is an error for the caller and no exit from here."""

    def on_broken_pipe(self) -> None:
        """Raises BrokenPipeError again."""
        raise BrokenPipeError(errno.EPIPE, "nobody reads any more")


class JsonView:
    """Events as JSON lines on stderr, the outcome as JSON on stdout."""

    def say(self, text: str) -> None:
        """One event line."""
        self.show({"kind": "phase", "data": {"text": text}})

    def show(self, event: dict[str, Any]) -> None:
        """One event line."""
        print(json.dumps(event), file=sys.stderr, flush=True)

    def finish(self, outcome: dict[str, Any]) -> None:
        """The outcome, indented."""
        print(json.dumps(outcome, indent=2), flush=True)


class LiveLine:
    """The last line of a terminal: what is going on, the speed, the tokens reused. Shown only in a terminal."""

    def __init__(self, console: Console) -> None:
        self.phase = ""
        self.counters = ""
        self._started = time.monotonic()
        self._enabled = console.is_terminal
        self._live = Live(console=console, refresh_per_second=8, transient=True, get_renderable=self._render)

    def __enter__(self) -> "LiveLine":
        if self._enabled:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._enabled:
            self._live.stop()

    def _render(self) -> RenderableType:
        seconds = time.monotonic() - self._started
        return Text.from_markup(f"[cyan]⏺ {escape(self.phase)}[/]  [dim]{seconds:.0f} s  {self.counters}[/]")


class LineView:
    """A line for each thing that happens."""

    def __init__(self, console: Console, line: LiveLine) -> None:
        self._console = console
        self._line = line
        self._prose = ""
        self._totals = {"num_reused_tokens": 0, "num_generated_tokens": 0}

    def say(self, text: str) -> None:
        """Show what is going on now: on the live line, or as a line of its own."""
        text = visible(text)
        if not self._console.is_terminal and text.partition(":")[0] != self._line.phase.partition(":")[0]:
            self._console.print(f"         {escape(text)}")
        self._line.phase = text

    def show(self, event: dict[str, Any]) -> None:
        """Show one event."""
        shown = getattr(self, f"_show_{event['kind']}", None)
        if shown is not None:
            shown(visible(event["data"]))

    def finish(self, outcome: dict[str, Any]) -> None:
        """The diff, the verdict and what it cost."""
        outcome = visible(outcome)
        parts: list[RenderableType] = []
        if outcome["diff"]:
            parts += ["", Syntax(outcome["diff"], "diff", theme="ansi_dark", background_color="default")]
        parts += ["", f"{TITLES[outcome['ending']]}  {escape(outcome['reason'])}"]
        if outcome["diff"]:
            but = ", but not the files of the warnings" if outcome["left_alone"] else ""
            state = f"in your tree; qcn-agent undo takes it back{but}" if outcome["applied"] else "not in your tree"
            parts.append(f"[dim]the patch is {state}[/]")
        parts += [f"[bold yellow]warning[/]  [yellow]{escape(text)}[/]" for text in outcome["warnings"]]
        parts.append(f"[dim]{_cost(outcome['totals'])}[/]")
        self._console.print(Group(*parts))

    def _print(self, head: str, text: str, style: str = "") -> None:
        body = f"[{style}]{escape(text)}[/]" if style else escape(text)
        self._console.print(f"[bold]{head:8}[/] {body}")

    def _show_phase(self, data: dict[str, Any]) -> None:
        self.say(data["text"])

    def _show_tests(self, data: dict[str, Any]) -> None:
        if not data["ran"]:
            self._print("tests", f"not run: {data['reason']}", "yellow")
            return
        counts = f"{data['num_failed'] + data['num_errors']} red, {data['num_passed']} green"
        self._print("tests", "timed out" if data["timed_out"] else counts, "green" if data["green"] else "red")
        for test_id, message in data["failures"][:3]:
            self._console.print(f"           [red]{escape(test_id)}[/]")
            for line in message.splitlines()[:3]:
                self._console.print(f"             [dim]{escape(line)}[/]")

    def _show_attempt(self, data: dict[str, Any]) -> None:
        again = ", again: the last try did not get to the tests" if data.get("again") else ""
        self._print("attempt", f"{data['number']} of at most {data['of']}{again}")
        self._line.phase = "thinking"

    def _show_note(self, data: dict[str, Any]) -> None:
        self._print("note", data["text"], "dim")

    def _show_warning(self, data: dict[str, Any]) -> None:
        self._print("warning", data["text"], "yellow")

    def _show_text(self, data: dict[str, Any]) -> None:
        self._prose += data["text"]

    def _show_call(self, data: dict[str, Any]) -> None:
        arguments = data["arguments"]
        about = str(arguments.get("path", arguments.get("pattern", "")))
        self._print("call", f"{data['tool']} {about}".rstrip())
        for key, sign in (("old_string", "-"), ("new_string", "+")):
            for line in str(arguments.get(key, "")).splitlines()[:12]:
                self._console.print(f"           [{'red' if sign == '-' else 'green'}]{sign} {escape(line)}[/]")
        self._line.phase = data["tool"]

    def _show_observation(self, data: dict[str, Any]) -> None:
        if not data["ok"]:
            self._print("", first_line(data["text"]), "yellow")
        self._line.phase = "thinking"

    def _show_restored(self, data: dict[str, Any]) -> None:
        self._print("restored", ", ".join(data["paths"]) or "nothing", "dim")

    def _show_usage(self, data: dict[str, Any]) -> None:
        if text := self._prose.strip():
            self._print("says", text)
        self._prose = ""
        for key in self._totals:
            self._totals[key] += data[key]
        speed = data["decode_tokens_per_s"]
        self._line.counters = (
            f"{speed:,.0f} tokens/s  {self._totals['num_generated_tokens']:,} generated"
            f"  {self._totals['num_reused_tokens']:,} reused"
        )


def _cost(totals: dict[str, Any]) -> str:
    plural = "s" if totals["num_attempts"] != 1 else ""
    return (
        f"{totals['num_attempts']} attempt{plural}, {totals['num_steps']} turns, {totals['elapsed_s']:.1f} s, "
        f"{totals['num_evaluated_tokens']:,} tokens evaluated, {totals['num_reused_tokens']:,} reused, "
        f"{totals['num_generated_tokens']:,} generated"
    )
