"""What the body of a stream raises leaves as itself; whatever else there is stays what it is."""

from collections.abc import Callable, Coroutine
from typing import Any

import anyio
import pytest
from anyio.lowlevel import checkpoint

from anysse._groups import bare_exception

Body = Callable[[], Coroutine[Any, Any, None]]


async def in_group(body: Body, *children: Body) -> None:
    """Run a body as `open_stream` does: a group of our own, children that are cancelled at the end."""
    with bare_exception():
        async with anyio.create_task_group() as task_group:
            for child in children:
                task_group.start_soon(child)
            await checkpoint()
            try:
                await body()
            finally:
                task_group.cancel_scope.cancel()


def raising(error: BaseException) -> Body:
    async def body() -> None:
        raise error

    return body


async def nothing() -> None:
    pass


async def leaving(*errors: BaseException) -> None:
    """Wait to be cancelled, and leave as a task group of the caller's would."""
    try:
        await anyio.sleep_forever()
    finally:
        raise BaseExceptionGroup("a callback's group", errors)


@pytest.mark.parametrize(
    "error",
    [ValueError("x"), KeyboardInterrupt(), SystemExit(3), StopAsyncIteration(), GeneratorExit()],
    ids=repr,
)
@pytest.mark.parametrize("children", [(), (anyio.sleep_forever,), (anyio.sleep_forever, anyio.sleep_forever)])
async def test_the_bodys_exception_leaves_bare(error: BaseException, children: tuple[Body, ...]) -> None:
    with pytest.raises(type(error)) as caught:
        await in_group(raising(error), *children)
    assert caught.value is error


async def test_a_stop_iteration_of_the_body_leaves_bare() -> None:
    # In one frame: no coroutine may raise it.
    with pytest.raises(StopIteration) as caught, bare_exception():
        async with anyio.create_task_group():
            next(iter(()))
    assert caught.value.__context__ is None


async def test_nothing_raised_is_nothing_raised() -> None:
    await in_group(nothing, anyio.sleep_forever)


async def test_an_exception_outside_of_any_group_passes() -> None:
    error = ValueError("x")
    with pytest.raises(ValueError, match="x") as caught, bare_exception():
        raise error
    assert caught.value is error


@pytest.mark.parametrize("kind", [ExceptionGroup, BaseExceptionGroup])
async def test_a_group_of_the_body_stays_one(kind: type[BaseExceptionGroup[Exception]]) -> None:
    mine = kind("mine", [ValueError("x")])
    with pytest.raises(BaseExceptionGroup) as caught:
        await in_group(raising(mine), anyio.sleep_forever)
    # On trio it is a copy: its cancel scopes take cancellations out of every group.
    assert type(caught.value) is type(mine)
    assert (caught.value.message, caught.value.exceptions) == (mine.message, mine.exceptions)


async def test_two_real_errors_stay_a_group() -> None:
    mine, other = ValueError("x"), KeyError("y")

    async def child() -> None:
        try:
            await anyio.sleep_forever()
        finally:
            raise other

    with pytest.raises(BaseExceptionGroup) as caught:
        await in_group(raising(mine), child)
    _, rest = caught.value.split(anyio.get_cancelled_exc_class())
    assert rest is not None
    assert set(rest.exceptions) == {mine, other}


async def test_the_error_of_a_child_leaves_bare() -> None:
    error = ValueError("x")
    with pytest.raises(ValueError, match="x") as caught:
        await in_group(anyio.sleep_forever, raising(error))
    assert caught.value is error


async def test_context_and_cause_are_the_bodys_own() -> None:
    first, cause = KeyError("first"), OSError("cause")

    async def body() -> None:
        try:
            raise first
        except KeyError:
            raise ValueError("second") from cause

    with pytest.raises(ValueError, match="second") as caught:
        await in_group(body, anyio.sleep_forever)
    assert caught.value.__context__ is first
    assert caught.value.__cause__ is cause
    assert caught.value.__suppress_context__


async def test_no_context_stays_no_context() -> None:
    with pytest.raises(ValueError, match="x") as caught:
        await in_group(raising(ValueError("x")), anyio.sleep_forever)
    assert caught.value.__context__ is None
    assert not isinstance(caught.value.__cause__, BaseExceptionGroup)


async def test_a_cancellation_from_outside_passes() -> None:
    with anyio.CancelScope() as scope:
        scope.cancel()
        await in_group(anyio.sleep_forever, anyio.sleep_forever)
        pytest.fail("it was cancelled")  # pragma: no cover - never reached
    assert scope.cancelled_caught


async def test_an_error_in_a_cancelled_body_leaves_bare() -> None:
    error = ValueError("while cleaning up")

    scope = anyio.CancelScope()

    async def body() -> None:
        scope.cancel()
        try:
            await anyio.sleep_forever()
        finally:
            raise error

    with pytest.raises(ValueError, match="cleaning up") as caught, scope:
        await in_group(body, anyio.sleep_forever)
    assert caught.value is error


async def test_a_timeout_around_it_is_a_timeout() -> None:
    with pytest.raises(TimeoutError), anyio.fail_after(0):
        await in_group(anyio.sleep_forever, anyio.sleep_forever)


async def test_cancellations_that_a_callbacks_group_left_behind_do_not_count() -> None:
    error = ValueError("x")
    if anyio.get_cancelled_exc_class().__module__.startswith("trio"):
        import trio

        async def child() -> None:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(trio.sleep_forever)
                nursery.start_soon(trio.sleep_forever)
    else:

        async def child() -> None:
            inner = BaseExceptionGroup("deeper", [anyio.get_cancelled_exc_class()()])
            await leaving(anyio.get_cancelled_exc_class()(), inner)

    with pytest.raises(ValueError, match="x") as caught:
        await in_group(raising(error), child)
    assert caught.value is error


async def test_a_group_within_which_there_is_an_error_counts() -> None:
    mine, other = ValueError("x"), KeyError("y")

    async def child() -> None:
        await leaving(other)

    with pytest.raises(BaseExceptionGroup) as caught:
        await in_group(raising(mine), child)
    assert mine in caught.value.exceptions


async def test_nested_streams_each_take_off_their_own_level() -> None:
    error = ValueError("x")

    async def inner() -> None:
        await in_group(raising(error), anyio.sleep_forever)

    with pytest.raises(ValueError, match="x") as caught:
        await in_group(inner, anyio.sleep_forever)
    assert caught.value is error
