"""
The clients of a server's context: one that waits, and one to be awaited.

    questions (what to ask) ──▶ client (one colour: sends it, asks again) ──▶ answer (what it means)
"""

from __future__ import annotations

import weakref
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, Self, TypeVar, Unpack

import httpx
from tenacity import AsyncRetrying, Retrying

from isolation.client import answer, questions
from isolation.client.server import RETRIES, TIMEOUT_S, Server, place_of
from isolation.errors import InputError
from isolation.model.changes import Changes
from isolation.rules.scope import exactly

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
    from typing import TypedDict

    from pydantic import JsonValue

    from isolation.client.request import Request, Talk
    from isolation.model.changes import Entry

    class _Filters(TypedDict, total=False):
        who: str | None
        run_id: str | None
        since: str | None
        until: str | None


T = TypeVar("T")


class _Client(ABC):
    """What both colours are made of."""

    def __init__(
        self,
        host: str | None = None,
        port: int | None = None,
        *,
        url: str | None = None,
        token: str | None = None,
        namespace: str | None = None,
        timeout_s: float = TIMEOUT_S,
        retries: int = RETRIES,
        allow_plain: bool = False,
    ) -> None:
        self._server = Server.find(
            place_of(url, host, port),
            token,
            allow_plain=allow_plain,
            namespace=namespace,
            timeout_s=timeout_s,
            retries=retries,
        )
        self._open(self._server.settings())

    @abstractmethod
    def _open(self, settings: dict[str, Any]) -> None:
        """Make the client of HTTP underneath."""

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._server.url!r})"


class ContextClient(_Client):
    """
    The context of a server, for any number of threads at once.

    It is at ``url``, or speaks plain HTTP at ``host`` and ``port``; where none of these is said, it is at the variable
    ISOLATION_URL, else at http://127.0.0.1:8080. ``token`` is who asks (else ISOLATION_TOKEN says it), and
    ``namespace`` whose context it is about (else the token's own). Nothing may keep quiet for longer than
    ``timeout_s``; what was surely not done is asked ``retries`` more times, each after ``timeout_s`` at most. A token
    goes readable to no other machine, unless ``allow_plain`` says that nobody can listen.

    What the server refuses is the error that it would be here, such as ContextChangedError. ServerUnreachableError:
    nothing answers. AnswerLostError: a change may be made, or not, and whoever asked must look.
    """

    def _open(self, settings: dict[str, Any]) -> None:
        self._http = httpx.Client(**settings)
        self._close = weakref.finalize(self, self._http.close)  # programs let go of clients without a word

    def get(self, key: str, default: JsonValue = None) -> JsonValue:
        """Return the value of a key, or ``default`` where there is none."""
        entry = self.entry(key)
        return default if entry is None else entry.value

    def entry(self, key: str) -> Entry | None:
        """Return what a key holds, with the version that ``if_version`` and ``expected`` ask for; None if nothing."""
        return self.ask(questions.entry(key))

    def set(self, key: str, value: JsonValue, who: str | None = None, if_version: int | None = None) -> Entry:
        """Write a value, durable when this returns; with ``if_version`` only if the key is at it (0: holds nothing)."""
        return self.ask(questions.set_(key, value, who, if_version))

    def delete(self, key: str, who: str | None = None, if_version: int | None = None) -> bool:
        """Delete a key, whose history stays; tells whether it was there."""
        return self.ask(questions.delete(key, who, if_version))

    def change(
        self,
        set: Mapping[str, JsonValue] | None = None,  # noqa: A002 - as the server has it
        delete: Sequence[str] = (),
        expected: Mapping[str, int] | None = None,
        who: str | None = None,
    ) -> tuple[Entry, ...]:
        """
        Write and delete several keys in one transaction, and return what was written.

        ``expected`` says for some keys at which version they must be (0: it holds nothing). Raises
        ContextChangedError where one is at another, NoSuchKeyError for a key to delete that is not there.
        """
        return self.ask(questions.change(_changes(set, delete), who, expected or {}))

    def entries(self, glob: str = "*") -> tuple[Entry, ...]:
        """Return what all keys under a glob hold, as it was at one moment, sorted by key."""
        return self.follow(questions.everything(glob))

    def get_all(self, glob: str = "*") -> dict[str, JsonValue]:
        """Return all values under a glob, as they were at one moment, by key."""
        return {entry.key: entry.value for entry in self.entries(glob)}

    def list_all(self, glob: str = "*") -> dict[str, JsonValue]:
        """Return the same as ``get_all``."""
        return self.get_all(glob)

    def keys(self, glob: str = "*") -> list[str]:
        """Return the keys under a glob, sorted."""
        return [*self.get_all(glob)]

    def history(
        self, glob: str = "*", limit: int | None = None, **filters: Unpack[_Filters]
    ) -> Iterator[dict[str, JsonValue]]:
        """
        Go through the writes, the newest first: key, before, after, who, timestamp (s since 1970).

        One that deleted has ``deleted``, too. ``since`` and ``until`` are RFC 3339 texts in UTC with milliseconds.
        """
        request: Request[questions.Past] | None = questions.past(limit, replaced=True, glob=glob, **filters)
        while request is not None:
            page = self.ask(request)
            yield from page.writes
            request = page.then

    def get_history(
        self, key: str | None = None, who: str | None = None, limit: int | None = None
    ) -> list[dict[str, JsonValue]]:
        """Return the writes, or those of a key or a writer, or the newest ``limit`` of them, oldest first."""
        return [*self.history(_glob(key), limit, who=who)][::-1]

    def dump_context(
        self,
        format: str = "json",  # noqa: A002 - Framework0's name
        filename: str | None = None,
        include_history: bool = False,  # noqa: FBT001, FBT002 - as above
        who: str | None = None,
        *,
        format_type: str | None = None,
    ) -> dict[str, Any]:
        """Have a dump written on the server: json, pretty, csv or txt; returns what it says of it."""
        return self.ask(questions.dump(format_type or format, filename, include_history, who))

    def list_dumps(self) -> dict[str, Any]:
        """Return the dumps that there are: ``dump_files``, each with its ``filename``."""
        return self.ask(questions.list_dumps())

    def download_dump(self, filename: str) -> str:
        """Return what is in a dump."""
        return self.ask(questions.download_dump(filename))

    def close(self) -> None:
        """Let go of the connections."""
        self._close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def follow(self, talk: Talk[T]) -> T:
        """Ask several questions, each after the answer to the one before (``client.questions``)."""
        heard: Any = None
        while True:
            try:
                request = talk.send(heard)
            except StopIteration as end:
                result: T = end.value
                return result
            heard = self.ask(request)

    def ask(self, request: Request[T]) -> T:
        """Ask one question (``client.questions``)."""
        found: T = Retrying(**answer.patience(self._server))(self._once, request)
        return found

    def _once(self, request: Request[T]) -> T:
        with answer.reaching(self._server, request):
            response = self._http.request(**self._server.asking(request))
        return answer.read(self._server, request, response)


class AsyncContextClient(_Client):
    """The same as ``ContextClient``, to be awaited; for one event loop. ``close`` it, or use ``async with``."""

    def _open(self, settings: dict[str, Any]) -> None:
        self._http = httpx.AsyncClient(**settings)

    async def get(self, key: str, default: JsonValue = None) -> JsonValue:
        """Return the value of a key, or ``default`` where there is none."""
        entry = await self.entry(key)
        return default if entry is None else entry.value

    async def entry(self, key: str) -> Entry | None:
        """Return what a key holds, with its version; None if nothing."""
        return await self.ask(questions.entry(key))

    async def set(self, key: str, value: JsonValue, who: str | None = None, if_version: int | None = None) -> Entry:
        """Write a value, durable when this returns; with ``if_version`` only if the key is at it (0: holds nothing)."""
        return await self.ask(questions.set_(key, value, who, if_version))

    async def delete(self, key: str, who: str | None = None, if_version: int | None = None) -> bool:
        """Delete a key, whose history stays; tells whether it was there."""
        return await self.ask(questions.delete(key, who, if_version))

    async def change(
        self,
        set: Mapping[str, JsonValue] | None = None,  # noqa: A002 - as the server has it
        delete: Sequence[str] = (),
        expected: Mapping[str, int] | None = None,
        who: str | None = None,
    ) -> tuple[Entry, ...]:
        """Write and delete several keys in one transaction, as ``ContextClient.change`` does."""
        return await self.ask(questions.change(_changes(set, delete), who, expected or {}))

    async def entries(self, glob: str = "*") -> tuple[Entry, ...]:
        """Return what all keys under a glob hold, as it was at one moment, sorted by key."""
        return await self.follow(questions.everything(glob))

    async def get_all(self, glob: str = "*") -> dict[str, JsonValue]:
        """Return all values under a glob, as they were at one moment, by key."""
        return {entry.key: entry.value for entry in await self.entries(glob)}

    async def list_all(self, glob: str = "*") -> dict[str, JsonValue]:
        """Return the same as ``get_all``."""
        return await self.get_all(glob)

    async def keys(self, glob: str = "*") -> list[str]:
        """Return the keys under a glob, sorted."""
        return [*await self.get_all(glob)]

    async def history(
        self, glob: str = "*", limit: int | None = None, **filters: Unpack[_Filters]
    ) -> AsyncIterator[dict[str, JsonValue]]:
        """Go through the writes, the newest first, as ``ContextClient.history`` does; for ``async for``."""
        request: Request[questions.Past] | None = questions.past(limit, replaced=True, glob=glob, **filters)
        while request is not None:
            page = await self.ask(request)
            for write in page.writes:
                yield write
            request = page.then

    async def get_history(
        self, key: str | None = None, who: str | None = None, limit: int | None = None
    ) -> list[dict[str, JsonValue]]:
        """Return the writes, or those of a key or a writer, or the newest ``limit`` of them, oldest first."""
        return [write async for write in self.history(_glob(key), limit, who=who)][::-1]

    async def dump_context(
        self,
        format: str = "json",  # noqa: A002 - Framework0's name
        filename: str | None = None,
        include_history: bool = False,  # noqa: FBT001, FBT002 - as above
        who: str | None = None,
        *,
        format_type: str | None = None,
    ) -> dict[str, Any]:
        """Have a dump written on the server: json, pretty, csv or txt; returns what it says of it."""
        return await self.ask(questions.dump(format_type or format, filename, include_history, who))

    async def list_dumps(self) -> dict[str, Any]:
        """Return the dumps that there are: ``dump_files``, each with its ``filename``."""
        return await self.ask(questions.list_dumps())

    async def download_dump(self, filename: str) -> str:
        """Return what is in a dump."""
        return await self.ask(questions.download_dump(filename))

    async def close(self) -> None:
        """Let go of the connections."""
        await self._http.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def follow(self, talk: Talk[T]) -> T:
        """Ask several questions, each after the answer to the one before (``client.questions``)."""
        heard: Any = None
        while True:
            try:
                request = talk.send(heard)
            except StopIteration as end:
                result: T = end.value
                return result
            heard = await self.ask(request)

    async def ask(self, request: Request[T]) -> T:
        """Ask one question (``client.questions``)."""
        found: T = await AsyncRetrying(**answer.patience(self._server))(self._once, request)
        return found

    async def _once(self, request: Request[T]) -> T:
        with answer.reaching(self._server, request):
            response = await self._http.request(**self._server.asking(request))
        return answer.read(self._server, request, response)


def _glob(key: str | None) -> str:
    return "*" if key is None else exactly(key)


def _changes(set_: Mapping[str, JsonValue] | None, delete: Sequence[str]) -> Changes:
    if not set_ and not delete:
        raise InputError("there is nothing to change", hint="Say what, by `set` and `delete`.")
    return Changes(set=dict(set_ or {}), deleted=tuple(delete))
