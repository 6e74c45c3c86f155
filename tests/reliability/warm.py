"""
Runs under strace without a Python to start for each: forks of a process that has imported all that a run needs.

A fork waits until strace holds it, and only then opens the stores; so strace sees every call of it that keeps a run,
as it would see those of a program, and counts no other.
"""

from __future__ import annotations

import ctypes
import os
import subprocess
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory, TemporaryFile
from typing import IO, TYPE_CHECKING

from isolation.stores import Stores
from tests.reliability.one_run import main, own_keys, run

if TYPE_CHECKING:
    from collections.abc import Sequence
    from multiprocessing.connection import Connection

TIMEOUT_S = 60
LIBC = ctypes.CDLL(None)
PR_SET_PTRACER = 0x59616D61
PR_SET_PTRACER_ANY = ctypes.c_ulong(-1)
"""Of linux/prctl.h."""


def warm_processes(count: int) -> ProcessPoolExecutor:
    """Make processes which have no other thread, and so can be forked, and have done once what the forks will do."""
    return ProcessPoolExecutor(count, mp_context=get_context("spawn"), initializer=warm_up)


def warm_up() -> None:
    """Make a run, since the stores import much of what they need when it is first used."""
    with TemporaryDirectory() as folder, Stores(Path(folder, "state")) as stores:
        run(stores, "warm", own_keys("warm"))


def traced(options: Sequence[str], state: str, *run_ids: str) -> subprocess.CompletedProcess[str]:
    """
    Have a fork of this process make the runs, as ``one_run.main`` does, under strace with these options.

    Returns its exit code, minus the signal if one killed it, and what it said. Nothing of it is left, whatever happens.
    """
    ours, theirs = get_context("fork").Pipe()
    with ours, theirs, TemporaryFile("w+") as said, TemporaryFile("w+") as errors:
        fork = get_context("fork").Process(target=when_traced, args=(theirs, said, errors, state, *run_ids))
        fork.start()
        try:
            assert ours.poll(TIMEOUT_S), "the fork does not begin"
            follow(ours.recv(), options, ours)
        finally:
            fork.kill()
            fork.join()
        for file in (said, errors):
            file.seek(0)
        assert fork.exitcode is not None
        return subprocess.CompletedProcess(fork.name, fork.exitcode, said.read(), errors.read())


def follow(pid: int, options: Sequence[str], fork: Connection) -> None:
    """Attach strace to the fork, let it go on, and wait until it has ended, which is when strace does."""
    command = ["strace", "--follow-forks", *options, "-p", str(pid)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as strace:
        try:
            assert strace.stderr
            # From here on no call is missed: the process is to stop before it runs another instruction of its own.
            assert (said := strace.stderr.readline()) == f"strace: Process {pid} attached\n", said
            fork.send(None)
            _, said = strace.communicate(timeout=TIMEOUT_S)
            assert strace.returncode == 0, said
        finally:
            strace.kill()


def when_traced(parent: Connection, said: IO[str], errors: IO[str], state: str, *run_ids: str) -> None:
    """Make the runs, once strace holds this process; without a word of it, end."""
    os.dup2(said.fileno(), 1)
    os.dup2(errors.fileno(), 2)
    # Yama lets nobody but its ancestors trace a process, if it does not ask for it; strace is its sibling.
    LIBC.prctl(PR_SET_PTRACER, PR_SET_PTRACER_ANY)
    parent.send(os.getpid())
    assert parent.poll(TIMEOUT_S), "strace did not come"
    main(state, *run_ids)
