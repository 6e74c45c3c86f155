"""Does for many at once what each asks for alone: whatever comes while one group is being done makes up the next."""

from __future__ import annotations

import threading
from concurrent.futures import Future
from queue import SimpleQueue
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from isolation.errors import IsolationError

Asked = TypeVar("Asked")
Answer = TypeVar("Answer")
_MOST_AT_ONCE = 1_000


class Together(Generic[Asked, Answer]):
    """
    One thread that answers all that wait, in the order in which they asked, group by group; ``close`` it.

    ``do`` takes a group and returns an answer for each, or why there is none. What it raises is the answer of all.
    """

    def __init__(self, name: str, do: Callable[[Sequence[Asked]], Sequence[Answer | IsolationError]]) -> None:
        self._do = do
        self._asked: SimpleQueue[tuple[Asked, Future[Answer]] | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._answer, name=name, daemon=True)
        self._thread.start()

    def ask(self, asked: Asked) -> Future[Answer]:
        """Ask for something; the answer comes when it is done."""
        future: Future[Answer] = Future()
        self._asked.put((asked, future))
        return future

    def close(self) -> None:
        """Do what was asked for by now, and end."""
        self._asked.put(None)
        self._thread.join()

    def _answer(self) -> None:
        going = True
        while going:
            group = [self._asked.get()]
            while len(group) < _MOST_AT_ONCE and not self._asked.empty():
                group.append(self._asked.get())
            going = None not in group
            # Whoever does not wait any more is not asked for: from here on no answer can be called off.
            wanted = [one for one in group if one is not None and one[1].set_running_or_notify_cancel()]
            if wanted:
                self._answer_group(wanted)

    def _answer_group(self, group: Sequence[tuple[Asked, Future[Answer]]]) -> None:
        try:
            answers: Sequence[Answer | BaseException] = self._do([asked for asked, _ in group])
        except BaseException as error:  # noqa: BLE001 - whoever asked gets it
            answers = [error] * len(group)
        for (_, future), answer in zip(group, answers, strict=True):
            if isinstance(answer, BaseException):
                future.set_exception(answer)
            else:
                future.set_result(answer)
