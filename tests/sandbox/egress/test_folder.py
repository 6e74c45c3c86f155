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
from typing import TYPE_CHECKING

import pytest

from isolation.clock import SystemClock
from isolation.errors import EngineError
from isolation.model.endpoint import Endpoint
from isolation.model.network import Network
from isolation.sandbox.egress.folder import Egresses
from tests.sandbox.egress.conftest import threads

if TYPE_CHECKING:
    from collections.abc import Iterator

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
folder = Path(sys.argv[1]) / "egress"
os.setuid(int(sys.argv[2]))  # after the imports: where they lie, it may be root alone who can read
egress = Egresses(folder, SystemClock()).open("cell", 231099, Network(allow=(Endpoint("site.example", 443),)))
print(*(oct(path.stat().st_mode & 0o777) for path in (folder, egress.path, egress.path / "proxy.sock")))
egress.close()
"""


@pytest.fixture
def egresses(tmp_path: Path) -> Iterator[Egresses]:
    yield Egresses(tmp_path / "egress", SystemClock())
    assert threads() == []


def test_the_socket_belongs_to_its_cell_alone(egresses: Egresses) -> None:
    """As root: another cell has another uid, and could not open it even if it saw it."""
    if os.geteuid() != 0:
        pytest.skip("only root may give a file away")
    egress = egresses.open("cell", UID, NETWORK)
    seen = (egress.path / "proxy.sock").stat()
    egress.close()

    assert (seen.st_uid, seen.st_gid, stat.S_IMODE(seen.st_mode)) == (UID, UID, 0o600)
    assert stat.S_IMODE(egress.path.stat().st_mode) == 0o755
    assert stat.S_IMODE(egress.path.parent.stat().st_mode) == 0o700


def test_without_roots_rights_the_folder_above_keeps_others_away() -> None:
    """In the cell, which has the lower folder alone, there is one uid; it must be able to open the socket."""
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
    """A socket's path has at most 107 bytes; a state folder's may have thousands."""
    folder = tmp_path / ("deep" * 50) / ("deeper" * 30)
    folder.mkdir(parents=True)
    egress = Egresses(folder / "egress", SystemClock()).open("cell", os.getuid(), NETWORK)

    at = os.open(egress.path, os.O_DIRECTORY)
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(f"/proc/self/fd/{at}/proxy.sock")
        client.sendall(b"CONNECT other.example:443 HTTP/1.0\r\n\r\n")
        assert client.recv(100).startswith(b"HTTP/1.1 403 ")
    os.close(at)
    egress.close()


def test_after_its_end_nothing_is_there(egresses: Egresses) -> None:
    """Closed first, and removed when no container has it mounted any more; what was decided can still be read."""
    egress = egresses.open("cell", os.getuid(), NETWORK)
    assert egresses.names() == ("cell",)

    egress.close()
    egress.remove()
    egress.remove()

    assert egresses.names() == ()
    assert egress.traffic().decisions == ()


def test_what_a_dead_run_left_can_be_removed(egresses: Egresses) -> None:
    """By the name of its cell."""
    egresses.open("dead", os.getuid(), NETWORK).close()

    egresses.remove("dead")
    egresses.remove("dead")

    assert egresses.names() == ()


def test_where_no_way_out_can_be_made_is_told(tmp_path: Path) -> None:
    """With the place, and nothing half made."""
    (tmp_path / "egress").write_text("a file, where a folder should be")

    with pytest.raises(EngineError, match="no way out can be made in") as failed:
        Egresses(tmp_path / "egress", SystemClock()).open("cell", os.getuid(), NETWORK)

    assert failed.value.hint
