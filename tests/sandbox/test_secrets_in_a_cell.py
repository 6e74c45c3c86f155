"""Secrets in a cell, on the real engine: who has them in its memory, who can get at them, who is refused."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import pytest

from isolation.errors import SecretError
from isolation.model.outcome import Outcome
from isolation.model.policy import Limits, Policy, RetryRule
from isolation.settings import Settings
from isolation.wiring import open_controller
from tests.conftest import on_gvisor

if TYPE_CHECKING:
    from pathlib import Path

    from isolation.controller import Controller
    from isolation.model.run import Result
    from tests.sandbox.conftest import Write

pytestmark = pytest.mark.engine
POLICY = Policy(name="test", secrets=("*",), limits=Limits.model_validate({"wall": 30}))
Json = dict[str, Any]


@pytest.fixture(params=["runc", pytest.param("runsc", marks=pytest.mark.slow)])
def policy(request: pytest.FixtureRequest) -> Policy:
    if request.param == "runc":
        return POLICY
    request.getfixturevalue("runsc")
    return on_gvisor(POLICY)


SCAN = """
import ctypes, os, re
WANTED = re.compile(rb"canary-([ab])-[0-9a-f]{32}")
PAGE = 4096

def pages(fd, start, end):
    for place in range(start, end, PAGE):
        try:
            yield os.pread(fd, PAGE, place)
        except (OSError, OverflowError):  # beyond the end of a file, or the kernel's own
            yield b""

def scan():
    ctypes.CDLL(None).prctl(4, 1, 0, 0, 0)  # who has a secret is hidden from itself, too
    found, scanned = set(), 0
    fd = os.open("/proc/self/mem", os.O_RDONLY)
    for line in open("/proc/self/maps").readlines():
        start, end = (int(part, 16) for part in line.split()[0].split("-"))
        content = b"".join(pages(fd, start, end))
        scanned += len(content)
        found.update(match.group(1).decode() for match in WANTED.finditer(content))
    return {"found": sorted(found), "scanned": scanned}

def look(context, params):
    return scan()

def use(context, params):
    held = {name: context.secret(name) for name in params["names"]}
    return scan()
"""


def test_a_step_has_nothing_in_its_memory_but_its_own_secrets(
    canaries: dict[str, str], write: Write, policy: Policy, tmp_path: Path
) -> None:
    """It was forked from a process that held them all: what is not its own is overwritten before any of its code."""
    steps = """
    - {name: all, module: work, function: use, secrets: [A, B], args: {names: [A, B]}}
    - {name: one, module: work, function: use, secrets: [A], args: {names: [A]}}
    - {name: other, module: work, function: use, secrets: [B], args: {names: [B]}, retry_count: 1}
    - {name: none, module: work, function: look}
    - {name: unused, module: work, function: look, secrets: [B]}
    """
    large = {**canaries, "B": canaries["B"] + "\n" + f"line {canaries['B'][:41]}\n" * 1_000}
    with open_controller(Settings(state=tmp_path / "state"), secrets=large) as controller:
        result = controller.run(write(steps, SCAN), policy=policy)

    assert result.outcome is Outcome.SUCCEEDED, result.errors
    found = {step.name: outputs(step.outputs) for step in result.attempts[0].steps}
    assert {name: one["found"] for name, one in found.items()} == {
        "all": ["a", "b"],
        "one": ["a"],
        "other": ["b"],
        "none": [],
        "unused": ["b"],
    }
    assert min(one["scanned"] for one in found.values()) > 4 * 2**20


def outputs(value: object) -> Json:
    assert isinstance(value, dict)
    return value


SPY = """
import json, os, socket
PLACE = "/tmp/spy"

def opened(path):
    try:
        os.close(os.open(path, os.O_RDONLY))
    except OSError as error:
        return type(error).__name__
    return "opened"

def leave_a_spy(context, params):
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(PLACE)
    listening.listen()
    first = os.fork()
    if first == 0:
        os.setsid()
        if os.fork() == 0:
            while True:
                asked, _ = listening.accept()
                pid = asked.recv(100).decode()
                told = {name: opened(f"/proc/{pid}/{name}") for name in ("mem", "environ", "fd", "map_files")}
                asked.sendall(json.dumps(told).encode())
                asked.close()
        os._exit(0)
    os.waitpid(first, 0)  # from here on it is no member of the step's group any more

def be_looked_at(context, params):
    asking = socket.socket(socket.AF_UNIX)
    asking.connect(PLACE)
    asking.sendall(str(os.getpid()).encode())
    return json.loads(asking.recv(1000))
"""


def test_what_another_step_left_behind_cannot_look_into_a_step_with_a_secret(
    given: Controller, write: Write, policy: Policy
) -> None:
    """They share a uid: a daemon of an earlier step may read the memory of a later one, unless that hides."""
    steps = """
    - {name: spy, module: work, function: leave_a_spy}
    - {name: open, module: work, function: be_looked_at, depends_on: [spy]}
    - {name: hidden, module: work, function: be_looked_at, secrets: [A], depends_on: [open]}
    """
    result = given.run(write(steps, SPY), policy=policy)

    assert result.outcome is Outcome.SUCCEEDED, result.errors
    seen, hidden = (outputs(step.outputs) for step in result.attempts[0].steps[1:])
    assert hidden["mem"] == "PermissionError"
    if policy.runtime == "runc":  # gVisor lets nobody open another's memory, and everybody the rest
        assert seen["mem"] == "opened", "the spy can look where nothing hides"
        assert {*hidden.values()} == {"PermissionError"}


WORK = """
import subprocess
from multiprocessing import Process

def child():
    print("a child is under way")

def run(context, params):
    value = context.secret("A")
    told = subprocess.run(["/bin/sh", "-c", "cat; echo told >/dev/stderr"], input=value, text=True, capture_output=True)
    process = Process(target=child)
    process.start()
    process.join()
    return {"same": told.stdout == value, "stderr": told.stderr, "code": process.exitcode}
"""


def test_a_step_with_a_secret_can_start_processes(given: Controller, write: Write) -> None:
    """To be hidden from others must not keep it from its work."""
    result = given.run(write("- {name: a, module: work, function: run, secrets: [A]}\n", WORK), policy=POLICY)

    assert result.attempts[0].steps[0].outputs == {"same": True, "stderr": "told\n", "code": 0}, result.errors


REFUSED = """
import time

def run(context, params):
    context.set("kept", 1)
    context.set("token", ["Bearer " + context.secret("A")])

def later(context, params):
    time.sleep(600)
"""


def test_a_secret_in_the_context_fails_the_run_at_once(given: Controller, write: Write) -> None:
    """Nothing is merged, not even what was harmless; what came after is stopped; a retry rule may try again."""
    steps = """
    - {name: run, module: work, function: run, secrets: [A]}
    - {name: later, module: work, function: later}
    """
    policy = POLICY.model_copy(update={"retry": {Outcome.FAILED: RetryRule(attempts=2)}})
    folder = write(steps, REFUSED)
    result = given.run(folder, policy=policy)

    assert (result.outcome, result.cause) == (Outcome.FAILED, "step:run:secret_in_context")
    assert len(result.attempts) == 2
    assert result.merge.status == "none"
    assert given.stores.contexts.list() == ()
    assert [error.message for error in result.errors] == [
        "the step wrote the secret A to the context, under the key 'token'"
    ]
    assert result.usage.wall_s is not None
    assert result.usage.wall_s < 20


COUNT = """
import hashlib, os
def run(context, params):
    if not os.path.exists("/tmp/tried"):
        open("/tmp/tried", "w").close()
        raise RuntimeError("once more")
    return {"A": hashlib.sha256(context.secret("A").encode()).hexdigest()}
"""


def test_a_second_try_and_a_rerun_have_the_secret_again(
    given: Controller, canaries: dict[str, str], write: Write, tmp_path: Path
) -> None:
    """A try forks anew; a rerun asks its controller, since no record has it, and is refused where that has none."""
    steps = "- {name: a, module: work, function: run, secrets: [A], retry_count: 1}\n"
    first = given.run(write(steps, COUNT), policy=POLICY)
    again = given.rerun(first.run_id)

    assert (
        tries_and_digests(first)
        == tries_and_digests(again)
        == [(2, {"A": hashlib.sha256(canaries["A"].encode()).hexdigest()})]
    )
    with open_controller(Settings(state=tmp_path / "state")) as without:
        before = without.stores.ledger.list(10)
        with pytest.raises(SecretError, match="nobody gave a value for the secret 'A'"):
            without.rerun(first.run_id)
        assert without.stores.ledger.list(10) == before, "refused before anything ran"


def tries_and_digests(result: Result) -> list[tuple[int, object]]:
    return [(step.tries, step.outputs) for step in result.attempts[0].steps]
