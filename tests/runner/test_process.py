"""What a step sends on its pipe, frame by frame."""

from __future__ import annotations

import os
import struct
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.runner.conftest import Load

RECORD, ANSWER = 4, 32
Sent = tuple[Any, list[bytes]]


@pytest.fixture
def sent(load: Load) -> Iterator[Callable[..., Sent]]:
    """Make a process, send bytes on its answer's pipe, and take what comes of them."""
    opened: list[int] = []

    def send(*writes: bytes, answer_bytes: int = 1024) -> Sent:
        pipes = [os.pipe() for _ in range(3)]
        opened.extend(write for _, write in pipes)
        fds = tuple(read for read, _ in pipes)
        process = load("process").Process({"timeout_s": None}, 1, 0, fds, answer_bytes)
        records: list[bytes] = []
        for content in writes:
            os.write(pipes[2][1], content)
            process.read(fds[2], 65536)
            records += process.take_records()
        process.close()
        return process, records

    yield send
    for fd in opened:
        os.close(fd)


def frame(kind: int, payload: bytes) -> bytes:
    return struct.pack(">BI", kind, len(payload)) + payload


def test_records_and_the_answer_come_whole_however_they_are_cut(sent: Callable[..., Sent]) -> None:
    """A pipe has no borders."""
    stream = frame(RECORD, b"one") + frame(RECORD, b"two") + frame(ANSWER, b"answer")
    for cut in range(1, len(stream)):
        process, records = sent(stream[:cut], stream[cut:])
        assert (records, process.answer, process.rubbish) == ([b"one", b"two"], b"answer", "")


@pytest.mark.parametrize(
    ("content", "rubbish"),
    [
        (b"hello", "bytes that are no frame"),
        (frame(3, b""), "bytes that are no frame"),
        (frame(ANSWER, b"a") + frame(ANSWER, b"b"), "bytes that are no frame"),
        (frame(ANSWER, b"a") + frame(RECORD, b"b"), "bytes that are no frame"),
        (frame(ANSWER, b"a") + b"x", "an answer that was cut off"),
        (frame(ANSWER, b"answer")[:-1], "an answer that was cut off"),
        (struct.pack(">BI", RECORD, 65536), "bytes that are no frame"),
    ],
)
def test_rubbish_is_named(sent: Callable[..., Sent], content: bytes, rubbish: str) -> None:
    """The step is told what was wrong with what it sent."""
    assert sent(content)[0].rubbish == rubbish


def test_an_answer_that_is_too_large_is_not_collected(sent: Callable[..., Sent]) -> None:
    """Its header says so: nothing of it is kept, however much comes."""
    process, _ = sent(struct.pack(">BI", ANSWER, 1025), *(b"x" * 60_000 for _ in range(5)))

    assert (process.too_large, process.rubbish, len(process._buffer)) == (True, "", 0)


def test_the_largest_answer_is_allowed(sent: Callable[..., Sent]) -> None:
    """A bound that refuses its own value is off by one."""
    assert sent(frame(ANSWER, b"x" * 1024))[0].answer == b"x" * 1024


def test_a_long_log_record_is_not_a_large_answer(sent: Callable[..., Sent]) -> None:
    """A strict limit on results says nothing about log lines."""
    process, records = sent(frame(RECORD, b"x" * 5000))

    assert (process.too_large, len(records)) == (False, 1)
