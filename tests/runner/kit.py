"""Calls a built-in scriptlet as a step does, in this process; and a server that it may ask."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import pytest

    from tests.runner.conftest import Load


class Kit:
    """A context, a folder for its artifacts, and the three modules of the library."""

    def __init__(self, load: Load, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self._load = load
        self.artifacts = folder / "artifacts"
        monkeypatch.setattr(load("scriptlets._etl.rows"), "FOLDER", str(folder / "rows"))
        monkeypatch.setattr(load("orchestrator.context"), "ARTIFACTS", str(self.artifacts))
        self.context: Any = None
        self.renew()

    def renew(self, secrets: dict[str, str] | None = None, **values: object) -> None:
        """Begin with another context."""
        self.context = self._load("orchestrator.context").Context(dict(values), secrets=secrets)

    def call(self, module: str, function: str, **params: object) -> Any:  # noqa: ANN401 - what run returned
        """Call a scriptlet."""
        found = self._load(f"scriptlets.{module}")
        return self._load("scriptlets.framework").call(found, function, self.context, params)[0]

    def extract(self, function: str, url: str, **options: object) -> Any:  # noqa: ANN401 - the rows
        """Extract, and return the rows."""
        outputs = self.call("extractors", function, source_url=url, connection_params=options)
        rows = list(self._load("scriptlets._etl.rows").take(self.context, "etl.rows"))
        assert outputs == {"rows": len(rows)}
        return rows

    def load(self, function: str, url: str, rows: list[Any], **options: object) -> None:
        """Load rows."""
        self.context.set("etl.rows", rows)
        assert self.call("loaders", function, target_url=url, load_options=options) == {"rows": len(rows)}
        assert url == "etl.rows" or "etl.rows" not in self.context


class Asked(NamedTuple):
    """A request as the server saw it."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


class Site:
    """A server that remembers what it was asked; ``answers`` are (status, headers, body) by path."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.asked: list[Asked] = []
        self.answers: dict[str, tuple[int, dict[str, str], bytes]] = {}


@contextmanager
def serving() -> Iterator[Site]:
    """Serve for as long as the block lasts."""

    class Handler(BaseHTTPRequestHandler):
        def answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            headers = {name.lower(): value for name, value in self.headers.items()}
            site.asked.append(Asked(self.command, self.path, headers, body))
            status, headers, content = site.answers.get(self.path, (200, {}, b""))
            self.send_response(status)
            for name, value in {"Content-Length": str(len(content)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = do_PUT = do_PATCH = answer  # noqa: N815 - the names that the server looks for

        def log_message(self, *_: Any) -> None:  # noqa: ANN401
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        site = Site(f"http://127.0.0.1:{server.server_port}")
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield site
        finally:
            server.shutdown()
            thread.join()
