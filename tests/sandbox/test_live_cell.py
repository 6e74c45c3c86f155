"""A cell on the real engine, looked at from inside and from the host."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import docker
import pytest

from isolation.model.determinism import Determinism
from isolation.model.outcome import Outcome
from isolation.model.policy import Limits, Policy
from isolation.owner import this_process
from isolation.sandbox.cells import Cells
from isolation.sandbox.docker_engine import DockerEngine
from isolation.sandbox.engine import engine_address
from isolation.sandbox.hardening import environment
from isolation.sandbox.leases import FIRST_UID, UIDS, Leases
from isolation.settings import Settings
from isolation.wiring import open_controller
from tests.sandbox.conftest import OnLine

if TYPE_CHECKING:
    from collections.abc import Iterator

    from isolation.controller import Controller
    from isolation.model.run import Result
    from tests.sandbox.conftest import Recipe, Run

pytestmark = pytest.mark.engine
Json = dict[str, Any]

LOOK = """
import os

def status():
    return dict(line.rstrip().split(":\\t", 1) for line in open("/proc/self/status") if ":\\t" in line)

def opened(path, flags):
    try:
        os.close(os.open(path, flags))
    except OSError as error:
        return type(error).__name__
    return "opened"

def size(path):
    try:
        return len(os.listdir(path)) if os.path.isdir(path) else len(open(path, "rb").read(64))
    except OSError as error:
        return type(error).__name__

def can_create(folder):
    try:
        os.close(os.open(f"{folder}/x", os.O_CREAT | os.O_WRONLY))
    except OSError:
        return False
    return True

def runner():
    (pid,) = [int(pid) for pid in os.listdir("/proc") if pid.isdigit() and os.stat(f"/proc/{pid}/fd").st_uid == 0]
    return pid

def run(context, params):
    mounts = [line.split() for line in open("/proc/self/mounts")]
    pid = runner()
    return {
        "status": status(),
        "groups": os.getgroups(),
        "interfaces": [line.split(":")[0].strip() for line in open("/proc/net/dev") if ":" in line],
        "mounts": {one[1]: one[3].split(",") for one in mounts},
        "writable": sorted({one[1] for one in mounts if can_create(one[1])}),
        "environment": dict(os.environ),
        "descriptors": {fd: os.readlink(f"/proc/self/fd/{fd}") for fd in ("0", "1", "2", "3")},
        "more": [fd for fd in os.listdir("/proc/self/fd") if int(fd) > 3 and os.path.exists(f"/proc/self/fd/{fd}")],
        "runner_memory": opened(f"/proc/{pid}/mem", os.O_RDONLY),
        "runner_descriptors": opened(f"/proc/{pid}/fd", os.O_RDONLY),
        "runner_input": opened(f"/proc/{pid}/fd/0", os.O_RDONLY),
        "runner_environment": opened(f"/proc/{pid}/environ", os.O_RDONLY),
        "runner_maps": opened(f"/proc/{pid}/maps", os.O_RDONLY),
        "masked": {path: size(path) for path in params["masked"]},
    }
"""
MASKED = ["/proc/kcore", "/proc/keys", "/proc/interrupts", "/proc/timer_list", "/proc/config.gz", "/sys/firmware"]


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> Json:
    """Look around in one cell, from a step."""
    folder = tmp_path_factory.mktemp("look")
    (folder / "look.py").write_text(LOOK)
    steps = f"steps: [{{name: look, module: look, function: run, args: {{masked: {MASKED}}}}}]"
    (folder / "recipe.yaml").write_text(f"metadata: {{name: look}}\n{steps}\n")
    with open_controller(Settings(state=folder / "state")) as controller:
        result = controller.run(folder, policy=Policy(name="test"))
    assert result.outcome is Outcome.SUCCEEDED, result.errors
    outputs = result.attempts[0].steps[0].outputs
    assert isinstance(outputs, dict)
    return outputs


def test_a_step_has_no_capability_and_can_gain_none(seen: Json) -> None:
    """A 1: the kernel's own word on the process."""
    status = seen["status"]

    assert {status[name] for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")} == {"0" * 16}
    assert (status["NoNewPrivs"], status["Seccomp"]) == ("1", "2")


def test_a_step_has_a_uid_of_its_own_and_no_groups(seen: Json) -> None:
    """From the reserved range; kernel quotas are per uid."""
    uids, gids = ({*seen["status"][name].split()} for name in ("Uid", "Gid"))

    assert uids == gids
    assert len(uids) == 1
    assert FIRST_UID <= int(uids.pop()) < FIRST_UID + UIDS
    assert [group for group in seen["groups"] if not FIRST_UID <= group < FIRST_UID + UIDS] == []


def test_a_step_sees_no_network_but_its_own_loopback(seen: Json) -> None:
    """D 64: with nothing else there is nothing to filter."""
    assert seen["interfaces"] == ["lo"]


def test_a_step_can_write_to_two_folders_alone(seen: Json) -> None:
    """B 40: both sized, both gone with the container, and nothing in them can be executed or become root."""
    assert seen["writable"] == ["/scratch", "/tmp"]  # noqa: S108 - the container's own
    for folder in ("/scratch", "/tmp"):  # noqa: S108 - as above
        assert {"rw", "nosuid", "nodev", "noexec"} <= {*seen["mounts"][folder]}


@pytest.mark.parametrize("folder", ["/", "/package", "/in", "/sys"])
def test_everything_else_is_mounted_read_only(seen: Json, folder: str) -> None:
    """What is mounted from the host is the host's."""
    assert "ro" in seen["mounts"][folder]


def test_a_step_sees_exactly_our_environment(seen: Json) -> None:
    """E 71: nothing of the controller's own, and no surprise from the image."""
    expected = dict(line.split("=", 1) for line in environment(Determinism()))

    assert {key: value for key, value in seen["environment"].items() if key != "HOSTNAME"} == expected
    assert seen["environment"].get("HOSTNAME", "cell") == "cell"


def test_a_step_holds_its_own_three_pipes_and_nothing_else(seen: Json) -> None:
    """A 21: the channel's descriptors are closed before its first byte of code."""
    descriptors = seen["descriptors"]

    assert descriptors["0"] == "/dev/null"
    assert len({descriptors[fd] for fd in "123"}) == 3
    assert all(descriptors[fd].startswith("pipe:") for fd in "123")
    assert seen["more"] == []


@pytest.mark.parametrize("what", ["memory", "descriptors", "input", "environment", "maps"])
def test_a_step_cannot_look_into_its_runner(seen: Json, what: str) -> None:
    """A 8: there lies the nonce, and there the channel is open; they share a uid and nothing else."""
    assert seen[f"runner_{what}"] == "PermissionError"


@pytest.mark.parametrize("path", MASKED)
def test_what_is_masked_reads_as_nothing(seen: Json, path: str) -> None:
    """E 75."""
    assert seen["masked"][path] in {0, "FileNotFoundError", "PermissionError"}


SPEAK = """
import os

def run(context, params):
    refused = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        if int(pid) != os.getpid():
            try:
                os.open(f"/proc/{pid}/fd/1", os.O_WRONLY)
            except PermissionError:
                refused.append(pid)
    return {"refused": refused}
"""


def test_a_step_cannot_speak_through_another_process_of_the_cell(controller: Controller, recipe: Recipe) -> None:
    """The container's first process is the runner itself, which hides: nobody else has the channel open."""
    result = controller.run(recipe(SPEAK), policy=Policy(name="test"))

    assert result.outcome is Outcome.SUCCEEDED, result.errors
    assert result.attempts[0].steps[0].outputs == {"refused": ["1"]}


@pytest.mark.parametrize("name", ["plan", "step", "isolation", "channel"])
def test_a_recipes_module_may_have_the_name_of_one_of_the_runners(
    controller: Controller, tmp_path: Path, name: str
) -> None:
    """They share an interpreter's start, and no author can know our names."""
    (tmp_path / f"{name}.py").write_text("def run(context, params):\n    return {'mine': True}\n")
    steps = f"steps: [{{name: s, module: {name}, function: run}}]"
    (tmp_path / "recipe.yaml").write_text(f"metadata: {{name: named}}\n{steps}\n")

    result = controller.run(tmp_path / "recipe.yaml", policy=Policy(name="test"))

    assert result.outcome is Outcome.SUCCEEDED, result.errors
    assert result.attempts[0].steps[0].outputs == {"mine": True}


SLEEP = """
import time
def run(context, params):
    print("under way", flush=True)
    time.sleep(600)
"""


@pytest.fixture
def client() -> Iterator[docker.APIClient]:
    client = docker.APIClient(base_url=engine_address(), version="auto")
    yield client
    client.close()


def test_the_host_sees_the_same_confinement(controller: Controller, recipe: Recipe, client: docker.APIClient) -> None:
    """A 27: read back from the kernel, not from what was asked for, for every process in the cell."""
    found: list[dict[str, str]] = []
    cancel = threading.Event()

    def look() -> None:
        (container,) = client.containers(filters={"label": f"isolation.owner={this_process().text()}"})
        for pid in client.top(container["Id"], "-eo pid")["Processes"]:
            lines = Path(f"/proc/{pid[0]}/status").read_text().splitlines()
            found.append(dict(line.split(":\t", 1) for line in lines if ":\t" in line))
        cancel.set()

    folder = recipe(SLEEP)
    controller.run(folder, policy=Policy(name="test"), watcher=OnLine(look), cancel=cancel)

    assert len(found) == 2, "runner and step"
    for status in found:
        assert {status[name] for name in ("CapPrm", "CapEff", "CapBnd")} == {"0" * 16}
        assert (status["NoNewPrivs"], status["Seccomp"]) == ("1", "2")
        assert FIRST_UID <= int(status["Uid"].split()[0]) < FIRST_UID + UIDS


def test_two_runs_at_once_have_different_uids(tmp_path: Path, recipe: Recipe) -> None:
    """E 83: and neither waits for the other; each is let go only when both stand."""
    folder = recipe("def run(context, params):\n    import os\n    print()\n    return {'uid': os.getuid()}")
    both = threading.Barrier(2, timeout=30)
    results: list[Result] = []

    def start(name: str) -> None:
        with open_controller(Settings(state=tmp_path / name)) as controller:
            waiting = OnLine(both.wait)
            results.append(controller.run(folder, policy=Policy(name="test"), watcher=waiting))

    threads = [threading.Thread(target=start, args=(name,)) for name in ("a", "b")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    uids = [str(result.attempts[0].steps[0].outputs) for result in results]
    assert len({*uids}) == 2


def test_a_cancel_from_another_thread_ends_the_run_at_once(controller: Controller, recipe: Recipe) -> None:
    """The container is gone when the call returns."""
    cancel = threading.Event()
    folder = recipe(SLEEP)
    another = OnLine(lambda: threading.Thread(target=cancel.set).start())

    result = controller.run(folder, policy=Policy(name="test"), watcher=another, cancel=cancel)

    assert (result.outcome, result.cause) == (Outcome.CANCELLED, "cancelled")
    assert result.usage.wall_s is not None
    assert result.usage.wall_s < 10
    assert result.run_id not in [left.run_id for left in controller.engine.leftovers()]


def test_unix_and_ip_sockets_work_within_a_cell(run: Run) -> None:
    """D 66: what multiprocessing and local servers need; no other family does."""
    result = run(
        """
        import socket
        def run(context, params):
            server = socket.socket()
            server.bind(("127.0.0.1", 8000))
            server.listen()
            socket.create_connection(("127.0.0.1", 8000)).close()
            socket.socket(socket.AF_UNIX).close()
            refused = {}
            for family in set(range(46)) - {1, 2, 10}:
                try:
                    socket.socket(family, socket.SOCK_STREAM)
                except OSError as error:
                    refused[error.errno] = refused.get(error.errno, 0) + 1
            return {str(number): count for number, count in refused.items()}
        """
    )

    assert result.attempts[0].steps[0].outputs == {"97": 43}, result.errors


def test_without_groups_of_ours_the_engines_word_is_enough(tmp_path: Path, recipe: Recipe) -> None:
    """An engine elsewhere, or a user without rights: out of memory is told all the same, and the source is honest."""
    folder = recipe("def run(context, params):\n    return len([b'x' * 2**20 for _ in range(1000)])")
    limits = Limits.model_validate({"memory": "48MiB"})
    with open_controller(Settings(state=tmp_path / "state")) as controller:
        leases = Leases(tmp_path / "uids")
        controller.cells = Cells(controller.engine, leases, local=True, use_groups=False)
        result = controller.run(folder, policy=Policy(name="test", limits=limits))

    assert (result.outcome, result.cause) == (Outcome.OUT_OF_MEMORY, "limits.memory")
    assert result.usage.source["cpu_s"] in {"engine, sampled", "the runner's own reading"}
    assert result.usage.source["oom_kills"] == "the runner's own reading"
    assert leases.held() == ()


def test_the_engine_that_the_tests_ask_is_the_one_that_runs(controller: Controller) -> None:
    """What is inspected here must be what recipes are run on."""
    assert isinstance(controller.engine, DockerEngine)
    assert controller.engine.address == os.environ.get("DOCKER_HOST", "unix:///var/run/docker.sock")
