"""``anysse demo``: reads the demo server, over all that goes wrong there, and tells what it measured."""

import os
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from time import monotonic
from typing import Final, final

import anysse

from ._arguments import DemoOptions, UsageError
from ._content import ANSWERS, DONE, Fault, feed_event, tokens_for
from ._logs import logging_to_stderr
from ._run import FAILED, OK
from ._server import CHAT, FEED, DemoServer, PortError, serve_demo
from ._terminal import Output, escape

_EVENTS: Final = 120
_GAP: Final = 0.005
_PATIENCE: Final = 20.0
"""Seconds for each stream, after which something is wrong."""
_MAX_ASKED: Final = 3
_WIDTH: Final = 88
_TEXT_AT: Final = 36
_INDENT: Final = "   "


@dataclass(slots=True)
class Measured:
    """What was counted on the client's side."""

    prompts: int = 0
    requests: int = 0
    tokens: int = 0
    tokens_expected: int = 0
    refusals: int = 0
    cuts: int = 0
    numbers: list[int] = field(default_factory=list)
    """The feed's events, in the order in which they were handed out."""
    wrong: int = 0
    """Events that are not what the feed has under that number."""
    heartbeats: int = 0
    connections: int = 0
    reconnections: int = 0
    problems: list[str] = field(default_factory=list)

    @property
    def doubled(self) -> int:
        return len(self.numbers) - len(set(self.numbers))

    @property
    def lost(self) -> int:
        return len(set(range(1, _EVENTS + 1)) - set(self.numbers))

    @property
    def disordered(self) -> int:
        return sum(later < earlier for earlier, later in zip(self.numbers, self.numbers[1:], strict=False))


async def tell(options: DemoOptions, output: Output) -> int:
    """Run the demo, and give the exit code.

    Raises:
        UsageError: The port is taken.
        OutputError: It cannot be told.
    """
    measured, began = Measured(), monotonic()
    server = serve_demo(port=options.port or 0, seed=options.seed, drop=options.drop, gap=_GAP)
    with logging_to_stderr(0), _without_proxy():
        try:
            async with server as demo:
                output.put(f"A server at {demo.url} drops connections on purpose, and anysse reads on.\n")
                await _Conversation(demo, output, measured).hold()
                await _Feed(demo, output, measured).follow()
        except PortError as error:
            raise UsageError(f"--port: {error}; 0 is a free one") from error
    is_well = _conclude(output, measured, demo, monotonic() - began)
    await output.drain()
    return OK if is_well else FAILED


@contextmanager
def _without_proxy() -> Iterator[None]:
    """The server is on this machine, whatever proxy the environment names."""
    before = {name: os.environ.get(name) for name in ("no_proxy", "NO_PROXY")}
    os.environ["no_proxy"] = ",".join(filter(None, [*before.values(), "127.0.0.1"]))
    try:
        yield
    finally:
        os.environ.pop("no_proxy")
        os.environ.update({name: value for name, value in before.items() if value is not None})


@final
class _Conversation(anysse.Observer):
    """Asks the LLM."""

    def __init__(self, demo: DemoServer, output: Output, measured: Measured) -> None:
        self._url = f"{demo.url}{CHAT}"
        self._output = output
        self._measured = measured

    def observe(self, fact: anysse.Fact, /) -> None:
        if isinstance(fact, anysse.AttemptStarted):
            self._measured.requests += 1
        elif isinstance(fact, anysse.AttemptFailed) and fact.retry_in is not None:
            self._measured.refusals += 1
            trouble = f"{_shortly(fact.error)}; asked again in {fact.retry_in:.1f} s, as it wished"
            self._output.put_bounded(f"{self._output.styled('dim', trouble)}\n{_INDENT}")

    async def hold(self) -> None:
        title = self._output.styled("bold", "1. Replies")
        self._output.put(f"\n{title} of an LLM, token by token: POST {CHAT}\n")
        for prompt in ANSWERS:
            for _ in range(_MAX_ASKED):
                if await self._ask(prompt):
                    break
            else:
                self._measured.problems.append(f"no answer to {prompt!r}")

    async def _ask(self, prompt: str) -> bool:
        """Tell whether the whole answer came."""
        self._output.put(f"\n{_INDENT}{self._output.styled('bold', f'> {prompt}')}\n{_INDENT}")
        self._measured.prompts += 1
        tokens: list[str] = []
        try:
            await self._read(prompt, tokens)
        except anysse.StreamDropped:
            self._measured.cuts += 1
            self._say("bad", f" … cut after {len(tokens)} tokens\n")
            self._say("dim", f"{_INDENT}that is an error, and nothing was sent again: the demo asks anew\n")
            return False
        except anysse.AnysseError as error:
            self._measured.problems.append(str(error))
            self._say("bad", f"{escape(str(error))}\n")
            return False
        self._output.put("\n")
        self._measured.tokens += len(tokens)
        self._measured.tokens_expected += len(tokens_for(prompt))
        return tokens == tokens_for(prompt)

    async def _read(self, prompt: str, tokens: list[str]) -> None:
        async with anysse.open_stream(
            self._url,
            method="POST",
            json={"prompt": prompt},
            done=DONE,
            timeouts=anysse.Timeouts(total=_PATIENCE),
            observers=[self],
        ) as events:
            column = 0
            async for event in events:
                token = event.json()["choices"][0]["delta"].get("content")
                if token is not None:
                    tokens.append(token)
                    column = self._show(token, column)
                    await self._output.drain()

    def _show(self, token: str, column: int) -> int:
        if column + len(token) > _WIDTH:
            token, column = token.lstrip(), 0
            self._output.put(f"\n{_INDENT}")
        self._output.put(escape(token))
        return column + len(token)

    def _say(self, style: str, text: str) -> None:
        self._output.put_bounded(self._output.styled(style, text))


@final
class _Feed(anysse.Observer):
    """Follows the feed to its end, and draws a line for each of its connections."""

    def __init__(self, demo: DemoServer, output: Output, measured: Measured) -> None:
        self._demo = demo
        self._output = output
        self._measured = measured
        self._trouble = ""
        self._column = 0

    async def follow(self) -> None:
        title = self._output.styled("bold", f"2. A feed of {_EVENTS} events")
        legend = "each letter is a trade, quote, or status, each . a heartbeat"
        self._output.put(f"\n{title}: GET {FEED}; {legend}\n\n{_INDENT}")
        try:
            await self._read()
        except anysse.AnysseError as error:
            self._measured.problems.append(str(error))
        self._end_line("no more to come")

    async def _read(self) -> None:
        async with anysse.open_stream(
            f"{self._demo.url}{FEED}?until={_EVENTS}",
            timeouts=anysse.Timeouts(total=_PATIENCE),
            on_comment=self._on_comment,
            observers=[self],
        ) as events:
            async for event in events:
                self._take(event)
                await self._output.drain()
            self._measured.connections = events.statistics().connections

    def _take(self, event: anysse.ServerSentEvent) -> None:
        number = int(event.id)
        published = feed_event(self._demo.seed, number)
        self._measured.wrong += (event.event, event.data) != (published.type, published.data)
        self._measured.numbers.append(number)
        self._output.put(event.event[0])
        self._column += 1

    def _on_comment(self, text: str) -> None:
        self._measured.heartbeats += 1
        self._output.put_bounded(self._output.styled("dim", "."))
        self._column += 1

    def observe(self, fact: anysse.Fact, /) -> None:
        if isinstance(fact, anysse.AttemptFailed | anysse.Ended) and fact.retry_in is not None:
            self._measured.reconnections += 1
            self._trouble += _shortly(fact.error) if isinstance(fact, anysse.AttemptFailed) else "ended"
            self._trouble += f", {fact.retry_in:.1f} s; "
        elif isinstance(fact, anysse.Connected) and self._trouble:
            # By now everything of the connection before was handed out, and drawn.
            after = self._measured.numbers[-1] if self._measured.numbers else 0
            self._end_line(f"resumed after {after}")
            self._output.put_bounded(_INDENT)

    def _end_line(self, text: str) -> None:
        padding = " " * max(2, _TEXT_AT - self._column)
        self._output.put_bounded(padding + self._output.styled("dim", f"{self._trouble}{text}") + "\n")
        self._trouble, self._column = "", 0


def _shortly(error: Exception) -> str:
    if isinstance(error, anysse.StatusError):
        return f"refused ({error.status_code})"
    return "cut off" if isinstance(error, anysse.StreamDropped) else escape(str(error))


def _conclude(output: Output, measured: Measured, demo: DemoServer, elapsed: float) -> bool:
    """Print what was measured; tell whether it is as it should be."""
    did = Counter(fault for (path, fault), times in demo.drops.items() if path == FEED for _ in range(times))
    dropped = ", ".join(f"{times} {fault}" for fault, times in sorted(did.items())) or "none"
    rows = [
        (
            "tokens",
            f"{measured.tokens} of {measured.tokens_expected}",
            measured.tokens == measured.tokens_expected,
        ),
        (
            "prompts",
            f"{measured.prompts} asked, {demo.replies_begun} answered: none twice by accident",
            measured.prompts == demo.replies_begun,
        ),
        (
            "replies",
            f"{measured.refusals} refused and waited for, {measured.cuts} cut and told so",
            (measured.refusals, measured.cuts)
            == (demo.drops[CHAT, Fault.REFUSE], demo.drops[CHAT, Fault.CUT]),
        ),
        ("events", _events_of(measured), _is_whole(measured)),
        ("drops", f"{did.total()} by the server: {dropped}", True),
        (
            "resumed",
            f"{measured.reconnections} times, over {measured.connections} connections",
            measured.reconnections == did.total(),
        ),
        *(("problem", escape(problem), False) for problem in measured.problems),
    ]
    output.put(f"\n{output.styled('bold', '3. Measured')}, in {elapsed:.1f} s\n\n")
    for name, text, is_well in rows:
        mark = output.styled("good", "ok ") if is_well else output.styled("bad", "BAD")
        output.put(f"{_INDENT}{mark} {name:<8} {text}\n")
    is_well = all(is_well for _, _, is_well in rows)
    verdict = "Nothing was lost, nothing came twice." if is_well else "This is not as it should be."
    output.put(f"\n{output.styled('good' if is_well else 'bad', verdict)}\n")
    return is_well


def _events_of(measured: Measured) -> str:
    return (
        f"{len(measured.numbers)} of {_EVENTS}: {measured.lost} lost, {measured.doubled} doubled, "
        f"{measured.disordered} out of order, {measured.wrong} wrong"
    )


def _is_whole(measured: Measured) -> bool:
    return (len(measured.numbers), measured.lost, measured.disordered, measured.wrong) == (_EVENTS, 0, 0, 0)
