"""The worker beside a server: one does not go on without the other."""

from __future__ import annotations

from contextlib import contextmanager
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest

from isolation.service import serve
from tests.site import until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from isolation.service.service import Service


class Server:
    """As much of uvicorn's as is needed."""

    should_exit = False


class Worker:
    """One that breaks at once."""

    def run(self) -> None:
        """Break."""
        raise BrokenPipeError("nobody hears me")

    def release(self) -> None:
        """It is over already."""


def test_a_server_whose_worker_breaks_ends_with_its_error(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else it would take runs that nobody runs, and say that all is well."""

    @contextmanager
    def controller(*_: object, **__: object) -> Iterator[SimpleNamespace]:
        yield SimpleNamespace(cells=SimpleNamespace(standing=None))

    monkeypatch.setattr(serve, "open_controller", controller)
    monkeypatch.setattr(serve, "open_worker", lambda *_, **__: Worker())
    server = Server()
    with (
        pytest.raises(BrokenPipeError, match="nobody hears me"),
        serve._working(service, 1, print, server),  # type: ignore[arg-type]
    ):
        until(lambda: server.should_exit)
