"""
A virtual machine: started on a disk, heard line by line, and killed as by a power cut.

All that knows qemu and Debian is ``scripts/vm``.
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from types import TracebackType

PROJECT = Path(__file__).parents[2]
_SCRIPT = PROJECT / "scripts" / "vm"
_MAKING_S = 900
_PACKING_S = 300
_LACKING = 3
"""The scripts' exit code for "this machine lacks something"."""


class NoMachineError(Exception):
    """No machine can be had here; the sentence says why."""


class BrokenMachineError(Exception):
    """One should be had here, and was not."""


def ensure_machine() -> None:
    """Make the machine, if it is not there yet. Raises NoMachineError where this host lacks what it takes."""
    _call(_MAKING_S)


def pack(folder: Path, file: Path) -> Path:
    """Make the disk from which a machine runs ``folder/run``; the project as it stands lies beside."""
    _call(_PACKING_S, "--pack", file, folder)
    return file


def _call(longest_s: float, *arguments: str | Path) -> None:
    process = subprocess.Popen(
        [_SCRIPT, *arguments], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    try:
        _, words = process.communicate(timeout=longest_s)
    except BaseException as error:
        os.killpg(process.pid, signal.SIGKILL)  # what it started, too
        process.wait()
        if isinstance(error, subprocess.TimeoutExpired):
            raise BrokenMachineError(f"scripts/vm was not done after {longest_s} s") from error
        raise
    if process.returncode == _LACKING:
        raise NoMachineError(" ".join(line for line in words.splitlines() if not line.startswith("- ")))
    if process.returncode != 0:
        raise BrokenMachineError(f"scripts/vm ended with {process.returncode}:\n{words}")


class Machine:
    """
    One life of a machine. On ``disk`` the next one finds what this one wrote; a new disk is a fresh machine.

    As a context manager it is dead at the end, whatever happened.
    """

    def __init__(self, disk: Path, second_disk: Path, console: Path) -> None:
        self._console = console
        self._said = b""
        # Its standard input stays open: on the end of it qemu takes our ear for closed.
        self._process = subprocess.Popen(
            [_SCRIPT, "--start", disk, second_disk, console], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )

    def __enter__(self) -> Self:
        """Return itself; it was started when it was made."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Kill it."""
        self.kill()

    def line(self, *, within_s: float) -> str | None:
        """Return the next line that it says; None when it has powered off. Raises TimeoutError."""
        until_s = time.monotonic() + within_s
        assert self._process.stdout is not None
        said = self._process.stdout.fileno()
        while b"\n" not in self._said:
            left_s = until_s - time.monotonic()
            if left_s <= 0 or not select.select([said], [], [], left_s)[0]:
                raise TimeoutError(f"the machine said nothing for {within_s:.0f} s")
            chunk = os.read(said, 2**16)
            if not chunk:
                return None
            self._said += chunk
        line, _, self._said = self._said.partition(b"\n")
        return line.decode()

    def kill(self) -> None:
        """Cut its power; also of one that is off already."""
        self._process.kill()
        self._process.communicate()

    def console(self, lines: int = 40) -> str:
        """Return the end of what kernel and programs wrote to its console."""
        try:
            text = self._console.read_text(encoding="utf-8", errors="replace")
        except FileNotFoundError:
            return "(nothing)"
        return "\n".join(text.splitlines()[-lines:])
