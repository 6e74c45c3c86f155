"""What tests of the clients start from: a real server, and each operation in both colours."""

from __future__ import annotations

import asyncio
import inspect
import threading
from typing import TYPE_CHECKING, Any, TypeAlias

import pytest

from isolation.client.context import AsyncContextClient, ContextClient
from tests.client.answers import Answers
from tests.service.server import Server

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


AnyClient: TypeAlias = Any
"""A client of either colour, or what it is given or returns: the awaited one is spoken to as the other is."""


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Run one server for all tests; each has a namespace of its own."""
    with Server(tmp_path_factory.mktemp("server"), "--slots", "0") as server:
        yield server


class Awaited:
    """An ``AsyncContextClient`` whose methods are awaited for the caller, so that one test serves both colours."""

    def __init__(self, *place: AnyClient, **more: AnyClient) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()
        try:
            self._client = AsyncContextClient(*place, **more)
        except BaseException:
            self._stop()
            raise

    def __getattr__(self, name: str) -> Callable[..., Any]:
        def call(*given: object, **more: object) -> AnyClient:
            found = getattr(self._client, name)(*given, **more)
            if inspect.isasyncgen(found):
                return iter(self._wait(_all(found)))
            return self._wait(found)

        return call

    def __repr__(self) -> str:
        return repr(self._client).removeprefix("Async")

    def close(self) -> None:
        """Close the client, and end its loop."""
        self._wait(self._client.close())
        self._stop()

    def _stop(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _wait(self, found: AnyClient) -> AnyClient:
        return asyncio.run_coroutine_threadsafe(found, self._loop).result(60)


async def _all(found: AnyClient) -> list[Any]:
    return [one async for one in found]


class MakeClient:
    """Makes clients of one colour, and closes them."""

    def __init__(self, kind: Callable[..., Any]) -> None:
        self._kind = kind
        self._made: list[Any] = []

    def __call__(self, *place: AnyClient, **more: AnyClient) -> AnyClient:
        """Make one."""
        self._made.append(self._kind(*place, **more))
        return self._made[-1]

    def close(self) -> None:
        """Close all that were made."""
        for one in self._made:
            one.close()


@pytest.fixture(params=[ContextClient, Awaited], ids=["waiting", "awaited"])
def make(request: pytest.FixtureRequest) -> Iterator[MakeClient]:
    made = MakeClient(request.param)
    yield made
    made.close()


@pytest.fixture
def namespace(request: pytest.FixtureRequest) -> str:
    """Name a namespace that no other test has."""
    return f"t{abs(hash(request.node.nodeid)):x}"


@pytest.fixture
def client(make: MakeClient, server: Server, namespace: str) -> AnyClient:
    return make(url=server.url, token=server.token, namespace=namespace)


@pytest.fixture
def answers() -> Iterator[Answers]:
    answers = Answers()
    yield answers
    answers.close()
