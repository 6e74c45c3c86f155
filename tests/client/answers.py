"""A server of a test's own, for what one of ours never does."""

from __future__ import annotations

import ssl
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import trustme

BREAK = (0, "", "")


class Answers:
    """
    A server that answers each question with the next of ``given``: status, Retry-After, body; BREAK hangs up.

    ``asked`` has the methods of the questions, beside them ``paths``, ``headers`` and ``bodies``.
    """

    def __init__(self, certificate: trustme.LeafCert | None = None) -> None:
        self.given: list[tuple[int, str, str]] = []
        self.asked: list[str] = []
        self.paths: list[str] = []
        self.bodies: list[str] = []
        self.headers: list[dict[str, str]] = []
        answers = self

        class Handler(BaseHTTPRequestHandler):
            def answer(self) -> None:
                answers.asked.append(self.command)
                answers.headers.append(dict(self.headers))
                answers.paths.append(self.path)
                answers.bodies.append(self.rfile.read(int(self.headers.get("Content-Length", 0))).decode())
                status, after, body = answers.given.pop(0)
                if not status:
                    self.close_connection = True
                    return
                self.send_response(status)
                if after:
                    self.send_header("Retry-After", after)
                if 300 <= status < 400:
                    self.send_header("Location", answers.url + "/other")
                self.send_header("Content-Length", str(len(body.encode())))
                self.end_headers()
                self.wfile.write(body.encode())

            do_GET = do_PUT = do_DELETE = do_POST = answer  # noqa: N815 - http.server's names

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        if certificate is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            certificate.configure_cert(context)
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
            self._server.handle_error = lambda *_: None  # type: ignore[method-assign] # whoever does not trust us hangs up
            self.url = f"https://localhost:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()

    def close(self) -> None:
        """End it."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
