"""
What host and container share: how bytes cross the channel, and what counts as JSON.

The runner speaks only in frames, and first: what it says of its confinement decides whether the host goes on::

    host             ─▶ nonce (32 bytes) ─▶ PLAN ─▶ SECRETS ────────────────▶ BYE
    runner ─▶ HELLO ─▶ (STEP_STARTED │ LOG │ RECORD │ STEP_ENDED)* ─▶ (ARTIFACT CHUNK*)* ─▶ READING ─▶ END

    frame  =  kind (1 byte)  length (4 bytes, big endian)  payload (length bytes)

END proves that all was said and nothing was cut: it carries the nonce, and the count, the length and the BLAKE2b
of everything the runner sent before it. After END the runner waits for BYE, so that the host can read the
kernel's counters while the container still stands. Where the plan says that the cell stays, it cleans up then and
greets again, for the next run, with a nonce and a count of its own.

Standard library only; the container's Python is 3.11. Imports stay cheap: each run pays for them.
"""

from __future__ import annotations

import json
import math
import struct
from _blake2 import blake2b  # what hashlib.blake2b is; its module loads all of OpenSSL

TYPE_CHECKING = False  # not typing's: an import that costs more than most of what is here
if TYPE_CHECKING:
    from typing import TypeGuard

CONTRACT_VERSION = 8

HELLO = 1
STEP_STARTED = 2
LOG = 3
RECORD = 4
STEP_ENDED = 5
ARTIFACT = 6
CHUNK = 7
READING = 8
END = 9
PLAN = 16
BYE = 17
SECRETS = 18
ANSWER = 32
TOLD = 33
"""From a step's process to the runner, and from the runner to one that waits for its step; never to the host."""

HEADER = struct.Struct(">BI")
LOG_HEADER = struct.Struct(">HB")
"""Before the bytes of a LOG frame: the step's index in the plan, and the stream (1 stdout, 2 stderr)."""
SECRET_HEADER = struct.Struct(">BI")
"""In a SECRETS frame, before the bytes of each name and its value: the lengths of both."""
_DIGEST_BYTES = 32
END_BODY = struct.Struct(f">32sQQ{_DIGEST_BYTES}s")
"""Nonce, count of frames, count of bytes (headers included), BLAKE2b of these bytes."""

NONCE_BYTES = 32
PIECE_BYTES = 65536
"""The longest run of raw bytes in one LOG or CHUNK frame."""
SMALL_FRAME_BYTES = 65536
"""The longest HELLO, STEP_STARTED, RECORD, ARTIFACT or READING."""

MAX_DEPTH = 32
MAX_NODES = 100_000
MAX_KEY_BYTES = 256
MAX_STRING_BYTES = 65_536
MAX_INTEGER = 2**53
MAX_VALUE_BYTES = 2**20
"""The largest value of one context key, as JSON."""

MOST_READS = 1_000
"""The keys that a step can name as read; who read more counts as having read all that it may see."""

MOST_KEPT = 8
"""The results of earlier runs that the plan may have for one step."""

LONGEST = {"cause": 100, "type": 200, "message": 4_000, "traceback": 16_000, "level": 50, "logger": 200}
"""In characters: what the runner cuts off of a step's error, and of a log record; a message is bounded by its frame."""
RECORD_CHARS = 8_000
"""The longest message of a log record: six bytes each at worst, and all within one small frame."""
MOST_FIELDS, FIELDS_BYTES = 32, 8_192
"""What a log record can have beside its message, and how large all of it is as JSON at most."""

_LONGEST_INTEGER = len(str(-MAX_INTEGER))
_QUOTED = r'(?s:"[^"\\]*+(?:\\.[^"\\]*+)*+"?)'  # never goes back, also where a quote is not closed
_NAME_PART = r"[A-Za-z0-9_()+=@,][A-Za-z0-9_()+=@, .\-]{0,99}"
_MOST_NAME_PARTS = 8


class Malformed(ValueError):  # noqa: N818 - a word for people: "the frame is malformed"
    """Bytes or a value that the contract does not allow; the text says why, for people."""


class Tally:
    """Counts and hashes the frames of one direction, for END."""

    def __init__(self) -> None:
        self.frames = 0
        self.size_bytes = 0
        self._hash = blake2b(digest_size=_DIGEST_BYTES)

    def add(self, *pieces: bytes) -> None:
        """Take in one whole frame, given in pieces."""
        self.frames += 1
        for piece in pieces:
            self.size_bytes += len(piece)
            self._hash.update(piece)

    def end(self, nonce: bytes | bytearray) -> bytes:
        """Write the payload of END."""
        return END_BODY.pack(bytes(nonce), self.frames, self.size_bytes, self._hash.digest())


def frame(kind: int, payload: bytes) -> bytes:
    """
    Write one frame.

    >>> frame(BYE, b"x").hex()
    '110000000178'
    """
    return HEADER.pack(kind, len(payload)) + payload


def dumps(value: object) -> bytes:
    """Write a JSON value compactly, as UTF-8. Raises Malformed for what ``check_json`` refuses."""
    check_json(value)
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()


def is_context_key(key: object) -> TypeGuard[str]:
    """
    Tell whether the context can hold something under a key.

    >>> is_context_key("sales.eu"), is_context_key(" sales"), is_context_key(3)
    (True, False, False)
    """
    if not isinstance(key, str) or not key.isprintable():  # a lone surrogate is not printable, and cannot be encoded
        return False
    return key == key.strip() != "" and len(key.encode()) <= MAX_KEY_BYTES


def check_artifact_name(name: str) -> None:
    """
    Check that a file may be kept under a name: at most eight plain parts, no way up or out.

    None is hidden, and none is what a shell's tools take for an option.

    >>> check_artifact_name("plots/by year.png")
    >>> check_artifact_name("../etc/passwd")
    Traceback (most recent call last):
    isolation.contract.Malformed: not a plain name: letters, digits and -_.,+=@() in at most 8 parts, none led by - or .
    """
    import re  # noqa: PLC0415 - few cells need it, and each would pay for it

    parts = name.split("/")
    if len(parts) > _MOST_NAME_PARTS or not all(re.fullmatch(_NAME_PART, part) for part in parts):
        raise Malformed(
            f"not a plain name: letters, digits and -_.,+=@() in at most {_MOST_NAME_PARTS} parts, none led by - or ."
        )


def loads(content: bytes | str, *, spare: int = 0) -> object:
    """
    Read I-JSON (RFC 7493), strictly. Raises Malformed and nothing else.

    ``spare`` values fewer than usual are let through, for who must say them again with something around them.

    Refused, each with a sentence: not UTF-8, a byte order mark, duplicate keys, NaN and infinities, numbers and
    sizes beyond the bounds above, lone surrogates, NUL, more than one document.

    >>> loads(b'{"a": [1, 2.5, null]}')
    {'a': [1, 2.5, None]}
    >>> loads(b'{"a": 1, "a": 2}')
    Traceback (most recent call last):
    isolation.contract.Malformed: the key 'a' stands twice in one object
    """
    try:
        text = content if isinstance(content, str) else content.decode("utf-8")
        _check_count(text, MAX_NODES - spare)
        value: object = json.loads(
            text, object_pairs_hook=_object, parse_constant=_constant, parse_int=_integer, parse_float=_real
        )
    except Malformed:
        raise
    except UnicodeDecodeError as error:
        raise Malformed(f"not UTF-8 at byte {error.start}") from error
    except RecursionError as error:
        raise Malformed(f"nested more than {MAX_DEPTH} deep") from error
    except ValueError as error:
        raise Malformed(f"not JSON: {error}") from error
    check_json(value, spare=spare)
    return value


def check_json(value: object, *, spare: int = 0) -> None:
    """
    Check that a value can be said in I-JSON within our bounds.

    Raises Malformed with a sentence that names the place.

    >>> check_json({"a": [float("nan")]})
    Traceback (most recent call last):
    isolation.contract.Malformed: nan at $.a[0] is not a finite number
    """
    most = MAX_NODES - spare
    nodes = 1
    stack: list[tuple[object, str, int]] = [(value, "$", 1)]
    while stack:
        node, place, depth = stack.pop()
        if depth > MAX_DEPTH:
            raise Malformed(f"nested more than {MAX_DEPTH} deep")
        if not isinstance(node, dict | list | tuple):
            _check_scalar(node, place)
            continue
        nodes += len(node)  # counted before they are looked at: a short text can hold very many
        if nodes > most:
            raise Malformed(f"more than {MAX_NODES} values")
        if isinstance(node, dict):
            for key, item in node.items():
                _check_key(key, place)
                stack.append((item, f"{place}.{key}"[:200], depth + 1))
        else:
            stack.extend((item, f"{place}[{index}]"[:200], depth + 1) for index, item in enumerate(node))


def _check_key(key: object, place: str) -> None:
    if not isinstance(key, str):
        raise Malformed(f"the key {key!r} at {place} is not a string")
    if _text_bytes(key, place) > MAX_KEY_BYTES:
        raise Malformed(f"a key at {place} has more than {MAX_KEY_BYTES} bytes")


def _check_scalar(value: object, place: str) -> None:
    if value is None or isinstance(value, bool):
        return
    if isinstance(value, int):
        if abs(value) > MAX_INTEGER:
            raise Malformed(f"an integer at {place} is beyond 2**53; say it as a string")
    elif isinstance(value, float):
        if not math.isfinite(value):
            raise Malformed(f"{value} at {place} is not a finite number")
    elif isinstance(value, str):
        if _text_bytes(value, place) > MAX_STRING_BYTES:
            raise Malformed(f"a string at {place} has more than {MAX_STRING_BYTES} bytes")
    else:
        raise Malformed(f"a {type(value).__name__} at {place} is not JSON")


def _text_bytes(text: str, place: str) -> int:
    if "\0" in text:
        raise Malformed(f"a string at {place} holds NUL")
    try:
        return len(text.encode())
    except UnicodeEncodeError as error:
        raise Malformed(f"a string at {place} holds a lone surrogate") from error


def _check_count(text: str, most: int) -> None:
    """
    Refuse by its signs alone a text of too many values: made, each would take thirty times the memory of its bytes.

    Every value but the first follows a comma or an opening bracket, and not a quoted one. What passes here may
    still be too much by a little, which ``check_json`` counts exactly.
    """
    for signs in (",", "[{"):
        if sum(map(text.count, signs)) > most:
            import re  # noqa: PLC0415 - few cells need it, and each would pay for it

            text = re.sub(_QUOTED, "", text)
            if sum(map(text.count, signs)) > most:
                raise Malformed(f"more than {MAX_NODES} values")


def _object(pairs: list[tuple[str, object]]) -> dict[str, object]:
    made = dict(pairs)
    if len(made) != len(pairs):
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                raise Malformed(f"the key {key[:80]!r} stands twice in one object")
            seen.add(key)
    return made


def _constant(name: str) -> object:
    raise Malformed(f"{name} is not JSON")


def _integer(digits: str) -> int:
    if len(digits) > _LONGEST_INTEGER:
        raise Malformed(f"the integer {digits[:20]}… is beyond 2**53; say it as a string")
    return int(digits)


def _real(digits: str) -> float:
    value = float(digits)
    if not math.isfinite(value):
        raise Malformed(f"the number {digits[:40]} is too large")
    return value
