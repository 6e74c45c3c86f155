"""
A bounded fuzz of the channel: a true conversation, spoilt in one or several places, against the host's end.

``ISOLATION_FUZZ_SEED`` and ``ISOLATION_FUZZ_EXAMPLES`` choose other examples, and more of them. CI always takes the
same; the seed is printed with what failed.
"""

from __future__ import annotations

import json
import os
import secrets
import socket
import struct
import tempfile
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, note, seed, settings
from hypothesis import strategies as some

from isolation import contract
from isolation.clock import SystemClock
from isolation.context.value import check_entry
from isolation.contract import END_BODY, HEADER, Malformed, Tally, frame
from isolation.errors import ImageError
from isolation.sandbox.artifacts import ArtifactIntake, LimitReachedError
from isolation.sandbox.streams import Channel
from isolation.sandbox.transcript import Transcript
from isolation.storage.blobs import BlobStore
from isolation.testing import Inside

SEED = int(os.environ.get("ISOLATION_FUZZ_SEED") or (0 if "CI" in os.environ else secrets.randbelow(2**32)))
EXAMPLES = int(os.environ.get("ISOLATION_FUZZ_EXAMPLES", "600"))
RESULT_BYTES = 4096
SCOPE = [["*"], ["total", "sales.*"]]
STEPS = ["load", "sum", "never"]
Frames = list[tuple[int, bytes]]


class Silent:
    """Keeps nothing of what a recipe writes; what is kept of it has tests of its own."""

    def write(self, step: str, stream: str, content: bytes) -> None:
        """Take a piece of output."""

    def record(self, step: str, level: str, message: str, fields: object = None) -> None:
        """Take a log record."""


@dataclass
class Heard:
    """What the host made of a conversation."""

    complete: bool = False
    refusal: str = ""
    content: bytearray = field(default_factory=bytearray)
    changes: dict[str, Any] = field(default_factory=dict)


def true_conversation(nonce: bytes) -> Frames:
    """Record what a runner says: two steps, one of them tried twice, logs, a file, and one step left out."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        inside = Inside(theirs)
        inside.nonce = nonce
        inside.hello()
        inside.say(contract.STEP_STARTED, {"step": 0, "try": 1})
        inside.say(contract.STEP_STARTED, {"step": 0, "try": 2})
        inside.say(contract.LOG, contract.LOG_HEADER.pack(0, 1) + b"one line\n")
        record = {"level": "INFO", "logger": "x", "message": "hi", "fields": {"n": [1]}, "at": 1.5}
        inside.say(contract.RECORD, {"step": 0, "record": record})
        inside.say(contract.STEP_ENDED, ended(0, set={"total": 3, "sales.eu": [1, {"a": None}]}, outputs={"n": 1}))
        inside.step(1, {"sales.us": 2})
        inside.say(contract.STEP_ENDED, ended(2, outcome="skipped", tries=0, cause="its dependency failed"))
        inside.say(contract.ARTIFACT, {"name": "a/b.txt", "size": 5, "refused": None})
        inside.say(contract.CHUNK, b"abc")
        inside.say(contract.CHUNK, b"de")
        inside.say(contract.ARTIFACT, {"name": "fifo", "size": None, "refused": "not a regular file"})
        inside.say(contract.READING, {"cpu_user_s": 0.5, "cpu_system_s": 0, "memory_peak_bytes": 1})
        inside.end()
        theirs.shutdown(socket.SHUT_WR)
        return frames_of(unpacked(b"".join(iter(lambda: ours.recv(2**16), b""))))


def ended(step: int, **more: Any) -> dict[str, Any]:  # noqa: ANN401 - JSON
    return {"step": step, "outcome": "succeeded", "tries": 1, "cause": "", **more}


def unpacked(content: bytes) -> bytes:
    """Take the engine's packets off."""
    bare = bytearray()
    while content:
        length = int.from_bytes(content[4:8], "big")
        bare += content[8 : 8 + length]
        content = content[8 + length :]
    return bytes(bare)


def frames_of(content: bytes) -> Frames:
    found: Frames = []
    while content:
        kind, length = HEADER.unpack_from(content)
        found.append((kind, content[HEADER.size : HEADER.size + length]))
        content = content[HEADER.size + length :]
    return found


NONCE = bytes(range(32))
TRUE = true_conversation(NONCE)
ENDS = [at for at, (kind, _) in enumerate(TRUE) if kind == contract.STEP_ENDED]
PLACES = some.integers(0, 2**16)
RUBBISH = some.one_of(
    some.binary(max_size=12),
    some.builds(HEADER.pack, some.integers(0, 40), some.sampled_from([0, 1, 80, 81, 2**16, 2**16 + 4, 2**32 - 1])),
)
SCALARS = [
    None,
    True,
    False,
    -1,
    0,
    1,
    2,
    3,
    99,
    2**53,
    1.5,
    "",
    "x" * 300,
    "a\x1b[2J\u202e",
    "../x",
    "lost",
    "skipped",
]
COLLECTIONS = [[], {}, ["total"], {"secret": 1}, {"total": "\x00"}, {"a.b": {"c": [1]}}]
KEYS = some.sampled_from(
    ["total", "secret", "sales.", "sales.\x1b", " total", "", "t" * 257, "__proto__", "sales.\ud800"]
)
ODD = some.sampled_from([*SCALARS, *COLLECTIONS])


def spoil_text(payload: bytes, place: int, odd: object) -> bytes:
    """Put something odd in one place of a JSON payload; one that is no JSON stays as it is."""
    try:
        document = json.loads(payload)
    except ValueError:
        return payload
    if not isinstance(document, dict | list) or not document:
        return payload
    holders = [document]
    for holder in holders:
        items = holder.values() if isinstance(holder, dict) else holder
        holders += [item for item in items if isinstance(item, dict | list) and item]
    holder = holders[place % len(holders)]
    key = [*holder][place % len(holder)] if isinstance(holder, dict) else place % len(holder)
    holder[key] = odd
    return json.dumps(document).encode()


@some.composite
def spoilt_frames(draw: some.DrawFn) -> Frames:
    """Draw a conversation with frames left out, doubled, moved, invented, or changed inside."""
    frames = list(TRUE)
    for _ in range(draw(some.integers(0, 3))):
        at = draw(PLACES) % len(frames)
        kind, payload = frames[at]
        how = draw(some.integers(0, 6))
        if how == 0 and len(frames) > 1:
            del frames[at]
        elif how == 1:
            frames.insert(draw(PLACES) % (len(frames) + 1), frames[at])
        elif how == 2:
            other = draw(PLACES) % len(frames)
            frames[at], frames[other] = frames[other], frames[at]
        elif how == 3:
            frames[at] = draw(some.integers(0, 20)), payload
        elif how == 4:
            frames.insert(at, (draw(some.integers(1, 9)), draw(some.binary(max_size=90))))
        elif how == 5:
            changed = {draw(some.sampled_from(["set", "writers", "outputs"])): {draw(KEYS): draw(ODD)}}
            at = draw(some.sampled_from(ENDS)) % len(frames)
            frames[at] = contract.STEP_ENDED, json.dumps(ended(ENDS.index(at) if at in ENDS else 0, **changed)).encode()
        else:
            frames[at] = kind, spoil_text(payload, draw(PLACES), draw(ODD))
    return frames


@some.composite
def spoilt_bytes(draw: some.DrawFn, content: bytes) -> bytes:
    """Draw bytes with some changed, inserted, taken out or cut off."""
    spoilt = bytearray(content)
    for _ in range(draw(some.integers(0, 2))):
        at = draw(PLACES) % (len(spoilt) or 1)
        how = draw(some.integers(0, 3))
        if how == 0:
            spoilt[at : at + 1] = bytes([draw(some.integers(0, 255))])
        elif how == 1:
            spoilt[at:at] = draw(RUBBISH)
        elif how == 2:
            del spoilt[at : at + draw(some.integers(1, 12))]
        else:
            del spoilt[at:]
    return bytes(spoilt)


def prove_again(frames: Frames, nonce: bytes) -> Frames:
    """Write every END anew, as a runner would that had been taken over and knew the nonce."""
    tally, proven = Tally(), list[tuple[int, bytes]]()
    for kind, payload in frames:
        proven.append((kind, tally.end(nonce) if kind == contract.END else payload))
        if kind != contract.END:
            tally.add(frame(kind, payload))
    return proven


def listen(stream: bytes, cuts: list[int]) -> Heard:
    """Take all of a stream in, as a listener does: the frames in order, the end only if it proves what came."""
    heard = Heard()
    ours, engine = socket.socketpair()
    engine.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 2**21)
    with tempfile.TemporaryDirectory() as folder, engine, closing(Channel(ours, RESULT_BYTES)) as channel:
        files = ArtifactIntake(BlobStore(Path(folder)), most_files=4, most_bytes=1000)
        transcript = Transcript(
            STEPS,
            SCOPE,
            clock=SystemClock(),
            logs=Silent(),
            artifacts=files,
            tell=lambda _: None,
            check_entry=check_entry,
        )
        pieces = [stream[start:end] for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True)]
        while not (heard.complete or heard.refusal or channel.closed):
            engine.sendall(pieces.pop(0)) if pieces else engine.close()
            try:
                for kind, payload in channel.receive(0.001):
                    take(heard, channel, transcript, files, (kind, payload))
            except (Malformed, LimitReachedError, ImageError) as error:
                heard.refusal = f"{type(error).__name__}: {error}"
        files.close()
        heard.changes = {**transcript.changes().set, **dict.fromkeys(transcript.changes().deleted)}
    return heard


def take(heard: Heard, channel: Channel, transcript: Transcript, files: ArtifactIntake, one: tuple[int, bytes]) -> None:
    kind, payload = one
    heard.content += frame(kind, payload)
    if kind != contract.END:
        transcript.take(kind, payload)
        return
    transcript.check_complete()
    files.check_whole()
    channel.check_end(payload, NONCE)
    heard.complete = True


def test_the_conversation_that_is_spoilt_below_is_complete_as_it_is() -> None:
    """Else the fuzz would show that a refused conversation is refused."""
    heard = listen(stream_of(TRUE), [])

    assert (heard.complete, heard.refusal) == (True, "")
    assert heard.changes == {"total": 3, "sales.eu": [1, {"a": None}], "sales.us": 2}


def stream_of(frames: Frames) -> bytes:
    return b"".join(
        struct.pack(">BxxxI", 1, len(whole)) + whole for whole in (frame(kind, payload) for kind, payload in frames)
    )


fuzzed = settings(max_examples=EXAMPLES, database=None, suppress_health_check=[*HealthCheck])


@pytest.mark.slow
@seed(SEED)
@fuzzed
@given(some.data())
def test_a_spoilt_conversation_is_never_taken_for_a_complete_one(data: some.DataObject) -> None:
    """Whoever does not know the nonce can stop a run, and can add or change nothing."""
    note(f"ISOLATION_FUZZ_SEED={SEED}")
    stream = data.draw(spoilt_bytes(stream_of(data.draw(spoilt_frames()))))
    cuts = sorted(data.draw(some.lists(some.integers(0, len(stream)), max_size=3)))

    heard = listen(stream, cuts)

    if heard.complete:
        assert bytes(heard.content) == b"".join(frame(*one) for one in TRUE)


@pytest.mark.slow
@seed(SEED)
@fuzzed
@given(spoilt_frames())
def test_a_runner_that_was_taken_over_changes_no_more_than_the_recipe_may(frames: Frames) -> None:
    """It knows the nonce and proves what it likes; the keys, the order and the shape are still the host's to check."""
    note(f"ISOLATION_FUZZ_SEED={SEED}")

    heard = listen(stream_of(prove_again(frames, NONCE)), [])

    if heard.complete:
        kinds = [kind for kind, _ in frames_of(bytes(heard.content))]
        assert (kinds[0], kinds.count(contract.STEP_ENDED)) == (contract.HELLO, len(STEPS))
    assert all(key == "total" or key.startswith("sales.") for key in heard.changes)
    for key, value in heard.changes.items():
        check_entry(key, value)


@pytest.mark.parametrize("size", [0, END_BODY.size - 1, END_BODY.size])
def test_an_end_that_anyone_could_write_proves_nothing(size: int) -> None:
    """Zeros, and what the host itself sends, are known to all."""
    assert not listen(stream_of([*TRUE[:-1], (contract.END, bytes(size))]), []).complete
