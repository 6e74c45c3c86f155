"""
A virtual machine: started, talked with line by line, saved at some moment, and killed as by a power cut.

All that knows qemu and Debian is ``scripts/vm``.
"""

from __future__ import annotations

import json
import os
import select
import shlex
import signal
import socket
import subprocess
import tempfile
import time
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from types import TracebackType

BOOT_S = 300
_SCRIPT = Path(__file__).parents[2] / "scripts" / "vm"
_GUEST = Path(__file__).parent / "guest"
_MAKING_S = 900
_PACKING_S = 300
_FASTEST = 2**40
"""Bytes a second: without a limit of its own."""
_LACKING = 3
"""The scripts' exit code for "this machine lacks something"."""


class NoMachineError(Exception):
    """No machine can be had here; the sentence says why."""


class BrokenMachineError(Exception):
    """One should be had here, and was not."""


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
    One life of a machine, in a folder of its own. There the next one finds the disks that this one wrote.

    It boots, or goes on from the moment that the machine of another folder saved: with its memory, and with a copy of
    its disk, but not of the small disk ``kept`` beside it. As a context manager it is dead at the end, come what may.
    """

    def __init__(self, folder: Path, second_disk: Path, *, moment: Path | None = None) -> None:
        folder.mkdir(exist_ok=True)
        self._folder = folder
        self._said = b""
        self._monitor, monitor = socket.socketpair()
        with monitor:
            command: list[Path | str] = [_SCRIPT, "--start", folder, second_disk, str(monitor.fileno())]
            # Its standard input stays open: on the end of it qemu takes our ear for closed.
            self._process = subprocess.Popen(
                command if moment is None else [*command, moment],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                pass_fds=[monitor.fileno()],
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
                raise TimeoutError(f"the machine said nothing for {within_s:.0f} s.\n{self.console()}")
            chunk = os.read(said, 2**16)
            if not chunk:
                return None
            self._said += chunk
        line, _, self._said = self._said.partition(b"\n")
        return line.decode()

    def tell(self, *lines: str) -> None:
        """Write lines to the program in it."""
        assert self._process.stdin is not None
        self._process.stdin.write("".join(f"{line}\n" for line in lines).encode())
        self._process.stdin.flush()

    def save(self) -> None:
        """Keep this moment, for others to go on from, and end it."""
        memory = self._folder / "memory"
        with self._monitor.makefile("rw", encoding="utf-8") as monitor:
            for command, arguments in (
                ("qmp_capabilities", {}),
                ("migrate-set-capabilities", {"capabilities": [{"capability": "events", "state": True}]}),
                ("migrate-set-parameters", {"max-bandwidth": _FASTEST}),
                ("migrate", {"uri": f"exec:cat >{shlex.quote(str(memory))}"}),
            ):
                monitor.write(json.dumps({"execute": command, "arguments": arguments}) + "\n")
            monitor.flush()
            for said in map(json.loads, monitor):
                status = said.get("data", {}).get("status")
                if "error" in said or status == "failed":
                    raise BrokenMachineError(f"its moment could not be saved: {said}")
                if status == "completed":
                    break
        self.kill()

    def kill(self) -> None:
        """Cut its power; also of one that is off already."""
        self._process.kill()
        self._process.communicate()
        self._monitor.close()

    def console(self, lines: int = 40) -> str:
        """Return the end of what kernel and programs wrote to its console."""
        try:
            text = (self._folder / "console").read_text(encoding="utf-8", errors="replace")
        except FileNotFoundError:
            return "(nothing)"
        return "\n".join(text.splitlines()[-lines:])


class Booted:
    """The one boot of a session, for machines to go on from: it waits to be told which program of guest/ to run."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="isolation-vm-")
        self.folder = Path(self._folder.name)

    @cached_property
    def second_disk(self) -> Path:
        """The disk of all these machines. Raises NoMachineError where this host lacks what it takes."""
        _call(_MAKING_S)
        _call(_PACKING_S, "--pack", self.folder / "second.img", _GUEST)
        return self.folder / "second.img"

    @cached_property
    def moment(self) -> Path:
        """The folder of the machine, saved; made when it is first asked for. Raises as ``second_disk``."""
        folder = self.folder / "booted"
        with Machine(folder, self.second_disk) as machine:
            if (said := machine.line(within_s=BOOT_S)) != "booted":
                raise BrokenMachineError(f"it did not boot, but said {said!r}.\n{machine.console()}")
            machine.save()
        return folder

    def machine(self, folder: Path) -> Machine:
        """Start another that has just booted. Raises as ``second_disk``."""
        return Machine(folder, self.second_disk, moment=self.moment)

    def remove(self) -> None:
        """Remove all of it."""
        self._folder.cleanup()
