"""Starts a pool: a process of its own, with nothing of whoever starts it but what its key is made of."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING

from isolation.cli.ahead.standing import at_start, folder, is_watched, key
from isolation.sandbox.engine import engine_address

if TYPE_CHECKING:
    from isolation.settings import Settings

_PROGRAM = (
    "import sys, json; *given, sys.path[:] = json.loads(sys.argv[1]); "
    "from isolation.cli.ahead.server import main; main(*given)"
)


def start(settings: Settings) -> str:
    """Start a pool for commands such as this one, and wait until it can be called; returns why it cannot, or ""."""
    process = _start(settings, subprocess.PIPE)
    assert process.stdout is not None and process.stderr is not None  # noqa: S101, PT018 - asked for
    with process.stdout, process.stderr:  # which it lets go of as soon as it is ready
        if process.stdout.readline() or process.wait() == 0:  # or there was one already
            return ""
        return process.stderr.read().strip().rpartition("\n")[2]


def start_for_the_next(settings: Settings) -> None:
    """Start a pool, and go: whether it comes up is no part of the command that was asked for."""
    try:
        if not is_watched():
            _start(settings, subprocess.DEVNULL)
    except OSError:
        return


def _start(settings: Settings, output: int) -> subprocess.Popen[str]:
    expected = engine_address(settings.engine), settings.image, settings.policy
    return subprocess.Popen(
        [sys.executable, "-c", _PROGRAM, json.dumps([folder(), key(), settings.pool_s, expected, sys.path])],
        env=at_start(),
        cwd="/",
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=output,
        text=True,
        start_new_session=True,
    )
