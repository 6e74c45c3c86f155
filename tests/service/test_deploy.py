"""What deploy/ has is used as it is there, but for places and ports."""

from __future__ import annotations

import shutil
import socket
import ssl
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import httpx2
import pytest
import socketio
import trustme

from tests.service.server import Server, free_port
from tests.site import until
from tests.test_documents import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.slow
DEPLOY = ROOT / "deploy"


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.mark.parametrize("name", ["isolation.service", "isolation-worker.service"])
def test_a_unit_is_one(tmp_path: Path, name: str) -> None:
    """Systemd understands every line of it."""
    tool = shutil.which("systemd-analyze")
    if tool is None:
        pytest.skip("systemd-analyze is not there")
    program = Path(sys.executable).with_name("isolation")
    text = (DEPLOY / name).read_text(encoding="utf-8")
    assert "/opt/isolation/bin/isolation --state" in text
    unit = tmp_path / name
    unit.write_text(text.replace("/opt/isolation/bin/isolation --state", f"{program} --state"), encoding="utf-8")
    done = subprocess.run(
        [tool, "verify", "--recursive-errors=no", unit], capture_output=True, text=True, check=False, timeout=60
    )
    assert [line for line in done.stderr.splitlines() if name in line] == []


@pytest.fixture
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def behind(tmp_path: Path, authority: trustme.CA) -> Iterator[tuple[Server, str]]:
    """A server behind nginx, and nginx's address."""
    nginx = shutil.which("nginx")
    if nginx is None:
        pytest.skip("nginx is not there; scripts/test installs it where it may")
    port = free_port()
    certificate = authority.issue_cert("localhost")
    chain, key = tmp_path / "fullchain.pem", tmp_path / "privkey.pem"
    certificate.private_key_pem.write_to_path(key)
    chain.write_bytes(b"".join(pem.bytes() for pem in certificate.cert_chain_pems))
    with Server(tmp_path / "state", "--slots", "0", "--proxy", "127.0.0.1") as server:
        text = (DEPLOY / "nginx.conf").read_text(encoding="utf-8")
        for shown, real in (
            ("listen 443 ssl;", f"listen 127.0.0.1:{port} ssl;"),
            ("/etc/isolation/tls/fullchain.pem", str(chain)),
            ("/etc/isolation/tls/privkey.pem", str(key)),
            ("http://127.0.0.1:8080", server.url),
            ("isolation_each 200;", "isolation_each 2;"),
        ):
            assert text.count(shown) == 1, shown
            text = text.replace(shown, real)
        around = tmp_path / "nginx.conf"
        head = f"daemon off; pid {tmp_path}/pid; error_log stderr; events {{}}"
        around.write_text(f"{head} http {{ access_log off;\n{text}\n}}", encoding="utf-8")
        with subprocess.Popen([nginx, "-p", tmp_path, "-c", around], stderr=subprocess.DEVNULL) as proxy:
            until(lambda: listens(port))
            yield server, f"https://localhost:{port}"
            proxy.terminate()


def test_nginx_speaks_tls_for_the_server(behind: tuple[Server, str], authority: trustme.CA) -> None:
    """Who asks is who the proxy says, a cookie is for TLS alone, and events come as they happen."""
    server, url = behind
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)
    headers = {"Authorization": f"Bearer {server.token}", "X-Forwarded-For": "192.0.2.7"}
    with httpx2.Client(base_url=url, verify=trusting, headers=headers) as client:
        decisions = client.get("/v1/audit", params={"limit": 1}).json()["decisions"]
        assert decisions[0]["address"] == "127.0.0.1"
        assert client.get("/version").headers["Strict-Transport-Security"].startswith("max-age=")
        cookie = client.post("/login", data={"token": server.token}, headers={"Origin": url}).headers["Set-Cookie"]
        assert "Secure" in cookie

        heard: list[object] = []
        listener = socketio.Client(reconnection=False, ssl_verify=False)
        listener.on("context_changed", heard.append)
        listener.connect(url, auth={"token": server.token}, transports=["websocket"], wait_timeout=30)
        listener.call("subscribe", {"keys": ["a"]}, timeout=30)
        client.put("/v1/context/entry", params={"key": "a"}, json={"value": 1})
        until(lambda: heard != [])
        listener.disconnect()


def test_nginx_lets_nobody_have_all_connections(behind: tuple[Server, str], authority: trustme.CA) -> None:
    """For the server they are all the proxy's, and it has room for so many."""
    server, url = behind
    listeners = [socketio.Client(reconnection=False, ssl_verify=False) for _ in range(2)]
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)
    with httpx2.Client(base_url=url, verify=trusting) as client:
        for listener in listeners:
            assert client.get("/version").status_code == 200
            listener.connect(url, auth={"token": server.token}, transports=["websocket"], wait_timeout=30)
        assert client.get("/version").status_code == 429
        listeners.pop().disconnect()
        until(lambda: client.get("/version").status_code == 200)
        listeners.pop().disconnect()
