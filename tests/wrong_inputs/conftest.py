"""What tests of wrong inputs start from: a desk to work at, a gate before the engine, and how a refusal is checked."""

from __future__ import annotations

import os
import re
import socket
import socketserver
import subprocess
import sys
import threading
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from isolation.sandbox.docker_engine import DockerEngine
from isolation.sandbox.engine import DEFAULT_ADDRESS
from isolation.settings import Settings, load_settings
from isolation.units import format_bytes
from isolation.wiring import open_stores

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

COMMAND = Path(sys.executable).with_name("isolation")
NOWHERE = "unix:///nonexistent.sock"
TIME_S = 120.0

STEPS = "steps:\n  - name: load\n    module: load\n    function: run\n"
SUM = "  - name: sum\n    module: load\n    function: sum_up\n"
MODULE = "def run(context, params):\n    return {}\n"
OUTCOMES = (
    "Known: succeeded, failed, out_of_memory, timed_out, too_many_processes, disk_full, output_limit, no_answer, "
    "bad_answer, cancelled, refused, lost, conflict."
)
WITH_POLICY = ("run", "{folder}", "--policy", "{folder}/p.yaml")


class Desk:
    """Where a person works: a recipe's folder, a state folder, and an environment in which nobody set anything."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.folder = path / "etl"
        self.state = path / "state"
        self.write({"recipe.yaml": STEPS, "load.py": MODULE, "../settings.toml": ""})

    def write(self, files: Mapping[str, str]) -> None:
        """Write files below the recipe's folder; one whose text is empty is removed, if it is there."""
        for name, text in files.items():
            path = self.folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(self.fill(text), encoding="utf-8")

    def fill(self, text: str) -> str:
        """Put this test's own names in the place of those in braces."""
        names = {"recipe": self.folder / "recipe.yaml", "folder": self.folder, "state": self.state, "here": self.path}
        for name, value in names.items():
            text = text.replace(f"{{{name}}}", str(value))
        return text

    def command(self, arguments: Sequence[str], engine: str, environment: Mapping[str, str]) -> dict[str, Any]:
        """Return what subprocess needs to know."""
        own = {name: value for name, value in os.environ.items() if not name.startswith(("ISOLATION_", "DOCKER_"))}
        own |= {"ISOLATION_SETTINGS": str(self.path / "settings.toml"), "ISOLATION_POOL": os.environ["ISOLATION_POOL"]}
        own |= {name: self.fill(value) for name, value in environment.items()}
        given = [str(COMMAND), "--state", str(self.state), "--engine", engine, *map(self.fill, arguments)]
        return {"args": given, "env": own, "cwd": self.path, "text": True, "stdin": subprocess.DEVNULL}

    def run(
        self,
        *arguments: str,
        engine: str = NOWHERE,
        environment: Mapping[str, str] | None = None,
        before: Sequence[str] = (),
    ) -> tuple[int, str, str]:
        """Run a command; returns its exit code, what it printed, and what it told on stderr."""
        command = self.command(arguments, engine, environment or {})
        command["args"] = [*before, *command["args"]]
        done = subprocess.run(**command, capture_output=True, timeout=TIME_S, check=False)
        return done.returncode, done.stdout, done.stderr

    def text(self, wrong: Wrong) -> str:
        """Write what a person reads."""
        return self.fill(f"isolation: {wrong.told}\n{wrong.hint}\n")


@dataclass(frozen=True, kw_only=True)
class Wrong:
    """One wrong input, and what a person is told of it."""

    files: Mapping[str, str] = field(default_factory=dict)
    command: tuple[str, ...] = ("run", "{folder}")
    environment: Mapping[str, str] = field(default_factory=dict)
    told: str
    hint: str
    code: int = 2


def recipe(text: str) -> dict[str, str]:
    return {"recipe.yaml": text}


def policy(text: str) -> dict[str, str]:
    return {"p.yaml": f"name: p\n{text}"}


class Gate(socketserver.ThreadingUnixStreamServer):
    """Stands before the engine: passes everything on, and notes what was asked for."""

    daemon_threads = False

    def __init__(self, path: Path, address: str) -> None:
        super().__init__(str(path), _Passage)
        self.address = f"unix://{path}"
        self.engine = address.removeprefix("unix://")
        self.heard = b""

    def asked(self) -> set[tuple[str, str]]:
        """Return the methods and paths of all requests, without the API's version."""
        found = re.findall(rb"^([A-Z]+) (?:/v[\d.]+)?(/[^? ]*)\S* HTTP/1", self.heard, re.MULTILINE)
        return {(method.decode(), path.decode()) for method, path in found}


class _Passage(socketserver.BaseRequestHandler):
    server: Gate

    def handle(self) -> None:
        with socket.socket(socket.AF_UNIX) as engine:
            engine.connect(self.server.engine)
            back = threading.Thread(target=_pass_on, args=(engine, self.request))
            back.start()
            while chunk := self.request.recv(2**16):
                self.server.heard += chunk
                engine.sendall(chunk)
            engine.shutdown(socket.SHUT_RDWR)
            back.join()


def _pass_on(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):  # whoever asked has gone
        while chunk := source.recv(2**16):
            target.sendall(chunk)


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


@pytest.fixture
def address(engine: None) -> str:
    """Where the engine answers."""
    del engine  # it is there
    return load_settings().engine or os.environ.get("DOCKER_HOST") or DEFAULT_ADDRESS


@pytest.fixture
def gate(tmp_path: Path, address: str) -> Iterator[Gate]:
    with Gate(tmp_path / "gate", address) as gate:
        thread = threading.Thread(target=gate.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield gate
        gate.shutdown()
        thread.join()


def refuse_before_the_engine(desk: Desk, wrong: Wrong) -> None:
    """Check that a person is told so, though no engine answers, and that the state folder was not even made."""
    desk.write(wrong.files)

    assert desk.run(*wrong.command, environment=wrong.environment) == (wrong.code, "", desk.text(wrong))
    assert not desk.state.exists()


def refuse_at_the_gate(desk: Desk, gate: Gate, wrong: Wrong) -> None:
    """Check that a person is told so, that the engine was only looked at, and that no run is recorded."""
    desk.write(wrong.files)

    code, printed, told = desk.run(*wrong.command, engine=gate.address, environment=wrong.environment)

    assert {method for method, _ in gate.asked()} == {"GET"}
    facts = DockerEngine(gate.address).facts()
    expected = desk.text(wrong)
    for name, value in {
        "engine": gate.address,
        "cpus": str(facts.cpus),
        "memory": format_bytes(facts.memory_bytes),
    }.items():
        expected = expected.replace(f"{{{name}}}", value)
    assert (code, printed, told) == (wrong.code, "", expected)
    with open_stores(Settings(state=desk.state)) as stores:
        assert stores.ledger.list(1) == ()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Each test here starts real commands, half a second apiece: not for every save."""
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent):
            item.add_marker(pytest.mark.slow)
