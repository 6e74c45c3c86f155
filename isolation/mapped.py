"""
Keys and their JSON values in one file, looked up without being read; and what is changed over it.

::

    values │ keys, sorted │ count + 1 times: where a key begins, and its value │ count, sign

Host and container share this file, as they share ``contract``. Standard library only, and imports stay cheap.
"""

from __future__ import annotations

import json
import struct
from _collections_abc import Mapping, MutableMapping  # what collections.abc has, which takes more with it

TYPE_CHECKING = False  # not typing's: an import that costs more than most of what is here
if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator
    from typing import Any, Protocol

    class Content(Protocol):
        """Bytes that are read only where they are asked for: a mapping of memory, or a file."""

        def __len__(self) -> int:
            """Return how many there are."""

        def __getitem__(self, part: slice, /) -> bytes:
            """Return some of them."""


_PLACE = struct.Struct("<QQ")
_TWO_PLACES = struct.Struct("<QQQQ")
_END = struct.Struct("<Q8s")
_SIGN = b"mapped 1"


class Mapped(Mapping[str, "Any"]):
    """
    What such a file holds, sorted by key; each lookup parses its own value anew, and keeps nothing.

    ValueError for what is no such file, or only a part of one. The bytes of values are not looked at.
    """

    def __init__(self, content: Content) -> None:
        self._content = content
        end_at = len(content) - _END.size
        if end_at < 0:
            raise ValueError("too short for a mapped file")
        self._count, sign = _END.unpack(content[end_at : len(content)])
        self._places_at = end_at - (self._count + 1) * _PLACE.size
        if sign != _SIGN or self._places_at < 0:
            raise ValueError("not a mapped file, or not all of it")
        keys_end, values_end = _PLACE.unpack(content[end_at - _PLACE.size : end_at])
        if keys_end != self._places_at or values_end > keys_end:
            raise ValueError("not a mapped file, or not all of it")

    @classmethod
    def open(cls, path: str) -> Mapped:
        """Map a file into memory, whose pages all who map it share. Raises OSError and ValueError."""
        import mmap  # noqa: PLC0415 - every step pays for what it imports

        with open(path, "rb") as file:  # noqa: PTH123 - as above
            return cls(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))

    def __getitem__(self, key: str) -> Any:  # noqa: ANN401 - JSON of any kind
        at = self._find(key)
        if at is None:
            raise KeyError(key)
        _, begins, _, ends = self._places(at)
        return json.loads(self._content[begins:ends].decode())

    def __contains__(self, key: object) -> bool:
        return self._find(key) is not None

    def __iter__(self) -> Iterator[str]:
        return (self._key(at).decode() for at in range(self._count))

    def __len__(self) -> int:
        return int(self._count)

    def _find(self, key: object) -> int | None:
        if not isinstance(key, str):
            return None
        wanted = key.encode("utf-8", "surrogatepass")  # the order of these bytes is that of the code points
        low, high = 0, self._count
        while low < high:
            middle = (low + high) // 2
            if self._key(middle) < wanted:
                low = middle + 1
            else:
                high = middle
        return low if low < self._count and self._key(low) == wanted else None

    def _key(self, at: int) -> bytes:
        begins, _, ends, _ = self._places(at)
        return self._content[begins:ends]

    def _places(self, at: int) -> tuple[int, int, int, int]:
        begins = self._places_at + at * _PLACE.size
        return _TWO_PLACES.unpack(self._content[begins : begins + _TWO_PLACES.size])


def pieces(items: Iterable[tuple[str, bytes]]) -> Iterator[bytes]:
    """
    Write such a file: of keys with the JSON of their values, sorted by key. The same items give the same bytes.

    >>> content = b"".join(pieces([("a", b"1"), ("b", b"[2]")]))
    >>> Mapped(content)["b"], "c" in Mapped(content)
    ([2], False)
    """
    keys: list[bytes] = []
    begins = [0]
    for key, value in items:
        keys.append(key.encode())
        begins.append(begins[-1] + len(value))
        yield value
    yield from keys
    at = begins[-1]
    for key_bytes, value_at in zip((*keys, b""), begins, strict=True):
        yield _PLACE.pack(at, value_at)
        at += len(key_bytes)
    yield _END.pack(len(keys), _SIGN)


class Over(Mapping[str, "Any"]):
    """
    What ``base`` holds, which is sorted by key, with ``values`` over it and without ``hidden``; sorted by key.

    >>> dict(Over({"a": 1, "c": 3, "d": 4}, {"d": 5, "b": 2}, ["a"]))
    {'b': 2, 'c': 3, 'd': 5}
    """

    def __init__(self, base: Mapping[str, Any], values: Mapping[str, Any], hidden: Collection[str] = ()) -> None:
        self._base = base
        self._values = values
        self._hidden = frozenset(hidden)

    def __getitem__(self, key: str) -> Any:  # noqa: ANN401 - JSON of any kind
        if key in self._values:
            return self._values[key]
        if key in self._hidden:
            raise KeyError(key)
        return self._base[key]

    def __contains__(self, key: object) -> bool:
        return key in self._values or (key not in self._hidden and key in self._base)

    def __iter__(self) -> Iterator[str]:
        added = sorted((key for key in self._values if key not in self._base), reverse=True)
        for key in self._base:
            while added and added[-1] < key:
                yield added.pop()
            if key in self._values or key not in self._hidden:
                yield key
        yield from reversed(added)

    def __len__(self) -> int:
        gone = sum(key in self._base and key not in self._values for key in self._hidden)
        return len(self._base) - gone + sum(key not in self._base for key in self._values)


class Changing(MutableMapping[str, "Any"]):
    """A dictionary that begins as ``under``, which stays as it is: it costs what is changed. Ordered as a dict is."""

    def __init__(self, under: Mapping[str, Any]) -> None:
        self._under = under
        self._changed: dict[str, Any] = {}
        self._gone: set[str] = set()
        """Keys from below that were deleted, be it that they were set again: they are last then."""

    def __getitem__(self, key: str) -> Any:  # noqa: ANN401 - JSON of any kind
        if key in self._changed:
            return self._changed[key]
        if key in self._gone:
            raise KeyError(key)
        return self._under[key]

    def __setitem__(self, key: str, value: Any) -> None:  # noqa: ANN401 - as above
        self._changed[key] = value

    def __delitem__(self, key: str) -> None:
        if key not in self:
            raise KeyError(key)
        self._changed.pop(key, None)
        if key in self._under:
            self._gone.add(key)

    def __contains__(self, key: object) -> bool:
        return key in self._changed or (key not in self._gone and key in self._under)

    def __iter__(self) -> Iterator[str]:
        for key in self._under:
            if key not in self._gone:
                yield key
        for key in self._changed:
            if key in self._gone or key not in self._under:
                yield key

    def __len__(self) -> int:
        added = sum(key in self._gone or key not in self._under for key in self._changed)
        return len(self._under) - len(self._gone) + added

    def __reduce__(self) -> tuple[type, tuple[dict[str, Any]]]:
        """Have a copy, or what is sent to another process, be a plain dictionary."""
        return dict, (dict(self.items()),)
