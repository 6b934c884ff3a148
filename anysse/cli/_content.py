"""What the demo server says, and how it fails, as values made from a seed; no clock, no I/O."""

import json
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from itertools import repeat
from random import Random
from typing import Any, Final, TypeAlias, final

RETRY_MS: Final = 200
"""The reconnection time that the feed sets, in milliseconds."""
RETRY_AFTER: Final = 1
"""Seconds that a refusal asks for."""
DONE: Final = "[DONE]"

_SYMBOLS: Final = {"ANY": 41.0, "SSE": 97.5, "TRI": 12.25}
_MAX_ECHO: Final = 200
_MAX_DIGITS: Final = 15

ANSWERS: Final = {
    "What are server-sent events?": (
        "One HTTP response that does not end: lines of text, an empty line after each event. "
        "Proxies, caches and curl understand it, and so does every browser – “EventSource” 🎈."
    ),
    "What if the server is busy?": (
        "It says 503 and when to come back. Nothing of the prompt was acted upon, so it is safe to ask "
        "again, and that happened just now, before this answer."
    ),
    "What if the line is cut in mid answer?": (
        "Then half an answer must not pass for a whole one. It is an error, and the prompt is not sent again "
        "behind your back: it would be answered, and billed, twice."
    ),
}
"""The prompts that the demo asks, and what it is told."""


class Fault(StrEnum):
    """How a connection comes to its end before its time."""

    END = "ended"
    CUT = "cut in mid chunk"
    RESET = "reset"
    REFUSE = "refused with 503"


Plan: TypeAlias = tuple[Fault | None, int]
"""How a connection is to fail, if at all, and after how many events."""


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class FeedEvent:
    """One event of the feed."""

    number: int
    type: str
    data: str

    def encode(self) -> bytes:
        """Give it as it goes over the wire."""
        return encode(self.data, f"id: {self.number}\nevent: {self.type}\n")


def encode(data: str, fields: str = "") -> bytes:
    """Give an event as it goes over the wire; ``fields`` are whole lines."""
    lines = "".join(f"data: {line}\n" for line in data.split("\n"))
    return f"{fields}{lines}\n".encode()


def feed_event(seed: int, number: int) -> FeedEvent:
    """Give an event of the market feed, the same for the same seed and number."""
    chance = Random(f"{seed} event {number}")
    if number % 25 == 1:
        lines = json.dumps({"status": "open", "event": number}, indent=1)
        return FeedEvent(number=number, type="status", data=lines)
    symbol = chance.choice(list(_SYMBOLS))
    price = _SYMBOLS[symbol] * (1 + 0.03 * math.sin(seed + number / 17)) + chance.uniform(-0.1, 0.1)
    if chance.random() < 0.5:
        trade = {"symbol": symbol, "price": round(price, 2), "size": chance.randrange(1, 20) * 10}
        return FeedEvent(number=number, type="trade", data=json.dumps(trade))
    quote = {"symbol": symbol, "bid": round(price - 0.02, 2), "ask": round(price + 0.02, 2)}
    return FeedEvent(number=number, type="quote", data=json.dumps(quote))


def feed_plans(seed: int, *, drop: bool) -> Iterator[Plan]:
    """Give, without end, how each connection to the feed fails; the first one is not refused."""
    chance = Random(f"{seed} feed")
    while drop:
        faults = [Fault.END, Fault.CUT, Fault.RESET]
        chance.shuffle(faults)
        faults.insert(chance.randrange(1, 4), Fault.REFUSE)
        for fault in faults:
            yield fault, chance.randrange(12, 31)
    yield from repeat((None, 0))


def reply_plans(seed: int, *, drop: bool) -> Iterator[Plan]:
    """Give, without end, how each reply fails: one is refused, one is cut, the others are well."""
    chance = Random(f"{seed} chat")
    while drop:
        yield from [(None, 0), (Fault.REFUSE, 0), (None, 0), (Fault.CUT, chance.randrange(5, 15)), (None, 0)]
    yield from repeat((None, 0))


def tokens_for(prompt: str) -> list[str]:
    """Give the tokens of the answer to a prompt; joined they are its text."""
    text = ANSWERS.get(prompt) or f"You said “{prompt[:_MAX_ECHO]}”. This is a demo, and knows no more."
    return re.findall(r"\s*\S+", text)


def reply_chunk(token: str | None) -> str:
    """Give the data of one token, in the shape that OpenAI made common; None is the end."""
    delta = {} if token is None else {"content": token}
    choice = {"index": 0, "delta": delta, "finish_reason": "stop" if token is None else None}
    return json.dumps({"object": "chat.completion.chunk", "choices": [choice]}, ensure_ascii=False)


def prompt_of(body: bytes) -> str | None:
    """Give the prompt of a request, from ``prompt`` or the last of ``messages``; None where there is none."""
    try:
        asked: Any = json.loads(body)
        prompt = asked["prompt"] if "prompt" in asked else asked["messages"][-1]["content"]
    except (ValueError, TypeError, LookupError, RecursionError):
        return None
    return prompt if isinstance(prompt, str) else None


def number_of(text: str) -> int:
    """Give the number that a client resumes from; 0, the beginning, where it is none."""
    return int(text) if text.isascii() and text.isdigit() and len(text) <= _MAX_DIGITS else 0
