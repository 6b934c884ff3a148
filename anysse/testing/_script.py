"""Which script answers which request, and what is said of one that failed. Knows no sockets."""

from collections import deque
from collections.abc import Awaitable, Mapping, Sequence
from typing import TypeAlias, final

import anyio

from anysse._check import shown
from anysse._errors import InvalidRequest

from ._connection import ClientLeft, Connection, Step
from ._requests import Request, ScriptFailed

Script: TypeAlias = Step | Sequence[Step]
"""What answers one request: a step, or several in their order."""


@final
class Scripts:
    """Scripts to be used up, one a request, in order; then what answers all others."""

    def __init__(
        self, scripts: Sequence[Script], then: Script | None, routes: Mapping[str, Script] | None
    ) -> None:
        self._all = [steps_of(script, f"script {number}") for number, script in enumerate(scripts, 1)]
        self._left = deque(enumerate(self._all, 1))
        self._then = steps_of(then, "then") if then is not None else (stop,)
        self.failure: Exception | None = None
        """What the first script that failed did raise."""
        if routes is not None and not isinstance(routes, Mapping):
            raise InvalidRequest("routes", f"must map paths to scripts, not {shown(routes)}")
        self._routes = {_path(path): steps_of(script, "routes") for path, script in (routes or {}).items()}

    async def answer(self, connection: Connection) -> None:
        """Take the steps of the script whose turn it is."""
        request = connection.request
        name, steps = self._next(request)
        for taken, step in enumerate(steps):
            try:
                await _take(step, connection)
            except ClientLeft:  # which it may do
                raise
            except AssertionError as exc:
                message = _report(name, request, steps, taken, str(exc) or type(exc).__name__)
                failure = ScriptFailed(message, request)
                self.failure = self.failure or failure
                raise failure from (None if isinstance(exc, ScriptFailed) else exc)
            except Exception as exc:
                self.failure = self.failure or exc
                raise

    def check_all_used(self) -> None:
        """Fail where a script is left."""
        if self._left:
            number, steps = self._left[0]
            lines = [f"script {number} of {len(self._all)} was never asked for", *map(_line, steps)]
            raise ScriptFailed("\n".join(lines))

    def _next(self, request: Request) -> tuple[str, Sequence[Step]]:
        if request.path in self._routes:
            return f"the script for {request.path}", self._routes[request.path]
        if self._left:
            number, steps = self._left.popleft()
            return f"script {number} of {len(self._all)}", steps
        return "what comes after all scripts", self._then


async def _take(step: Step, connection: Connection) -> None:
    """Take a step; where several tasks of it find that the client left, that is one thing."""
    action: object = step(connection)
    if not isinstance(action, Awaitable):
        raise TypeError(f"a step has to be an async function, and {step!r} gave {shown(action)}")
    try:
        await action
    except BaseExceptionGroup as group:
        left, others = group.split((ClientLeft, anyio.get_cancelled_exc_class()))
        if others is not None or left is None or left.subgroup(ClientLeft) is None:
            raise
        raise ClientLeft from group


def steps_of(script: Script, argument: str) -> Sequence[Step]:
    """Give the steps of a script, checked."""
    steps = (script,) if callable(script) else script
    if isinstance(steps, Sequence) and not isinstance(steps, str | bytes) and all(map(callable, steps)):
        return tuple(steps)
    raise InvalidRequest(argument, f"must be a step, or a sequence of steps, not {shown(script)}")


def _path(path: object) -> str:
    """Refuse what no request could have."""
    if isinstance(path, str) and path.startswith("/") and "?" not in path:
        return path
    raise InvalidRequest("routes", f"must have paths that begin with '/', without a query, not {shown(path)}")


async def stop(connection: Connection) -> None:
    """Say that there is no more: a client of event streams does not come back after a 204."""
    await connection.respond(204)


def _report(name: str, request: Request, steps: Sequence[Step], taken: int, problem: str) -> str:
    lines = [f"{name} failed at step {taken + 1} of {len(steps)}"]
    for number, step in enumerate(steps):
        lines.append(f"{_line(step)}{'  (done)' if number < taken else ''}")
        if number == taken:
            lines += [f"    > {line}" for line in problem.splitlines()]
    lines += ["in answer to", *(f"    {line}" for line in str(request).splitlines())]
    return "\n".join(lines)


def _line(step: Step) -> str:
    is_own = hasattr(step, "__qualname__")
    return f"    {step.__qualname__}" if is_own else f"    {step!r}"
