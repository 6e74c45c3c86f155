"""Futures without a thread: for what may be done beside the rest, where it takes less than a thread costs."""

from __future__ import annotations

from concurrent.futures import Executor, Future
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")
P = ParamSpec("P")


class Later(Executor):
    """Does what it was given once somebody asks for its result, in the thread that asks; else never."""

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Take something to do."""
        return _Asked(lambda: fn(*args, **kwargs))


class _Asked(Future[Any]):
    def __init__(self, do: Callable[[], Any]) -> None:
        super().__init__()
        self._do = do

    def result(self, timeout: float | None = None) -> Any:  # noqa: ANN401 - as its base class
        if not self.done() and self.set_running_or_notify_cancel():
            try:
                self.set_result(self._do())
            except BaseException as error:  # noqa: BLE001 - it is raised below
                self.set_exception(error)
        return super().result(timeout)
