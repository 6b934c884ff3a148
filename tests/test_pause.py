"""A stream that is paused and resumed: by its user, and because nobody sees it."""
# ruff: noqa: SIM117 - a client, and a stream in it: two lines read better than one.

from types import ModuleType
from typing import Any

import anyio
import pytest

import anysse
from anysse import StreamStatus, Timeouts, Visibility
from tests.server import serve
from tests.streams import (
    Answer,
    Recorder,
    Tap,
    data_of,
    held_stream,
    in_virtual_time,
    memory_client,
    stream_of,
    turns,
)

URL = "http://a.test/"
QUICK = anysse.ExponentialBackoff(initial=0.1, jitter=0)


async def take(events: "anysse.EventStream", count: int) -> list[str]:
    texts: list[str] = []
    with anyio.fail_after(10):
        while len(texts) < count:
            texts.append((await events.receive()).data)
    return texts


async def later(events: "anysse.EventStream") -> None:
    """Let all that can happen without anybody's doing happen."""
    await turns(50)
    with pytest.raises(anyio.WouldBlock):
        events.receive_nowait()


# --- the connection is closed ---


@pytest.mark.parametrize("mode", [None, "close"])
async def test_a_pause_closes_the_connection_and_a_resume_goes_on_after_the_last_event(
    library: ModuleType, mode: Any
) -> None:
    first, recorder = held_stream(b"id: 7\ndata: x\n\n"), Recorder()
    async with memory_client(library, first, held_stream(b"data: y\n\n")) as client:
        async with anysse.open_stream(URL, client=client, observers=[recorder]) as events:
            assert await take(events, 1) == ["x"]
            events.pause(mode)
            assert events.status is StreamStatus.PAUSED
            await later(events)
            assert first.is_closed
            assert len(client.sent) == 1
            events.resume()
            assert await take(events, 1) == ["y"]
            assert (events.retry_count, events.last_error, events.statistics().retries) == (0, None, 0)
    assert client.sent[1].headers["last-event-id"] == "7"
    statuses = [status for status in recorder.statuses if status != "waiting"]  # for the floor
    assert statuses == ["connecting", "connected", "paused", "connecting", "connected", "idle"]
    assert recorder.of(anysse.AttemptFailed) == []


async def test_what_is_buffered_is_handed_out_while_it_is_paused(library: ModuleType) -> None:
    parts = [f"data: {number}\n\n".encode() for number in range(9)]
    first = held_stream(*parts)
    async with memory_client(library, first, held_stream()) as client:
        async with anysse.open_stream(URL, client=client, buffer=4) as events:
            await turns(50)  # four are buffered, and one waits for its place
            events.pause()
            await turns(50)
            assert first.is_closed  # whether or not anybody takes them
            assert await take(events, 5) == ["0", "1", "2", "3", "4"]
            await later(events)


async def test_what_waits_for_its_place_takes_none_twice(library: ModuleType) -> None:
    """Pausing and resuming again and again, with nobody who reads, keeps no more than one more."""
    parts = [f"id: {number}\ndata: {number}\n\n".encode() for number in range(9)]

    def answers() -> Any:
        async def script(request: Any) -> Answer:
            begin = int(request.headers.get("last-event-id", "-1")) + 1
            return held_stream(*parts[begin:])

        return script

    async with memory_client(library, *(answers() for _ in range(9))) as client:
        async with anysse.open_stream(URL, client=client, buffer=2) as events:
            for _ in range(4):
                await turns(50)
                events.pause()
                await turns(50)
                events.resume()
                await events.wait_for(StreamStatus.CONNECTED)
            await turns(50)
            assert events.statistics().events_received <= 4
            assert await take(events, 9) == [str(number) for number in range(9)]


async def test_a_read_that_came_in_pieces_is_taken_up_where_it_was_cut(library: ModuleType) -> None:
    lines = [f"id: {number}\ndata: {'x' * 60_000}{number}\n\n".encode() for number in range(6)]

    async def second(request: Any) -> Answer:
        return held_stream(*lines[int(request.headers["last-event-id"]) + 1 :])

    first = held_stream(b"".join(lines))
    async with memory_client(library, first, second) as client:
        async with anysse.open_stream(URL, client=client, buffer=1) as events:
            await turns(50)
            events.pause()
            await turns(50)
            assert first.is_closed
            events.resume()
            assert [text.lstrip("x") for text in await take(events, 6)] == list("012345")


async def test_a_wait_that_is_paused_has_no_end(library: ModuleType) -> None:
    async with memory_client(
        library, stream_of(b"retry: 100\ndata: x\n\n"), held_stream(b"data: y\n\n")
    ) as client:
        async with anysse.open_stream(URL, client=client) as events:
            await events.wait_for(StreamStatus.WAITING)
            events.pause()
            assert (events.status, events.next_attempt_in) == (StreamStatus.PAUSED, None)
            await anyio.sleep(0.3)
            assert len(client.sent) == 1
            events.resume()
            assert await take(events, 2) == ["x", "y"]


def test_a_resume_cuts_a_wait_short(library: ModuleType) -> None:
    async def main() -> None:
        answers = [stream_of(b"retry: 60000\ndata: x\n\n"), held_stream(b"data: y\n\n")]
        async with memory_client(library, *answers) as client:
            async with anysse.open_stream(URL, client=client) as events:
                await take(events, 1)
                await events.wait_for(StreamStatus.WAITING)
                began = anyio.current_time()
                events.pause()
                await anyio.sleep(3)
                events.resume()
                assert await take(events, 1) == ["y"]
                assert anyio.current_time() - began == pytest.approx(3)

    in_virtual_time(main)


async def test_an_attempt_that_is_paused_is_given_up(library: ModuleType) -> None:
    async def never(request: Any) -> Answer:
        return await anyio.sleep_forever()  # type: ignore[return-value]

    answers = [stream_of(b"retry: 100\ndata: x\n\n"), never, held_stream(b"data: y\n\n")]
    async with memory_client(library, *answers) as client:
        async with anysse.open_stream(URL, client=client) as events:
            while len(client.sent) < 2:
                await anyio.wait_all_tasks_blocked()
                events.reconnect_now()
            await turns(5)
            events.pause()
            await turns(50)
            assert events.status is StreamStatus.PAUSED
            events.resume()
            assert await take(events, 2) == ["x", "y"]
    assert len(client.sent) == 3


async def test_a_pause_while_prepare_runs_sends_nothing(library: ModuleType) -> None:
    began = anyio.Event()
    attempts = 0

    async def prepare(request: Any, attempt: anysse.Attempt) -> None:
        nonlocal attempts
        attempts += 1
        if attempts == 2:
            began.set()
            await anyio.sleep_forever()

    answers = [stream_of(b"retry: 100\ndata: x\n\n"), held_stream(b"data: y\n\n")]
    async with memory_client(library, *answers) as client:
        async with anysse.open_stream(URL, client=client, prepare=prepare) as events:
            await began.wait()
            events.pause()
            await turns(50)
            assert len(client.sent) == 1
            events.resume()
            assert await take(events, 2) == ["x", "y"]
    assert (attempts, len(client.sent)) == (3, 2)


async def test_resuming_in_the_tick_of_pausing_makes_one_new_connection(library: ModuleType) -> None:
    first = held_stream(b"id: 7\ndata: x\n\n")
    async with memory_client(library, first, held_stream(b"data: y\n\n")) as client:
        async with anysse.open_stream(URL, client=client) as events:
            assert await take(events, 1) == ["x"]
            for _ in range(3):
                events.pause()
                events.resume()
            assert await take(events, 1) == ["y"]
    assert len(client.sent) == 2


async def test_pausing_once_more_before_the_resume_has_its_turn_pauses(library: ModuleType) -> None:
    async with memory_client(library, held_stream(b"data: x\n\n"), held_stream(b"data: y\n\n")) as client:
        async with anysse.open_stream(URL, client=client) as events:
            assert await take(events, 1) == ["x"]
            events.pause()
            await turns(50)
            events.resume()
            events.pause()
            await later(events)
            assert events.status is StreamStatus.PAUSED
            assert len(client.sent) == 1
            events.resume()
            assert await take(events, 1) == ["y"]


# --- the connection is held ---


async def hold(events: "anysse.EventStream", tap: Tap, text: str) -> None:
    """Pause, and have something sent meanwhile, which is not handed out."""
    events.pause("hold")
    tap.put(f"data: {text}\n\n".encode())
    await later(events)
    assert events.status is StreamStatus.PAUSED


async def test_what_is_held_goes_on_with_the_same_connection(library: ModuleType) -> None:
    tap, recorder = Tap(), Recorder()
    async with memory_client(library, Answer(parts=tap)) as client:
        async with anysse.open_stream(URL, client=client, observers=[recorder]) as events:
            tap.put(b"data: 0\n\n")
            assert await take(events, 1) == ["0"]
            for text in "123":
                await hold(events, tap, text)
                events.resume()
                assert events.status is StreamStatus.CONNECTED
                tap.put(b"data: more\n\n")
                assert await take(events, 2) == [text, "more"]
    assert len(client.sent) == 1
    assert recorder.statuses == ["connecting", "connected", *["paused", "connected"] * 3, "idle"]


async def test_a_server_is_held_back() -> None:
    """By TCP: what is read of it while it is held is bounded, however much it would send."""
    sent = 0

    async def script(connection: Any) -> None:
        nonlocal sent
        await connection.respond(200)
        await connection.send("data: first\n\n")
        with anyio.move_on_after(20):
            while True:
                await connection.send("data: " + "x" * 65_000 + "\n\n")
                sent += 1

    async with serve(script) as server:
        async with anysse.open_stream(server.url, timeouts=Timeouts(idle=0.5)) as events:
            assert await take(events, 1) == ["first"]
            events.pause("hold")
            with anyio.fail_after(20):
                before = -1
                while before != sent:  # until it can send no more
                    before = sent
                    await anyio.sleep(0.7)
            kept = sent
            received = events.statistics().bytes_received
            assert received < 64 * 65_536
            events.resume()
            await take(events, kept + 5)
            assert events.retry_count == 0


async def test_a_prompt_is_held_rather_than_cut(library: ModuleType) -> None:
    tap = Tap()
    async with memory_client(library, Answer(parts=tap)) as client:
        async with anysse.open_stream(URL, method="POST", client=client) as events:
            tap.put(b"data: 0\n\n")
            assert await take(events, 1) == ["0"]
            for mode in (None, "hold", None):
                events.pause(mode)  # type: ignore[arg-type]
                tap.put(b"data: 1\n\n")
                with pytest.raises(anysse.InvalidRequest) as caught:
                    events.pause("close")
                assert caught.value.argument == "resend"
                await later(events)
                events.resume()
                assert await take(events, 1) == ["1"]
            events.pause()
            tap.put(b"data: 2\n\n")
            tap.end()
            await later(events)
            events.resume()
            assert await data_of(events) == ["2"]
            assert events.status is StreamStatus.COMPLETED
    assert len(client.sent) == 1


async def test_a_prompt_that_may_be_sent_again_is_cut_as_it_says(library: ModuleType) -> None:
    first = held_stream(b"id: 7\ndata: x\n\n")
    async with memory_client(library, first, held_stream(b"data: y\n\n")) as client:
        async with anysse.open_stream(URL, method="POST", client=client, resend="always") as events:
            assert await take(events, 1) == ["x"]
            events.pause()
            await later(events)
            assert first.is_closed
            events.resume()
            assert await take(events, 1) == ["y"]


async def test_what_is_held_can_be_closed_later(library: ModuleType) -> None:
    tap = Tap()
    first = Answer(parts=tap)
    async with memory_client(library, first, held_stream(b"data: y\n\n")) as client:
        async with anysse.open_stream(URL, client=client) as events:
            tap.put(b"id: 7\ndata: x\n\n")
            assert await take(events, 1) == ["x"]
            await hold(events, tap, "again, by the next connection")
            events.pause("close")
            events.pause("hold")
            await later(events)
            assert first.is_closed
            events.resume()
            assert await take(events, 1) == ["y"]
    assert client.sent[1].headers["last-event-id"] == "7"


async def test_an_answer_that_comes_while_it_is_held_is_taken_on_resuming(library: ModuleType) -> None:
    may_answer = anyio.Event()

    async def script(request: Any) -> Answer:
        await may_answer.wait()
        return held_stream(b"data: y\n\n")

    recorder = Recorder()
    async with memory_client(library, stream_of(b"retry: 100\ndata: x\n\n"), script) as client:
        async with anysse.open_stream(URL, client=client, observers=[recorder]) as events:
            await events.wait_for(StreamStatus.CONNECTING)
            await turns(5)
            events.pause("hold")
            may_answer.set()
            assert await take(events, 1) == ["x"]
            await later(events)
            assert events.status is StreamStatus.PAUSED
            assert len(recorder.of(anysse.Connected)) == 1
            events.resume()
            assert events.status is StreamStatus.CONNECTING
            assert await take(events, 1) == ["y"]
    assert len(client.sent) == 2


async def test_an_answer_that_is_held_can_be_closed_later(library: ModuleType) -> None:
    may_answer, second = anyio.Event(), held_stream(b"data: y\n\n")

    async def script(request: Any) -> Answer:
        await may_answer.wait()
        return second

    answers = [stream_of(b"retry: 100\ndata: x\n\n"), script, held_stream(b"data: z\n\n")]
    async with memory_client(library, *answers) as client:
        async with anysse.open_stream(URL, client=client) as events:
            while len(client.sent) < 2:
                await turns(1)
            events.pause("hold")
            may_answer.set()
            await turns(50)
            assert not second.is_closed
            events.pause("close")
            await turns(50)
            assert second.is_closed
            events.resume()
            assert await take(events, 2) == ["x", "z"]
    assert len(client.sent) == 3


@pytest.mark.parametrize("is_failure", [False, True])
async def test_what_a_server_did_meanwhile_is_found_on_resuming(
    library: ModuleType, is_failure: bool
) -> None:
    async def reset() -> None:
        raise library.ReadError("the peer reset it")

    tap, recorder = Tap(), Recorder()
    first = Answer(parts=tap, after=reset if is_failure else None)
    answers = [first, held_stream(b"data: y\n\n")]
    async with memory_client(library, *answers) as client:
        async with anysse.open_stream(URL, client=client, retry=QUICK, observers=[recorder]) as events:
            tap.put(b"retry: 100\nid: 7\ndata: x\n\n")
            assert await take(events, 1) == ["x"]
            events.pause("hold")
            tap.end()
            await later(events)
            assert (events.status, events.last_error) == (StreamStatus.PAUSED, None)
            assert recorder.of(anysse.AttemptFailed) == recorder.of(anysse.Ended) == []
            events.resume()
            assert await take(events, 1) == ["y"]
    assert len(recorder.of(anysse.AttemptFailed if is_failure else anysse.Ended)) == 1
    assert client.sent[1].headers["last-event-id"] == "7"


async def test_a_lost_prompt_is_an_error_on_resuming(library: ModuleType) -> None:
    tap = Tap()
    async with memory_client(library, Answer(parts=tap)) as client:
        async with anysse.open_stream(URL, method="POST", client=client, done="[DONE]") as events:
            tap.put(b"data: x\n\n")
            assert await take(events, 1) == ["x"]
            events.pause()
            tap.end()
            await later(events)
            events.resume()
            with pytest.raises(anysse.StreamDropped, match="before its done event"):
                await take(events, 1)


async def test_what_was_lost_while_it_was_held_can_be_closed(library: ModuleType) -> None:
    tap = Tap()
    async with memory_client(library, Answer(parts=tap), held_stream(b"data: y\n\n")) as client:
        async with anysse.open_stream(URL, client=client) as events:
            tap.put(b"data: x\n\n")
            assert await take(events, 1) == ["x"]
            events.pause("hold")
            tap.end()
            await later(events)
            events.pause("close")
            events.resume()
            assert await take(events, 1) == ["y"]
            assert events.retry_count == 0


async def test_a_failed_attempt_is_judged_on_resuming(library: ModuleType) -> None:
    gate = anyio.Event()

    async def fail(request: Any) -> Answer:
        await gate.wait()
        return Answer(status=500)

    recorder = Recorder()
    answers = [stream_of(b"retry: 100\ndata: x\n\n"), fail, held_stream(b"data: y\n\n")]
    async with memory_client(library, *answers) as client:
        async with anysse.open_stream(URL, client=client, retry=QUICK, observers=[recorder]) as events:
            await events.wait_for(StreamStatus.CONNECTING)
            await turns(5)
            events.pause("hold")
            gate.set()
            assert await take(events, 1) == ["x"]
            await later(events)
            assert recorder.of(anysse.AttemptFailed) == []
            events.resume()
            assert await take(events, 1) == ["y"]
    assert len(recorder.of(anysse.AttemptFailed)) == 1


async def test_an_attempt_that_fails_as_it_is_given_up_is_no_failure(library: ModuleType) -> None:
    async def fail(request: Any) -> Answer:
        streams[0].pause()
        raise library.ConnectError("nobody is there")

    streams: list[anysse.EventStream] = []
    recorder = Recorder()
    answers = [stream_of(b"retry: 100\ndata: x\n\n"), fail, held_stream(b"data: y\n\n")]
    async with memory_client(library, *answers) as client:
        async with anysse.open_stream(URL, client=client, observers=[recorder]) as events:
            streams.append(events)
            await events.wait_for(StreamStatus.PAUSED)
            assert await take(events, 1) == ["x"]
            await later(events)
            events.resume()
            assert await take(events, 1) == ["y"]
            assert (events.retry_count, events.last_error) == (0, None)
    assert recorder.of(anysse.AttemptFailed) == []
    assert len(client.sent) == 3


@pytest.mark.parametrize("timeouts", [Timeouts(idle=10), Timeouts(first_event=10, idle=None)])
def test_its_timeouts_rest_while_it_is_held(library: ModuleType, timeouts: Timeouts) -> None:
    async def main() -> None:
        async with memory_client(library, held_stream(), held_stream()) as client:
            async with anysse.open_stream(URL, client=client, timeouts=timeouts, retry=QUICK) as events:
                await anyio.sleep(1)
                for _ in range(3):
                    events.pause("hold")
                    await anyio.sleep(1000)
                    events.resume()
                    assert events.status is StreamStatus.CONNECTED
                    await anyio.sleep(1)
                began = anyio.current_time()
                await events.wait_for(StreamStatus.WAITING)
                assert isinstance(events.last_error, anysse.StreamTimeout)
                assert anyio.current_time() - began <= 10

    in_virtual_time(main)


def test_the_time_for_the_whole_stream_goes_on(library: ModuleType) -> None:
    async def main() -> None:
        for mode in ("close", "hold"):
            async with memory_client(library, held_stream()) as client:
                async with anysse.open_stream(URL, client=client, timeouts=Timeouts(total=10)) as events:
                    events.pause(mode)  # type: ignore[arg-type]
                    with pytest.raises(anysse.StreamTimeout) as caught:
                        await events.receive()
                    assert caught.value.phase == "total"
                    events.resume()
                    assert events.status is StreamStatus.ERROR

    in_virtual_time(main)


# --- in any status, from anywhere ---


@pytest.mark.parametrize("mode", ["CLOSE", "", 1, True, b"hold"])
async def test_a_mode_that_there_is_not_is_refused(library: ModuleType, mode: Any) -> None:
    async with memory_client(library, held_stream()) as client:
        async with anysse.open_stream(URL, client=client) as events:
            with pytest.raises(anysse.InvalidRequest) as caught:
                events.pause(mode)
            assert caught.value.argument == "mode"
            assert events.status is StreamStatus.CONNECTED
        with pytest.raises(anysse.InvalidRequest):
            events.pause(mode)


async def test_nothing_happens_to_a_stream_that_is_over(library: ModuleType) -> None:
    async with memory_client(library, Answer(status=204), held_stream(), Answer(status=404)) as client:
        async with anysse.open_stream(URL, client=client) as completed:
            await data_of(completed)
        async with anysse.open_stream(URL, client=client) as closed:
            await closed.aclose()
        for events, status in ((completed, StreamStatus.COMPLETED), (closed, StreamStatus.IDLE)):
            for mode in (None, "close", "hold"):
                events.pause(mode)  # type: ignore[arg-type]
                events.resume()
                assert events.status is status


@pytest.mark.parametrize("mode", ["close", "hold"])
async def test_a_stream_that_is_paused_can_be_closed(library: ModuleType, mode: Any) -> None:
    first = held_stream(b"data: x\n\n")
    async with memory_client(library, first) as client:
        async with anysse.open_stream(URL, client=client) as events:
            events.pause(mode)
            await turns(20)
            with anyio.fail_after(5):
                await events.aclose()
            assert events.status is StreamStatus.IDLE
            assert first.is_closed


async def test_resuming_what_is_not_paused_does_nothing(library: ModuleType) -> None:
    async with memory_client(library, held_stream(b"data: x\n\n")) as client:
        async with anysse.open_stream(URL, client=client) as events:
            events.resume()
            assert await take(events, 1) == ["x"]
            events.resume()
            await later(events)
    assert len(client.sent) == 1


async def test_reconnect_now_does_nothing_while_it_is_paused(library: ModuleType) -> None:
    async with memory_client(library, held_stream(b"data: x\n\n")) as client:
        async with anysse.open_stream(URL, client=client) as events:
            assert await take(events, 1) == ["x"]
            for mode in ("hold", "close"):
                events.pause(mode)  # type: ignore[arg-type]
                events.reconnect_now()
                await later(events)
    assert len(client.sent) == 1


async def test_the_done_event_ends_a_stream_that_is_paused(library: ModuleType) -> None:
    """In the tick in which it came: a pause does not hold back what was received."""

    class Pausing(anysse.Observer):
        def observe(self, fact: anysse.Fact, /) -> None:
            if isinstance(fact, anysse.DoneReceived):
                streams[0].pause()

    streams: list[anysse.EventStream] = []
    tap = Tap()
    async with memory_client(library, Answer(parts=tap)) as client:
        async with anysse.open_stream(URL, client=client, done="[DONE]", observers=[Pausing()]) as events:
            streams.append(events)
            tap.put(b"data: x\n\ndata: [DONE]\n\n")
            with anyio.fail_after(5):
                assert await data_of(events) == ["x"]
            assert events.status is StreamStatus.COMPLETED


@pytest.mark.parametrize("mode", ["close", "hold"])
@pytest.mark.parametrize("of", [anysse.AttemptStarted, anysse.Connected, anysse.AttemptFailed, anysse.Ended])
async def test_an_observer_may_pause_at_any_fact(
    library: ModuleType, of: type[anysse.Fact], mode: Any
) -> None:
    class Pausing(anysse.Observer):
        is_to_pause = True

        def observe(self, fact: anysse.Fact, /) -> None:
            if isinstance(fact, of) and streams and self.is_to_pause:
                self.is_to_pause = False
                streams[0].pause(mode)
                paused.set()

    streams: list[anysse.EventStream] = []
    paused, tap = anyio.Event(), Tap()
    answers = [
        Answer(parts=tap),
        Answer(status=503),
        *(held_stream(b"data: y\n\n") for _ in range(2)),
    ]
    options: dict[str, Any] = {"client": client} if (client := memory_client(library, *answers)) else {}
    async with client:
        async with anysse.open_stream(URL, retry=QUICK, observers=[Pausing()], **options) as events:
            streams.append(events)
            tap.put(b"retry: 100\ndata: x\n\n")
            tap.end()
            with anyio.fail_after(5):
                await paused.wait()
            await turns(50)
            assert events.status is StreamStatus.PAUSED
            events.resume()
            assert await take(events, 2) == ["x", "y"]


@pytest.mark.parametrize("status", ["connecting", "connected", "waiting", "paused"])
async def test_an_observer_may_pause_and_resume_at_any_change_of_status(
    library: ModuleType, status: str
) -> None:
    class Toggling(anysse.Observer):
        left = 3

        def observe(self, fact: anysse.Fact, /) -> None:
            if isinstance(fact, anysse.StatusChanged) and fact.status == status and self.left and streams:
                self.left -= 1
                streams[0].pause()
                streams[0].resume()

    streams: list[anysse.EventStream] = []
    tap = Tap()
    ended = [stream_of(b"retry: 100\ndata: more\n\n") for _ in range(8)]
    async with memory_client(library, Answer(parts=tap), *ended, held_stream(b"data: y\n\n")) as client:
        async with anysse.open_stream(URL, client=client, observers=[Toggling()]) as events:
            streams.append(events)
            tap.put(b"retry: 100\ndata: x\n\n")
            tap.end()
            if status == "paused":
                events.pause()
                events.resume()
            texts = []
            with anyio.fail_after(10):
                while "y" not in texts:
                    texts += await take(events, 1)


async def test_an_attempt_that_is_held_back_keeps_no_slot_while_it_is_paused(library: ModuleType) -> None:
    limits = anysse.StreamLimits(max_connections=1)
    async with memory_client(library, held_stream(), held_stream(), held_stream(b"data: y\n\n")) as client:
        async with anysse.StreamClient(
            URL, client=client, limits=limits, https_only=False, method="GET"
        ) as manager:
            first, second, third = (manager.start() for _ in range(3))
            await first.wait_for(StreamStatus.CONNECTED)
            second.pause()
            assert second.status is StreamStatus.PAUSED
            first.disconnect()
            await third.wait_for(StreamStatus.CONNECTED)
            assert second.status is StreamStatus.PAUSED
            second.resume()
            third.disconnect()
            with anyio.fail_after(5):
                await second.wait_for(StreamStatus.CONNECTED)
    assert len(client.sent) == 3


async def test_a_request_that_is_paused_before_its_turn_lets_others_pass(library: ModuleType) -> None:
    limits, visibility = anysse.StreamLimits(max_connections=1), Visibility(is_visible=False)
    options: dict[str, Any] = {"limits": limits, "https_only": False, "method": "GET", "kind": "feed"}
    async with memory_client(library, *(held_stream() for _ in range(3))) as client:
        async with (
            anysse.StreamClient(URL, client=client, **options) as paused,
            anysse.StreamClient(URL, client=client, visibility=visibility, **options) as hidden,
            anysse.StreamClient(URL, client=client, **options) as visible,
        ):
            paused.pause()
            first, second, third = paused.start(), hidden.start(), visible.start()
            with anyio.fail_after(5):
                await third.wait_for(StreamStatus.CONNECTED)
            assert limits.waiting == 0
            third.disconnect()
            visibility.show()
            with anyio.fail_after(5):
                await second.wait_for(StreamStatus.CONNECTED)
            second.disconnect()
            paused.resume()
            with anyio.fail_after(5):
                await first.wait_for(StreamStatus.CONNECTED)


async def test_a_request_that_is_resumed_before_its_turn_has_kept_its_place(library: ModuleType) -> None:
    limits = anysse.StreamLimits(max_connections=1)
    options: dict[str, Any] = {"limits": limits, "https_only": False}
    async with memory_client(library, *(held_stream() for _ in range(3))) as client:
        async with anysse.StreamClient(URL, client=client, **options) as manager:
            first, second, third = (manager.start() for _ in range(3))
            await first.wait_for(StreamStatus.CONNECTED)
            await anyio.wait_all_tasks_blocked()
            for mode in (None, "hold", "close"):
                second.pause(mode)
                assert second.status is StreamStatus.PAUSED
                second.resume()
                assert second.status is StreamStatus.CONNECTING
            first.disconnect()
            with anyio.fail_after(5):
                await second.wait_for(StreamStatus.CONNECTED)
            assert third.status is StreamStatus.CONNECTING
    assert len(client.sent) == 2


async def test_a_prompt_that_was_refused_is_not_sent_while_it_is_paused(library: ModuleType) -> None:
    began, attempts = anyio.Event(), 0

    async def prepare(request: Any, attempt: anysse.Attempt) -> None:
        nonlocal attempts
        attempts += 1
        if attempts == 2:
            began.set()
            await anyio.sleep_forever()

    refusal = Answer(status=503, headers=[("Retry-After", "0")])
    async with memory_client(library, refusal, stream_of(b"data: x\n\n")) as client:
        async with anysse.StreamClient(
            URL, client=client, https_only=False, prepare=prepare, retry=QUICK
        ) as manager:
            request = manager.start()
            await began.wait()
            manager.pause("close")  # nothing of this attempt was sent
            await turns(50)
            assert request.status is StreamStatus.PAUSED
            assert len(client.sent) == 1
            manager.resume()
            with anyio.fail_after(5):
                assert await request.wait() is StreamStatus.COMPLETED
    assert (attempts, len(client.sent)) == (3, 2)


async def test_an_attempt_that_is_held_while_it_is_prepared_is_sent_on_resuming(library: ModuleType) -> None:
    began, may_go = anyio.Event(), anyio.Event()

    async def prepare(request: Any, attempt: anysse.Attempt) -> None:
        if attempt.number == 2:
            began.set()
            await may_go.wait()

    answers = [stream_of(b"retry: 100\ndata: x\n\n"), held_stream(b"data: y\n\n")]
    async with memory_client(library, *answers) as client:
        async with anysse.open_stream(URL, client=client, prepare=prepare) as events:
            await began.wait()
            events.pause("hold")
            may_go.set()
            await turns(50)
            assert len(client.sent) == 1
            events.resume()
            assert await take(events, 2) == ["x", "y"]


async def test_a_body_that_can_be_read_once_is_not_cut_on_its_way() -> None:
    more = anyio.Event()

    async def body() -> Any:
        yield b"A"
        await more.wait()
        yield b"B"

    async with serve(respond_whole) as server:
        async with anyio.create_task_group() as tasks:
            visibility = Visibility()

            async def hide() -> None:
                await server.until(lambda: server.open_connections == 1)
                visibility.hide()
                await turns(50)
                more.set()
                await turns(50)
                visibility.show()

            tasks.start_soon(hide)
            async with anysse.open_stream(
                server.url, method="POST", content=body(), resend="always", visibility=visibility
            ) as events:
                assert await take(events, 1) == ["AB"]
    assert len(server.requests) == 1


async def respond_whole(connection: Any) -> None:
    await connection.respond(200)
    await connection.send(f"data: {connection.request.body.decode()}\n\n")
    await connection.end()


@pytest.mark.parametrize("mode", [None, "hold"])
async def test_a_retry_policy_may_pause(library: ModuleType, mode: Any) -> None:
    def retry(failure: anysse.Failure) -> float:
        streams[0].pause(mode)
        return 0.0

    streams: list[anysse.EventStream] = []
    tap, recorder = Tap(), Recorder()
    answers = [Answer(parts=tap, after=broken), held_stream(b"data: y\n\n")]
    async with memory_client(library, *answers) as client:
        async with anysse.open_stream(URL, client=client, retry=retry, observers=[recorder]) as events:
            streams.append(events)
            tap.put(b"data: x\n\n")
            tap.end()
            await events.wait_for(StreamStatus.PAUSED)
            assert await take(events, 1) == ["x"]
            await later(events)
            assert events.status is StreamStatus.PAUSED
            assert len(client.sent) == 1
            assert recorder.of(anysse.AttemptFailed)[0].retry_in is None
            events.resume()
            assert await take(events, 1) == ["y"]


async def broken() -> None:
    raise OSError("reset by peer")


@pytest.mark.parametrize("mode", [None, "hold"])
async def test_a_callback_may_pause_as_the_done_event_comes(library: ModuleType, mode: Any) -> None:
    def pause(*_: object) -> bool:
        if streams:
            streams[0].pause(mode)
        return True

    for options in ({"on_comment": pause, "done": "[DONE]"}, {"done": pause}):
        streams: list[anysse.EventStream] = []
        tap = Tap()
        async with memory_client(library, Answer(parts=tap)) as client:
            async with anysse.open_stream(URL, client=client, **options) as events:
                streams.append(events)
                tap.put(b": comment\ndata: [DONE]\n\n")
                with anyio.fail_after(5):
                    await events.wait_for(StreamStatus.COMPLETED)


async def test_a_reply_that_would_begin_anew_is_held(library: ModuleType) -> None:
    """Without IDs all of it would come once more; with them, or before its first event, it is closed."""
    for begin, is_held in ((b"", False), (b"data: x\n\n", True), (b"id: 7\ndata: x\n\n", False)):
        first = held_stream(begin)
        async with memory_client(library, first, held_stream(b"data: y\n\n")) as client:
            async with anysse.open_stream(URL, client=client, kind="reply") as events:
                await turns(50)
                events.pause()
                await turns(50)
                assert first.is_closed is not is_held
                events.pause("close")
                await turns(50)
                assert first.is_closed


def test_its_timeouts_rest_whoever_holds_it_again(library: ModuleType) -> None:
    class Holding(anysse.Observer):
        left = 2

        def observe(self, fact: anysse.Fact, /) -> None:
            is_let_go = isinstance(fact, anysse.StatusChanged) and fact.previous == "paused"
            if is_let_go and self.left:
                self.left -= 1
                streams[0].pause("hold")

    async def main() -> None:
        async with memory_client(library, held_stream(b"data: x\n\n")) as client:
            async with anysse.open_stream(
                URL, client=client, timeouts=Timeouts(idle=10), observers=[Holding()]
            ) as events:
                streams[:] = [events]
                events.pause("hold")
                for _ in range(2):
                    events.resume()
                    assert events.status is StreamStatus.PAUSED
                    await anyio.sleep(1000)
                events.resume()
                assert events.status is StreamStatus.CONNECTED
                assert await take(events, 1) == ["x"]

    streams: list[anysse.EventStream] = []
    in_virtual_time(main)


def test_its_timeouts_rest_where_it_is_held_in_the_middle_of_a_read(library: ModuleType) -> None:
    def hold(comment: str) -> None:
        streams[0].pause("hold")

    async def main() -> None:
        tap = Tap()
        async with memory_client(library, Answer(parts=tap)) as client:
            timeouts = Timeouts(idle=10, first_event=20)
            async with anysse.open_stream(URL, client=client, timeouts=timeouts, on_comment=hold) as events:
                streams[:] = [events]
                tap.put(b": hold\ndata: x\n\n")
                assert await take(events, 1) == ["x"]
                await anyio.sleep(1000)
                assert (events.status, events.last_error) == (StreamStatus.PAUSED, None)

    streams: list[anysse.EventStream] = []
    in_virtual_time(main)


async def test_observers_are_told_in_order_of_what_one_of_them_makes_happen(library: ModuleType) -> None:
    class Resuming(anysse.Observer):
        def observe(self, fact: anysse.Fact, /) -> None:
            if isinstance(fact, anysse.StatusChanged) and fact.status == "paused":
                streams[0].resume()

    streams: list[anysse.EventStream] = []
    recorder = Recorder()
    async with memory_client(library, held_stream()) as client:
        observers = [Resuming(), recorder]
        async with anysse.open_stream(URL, client=client, observers=observers) as events:
            streams.append(events)
            events.pause("hold")
    assert recorder.statuses == ["connecting", "connected", "paused", "connected", "idle"]


# --- a client's requests ---


async def test_a_client_pauses_all_its_requests_and_those_to_come(library: ModuleType) -> None:
    texts: list[str] = []
    answers = [held_stream(b"data: a\n\n"), held_stream(b"data: b\n\n")]
    more = [held_stream(b"data: c\n\n") for _ in range(3)]
    async with memory_client(library, *answers, *more) as client:
        options: dict[str, Any] = {"method": "GET", "kind": "feed", "https_only": False}
        async with anysse.StreamClient(URL, client=client, **options) as manager:
            requests = [manager.start(on_message=lambda data, event: texts.append(data)) for _ in range(2)]
            while len(texts) < 2:
                await turns(1)
            manager.pause()
            assert manager.status is StreamStatus.PAUSED
            requests.append(manager.start(on_message=lambda data, event: texts.append(data)))
            await turns(50)
            assert [request.status for request in requests] == [StreamStatus.PAUSED] * 3
            assert all(answer.is_closed for answer in answers)
            assert len(client.sent) == 2
            manager.resume()
            with anyio.fail_after(5):
                while len(texts) < 5:
                    await turns(1)
    assert sorted(texts) == ["a", "b", "c", "c", "c"]


async def test_one_request_of_a_client_can_be_paused_and_resumed_by_itself(library: ModuleType) -> None:
    async with memory_client(library, *(held_stream() for _ in range(4))) as client:
        async with anysse.StreamClient(URL, client=client, method="GET", https_only=False) as manager:
            first, second = manager.start(), manager.start()
            await first.wait_for(StreamStatus.CONNECTED)
            await second.wait_for(StreamStatus.CONNECTED)
            first.pause()
            assert (first.status, second.status) == (StreamStatus.PAUSED, StreamStatus.CONNECTED)
            manager.pause("close")
            second.resume()
            await second.wait_for(StreamStatus.CONNECTED)
            assert first.status is StreamStatus.PAUSED
            manager.resume()
            await first.wait_for(StreamStatus.CONNECTED)


async def test_a_client_pauses_none_where_one_may_not_be_cut(library: ModuleType) -> None:
    async with memory_client(library, held_stream(), held_stream()) as client:
        async with anysse.StreamClient(URL, client=client, https_only=False) as manager:
            feed, prompt = manager.start(method="GET"), manager.start()
            await feed.wait_for(StreamStatus.CONNECTED)
            await prompt.wait_for(StreamStatus.CONNECTED)
            with pytest.raises(anysse.InvalidRequest) as caught:
                manager.pause("close")
            assert caught.value.argument == "resend"
            assert feed.is_connected
            assert prompt.is_connected
            with pytest.raises(anysse.InvalidRequest):
                manager.pause("stop")  # type: ignore[arg-type]
            manager.pause()
            assert (feed.status, prompt.status) == (StreamStatus.PAUSED, StreamStatus.PAUSED)


async def test_a_client_that_is_disconnected_is_paused_no_more(library: ModuleType) -> None:
    async with memory_client(library, held_stream()) as client:
        async with anysse.StreamClient(URL, client=client, method="GET", https_only=False) as manager:
            manager.pause()
            manager.disconnect()
            request = manager.start()
            with anyio.fail_after(5):
                await request.wait_for(StreamStatus.CONNECTED)


async def test_a_handler_may_pause_its_own_request(library: ModuleType) -> None:
    texts: list[str] = []

    def on_message(data: str, event: Any) -> None:
        texts.append(data)
        if data == "a":
            manager.pause()

    answers = [held_stream(b"id: 1\ndata: a\n\n"), stream_of(b"data: b\n\ndata: [DONE]\n\n")]
    async with memory_client(library, *answers) as client:
        async with anysse.StreamClient(URL, client=client, method="GET", https_only=False) as manager:
            request = manager.start(on_message=on_message)
            await request.wait_for(StreamStatus.PAUSED)
            await turns(20)
            request.resume()
            with anyio.fail_after(5):
                assert await request.wait() is StreamStatus.COMPLETED
    assert texts == ["a", "b"]


# --- nobody sees it ---


async def test_a_stream_is_paused_while_nobody_sees_it(library: ModuleType) -> None:
    visibility = Visibility()
    first = held_stream(b"id: 7\ndata: x\n\n")
    async with memory_client(library, first, held_stream(b"data: y\n\n")) as client:
        async with anysse.open_stream(URL, client=client, visibility=visibility) as events:
            assert await take(events, 1) == ["x"]
            visibility.hide()
            assert events.status is StreamStatus.PAUSED
            await later(events)
            assert first.is_closed
            visibility.show()
            assert await take(events, 1) == ["y"]
    assert client.sent[1].headers["last-event-id"] == "7"
    visibility.hide()  # it has no stream any more
    assert not visibility._listeners


async def test_entering_waits_until_it_is_shown(library: ModuleType) -> None:
    visibility = Visibility(is_visible=False)
    async with memory_client(library, held_stream(b"data: x\n\n")) as client:
        async with anyio.create_task_group() as tasks:

            async def show() -> None:
                await turns(50)
                assert not client.sent
                visibility.show()

            tasks.start_soon(show)
            async with anysse.open_stream(URL, client=client, visibility=visibility) as events:
                assert await take(events, 1) == ["x"]


async def test_a_stream_may_stay_open_while_nobody_sees_it(library: ModuleType) -> None:
    visibility = Visibility(is_visible=False)
    async with memory_client(library, held_stream(b"data: x\n\n")) as client:
        options: dict[str, Any] = {"visibility": visibility, "open_when_hidden": True}
        async with anysse.open_stream(URL, client=client, **options) as events:
            assert await take(events, 1) == ["x"]
            visibility.show()
            visibility.hide()
            assert events.status is StreamStatus.CONNECTED


async def test_it_goes_on_once_neither_its_user_nor_visibility_wants_it_paused(library: ModuleType) -> None:
    visibility = Visibility()
    async with memory_client(library, *(held_stream(b"data: x\n\n") for _ in range(9))) as client:
        async with anysse.open_stream(URL, client=client, visibility=visibility) as events:
            for acts in (
                [events.pause, visibility.hide, visibility.show, events.resume],
                [visibility.hide, events.pause, events.resume, visibility.show],
                [visibility.hide, events.pause, visibility.show, events.resume],
            ):
                assert await take(events, 1) == ["x"]
                for act in acts[:-1]:
                    act()
                    await later(events)
                    assert events.status is StreamStatus.PAUSED
                acts[-1]()
                await events.wait_for(StreamStatus.CONNECTED)


async def test_hiding_does_not_cut_what_its_user_holds(library: ModuleType) -> None:
    visibility, tap = Visibility(), Tap()
    async with memory_client(library, Answer(parts=tap)) as client:
        async with anysse.open_stream(URL, client=client, visibility=visibility) as events:
            events.pause("hold")
            visibility.hide()
            events.resume()
            visibility.show()
            tap.put(b"data: x\n\n")
            assert await take(events, 1) == ["x"]
    assert len(client.sent) == 1


async def test_a_prompt_is_held_while_nobody_sees_it(library: ModuleType) -> None:
    visibility, tap = Visibility(), Tap()
    async with memory_client(library, Answer(parts=tap)) as client:
        async with anysse.StreamClient(
            URL, client=client, https_only=False, visibility=visibility
        ) as manager:
            async with manager.stream() as messages:
                visibility.hide()
                tap.put(b"data: x\n\ndata: [DONE]\n\n")
                await turns(50)
                assert messages.status is StreamStatus.PAUSED
                visibility.show()
                assert [message async for message in messages] == ["x"]
    assert len(client.sent) == 1


@pytest.mark.parametrize(
    ("name", "value"),
    [("visibility", True), ("visibility", Visibility), ("open_when_hidden", 0), ("network", "yes")],
)
def test_an_argument_that_is_none_is_named(name: str, value: Any) -> None:
    options: dict[str, Any] = {name: value}
    for make in (anysse.open_stream, anysse.StreamClient):
        with pytest.raises(anysse.InvalidRequest) as caught:
            make("https://a.test/", **options)
        assert caught.value.argument == name


def test_a_visibility_that_was_not_entered_is_refused_with_a_hint() -> None:
    with pytest.raises(anysse.InvalidRequest, match="enter that with async with, and pass what it gives"):
        anysse.open_stream(URL, visibility=anysse.terminal_visibility())  # type: ignore[arg-type]
