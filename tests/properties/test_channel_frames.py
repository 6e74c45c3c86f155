"""The host's end of the channel, for any stream: the network's cuts do not matter, and nothing piles up."""

from __future__ import annotations

import socket
import struct
from contextlib import closing
from itertools import pairwise
from typing import TYPE_CHECKING

from hypothesis import given, settings
from hypothesis import strategies as some

from isolation import contract
from isolation.contract import Malformed, frame
from isolation.sandbox.streams import Channel

if TYPE_CHECKING:
    from collections.abc import Sequence

RESULT_BYTES = 4096
LONGEST_FRAME_BYTES = contract.HEADER.size + RESULT_BYTES + 64 * 1024
RECEIVE_BYTES = 256 * 1024
DIAGNOSTIC_BYTES = 16 * 1024

KINDS = some.integers(contract.HELLO, contract.END)
FRAMES = some.builds(frame, KINDS, some.binary(max_size=contract.END_BODY.size))
STREAMS = some.sampled_from([1, 1, 1, 2])


def packed(stream: int, content: bytes) -> bytes:
    return struct.pack(">BxxxI", stream, len(content)) + content


@some.composite
def conversations(draw: some.DrawFn) -> tuple[list[tuple[int, bytes]], bytes]:
    """Draw frames, and them as the engine passes them on: in packets cut anywhere, last words in between."""
    whole = draw(some.lists(FRAMES, max_size=12))
    content = b"".join(whole)
    cuts = sorted(draw(some.lists(some.integers(0, len(content)), max_size=6)))
    packets = []
    for start, end in pairwise([0, *cuts, len(content)]):
        packets.append(packed(1, content[start:end]))
        if draw(some.booleans()):
            packets.append(packed(2, draw(some.binary(max_size=20))))
    return [(one[0], one[contract.HEADER.size :]) for one in whole], b"".join(packets)


def chunks(content: bytes, cuts: Sequence[int]) -> list[bytes]:
    places = sorted({0, len(content), *(cut for cut in cuts if cut < len(content))})
    return [content[start:end] for start, end in pairwise(places)]


def receive(pieces: Sequence[bytes]) -> tuple[list[tuple[int, bytes]], Channel, str]:
    """Receive the pieces one by one; returns the frames, the channel, and why they are malformed."""
    host, engine = socket.socketpair()
    frames: list[tuple[int, bytes]] = []
    with engine, closing(Channel(host, RESULT_BYTES)) as channel:
        engine.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 2**21)
        try:
            for piece in pieces:
                engine.sendall(piece)
                frames += channel.receive(5)
            engine.close()
            while not channel.closed:
                frames += channel.receive(5)
        except Malformed as error:
            return frames, channel, str(error)
    return frames, channel, ""


@given(conversations(), some.lists(some.integers(1, 2000), max_size=40))
def test_any_chunking_of_the_same_bytes_gives_the_same_frames(
    conversation: tuple[list[tuple[int, bytes]], bytes], cuts: list[int]
) -> None:
    """Neither the engine's packets nor the network's reads are ours to choose."""
    expected, content = conversation

    frames, channel, malformed = receive(chunks(content, cuts))

    assert (frames, malformed) == (expected, "")
    assert channel.received_bytes == sum(contract.HEADER.size + len(payload) for _, payload in expected)


@given(some.lists(some.tuples(STREAMS, some.binary(max_size=200)), max_size=6), some.lists(some.integers(1, 1200)))
def test_any_chunking_of_any_bytes_gives_the_same_end(packets: list[tuple[int, bytes]], cuts: list[int]) -> None:
    """Rubbish is the same rubbish, found at the same frame, however it arrives."""
    content = b"".join(packed(stream, body) for stream, body in packets)

    at_once = receive([content] if content else [])
    in_pieces = receive(chunks(content, cuts))

    assert (at_once[0], at_once[2]) == (in_pieces[0], in_pieces[2])
    assert in_pieces[1].diagnostics.startswith(at_once[1].diagnostics) or at_once[2]


HEADERS = some.builds(contract.HEADER.pack, some.integers(0, 12), some.integers(0, 2**32 - 1))
FLOODS = some.builds(
    lambda head, stream, size: packed(stream, head + b"\3\0\0\0\3" * size),
    some.one_of(some.just(b""), HEADERS, some.binary(max_size=8)),
    STREAMS,
    some.integers(0, 60_000),
)


@settings(max_examples=60)
@given(some.lists(FLOODS, min_size=1, max_size=4))
def test_no_buffer_grows_beyond_one_frame_and_one_read(floods: list[bytes]) -> None:
    """A length that a header claims is never waited for beyond what such a frame may have."""
    host, engine = socket.socketpair()
    with engine, closing(Channel(host, RESULT_BYTES)) as channel:
        engine.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 2**21)
        try:
            for piece in (part for flood in floods for part in chunks(flood, range(0, len(flood), 100_000))):
                engine.sendall(piece)
                for _ in channel.receive(5):
                    pass
                assert len(channel._frames) < LONGEST_FRAME_BYTES
                assert len(channel._diagnostics) <= DIAGNOSTIC_BYTES
                assert len(channel._header) < 8
        except Malformed:
            assert len(channel._frames) <= LONGEST_FRAME_BYTES + RECEIVE_BYTES
