"""What is different under gVisor: each line of the table in docs/runtimes.md, from inside and from the host."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from isolation import contract
from isolation.model.event import LogLine, RunStarted
from isolation.model.outcome import Outcome
from isolation.model.policy import Limits, Policy
from isolation.settings import Settings
from isolation.wiring import open_controller
from tests.conftest import on_gvisor

if TYPE_CHECKING:
    from isolation.model.event import Event, Watcher
    from isolation.model.run import Result

pytestmark = [pytest.mark.engine, pytest.mark.usefixtures("engine", "runsc")]
Json = dict[str, Any]


def run(
    folder: Path,
    source: str,
    watcher: Watcher | None = None,
    cancel: threading.Event | None = None,
    **limits: float | str,
) -> Result:
    """Run a recipe of one step with that source under gVisor."""
    folder.mkdir(exist_ok=True)
    (folder / "work.py").write_text(source, encoding="utf-8")
    steps = "steps: [{name: one, module: work, function: run}]"
    (folder / "recipe.yaml").write_text(f"metadata: {{name: tiny}}\n{steps}\n", encoding="utf-8")
    policy = on_gvisor(Policy(name="test", limits=Limits.model_validate({"wall": 30, **limits})))
    with open_controller(Settings(state=folder / "state")) as controller:
        return controller.run(folder, policy=policy, watcher=watcher, cancel=cancel)


def outputs(result: Result) -> Json:
    assert result.outcome is Outcome.SUCCEEDED, result.errors
    found = result.attempts[0].steps[0].outputs
    assert isinstance(found, dict)
    return found


LOOK = """
import ctypes, errno, os, socket

def opened(path, flags=os.O_RDONLY):
    try:
        os.close(os.open(path, flags))
    except OSError as error:
        return errno.errorcode[error.errno]
    return "opened"

def call(number, *arguments):
    libc = ctypes.CDLL(None, use_errno=True)
    ctypes.set_errno(0)
    return "answered" if libc.syscall(number, *arguments) >= 0 else errno.errorcode[ctypes.get_errno()]

def family(number):
    try:
        socket.socket(number, socket.SOCK_DGRAM).close()
    except OSError as error:
        return errno.errorcode[error.errno]
    return "answered"

def run(context, params):
    return {
        "kernel": open("/proc/version").read(),
        "status": dict(line.rstrip().split(":\\t", 1) for line in open("/proc/self/status") if ":\\t" in line),
        "runner": {name: opened(f"/proc/1/{name}") for name in ("mem", "maps", "environ", "fd/0")},
        "runner's output": opened("/proc/1/fd/1", os.O_WRONLY),
        "absent": [path for path in params["paths"] if not os.path.exists(path)],
        "packet socket": family(17),
        "clone3": call(435, 0, 0),
        "unshare": call(272, 0x10000000),
        "pidfd_open": call(434, os.getpid(), 0),
        "openat2": call(437, -100, b"/tmp", 0, 0),
        "files": os.statvfs("/tmp").f_files,
        "memory": int(open("/proc/meminfo").readline().split()[1]) * 1024,
    }
"""
OF_THE_HOST = ["/proc/kcore", "/proc/keys", "/proc/interrupts", "/proc/config.gz", "/proc/sysrq-trigger"]


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> Json:
    """Look around in one cell, from a step."""
    source = LOOK.replace('params["paths"]', repr(OF_THE_HOST))
    return outputs(run(tmp_path_factory.mktemp("look") / "recipe", source, memory="128MiB"))


def test_another_kernel_answers(seen: Json) -> None:
    """And what is masked elsewhere is not there at all."""
    assert "Linux version 4.4.0" in seen["kernel"]
    assert seen["absent"] == OF_THE_HOST
    assert seen["memory"] < 256 * 2**20


def test_our_filter_holds_and_always_answers_eperm(seen: Json) -> None:
    """No other number is given by older ones; clone3 alone must not exist, or no thread could be made."""
    assert seen["status"]["Seccomp"] == "2"
    assert (seen["packet socket"], seen["unshare"], seen["clone3"]) == ("EPERM", "EPERM", "ENOSYS")


def test_it_lacks_some_newer_calls(seen: Json) -> None:
    """Programs that know how to do without them do."""
    assert (seen["pidfd_open"], seen["openat2"]) == ("ENOSYS", "EPERM")


def test_files_are_not_counted(seen: Json) -> None:
    """So a policy that limits them is refused with it."""
    assert seen["files"] == 0


def test_a_step_can_open_its_runners_descriptors_but_not_its_memory(seen: Json) -> None:
    """There lies the nonce; without it nothing that is written to the channel proves anything."""
    assert seen["runner"] == {"mem": "EACCES", "maps": "opened", "environ": "opened", "fd/0": "opened"}
    assert seen["runner's output"] == "opened"


FIND = """
import json, os, struct

def each_of_the_runner(flags):
    for name in os.listdir("/proc/1/fd"):
        try:
            if os.readlink(f"/proc/1/fd/{name}").startswith("host:"):
                yield os.open(f"/proc/1/fd/{name}", flags | os.O_NONBLOCK)
        except OSError:
            pass

def frame(kind, value):
    payload = json.dumps(value).encode()
    return struct.pack(">BI", kind, len(payload)) + payload
"""
SPEAK = (
    FIND
    + f"""
def run(context, params):
    ended = {{"step": 0, "outcome": "succeeded", "tries": 1, "cause": "", "set": {{"forged": 1}}}}
    for channel in each_of_the_runner(os.O_WRONLY):
        try:
            os.write(channel, frame({contract.STEP_ENDED}, ended))
            os.write(channel, struct.pack(">BI", {contract.END}, 80) + bytes(80))
        except OSError:
            pass
    context.set("honest", 1)
"""
)


def test_a_step_that_speaks_for_its_runner_is_found_out(tmp_path: Path) -> None:
    """Here it can open the channel; without the nonce nothing can be proven there."""
    result = run(tmp_path / "recipe", SPEAK)

    assert (result.outcome, result.cause) == (Outcome.BAD_ANSWER, "channel")
    assert result.merge.status == "none"


LISTEN = (
    FIND
    + """
def run(context, params):
    heard = b""
    for channel in each_of_the_runner(os.O_RDONLY):
        try:
            heard += os.read(channel, 65536)
        except OSError:
            pass
    return {"heard": heard.decode("latin-1")}
"""
)


def test_a_step_that_listens_in_its_runners_place_hears_nothing(tmp_path: Path) -> None:
    """The plan was read before any step began, and what comes after it says nothing but goodbye."""
    assert outputs(run(tmp_path / "recipe", LISTEN)) == {"heard": ""}


THREADS = """
import threading

def run(context, params):
    threading.stack_size(65536)
    over, made = threading.Event(), 0
    try:
        while made < 1000:
            threading.Thread(target=over.wait, daemon=True).start()
            made += 1
    except RuntimeError as error:
        problem = str(error)
    over.set()
    return {"made": made, "problem": problem}
"""


def test_threads_are_limited_by_its_own_kernel(tmp_path: Path) -> None:
    """The host sees none of them, so nothing is counted: the step meets the limit as an error, and goes on."""
    result = run(tmp_path / "recipe", THREADS, pids=40)

    assert outputs(result) == {"made": 40 - len(("runner", "step")), "problem": "can't start new thread"}
    assert result.usage.forks_refused == 0


IDLE = "def run(context, params):\n    return {}\n"


def test_what_is_measured_is_gvisor_and_the_recipe_together(tmp_path: Path) -> None:
    """Its threads are processes of the host, and its memory is part of the run's; both have room in the limits."""
    result = run(tmp_path / "recipe", IDLE, pids=8, memory="48MiB")

    outputs(result)
    assert result.usage.pids_peak is not None
    assert 20 < result.usage.pids_peak <= 64 + 2 * 8
    assert result.usage.memory_peak_bytes is not None
    assert 16 * 2**20 < result.usage.memory_peak_bytes <= 48 * 2**20
    assert (result.usage.source["pids_peak"], result.usage.oom_kills) == (result.usage.source["cpu_s"], 0)


SLEEP = "import time\ndef run(context, params):\n    print('under way', flush=True)\n    time.sleep(600)\n"


class OnHost:
    """Looks, when the step has written a line, at every process in the run's group; then cancels the run."""

    def __init__(self, cancel: threading.Event) -> None:
        self._cancel = cancel
        self._run = ""
        self.found: list[Json] = []

    def on_event(self, event: Event) -> None:
        """Take one event."""
        if isinstance(event, RunStarted):
            self._run = event.run_id
        if isinstance(event, LogLine) and not self._cancel.is_set():
            self.found = [found for path in Path("/proc").glob("[0-9]*") if (found := self._read(path)) is not None]
            self._cancel.set()

    def _read(self, process: Path) -> Json | None:
        try:
            group, status = ((process / name).read_text(encoding="utf-8") for name in ("cgroup", "status"))
            command = (process / "cmdline").read_bytes().split(b"\0")[0].decode()
        except OSError:  # it ended while we looked
            return None
        lines = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
        return {"command": command, **lines} if self._run in group.replace("_", "-") else None


@pytest.mark.root
def test_the_host_sees_gvisors_processes_and_none_of_the_recipes(tmp_path: Path) -> None:
    """None has the run's uid: who looks for what a run left looks into its group."""
    cancel = threading.Event()
    watcher = OnHost(cancel)

    run(tmp_path / "recipe", SLEEP, watcher, cancel)

    assert {"runsc-sandbox", "runsc-gofer"} <= {found["command"] for found in watcher.found}
    assert {found["NoNewPrivs"] + found["Seccomp"] for found in watcher.found} == {"12"}
    assert {found["Uid"].split()[0] for found in watcher.found} == {"0", "65534"}
