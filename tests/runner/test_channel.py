"""The runner's end of the channel: when what it sends leaves."""

from __future__ import annotations

import fcntl
import os
from typing import TYPE_CHECKING, Any

import pytest

from isolation.contract import BYE, HEADER, LOG, PIECE_BYTES, READING, frame

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.runner.conftest import Load


class Ends:
    """A channel, and the host's ends of it."""

    def __init__(self, load: Load) -> None:
        inner, self.to_it = os.pipe()
        self.from_it, outer = os.pipe()
        os.set_blocking(self.from_it, False)
        fcntl.fcntl(outer, fcntl.F_SETPIPE_SZ, 4 * PIECE_BYTES)  # nobody reads while these tests write
        self._all = (inner, self.to_it, self.from_it, outer)
        self.channel: Any = load("channel").Channel(inner, outer)

    def arrived(self) -> bytes:
        """Read what is there."""
        try:
            return os.read(self.from_it, 2**20)
        except BlockingIOError:
            return b""

    def close(self) -> None:
        """Close all ends."""
        for fd in self._all:
            os.close(fd)


@pytest.fixture
def ends(load: Load) -> Iterator[Ends]:
    made = Ends(load)
    yield made
    made.close()


def test_frames_leave_together_when_they_are_let_out(ends: Ends) -> None:
    """One write for the end of a step and the start of the next: each wakes three processes on its way."""
    ends.channel.send(READING, b"a")
    ends.channel.send(LOG, b"b", b"c")
    assert ends.arrived() == b""

    ends.channel.flush()

    assert ends.arrived() == frame(READING, b"a") + frame(LOG, b"bc")


def test_whoever_waits_for_the_host_has_let_out_all(ends: Ends) -> None:
    """Else both would wait for each other."""
    os.write(ends.to_it, frame(BYE, b""))
    ends.channel.send(READING, b"a")
    ends.channel.wait_for_bye()

    assert ends.arrived() == frame(READING, b"a")


def test_no_more_than_a_piece_is_held_back(ends: Ends) -> None:
    """What a step pours out is not gathered in memory; and END, which counts all, comes last."""
    ends.channel.send(LOG, bytes(PIECE_BYTES - HEADER.size - 1))
    assert ends.arrived() == b""
    ends.channel.send(LOG, b"")
    assert len(ends.arrived()) == PIECE_BYTES - 1 + HEADER.size

    ends.channel.send(READING, b"a")
    ends.channel.end()

    assert ends.arrived().startswith(frame(READING, b"a"))
