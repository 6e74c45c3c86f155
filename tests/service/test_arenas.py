"""The memory that a server's threads share."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.service.server import Server

CLIENTS = 16
PROGRAM = """
import ctypes, sys, threading
from isolation.service.arenas import share_arenas
if sys.argv[1] == "shared":
    share_arenas()
libc = ctypes.CDLL(None)
libc.malloc.restype = ctypes.c_void_p
all_there = threading.Barrier(8)
def work():
    libc.malloc(ctypes.c_size_t(100_000))
    all_there.wait()
threads = [threading.Thread(target=work) for _ in range(8)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
libc.malloc_info(0, ctypes.c_void_p.in_dll(libc, "stdout"))
libc.fflush(None)
"""


@pytest.mark.parametrize(("how", "few"), [("shared", True), ("as it is", False)])
def test_threads_share_the_arenas_of_the_c_library(how: str, few: bool) -> None:  # noqa: FBT001 - a parameter
    """Eight at once have two, where each would have one of its own."""
    told = subprocess.run([sys.executable, "-c", PROGRAM, how], check=True, capture_output=True, text=True).stdout
    assert "<malloc" in told
    assert (told.count("<heap nr=") <= 2) == few


@pytest.mark.slow
def test_a_servers_threads_share_them(tmp_path: Path) -> None:
    """However many are asked at once."""
    with Server(tmp_path, "--slots", "0") as server:

        def ask(_: int) -> None:
            with server.client() as client:
                for _ in range(20):
                    assert client.get("/v1/runs").status_code == 200

        with ThreadPoolExecutor(CLIENTS) as pool:
            [*pool.map(ask, range(CLIENTS))]
        assert len([*(Path("/proc") / str(server.process.pid) / "task").iterdir()]) > CLIENTS // 2
        assert arenas_of(server.process.pid) <= 2


def arenas_of(pid: int) -> int:
    """Count the arenas beside the first: each begins at a multiple of 64 MiB, and has as much set aside."""
    lines = (Path("/proc") / str(pid) / "maps").read_text().splitlines()
    anonymous = ["rw-p", "00000000", "00:00", "0"]
    begins = [int(line.partition("-")[0], 16) for line in lines if line.split()[1:] == anonymous]
    return len([begin for begin in begins if begin % 2**26 == 0])
