"""The command line's pool: what it carries out comes out as without it, and it serves nobody else."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from isolation.cli.ahead.call import READY
from isolation.cli.ahead.standing import key, standing
from tests.cli.front import ENDS, NO_RUNS, TIME_S, Front, await_that

pytestmark = pytest.mark.slow

PACKAGE = Path(__file__).parents[2] / "isolation"


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
        pytest.skip("strace is not installed; scripts/test installs it on Debian and Ubuntu")
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
    await_that(lambda: command.status() == psutil.STATUS_STOPPED)
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
