"""A PostgreSQL server of the tests' own: a folder, a socket, mostly no port; and a fresh database whenever asked."""

from __future__ import annotations

import itertools
import os
import pwd
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import psutil
import psycopg

_ELSEWHERE = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
_SUPERUSER = "postgres"


class Server:
    """
    One server. ``kill`` takes it away as a crash does, ``start`` brings it back on the same folder.

    With an address it listens there, too, at port 5432, and wants a password.
    """

    def __init__(self, address: str = "") -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="isolation-pg-"))
        # Its programs refuse to be root.
        self._as: dict[str, Any] = {}
        if os.geteuid() == 0:
            account = pwd.getpwnam(_SUPERUSER)
            os.chown(self._folder, account.pw_uid, account.pw_gid)
            self._as = {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}
        self._numbers = itertools.count()
        self._killed: list[psutil.Process] = []
        trust = ("--auth-local", "trust", "--auth-host", "scram-sha-256")
        self._run("initdb", "--username", _SUPERUSER, *trust, "--encoding", "UTF8", "--locale", "C.UTF-8")
        with (self._folder / "data" / "postgresql.conf").open("a") as conf:
            conf.write(f"listen_addresses = '{address}'\nunix_socket_directories = '{self._folder}'\n")
            conf.write("max_connections = 200\n")
        self.start()

    def start(self) -> None:
        """Start it, and wait until it answers."""
        if self._killed:  # where nobody waits for dead processes, it would take its own predecessor for alive
            for lock in (self._folder / "data" / "postmaster.pid", self._folder / ".s.PGSQL.5432.lock"):
                lock.unlink()
        self._run("pg_ctl", "--wait", "--log", str(self._folder / "log"), "start")

    def kill(self) -> None:
        """End it and all its processes at once, without any last word."""
        pid = int((self._folder / "data" / "postmaster.pid").read_text().split()[0])
        self._killed = [psutil.Process(pid), *psutil.Process(pid).children()]
        self._killed[0].kill()

    def is_gone(self) -> bool:
        """Tell whether all processes of a killed server have ended: they do when they miss it."""
        return not any(process.is_running() and process.status() != "zombie" for process in self._killed)

    def stop(self) -> None:
        """End it, and take its folder away."""
        self._run("pg_ctl", "--wait", "--mode", "immediate", "stop")
        shutil.rmtree(self._folder)

    def url(self) -> str:
        """Make an empty database, and return its URL."""
        name = f"test_{next(self._numbers)}"
        with psycopg.connect(self._url("postgres"), autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}".encode())
        return self._url(name)

    def _url(self, name: str) -> str:
        return f"postgresql://{_SUPERUSER}@/{name}?host={self._folder}"

    def _run(self, program: str, *arguments: str) -> None:
        found = shutil.which(program) or next((str(path / program) for path in reversed(_ELSEWHERE)), program)
        subprocess.run(
            [found, "--pgdata", str(self._folder / "data"), *arguments],
            check=True,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            cwd=self._folder,
            env={"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8"},
            **self._as,
        )
