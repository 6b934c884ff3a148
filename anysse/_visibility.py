"""Whether a program can be seen, and who wants to know. Pure: no event loop, no signal, no window."""

from collections.abc import Callable
from typing import TypeAlias, final

from ._check import check_choice
from ._log import logger

Listener: TypeAlias = Callable[[], None]


@final
class Visibility:
    """Whether your program can be seen, as you say: streams that it is given to pause while it cannot.

    Give one object to all streams that it is for, as in ``open_stream(url, visibility=visibility)``, and call
    ``hide()`` and ``show()`` as your window, terminal or screen goes and comes. Saying the same twice is one
    change.

    It may be made where no event loop runs, and outlive one. It takes no lock: call it in the thread of the
    event loop whose streams it is for, from another thread through ``loop.call_soon_threadsafe()`` or a
    portal of AnyIO's.

    Args:
        is_visible: Whether it can be seen to begin with.

    Raises:
        InvalidRequest: ``is_visible`` is not a bool.
    """

    __slots__ = ("__weakref__", "_is_shown", "_is_stopped", "_listeners")

    def __init__(self, *, is_visible: bool = True) -> None:
        check_choice("is_visible", is_visible, (True, False))
        self._is_shown = is_visible
        self._is_stopped = False
        self._listeners: dict[Listener, None] = {}  # in the order of subscription

    def __repr__(self) -> str:
        return f"{type(self).__name__}(is_visible={self.is_visible})"

    @property
    def is_visible(self) -> bool:
        """Whether your program can be seen now."""
        return self._is_shown and not self._is_stopped

    def show(self) -> None:
        """Say that it can be seen from now on. It returns at once; streams go on as their tasks run."""
        self._change(is_shown=True, is_stopped=self._is_stopped)

    def hide(self) -> None:
        """Say that it cannot be seen from now on. It returns at once; streams pause as their tasks run."""
        self._change(is_shown=False, is_stopped=self._is_stopped)

    def _stop(self) -> None:
        """Say that the program is about to be stopped: it cannot be seen, whatever else is said."""
        self._change(is_shown=self._is_shown, is_stopped=True)

    def _go_on(self) -> None:
        """Say that it goes on: it can be seen, unless it is hidden."""
        self._change(is_shown=self._is_shown, is_stopped=False)

    def _subscribe(self, listener: Listener) -> None:
        """Have a function called after each change, in the task that says it. It asks what is true then."""
        self._listeners[listener] = None

    def _unsubscribe(self, listener: Listener) -> None:
        """Have it called no more, not even in a round that has begun. Once is enough, twice is fine."""
        self._listeners.pop(listener, None)

    def _change(self, *, is_shown: bool, is_stopped: bool) -> None:
        was_visible = self.is_visible
        self._is_shown, self._is_stopped = is_shown, is_stopped
        if self.is_visible is was_visible:
            return
        for listener in tuple(self._listeners):
            if listener in self._listeners:  # one before it may have unsubscribed it
                _call(listener)


def _call(listener: Listener) -> None:
    """Call a listener; it can break neither the others nor whoever says that something changed."""
    try:
        listener()
    except Exception:  # noqa: BLE001 - that is the promise
        logger.exception("a listener of a visibility failed")
