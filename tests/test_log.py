"""What the log says, and of which stream it says it."""
# ruff: noqa: SIM117 - a client, and a stream in it: two lines read better than one.

import logging
from types import ModuleType

import pytest

import anysse
from anysse import _log
from anysse._log import NumberedLogger
from tests.streams import Answer, data_of, in_virtual_time, memory_client, stream_of

URL = "http://a/"


class Broken(anysse.Observer):
    def observe(self, fact: anysse.Fact, /) -> None:
        raise LookupError("mine")


def test_a_number_is_given_once() -> None:
    numbers = [_log.next_number() for _ in range(3)]
    assert numbers == list(range(numbers[0], numbers[0] + 3))
    assert numbers[0] >= 1


def test_a_line_begins_with_its_request(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, logger="anysse")
    NumberedLogger(7).info("%d %% of %s", 5, "%s")
    [record] = caplog.records
    assert record.getMessage() == "request 7: 5 % of %s"
    assert (record.name, record.request) == ("anysse", 7)  # type: ignore[attr-defined]


def test_what_is_not_asked_for_is_not_made() -> None:
    class Never:
        def __str__(self) -> str:
            raise AssertionError

    logging.getLogger("anysse").setLevel(logging.WARNING)
    try:
        NumberedLogger(7).info("%s", Never())
    finally:
        logging.getLogger("anysse").setLevel(logging.NOTSET)


def test_each_line_of_a_stream_says_which_it_is(
    library: ModuleType, caplog: pytest.LogCaptureFixture
) -> None:
    numbers = []

    async def main() -> None:
        answers = [
            Answer(status=503),
            stream_of(b"id: " + b"9" * 9000 + b"\ndata: x\n\n"),
            stream_of(b"data: [DONE]\n\n"),
        ]
        async with memory_client(library, *answers) as client:
            async with anysse.open_stream(
                URL, client=client, kind="feed", done="[DONE]", observers=[Broken()]
            ) as events:
                assert await data_of(events) == ["x"]
                numbers.append(events.number)

    for _ in range(2):
        caplog.clear()
        in_virtual_time(main)
        lines = [record for record in caplog.records if record.name == "anysse"]
        assert all(line.getMessage().startswith(f"request {numbers[-1]}: ") for line in lines)
        assert {line.request for line in lines} == {numbers[-1]}  # type: ignore[attr-defined]
        said = " ".join(line.getMessage() for line in lines)
        for words in ("connecting", "connected", "next attempt in", "left out", "its done event", "observer"):
            assert words in said
    assert numbers[0] < numbers[1]
