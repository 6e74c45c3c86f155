"""The first process of a cell, as the kernel tells of it: here, and on kernels that tell less."""

from __future__ import annotations

import errno
import fcntl
import os
import select
import signal
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from isolation.sandbox import first
from isolation.sandbox.first import FirstProcess

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

Held = tuple[subprocess.Popen[bytes], FirstProcess]
TELLS = (6, 15)
"""From this Linux on, others than its parent are told how a process exited."""


@pytest.fixture
def held() -> Iterator[Callable[[str], Held]]:
    """Start a process of a shell's, and hold it."""
    started: list[Held] = []

    def start(command: str) -> Held:
        process = subprocess.Popen(["/bin/sh", "-c", command])
        started.append((process, FirstProcess(process.pid, os.pidfd_open(process.pid))))
        return started[-1]

    yield start
    for process, one in started:
        process.kill()
        process.wait()
        one.close()


def this_kernel() -> tuple[int, ...]:
    return tuple(map(int, os.uname().release.split("-")[0].split(".")[:2]))


def await_end(one: FirstProcess) -> None:
    poll = select.poll()
    poll.register(one.fileno(), select.POLLIN)
    assert poll.poll(30_000)


def test_one_that_lives_is_not_waited_for_beyond_the_time(held: Callable[[str], Held]) -> None:
    """How it exits is not known yet."""
    _, one = held("exec sleep 100")
    assert one.lives
    assert one.wait(0) is None


@pytest.mark.parametrize(("command", "code"), [("exit 3", 3), ("kill -9 $$", 128 + signal.SIGKILL)])
def test_one_that_is_reaped_is_told_of_where_the_kernel_does(
    held: Callable[[str], Held], command: str, code: int
) -> None:
    """Its parent is the engine's shim, not we. Linux 6.15 tells, others say that they do not."""
    process, one = held(command)
    await_end(one)
    process.wait()
    told = one.wait(30)
    assert told == (code if this_kernel() >= TELLS else None)


def test_one_that_is_reaped_somewhat_later_is_waited_for(
    monkeypatch: pytest.MonkeyPatch, held: Callable[[str], Held]
) -> None:
    """As it is with a container: it has ended, and the shim has not waited for it yet."""
    process, one = held("exit 3")
    await_end(one)
    look, asked = one._await_reaped, []

    def reap() -> None:
        asked.append(process.wait())
        look()

    monkeypatch.setattr(one, "_await_reaped", reap)
    told = one.wait(30)
    assert (told, asked) == ((3, [3]) if this_kernel() >= TELLS else (None, asked))


def test_one_that_is_reaped_while_it_is_asked_for_is_asked_for_again(
    monkeypatch: pytest.MonkeyPatch, held: Callable[[str], Held]
) -> None:
    """The kernel finds neither what is told of it nor the process then (ESRCH): two of sixty, on a busy host."""
    process, one = held("exit 3")
    await_end(one)
    process.wait()
    ask, asked = fcntl.ioctl, []

    def missed_once(*arguments: Any) -> Any:  # noqa: ANN401 - as ioctl(2) has them
        asked.append(arguments)
        if len(asked) == 1:
            raise ProcessLookupError(errno.ESRCH, "no such process")
        return ask(*arguments)

    monkeypatch.setattr(fcntl, "ioctl", missed_once)
    assert one.wait(30) == (3 if this_kernel() >= TELLS else None)
    assert len(asked) == 2


def test_a_kernel_that_tells_nothing_is_not_waited_for(
    monkeypatch: pytest.MonkeyPatch, held: Callable[[str], Held]
) -> None:
    """Before 6.13 there is no such call, and in many of those no word of the reaping: each run would wait for it."""
    _, one = held("exit 0")
    await_end(one)

    def unknown(*_: object) -> int:
        raise OSError(errno.ENOTTY, os.strerror(errno.ENOTTY))

    monkeypatch.setattr(fcntl, "ioctl", unknown)
    monkeypatch.setattr(first, "_REAPED_WITHIN_S", None)  # there is no such time: to wait it would be a TypeError
    assert one.wait(30) is None
