"""The folder of ways out: who may open the socket, how long it lives, what is left of it."""

from __future__ import annotations

import os
import shutil
import socket
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from isolation.clock import SystemClock
from isolation.errors import EngineError
from isolation.model.endpoint import Endpoint
from isolation.model.network import Network
from isolation.sandbox.egress.folder import Egress, Egresses
from tests.sandbox.egress.conftest import threads

UID = 231_099
NETWORK = Network(allow=(Endpoint("site.example", 443),))
OPEN = """
import os, sys
from pathlib import Path
import isolation.sandbox.egress.exchange, isolation.sandbox.egress.proxy, isolation.sandbox.egress.resolver
from isolation.clock import SystemClock
from isolation.model.endpoint import Endpoint
from isolation.model.network import Network
from isolation.sandbox.egress.folder import Egresses
os.setuid(int(sys.argv[2]))  # after the imports: where they lie, it may be root alone who can read
stage = Path(sys.argv[1])
egress = Egresses(SystemClock()).open(stage, 231099, Network(allow=(Endpoint("site.example", 443),)))
ways = [path for path in (egress.path.parent, egress.path, egress.path / "proxy.sock") if path != stage]
print(*(oct(path.stat().st_mode & 0o777) for path in ways))
egress.close()
"""


def open_in(stage: Path, uid: int = UID) -> Egress:
    return Egresses(SystemClock()).open(stage, uid, NETWORK)


def test_the_socket_belongs_to_its_cell_alone(tmp_path: Path) -> None:
    """As root: another cell has another uid, and could not open it even if it saw it."""
    if os.geteuid() != 0:
        pytest.skip("only root may give a file away")
    egress = open_in(tmp_path)
    seen = (egress.path / "proxy.sock").stat()
    egress.close()

    assert (seen.st_uid, seen.st_gid, stat.S_IMODE(seen.st_mode)) == (UID, UID, 0o600)
    assert egress.path == tmp_path / "egress"
    assert stat.S_IMODE(egress.path.stat().st_mode) == 0o755


def test_names_of_tcp_lie_beside_it_for_any_uid_to_read(tmp_path: Path) -> None:
    """Whatever the umask; where the policy has none, there is no such file."""
    listed = Network.model_validate({"tcp": ["db.example.org:5432"]})
    before = os.umask(0o077)
    try:
        egress = Egresses(SystemClock()).open(tmp_path, os.getuid(), listed)
    finally:
        os.umask(before)
    egress.close()

    assert egress.hosts is not None
    assert egress.hosts.read_text() == "127.64.0.1 db.example.org\n"
    assert stat.S_IMODE(egress.hosts.stat().st_mode) == 0o644
    (tmp_path / "other").mkdir()
    without = open_in(tmp_path / "other", os.getuid())
    without.close()
    assert without.hosts is None


def test_without_roots_rights_a_folder_above_keeps_others_away() -> None:
    """In the cell, which has the lowest folder alone, there is one uid; it must be able to open the socket."""
    uid = 65534 if os.geteuid() == 0 else os.geteuid()
    folder = Path(tempfile.mkdtemp())
    try:
        os.chown(folder, uid, -1)
        program = [sys.executable, "-c", OPEN, str(folder), str(uid)]
        done = subprocess.run(program, capture_output=True, text=True, check=False, timeout=60)
    finally:
        shutil.rmtree(folder)

    assert done.stdout.split() == ["0o700", "0o755", "0o666"], done.stderr


def test_a_long_path_is_no_obstacle(tmp_path: Path) -> None:
    """A socket's path has at most 107 bytes; that of a folder in which things are laid out may have thousands."""
    stage = tmp_path / ("deep" * 50) / ("deeper" * 30)
    stage.mkdir(parents=True)
    egress = open_in(stage, os.getuid())

    at = os.open(egress.path, os.O_DIRECTORY)
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(f"/proc/self/fd/{at}/proxy.sock")
        client.sendall(b"CONNECT other.example:443 HTTP/1.0\r\n\r\n")
        assert client.recv(100).startswith(b"HTTP/1.1 403 ")
    os.close(at)
    egress.close()


def test_after_its_end_what_was_decided_can_still_be_read(tmp_path: Path) -> None:
    """The record is written when the cell is gone; and who ends it twice ends it."""
    egress = open_in(tmp_path, os.getuid())

    egress.close()
    egress.close()

    assert threads() == []
    assert egress.traffic().decisions == ()


def test_where_no_way_out_can_be_made_is_told(tmp_path: Path) -> None:
    """With the place, and nothing is left open."""
    (tmp_path / "egress").write_text("a file, where the folder should be")
    (tmp_path / "alone").write_text("the same for those who are not root")

    with pytest.raises(EngineError, match="the socket of a cell's network cannot be made in") as failed:
        open_in(tmp_path)

    assert failed.value.hint
    assert threads() == []
