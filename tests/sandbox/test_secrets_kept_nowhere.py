"""Secrets on the real engine: a step has them, and nothing that is kept or shown does, in any form."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import secrets
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote, quote_plus

import docker
import pytest

from isolation.model.network import Network
from isolation.model.outcome import Outcome, StepOutcome
from isolation.model.policy import Limits, Policy
from isolation.owner import this_process
from isolation.rules.forms import forms
from isolation.sandbox.engine import engine_address
from isolation.sandbox.leases import leases_folder
from isolation.settings import Settings
from isolation.wiring import open_controller
from tests.sandbox.conftest import OnLine

if TYPE_CHECKING:
    from collections.abc import Callable

    from isolation.controller import Controller
    from isolation.model.event import Event
    from tests.sandbox.conftest import Write

pytestmark = pytest.mark.engine
POLICY = Policy(name="test", secrets=("*",), limits=Limits.model_validate({"wall": 30}))


def digest(value: str) -> str:
    return hashlib.sha256(value.encode()).hexdigest()


def said(value: str) -> set[bytes]:
    """Write a value in every form that we look for, and once more without our own code."""
    content = value.encode()
    plain = {
        value,
        content.hex(),
        base64.b64encode(content).decode().rstrip("="),
        base64.b64encode(b"user:" + content).decode()[8:-4],
        quote(value),
        quote_plus(value),
        json.dumps(value)[1:-1],
        repr(value)[1:-1],
        *value.split("\n"),
    }
    return {text.encode() for text in plain} | forms(value)


def held_by(folder: Path, values: dict[str, str]) -> list[tuple[Path, bytes]]:
    """Find every file below a folder whose content or name has a value, in any form."""
    wanted = [form for value in values.values() for form in said(value)]
    files = [path for path in folder.rglob("*") if path.is_file()]
    return [(path, form) for path in files for form in wanted if form in path.read_bytes() or form in os.fsencode(path)]


TELL = """
import base64, hashlib, json, sys, urllib.parse
from src.core.logger import get_logger

def forms(value):
    content = value.encode()
    for before in (b"", b"x", b"xx"):
        yield base64.b64encode(before + content).decode()
        yield base64.urlsafe_b64encode(before + content).decode()
    yield from (value, content.hex(), content.hex().upper(), repr(value), repr(content))
    yield from (json.dumps(value), json.dumps([value], ensure_ascii=False))
    yield from (urllib.parse.quote(value), urllib.parse.quote(value, safe=""), urllib.parse.quote_plus(value))
    yield from value.splitlines()

def tell(context, params):
    found = {name: context.secret(name) for name in "AB"}
    for value in found.values():
        for form in forms(value):
            print(form)
            print("in a line:", form, "and on", file=sys.stderr)
            get_logger("tell").warning("%s", form)
        for place in range(len(value)):  # a frame for each character
            sys.stdout.write(value[place]); sys.stdout.flush()
    context.artifact("harmless.txt").write_text("harmless")
    context.artifact("plain.txt").write_text("x" * 65_530 + found["A"])  # across two chunks
    context.artifact("encoded.txt").write_text(base64.encodebytes(found["B"].encode()).decode())
    context.artifact(found["B"][:41] + ".txt").write_text("the first line of B is its name")
    context.get(found["A"])
    outputs = {"deep": [{form: [form]} for value in found.values() for form in forms(value)]}
    return {name: hashlib.sha256(value.encode()).hexdigest() for name, value in found.items()} | outputs

def fail(context, params):
    value = context.secret("A")
    try:
        raise ValueError(value)
    except ValueError as error:
        raise type("Named" + value.encode().hex(), (Exception,), {})("x" * 3_980 + value) from error
"""


def test_a_step_has_its_secrets_and_nothing_that_is_kept_or_shown_has_them(
    given: Controller, canaries: dict[str, str], write: Write, tmp_path: Path
) -> None:
    """The whole state folder, byte by byte, all that the command line shows, and all that a watcher is told."""
    steps = """
    - {name: tell, module: work, function: tell, secrets: [A, B]}
    - {name: fail, module: work, function: fail, secrets: [A]}
    """
    events: list[Event] = []

    result = given.run(write(steps, TELL), policy=POLICY, watcher=Recording(events))
    tell, fail = result.attempts[0].steps

    assert isinstance(tell.outputs, dict)
    assert {name: tell.outputs[name] for name in "AB"} == {name: digest(value) for name, value in canaries.items()}
    assert (fail.outcome, fail.cause) == (StepOutcome.FAILED, "exception")
    assert [artifact.name for artifact in result.artifacts] == ["harmless.txt"]
    assert held_by(tmp_path / "state", canaries) == []
    for shown in (repr(events), repr(result), *map(command(tmp_path), SHOWING)):
        assert "[secret A]" in shown
        assert [form for value in canaries.values() for form in said(value) if form.decode() in shown] == []
    lines = [line.text for line in given.stores.logs.read(result.run_id)]
    assert [line for line in lines if line.startswith("the artifact")] == [
        "the artifact '[secret B].txt' was not kept: the secret B stands in it",
        "the artifact 'encoded.txt' was not kept: the secret B stands in it",
        "the artifact 'plain.txt' was not kept: the secret A stands in it",
    ]


SHOWING = (("show", "last"), ("show", "last", "--json"), ("logs", "last"), ("logs", "last", "--json"))


def command(folder: Path) -> Callable[[tuple[str, ...]], str]:
    program = str(Path(sys.executable).with_name("isolation"))

    def call(words: tuple[str, ...]) -> str:
        given = [program, "--state", str(folder / "state"), *words]
        return subprocess.run(given, capture_output=True, text=True, check=True).stdout

    return call


class Recording:
    """Keeps every event."""

    def __init__(self, events: list[Event]) -> None:
        self._events = events

    def on_event(self, event: Event) -> None:
        """Take one event."""
        self._events.append(event)


STAY = """
import time
def run(context, params):
    held = context.secret("A"), context.secret("B")
    print("under way", flush=True)
    time.sleep(600)
"""


def test_a_living_container_shows_no_secret_to_the_host(
    given: Controller, canaries: dict[str, str], write: Write
) -> None:
    """The engine's record of it, the environment and command of its processes, the folders that are mounted into it."""
    client = docker.APIClient(base_url=engine_address(), version="auto")
    cancel = threading.Event()
    seen: dict[str, bytes] = {}

    def look() -> None:
        (container,) = client.containers(filters={"label": f"isolation.owner={this_process().text()}"})
        inspected = client.inspect_container(container["Id"])
        seen["inspect"] = json.dumps(inspected, ensure_ascii=False).encode()
        seen["log driver"] = inspected["HostConfig"]["LogConfig"]["Type"].encode()
        for (pid,) in client.top(container["Id"], "-eo pid")["Processes"]:
            seen[f"environ {pid}"] = Path(f"/proc/{pid}/environ").read_bytes()
            seen[f"cmdline {pid}"] = Path(f"/proc/{pid}/cmdline").read_bytes()
        seen["folders"] = repr(held_by(leases_folder(), canaries)).encode()
        cancel.set()

    folder = write("- {name: stay, module: work, function: run, secrets: [A, B]}\n", STAY)
    result = given.run(folder, policy=POLICY, watcher=OnLine(look), cancel=cancel)
    client.close()

    assert result.outcome is Outcome.CANCELLED
    assert (seen["log driver"], seen["folders"]) == (b"none", b"[]")
    assert len([name for name in seen if name.startswith("environ")]) >= 2, "the runner and the step"
    everything = b"\n".join(seen.values())
    assert [form for value in canaries.values() for form in said(value) if form in everything] == []


ASK = """
import os, socket, urllib.parse

def ask(first_line):
    proxy = urllib.parse.urlsplit(os.environ["http_proxy"])
    with socket.create_connection((proxy.hostname, proxy.port)) as connection:
        connection.sendall(f"{first_line} HTTP/1.1\\r\\nHost: example.org\\r\\n\\r\\n".encode())
        while connection.recv(65536):
            pass

def run(context, params):
    value = context.secret("A")
    ask(f"GET http://user:{value}@example.org/")
    ask(f"GET http://{value}.example.org/")
    ask(f"CONNECT {value}.example.org:443")
    ask(f"CONNECT {value}")
"""


def test_what_a_step_asks_of_the_network_is_kept_without_secrets(write: Write, tmp_path: Path) -> None:
    """Credentials stand in URLs, and what was refused is told; names of hosts are kept in small letters."""
    value = f"Canary-{secrets.token_hex(8).upper()}"
    policy = POLICY.model_copy(update={"network": Network.model_validate({"allow": ["api.example.org:443"]})})
    with open_controller(Settings(state=tmp_path / "state"), secrets={"A": value}) as controller:
        result = controller.run(write("- {name: a, module: work, function: run, secrets: [A]}\n", ASK), policy=policy)

    assert result.outcome is Outcome.SUCCEEDED, result.errors
    asked = [decision.host for decision in result.attempts[0].network.decisions]
    assert asked == ["", "[secret A]", "[secret A]", ""], "what names no host with a port is not quoted"
    assert value.lower() not in repr(result).lower()
    assert held_by(tmp_path / "state", {"A": value, "a": value.lower()}) == []
