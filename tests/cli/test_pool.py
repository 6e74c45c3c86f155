"""The command line's pool: what it carries out comes out as without it, and it serves nobody else."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import pytest

from isolation.cli.ahead.call import READY
from isolation.cli.ahead.standing import key, standing
from isolation.owner import Owner
from isolation.sandbox.docker_engine import DockerEngine

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from isolation.sandbox.engine import Leftover

pytestmark = pytest.mark.slow

ISOLATION = str(Path(sys.executable).with_name("isolation"))
PACKAGE = Path(__file__).parents[2] / "isolation"
TIME_S = 60.0
NO_RUNS = "no runs yet; begin one: isolation run RECIPE\n"
RECIPE = "metadata: {name: small}\nsteps:\n  - {name: work, module: work, function: run}\n"
ENDS = "def run(context, params):\n    context.set('small.n', 1)\n"
WAITS = ENDS + "\ndef last(context, params):\n    import time\n    time.sleep(3600)\n"


class Front:
    """A person's place of work, with a runtime folder of its own: nobody else's pool is found there."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.folder = path / "runtime" / "isolation" / "pool"
        own = {name: value for name, value in os.environ.items() if not name.startswith("ISOLATION_")}
        self.environment = own | {
            "XDG_RUNTIME_DIR": str(path / "runtime"),
            "XDG_CONFIG_HOME": str(path),
            "ISOLATION_STATE": str(path / "state"),
            "ISOLATION_POOL": "10m",
        }
        self.started: list[subprocess.Popen[str]] = []
        (path / "runtime").mkdir()

    def start(self, *arguments: str, before: tuple[str, ...] = (), **how: Any) -> subprocess.Popen[str]:  # noqa: ANN401 - as subprocess takes it
        """Start a command."""
        process = subprocess.Popen(
            [*before, ISOLATION, *arguments],
            env=self.environment,
            cwd=self.path,
            text=True,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            **how,
        )
        self.started.append(process)
        return process

    def wait(self, *options: str, before: tuple[str, ...] = (), **how: Any) -> subprocess.Popen[str]:  # noqa: ANN401 - as above
        """Start a command that lasts: it waits for a run that nobody carries out; returns once it does."""
        self.write(ENDS)
        assert self.run("submit", ".", "--no-pool")[0] == 0
        process = self.start("wait", "last", *options, before=before, **how)
        assert process.stderr is not None
        assert process.stderr.readline().endswith(": queued\n")
        return process

    def command(self) -> tuple[psutil.Process, psutil.Process]:
        """Return the one command that the pool carries out, and who attends to it."""
        (found,) = [(command, child) for child in self.pool().children() for command in _children(child)]
        return found

    def lender(self) -> psutil.Process:
        """Return the pool's process that keeps cells: its first; the others attend to who calls, or asks."""
        return min(self.pool().children(), key=psutil.Process.create_time)

    def end_waiting(self, process: subprocess.Popen[str]) -> int:
        """Let the command that waits come to its end; returns its exit code."""
        assert self.run("cancel", "last", "--no-pool")[0] == 0
        process.communicate(timeout=TIME_S)
        return process.returncode

    def close(self) -> None:
        """End what a test that failed has left, and the pools."""
        self.run("pool", "stop")
        for process in self.started:
            if process.poll() is None:
                process.kill()
            with process:
                pass

    def run(self, *arguments: str, before: tuple[str, ...] = (), **how: Any) -> tuple[int, str, str]:  # noqa: ANN401 - as above
        """Run a command; returns exit code, stdout and stderr."""
        process = self.start(*arguments, before=before, **how)
        out, told = process.communicate(timeout=TIME_S)
        return process.returncode, out, told

    def pools(self) -> list[dict[str, Any]]:
        """Ask for this place's pools."""
        found: list[dict[str, Any]] = json.loads(self.run("pool", "status", "--json")[1])
        return found

    def pool(self) -> psutil.Process:
        """Return the one pool that serves here."""
        (pid,) = [pool["pid"] for pool in self.pools() if pool["serves_here"]]
        return psutil.Process(pid)

    def write(self, scriptlet: str) -> None:
        """Write a recipe of one step."""
        (self.path / "recipe.yaml").write_text(RECIPE)
        (self.path / "work.py").write_text(scriptlet)


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Front]:
    """A place without a pool, in which none is left."""
    front = Front(tmp_path)
    yield front
    front.close()


@pytest.fixture
def front(place: Front) -> Front:
    """A place with a pool."""
    assert place.run("pool", "start")[0] == 0
    return place


LINES = {
    "a good command": ("runs",),
    "an answer in JSON": ("context", "list", "--json"),
    "an exit code of 1": ("context", "get", "nothing"),
    "a wrong input": ("run", "none.yaml"),
    "an unknown option": ("runs", "--bogus"),
    "help": ("run", "--help"),
    "a folder that is named from here": ("--state", "here", "runs", "--json"),
    "no engine": ("run", ".", "--engine", "unix:///nowhere.sock"),
    "letters of all kinds": ("context", "set", "a.b", "\udcff\u00e9"),
}


@pytest.mark.parametrize("line", LINES.values(), ids=LINES)
def test_a_command_comes_out_the_same_in_a_pool(front: Front, line: tuple[str, ...]) -> None:
    """Exit code, stdout and stderr, to the letter."""
    front.write(ENDS)
    assert front.run(*line) == front.run(*line, "--no-pool")


def test_the_pool_is_who_carries_it_out(front: Front) -> None:
    """Else nothing here would say anything. It has its caller's folder, and its umask."""
    process = front.wait(umask=0o027)
    command, attendant = front.command()
    assert front.pools()[0]["commands"] == 1
    assert (command.cwd(), command.pid != process.pid) == (str(front.path), True)
    assert "\nUmask:\t0027\n" in Path(f"/proc/{command.pid}/status").read_text()
    with suppress(psutil.AccessDenied):
        assert attendant.open_files() == []
    assert front.end_waiting(process) == 1


def test_the_pool_keeps_nothing_of_a_command(front: Front) -> None:
    """No variable, no file, no working folder; the next command has its own."""
    secret = {"ISOLATION_SECRET_KEY": "s3cret-of-mine"}
    front.environment |= secret
    front.run("pool", "stop")
    front.run("pool", "start")
    assert front.run("context", "set", "a.b", "1")[0] == 0
    pool = front.pool()
    assert secret.keys().isdisjoint(pool.environ())
    assert (pool.cwd(), pool.num_threads(), pool.open_files()) == ("/", 1, [])
    front.environment["ISOLATION_STATE"] = str(front.path / "other")
    assert front.run("context", "list") == (0, "no keys\n", "")


def test_descriptors_of_the_caller_are_the_commands(front: Front) -> None:
    """As in `--policy /dev/fd/9 9< policy.yaml`."""
    front.write(ENDS)
    (front.path / "policy.yaml").write_text("name: [")
    with (front.path / "policy.yaml").open() as policy:
        line = ("run", ".", "--policy", f"/dev/fd/{policy.fileno()}")
        code, out, told = front.run(*line, pass_fds=(policy.fileno(),))
    assert (code, out) == (2, "")
    assert told.startswith(f"isolation: {line[-1]}:")


def test_a_reader_sees_the_end_of_the_output_though_the_pool_stays(front: Front) -> None:
    """The pool holds no end of its caller's pipes."""
    assert front.run("runs", "--json") == (0, "[]\n", "")
    assert front.pool().is_running()


def test_other_code_on_the_disk_is_what_runs_next(place: Front) -> None:
    """An upgrade, or an edit, under a pool that runs: it takes leave, and the command runs the new code itself."""
    shutil.copytree(PACKAGE, place.path / "code" / "isolation", ignore=shutil.ignore_patterns("__pycache__"))
    place.environment["PYTHONPATH"] = str(place.path / "code")
    assert place.run("pool", "start")[0] == 0
    old = place.pool()
    assert place.run("runs") == (0, NO_RUNS, "")

    boundary = place.path / "code/isolation/cli/boundary.py"
    boundary.write_text(boundary.read_text().replace('f"isolation: {', 'f"new: {'))
    assert place.run("context", "get", "nothing")[2].startswith("new: ")
    psutil.wait_procs([old], TIME_S)
    assert not old.is_running()


def test_a_pool_ends_when_nobody_has_called_for_a_while(place: Front) -> None:
    """And its socket with it."""
    place.environment["ISOLATION_POOL"] = "10ms"
    process = place.start("pool", "start")
    process.communicate(timeout=TIME_S)
    for pool in [psutil.Process(pool["pid"]) for pool in place.pools()]:
        pool.wait(TIME_S)
    assert [*place.folder.iterdir()] == []


def test_a_pool_that_does_not_answer_is_passed_by_and_does_nothing_later(front: Front) -> None:
    """Stopped by somebody, or swapped out: the command runs once, in its own process."""
    pool = front.pool()
    pool.suspend()
    assert front.run("context", "set", "a.b", "1")[0] == 0
    pool.resume()
    assert front.run("context", "get", "a.b") == (0, "1\n", "")
    assert len(json.loads(front.run("context", "history", "--json")[1])) == 1


def test_a_pool_that_was_killed_is_no_obstacle(front: Front) -> None:
    """Its socket stays; the next pool takes its place."""
    pool = front.pool()
    pool.kill()
    psutil.wait_procs([pool])
    assert front.run("runs") == (0, NO_RUNS, "")
    assert front.run("pool", "start")[0] == 0
    assert front.pool().pid != pool.pid


@pytest.mark.parametrize("how", ["an option", "a variable", "the settings"])
def test_who_wants_no_pool_has_none(front: Front, how: str) -> None:
    """Not even one that is there: a command in it would be its child."""
    if how == "a variable":
        front.environment["ISOLATION_POOL"] = "off"
    if how == "the settings":
        del front.environment["ISOLATION_POOL"]
        (front.path / "isolation").mkdir()
        (front.path / "isolation/settings.toml").write_text('pool = "off"\n')
    process = front.wait(*(("--no-pool",) if how == "an option" else ()))
    assert front.pools()[0]["commands"] == 0
    assert front.end_waiting(process) == 1
    if how != "an option":
        assert front.run("pool", "start")[::2] == (
            2,
            'isolation: the settings want no pool\nISOLATION_POOL, or `pool = "off"` in the settings, says so.\n',
        )


def test_a_pool_of_another_standing_does_not_serve(front: Front) -> None:
    """A command that may do less, or weighs less, must not have it done by somebody who may do more."""
    code, out, _ = front.run("pool", "status", before=("nice", "-n", "3"))
    assert (code, "for other places" in out) == (1, True)
    (path,) = front.folder.iterdir()
    connect = f"import os, socket; os.chdir({str(path.parent)!r}); s = socket.socket(socket.AF_UNIX)"
    connect += f"; s.connect({path.name!r}); print(s.recv(1))"
    for before, answer in ((), READY), (("nice", "-n", "3"), b""):
        asked = [*before, sys.executable, "-c", connect]
        assert subprocess.run(asked, capture_output=True, text=True, check=True).stdout == f"{answer!r}\n"


def test_standing_is_the_same_from_within_and_from_outside() -> None:
    """The pool looks at its callers from outside."""
    assert standing(os.getpid()) == standing()
    assert key() == key()


LOCALES = {
    "none": {},
    "C": {"LC_ALL": "C"},
    "UTF-8": {"LANG": "C.UTF-8"},
    "one that is not installed": {"LANG": "xx_XX.UTF-8"},
    "unbuffered": {"PYTHONUNBUFFERED": "1"},
}


@pytest.mark.parametrize("variables", LOCALES.values(), ids=LOCALES)
def test_a_pool_comes_up_whatever_the_interpreter_is_told(place: Front, variables: dict[str, str]) -> None:
    """Encodings and buffers are the interpreter's from its start; cron and containers have no locale at all."""
    names = ("LANG", "LC_ALL", "LC_CTYPE", "PYTHONUNBUFFERED")
    place.environment = {name: value for name, value in place.environment.items() if name not in names} | variables
    code, _, told = place.run("pool", "start")
    assert (code, told) == (0, "")
    assert place.run("context", "set", "a.b", "\u00e9")[0] == 0
    line = ("context", "get", "a.b")
    assert place.run(*line) == place.run(*line, "--no-pool")
    assert place.pools()[0]["serves_here"]


@pytest.mark.parametrize("how", ["a tracer", "a library"])
def test_a_command_that_is_followed_runs_by_itself(front: Front, how: str) -> None:
    """Whoever traces it, or has put a library before ours, means this very process."""
    if how == "a tracer" and shutil.which("strace") is None:
        pytest.skip("without strace nobody traces")
    if how == "a library":
        front.environment["LD_PRELOAD"] = "none-of-that-name.so"  # ld.so says so, and goes on
    before = ("strace", "-f", "-o", "/dev/null") if how == "a tracer" else ()
    code, _, told = front.run("pool", "start", before=before)
    assert (code, "isolation: a command that is traced has no pool\n" in told) == (2, True)
    front.environment.pop("LD_PRELOAD", None)


def test_nobody_else_may_come_near_the_socket(front: Front) -> None:
    """The folder is its user's alone, and so is the socket."""
    (path,) = front.folder.iterdir()
    assert (front.folder.stat().st_mode & 0o777, path.stat().st_mode & 0o777) == (0o700, 0o600)


def test_a_folder_that_others_may_write_to_is_not_used(place: Front) -> None:
    """Somebody may have laid it out for us."""
    place.folder.mkdir(parents=True)
    place.folder.chmod(0o777)
    code, _, told = place.run("pool", "start")
    assert code == 4
    assert (
        told == f"isolation: the pool did not come up: PermissionError: {place.folder} is open to others\n"
        "Commands run all the same, each in its own process.\n"
    )
    assert place.run("runs") == (0, NO_RUNS, "")
    place.folder.chmod(0o700)


def test_a_command_that_is_stopped_goes_on_when_its_caller_does(front: Front) -> None:
    """Ctrl-Z and `fg` mean the command, not only whoever waits for it."""
    process = front.wait()
    command, _ = front.command()
    process.send_signal(signal.SIGTSTP)
    os.waitid(os.P_PID, process.pid, os.WSTOPPED)
    _await(lambda: command.status() == psutil.STATUS_STOPPED)
    process.send_signal(signal.SIGCONT)
    assert front.end_waiting(process) == 1


@pytest.mark.parametrize("options", [(), ("--no-pool",)], ids=["in a pool", "alone"])
def test_a_command_that_dies_of_a_signal_is_seen_to(front: Front, options: tuple[str, ...]) -> None:
    """A shell sees of which, as without a pool."""
    process = front.wait(*options)
    process.send_signal(signal.SIGTERM)
    assert process.wait(TIME_S) == -signal.SIGTERM


def test_a_caller_that_was_told_to_ignore_hangups_does(front: Front) -> None:
    """`nohup isolation run` goes on when the terminal is closed."""
    process = front.wait(before=("nohup",))
    command, _ = front.command()
    process.send_signal(signal.SIGHUP)
    command.send_signal(signal.SIGHUP)
    assert front.end_waiting(process) == 1


def test_a_command_whose_attendant_is_killed_says_so(front: Front) -> None:
    """And does not go on unseen."""
    process = front.wait()
    command, attendant = front.command()
    attendant.kill()
    _, told = process.communicate(timeout=TIME_S)
    assert psutil.wait_procs([command], TIME_S)[1] == []
    assert process.returncode == 3
    assert told.startswith("isolation: the pool's process that attended to this command has ended\n")


def test_a_command_whose_caller_is_killed_ends(front: Front) -> None:
    """Nobody would look at it any more."""
    process = front.wait()
    command, _ = front.command()
    process.kill()
    assert psutil.wait_procs([command], TIME_S)[1] == []


@pytest.mark.engine
@pytest.mark.usefixtures("engine")
def test_a_run_whose_caller_is_killed_is_cancelled(front: Front) -> None:
    """Nobody would look at it any more: no container goes on unseen, and nothing is merged."""
    front.write(WAITS)
    (front.path / "recipe.yaml").write_text(
        RECIPE + "  - {name: last, module: work, function: last, depends_on: [work]}\n"
    )
    process = front.start("run", ".")
    assert process.stderr is not None
    run_id = process.stderr.readline().split()[1]
    assert process.stderr.readline().startswith("step work ... succeeded ")
    _, attendant = front.command()
    process.kill()
    process.communicate(timeout=TIME_S)
    psutil.wait_procs([attendant], TIME_S)
    (run,) = json.loads(front.run("runs", "--json")[1])
    assert (run["run_id"], run["outcome"]) == (run_id, "cancelled")
    assert front.run("context", "list")[1] == "no keys\n"


@pytest.mark.engine
@pytest.mark.usefixtures("engine")
@pytest.mark.skipif(os.geteuid() != 0, reason="mounts into running cells")
def test_a_run_in_a_pool_is_given_a_cell_that_stands_ready(front: Front) -> None:
    """And when the pool has ended, no cell is left, whoever had it."""
    front.write(ENDS)
    lender = front.lender()
    _await(lambda: _phases(front).isdisjoint({"create", "start"}))
    assert front.run("pool", "stop")[0] == 0
    assert psutil.wait_procs([lender], TIME_S)[1] == []
    assert _cells_of(lender.pid) == []


@pytest.mark.engine
@pytest.mark.usefixtures("engine")
@pytest.mark.skipif(os.geteuid() != 0, reason="mounts into running cells")
def test_a_command_that_is_killed_leaves_no_cell(front: Front) -> None:
    """Even where it cannot do a thing about it, which without a pool waits for `isolation clean`."""
    front.write(ENDS)
    lender = front.lender()
    _await(lambda: _phases(front).isdisjoint({"create", "start"}))
    _await(lambda: len(_cells_of(lender.pid)) == 1)
    front.write(WAITS)
    (front.path / "recipe.yaml").write_text(
        RECIPE + "  - {name: last, module: work, function: last, depends_on: [work]}\n"
    )
    process = front.start("run", ".")
    assert process.stderr is not None
    process.stderr.readline()
    assert process.stderr.readline().startswith("step work ... succeeded ")
    command, _ = front.command()
    command.kill()
    assert process.wait(TIME_S) == -signal.SIGKILL
    assert front.run("pool", "stop")[0] == 0
    assert psutil.wait_procs([lender], TIME_S)[1] == []
    assert _cells_of(lender.pid) == []


@pytest.mark.engine
@pytest.mark.usefixtures("engine")
def test_the_first_run_starts_a_pool_for_the_second(place: Front) -> None:
    """A command that only looks does not."""
    place.write(ENDS)
    assert place.run("runs") == (0, NO_RUNS, "")
    assert place.pools() == []
    assert place.run("run", ".", "--no-pool", "--quiet")[0] == 0
    assert place.pools() == []
    assert place.run("run", ".", "--quiet")[0] == 0
    assert place.run("pool", "start")[0] == 0  # waits for it: there is one only
    assert len(place.pools()) == 1
    assert place.run("run", ".", "--quiet")[0] == 0


PRELOADED = """
import sys
import time
from isolation.cli.ahead.server import import_all
from isolation.cli.boundary import run
import_all()
before = set(sys.modules)
code = run(sys.argv[1:])
sys.stderr.write("\\n".join(sorted(set(sys.modules) - before)))
sys.exit(code)
"""


@pytest.mark.engine
@pytest.mark.usefixtures("engine")
def test_a_run_in_a_pool_imports_nothing_more(place: Front) -> None:
    """What it imports, each run would import again."""
    place.write(ENDS)
    done = subprocess.run(
        [sys.executable, "-c", PRELOADED, "run", "--json", str(place.path)],
        env=place.environment,
        capture_output=True,
        text=True,
        check=False,
    )
    imported = [name for name in done.stderr.split() if not name.startswith("encodings.")]
    assert (done.returncode, imported) == (0, [])


def _children(process: psutil.Process) -> list[psutil.Process]:
    try:
        return process.children()
    except psutil.NoSuchProcess:  # it attended to who asked whether the pool is there
        return []


def _phases(front: Front) -> set[str]:
    code, out, told = front.run("run", ".", "--json")
    assert code == 0, told
    return {*json.loads(out)["attempts"][0]["phases_ms"]}


def _cells_of(pid: int) -> list[Leftover]:
    """List the containers of the cells that a process has made, whoever uses them."""
    owners = ((left, Owner.read(left.owner)) for left in DockerEngine().leftovers())
    return [left for left, owner in owners if owner is not None and owner.pid == pid]


def _await(there: Callable[[], bool]) -> None:
    """Wait for what the kernel does a moment after it was told to."""
    until_s = time.monotonic() + TIME_S
    while not there():
        assert time.monotonic() < until_s
        os.sched_yield()
