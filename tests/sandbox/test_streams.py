"""The host's end of the channel, over a real socket pair: frames, or Malformed, and nothing else."""

from __future__ import annotations

import socket
import struct
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as some

from isolation import contract
from isolation.contract import Malformed, Tally, frame
from isolation.sandbox.streams import Channel

if TYPE_CHECKING:
    from collections.abc import Iterator

NONCE = bytes(range(32))
RESULT_BYTES = 1024
Frames = list[tuple[int, bytes]]


def packet(content: bytes, stream: int = 1) -> bytes:
    return struct.pack(">BxxxI", stream, len(content)) + content


@contextmanager
def opened() -> Iterator[tuple[Channel, socket.socket]]:
    host, engine = socket.socketpair()
    engine.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 2**20)
    with engine, closing(Channel(host, RESULT_BYTES)) as channel:
        yield channel, engine


def received(*writes: bytes) -> tuple[Frames, Channel]:
    """Write, end the stream, and receive all there is."""
    frames: Frames = []
    with opened() as (channel, engine):
        for content in writes:
            engine.sendall(content)
            frames += channel.receive(0.001)
        engine.close()
        while not channel.closed:
            frames += channel.receive(1)
    return frames, channel


def ended(*frames: bytes, nonce: bytes = NONCE) -> bytes:
    tally = Tally()
    for whole in frames:
        tally.add(whole)
    return tally.end(nonce)


HELLO = frame(contract.HELLO, b'{"a":1}')
LOG = frame(contract.LOG, b"\0\0\1hello\n")


def test_packets_cut_at_every_byte_give_the_same_frames() -> None:
    """A stream has no borders: the network cuts where it likes, in headers too."""
    stream = packet(HELLO[:3]) + packet(HELLO[3:] + LOG) + packet(b"last words", 2) + packet(LOG)
    expected = [(contract.HELLO, HELLO[5:]), (contract.LOG, LOG[5:]), (contract.LOG, LOG[5:])]

    for cut in range(len(stream) + 1):
        frames, channel = received(stream[:cut], stream[cut:])
        assert frames == expected, cut
        assert channel.diagnostics == "last words"


def test_one_byte_a_time_gives_the_same_frames() -> None:
    """The slowest writer there can be."""
    frames, _ = received(*(bytes([byte]) for byte in packet(HELLO) + packet(LOG)))

    assert frames == [(contract.HELLO, HELLO[5:]), (contract.LOG, LOG[5:])]


@pytest.mark.parametrize("kind", [0, contract.END + 1, contract.PLAN, contract.BYE, contract.ANSWER, 255])
def test_a_kind_that_the_runner_never_says_is_malformed(kind: int) -> None:
    """Host's frames must not come back as the runner's."""
    with pytest.raises(Malformed, match=f"unknown kind {kind}"):
        received(packet(frame(kind, b"")))


@pytest.mark.parametrize(
    ("kind", "most"),
    [
        (contract.HELLO, contract.SMALL_FRAME_BYTES),
        (contract.RECORD, contract.SMALL_FRAME_BYTES),
        (contract.ARTIFACT, contract.SMALL_FRAME_BYTES),
        (contract.LOG, contract.PIECE_BYTES + 3),
        (contract.CHUNK, contract.PIECE_BYTES),
        (contract.STEP_ENDED, RESULT_BYTES + 64 * 1024),
        (contract.END, contract.END_BODY.size),
    ],
)
def test_a_frame_is_refused_by_its_header_alone_when_it_is_too_long(kind: int, most: int) -> None:
    """Nothing is kept of it, whatever follows."""
    frames, _ = received(packet(frame(kind, bytes(most))))
    assert frames == [(kind, bytes(most))]

    with pytest.raises(Malformed, match=f"kind {kind} with {most + 1} bytes"):
        received(packet(struct.pack(">BI", kind, most + 1)))


def test_a_packet_of_another_stream_is_malformed() -> None:
    """The engine has two; a third is a sign that we read the wrong bytes as a header."""
    with pytest.raises(Malformed, match="unknown stream 3"):
        received(packet(b"x", 3))


def test_an_end_proves_what_went_before_it() -> None:
    """Nonce, count, length and hash agree."""
    with opened() as (channel, engine):
        engine.sendall(packet(HELLO) + packet(LOG) + packet(frame(contract.END, ended(HELLO, LOG))))
        frames: Frames = []
        while len(frames) < 3:
            frames += channel.receive(1)
        channel.check_end(frames[-1][1], NONCE)


@pytest.mark.parametrize(
    "end",
    [
        ended(HELLO, LOG, nonce=bytes(32)),
        ended(HELLO),
        ended(HELLO, LOG, LOG),
        ended(LOG, HELLO),
        ended(HELLO, LOG)[:-1],
        b"",
        contract.END_BODY.pack(NONCE, 2, len(HELLO + LOG), bytes(32)),
    ],
    ids=["another nonce", "one frame fewer", "one more", "another order", "cut", "empty", "another hash"],
)
def test_an_end_that_proves_something_else_is_malformed(end: bytes) -> None:
    """Whoever injects, drops or repeats a frame is found out here."""
    frames, channel = received(packet(HELLO + LOG + frame(contract.END, end)))

    assert frames[-1][0] == contract.END
    with pytest.raises(Malformed, match="does not prove"):
        channel.check_end(end, NONCE)


def test_bytes_after_the_end_are_malformed() -> None:
    """The answer is over; who speaks on is not our runner."""
    with opened() as (channel, engine):
        engine.sendall(packet(HELLO + frame(contract.END, ended(HELLO)) + b"\x01"))
        frames: Frames = []
        while len(frames) < 2:
            frames += channel.receive(1)
        with pytest.raises(Malformed, match="bytes after the end"):
            channel.check_end(frames[-1][1], NONCE)


def test_a_frame_that_is_cut_off_never_comes() -> None:
    """Half a frame is nothing, and the end of the stream is told."""
    frames, channel = received(packet(LOG[:-1]))

    assert (frames, channel.closed) == ([], True)


def test_last_words_are_kept_to_their_end_alone() -> None:
    """A traceback says the most in its last lines, and nobody may fill the host's memory with them."""
    _, channel = received(*(packet(b"x" * 10_000, 2) for _ in range(20)), packet(b"ValueError: \xff", 2))

    assert len(channel.diagnostics) <= 16 * 1024 + 4
    assert channel.diagnostics.endswith("ValueError: \\xff")


def test_a_packet_that_claims_four_gigabytes_is_not_collected() -> None:
    """Its bytes are judged as they come: the third byte is no frame already."""
    with pytest.raises(Malformed, match="unknown kind 120"):
        received(struct.pack(">BxxxI", 1, 2**32 - 1) + b"x" * 100)

    _, channel = received(struct.pack(">BxxxI", 2, 2**32 - 1), *(b"x" * 50_000 for _ in range(10)))
    assert len(channel.diagnostics) <= 16 * 1024


def test_what_was_received_is_counted() -> None:
    """Usage tells it; last words are ours, not the recipe's."""
    _, channel = received(packet(HELLO) + packet(b"last words", 2))

    assert channel.received_bytes == len(HELLO)


def test_a_quiet_channel_is_not_a_closed_one() -> None:
    """The caller has deadlines to keep between two looks."""
    with opened() as (channel, _):
        assert list(channel.receive(0.001)) == []
        assert not channel.closed


def test_sending_to_one_that_does_not_take_it_ends_in_time() -> None:
    """A stopped runner must not stop the host."""
    with opened() as (channel, _), pytest.raises(TimeoutError):
        channel.send(bytes(2**24), 0.01)


@given(some.lists(some.binary(max_size=64), max_size=8))
def test_any_bytes_are_frames_or_malformed(writes: list[bytes]) -> None:
    """No other exception may come out of what a container said, packed or not."""
    for pack in (packet, bytes):
        try:
            frames, channel = received(*(pack(content) for content in writes))
        except Malformed:
            continue
        assert sum(len(payload) + 5 for _, payload in frames) <= channel.received_bytes
