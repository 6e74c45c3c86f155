"""
Takes secrets out of everything that a recipe says before it is kept, shown or merged: the only module that does.

What is hidden shows as ``[secret NAME]``. Where there are no secrets, nothing is copied or searched.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from isolation.errors import SecretError
from isolation.rules.needles import ANCHOR_BYTES, HEAD_BYTES, Needle, Needles, Stream

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from pydantic import JsonValue

    from isolation.model.secret import Secret

_MARKS = ("[secret {}]", "<secret {}>", "{{secret {}}}", "(secret {})")
"""The first is meant; another stands in where a secret's own text would run on into it."""


class Redacting(Protocol):
    """A stream that is being redacted."""

    found: str
    """The first secret that stood in it; empty if none did."""

    def feed(self, content: bytes) -> bytes:
        """Take a piece; returns what can be said by now."""

    def end(self, *, cut: bool) -> bytes:
        """Return what was held back; ``cut`` counts the beginning of a secret, six bytes or more, as the whole."""


class Redaction:
    """What must not show. Its ``repr`` tells nothing; it is false where there is nothing to hide."""

    def __init__(self, secrets: Iterable[Secret] = ()) -> None:
        named = {secret.name: secret for secret in secrets}
        self._needles = Needles(_needles(named)) if named else None

    def __bool__(self) -> bool:
        return self._needles is not None

    def stream(self) -> Redacting:
        """Begin to redact bytes that come in pieces."""
        return Stream(self._needles) if self._needles else _Untouched()

    def text(self, text: str, most: int | None = None) -> str:
        """
        Redact a text that is there as a whole.

        A text of ``most`` characters or more may be the part of a longer one: then six bytes or more of a secret's
        end at its beginning, and of a secret's beginning at its end, count as the secret.
        """
        if self._needles is None:
            return text
        cut = most is not None and len(text) >= most
        content = text.encode("utf-8", "surrogatepass")
        stream = Stream(self._needles)
        shown = stream.feed(_without_an_end(content, self._needles) if cut else content) + stream.end(cut=cut)
        return text if shown == content else shown.decode("utf-8", "backslashreplace")

    def value(self, value: JsonValue) -> JsonValue:
        """Redact a JSON value at any depth: texts, keys, and numbers whose digits are a secret."""
        if self._needles is None or value is None or isinstance(value, bool):
            return value
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, list):
            return [self.value(item) for item in value]
        if isinstance(value, dict):
            return self.mapping(value)
        return self.text(repr(value)) if self.find(value) else value

    def find(self, value: JsonValue) -> str:
        """Name a secret that stands in a JSON value; empty if there is none."""
        if self._needles is None:
            return ""
        for text in _texts(value):
            stream = Stream(self._needles)
            stream.feed(text.encode("utf-8", "surrogatepass"))
            stream.end(cut=False)
            if stream.found:
                return stream.found
        return ""

    def mapping(self, value: Mapping[str, JsonValue]) -> dict[str, JsonValue]:
        """Redact an object, its keys as well."""
        shown: dict[str, JsonValue] = {}
        for key, item in value.items():
            name = plain = self.text(key)
            number = 1
            while name in shown:  # two keys that differed in their secrets alone
                number += 1
                name = f"{plain} ({number})"
            shown[name] = self.value(item)
        return shown


NOTHING = Redaction()
"""Nothing to hide."""


class _Untouched:
    found = ""

    def feed(self, content: bytes) -> bytes:
        return content

    def end(self, *, cut: bool) -> bytes:  # noqa: ARG002 - as promised
        return b""


def _texts(value: JsonValue) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, item in value.items():
            yield key
            yield from _texts(item)
    elif isinstance(value, list):
        for item in value:
            yield from _texts(item)
    elif value is not None and not isinstance(value, bool):
        yield repr(value)


def _needles(secrets: Mapping[str, Secret]) -> list[Needle]:
    from isolation.rules.forms import forms  # noqa: PLC0415 - only a run with secrets pays for it

    by_form: dict[bytes, str] = {}
    for name, secret in secrets.items():
        for form in forms(secret.reveal()):
            by_form.setdefault(form, name)
    clash = ""
    for pattern in _MARKS:
        marks = {name: pattern.format(name).encode() for name in secrets}
        clash = next((name for form, name in by_form.items() if _runs_into(form[:HEAD_BYTES], marks.values())), "")
        if not clash:
            return [Needle(form, marks[name], name) for form, name in by_form.items()]
    raise SecretError(
        f"the secret {clash!r} cannot be told from the mark that shows in its place", hint="Use another value."
    )


def _runs_into(head: bytes, marks: Iterable[bytes]) -> bool:
    """Tell whether a needle could stand in what is shown, across the border of a mark, within it, or around it."""
    return any(
        head in mark
        or mark in head
        or (mark[-1:] in head and any(head.startswith(mark[-size:]) for size in range(1, len(mark))))
        or (mark[:1] in head and any(head.endswith(mark[:size]) for size in range(1, len(mark))))
        for mark in marks
    )


def _without_an_end(content: bytes, needles: Needles) -> bytes:
    """Put a mark for the longest end of a needle with which the content begins, if it has six bytes."""
    longest, mark = 0, b""
    for needle in needles.all:
        at = needle.content.find(content[:ANCHOR_BYTES], 1)
        while at > 0:
            size = len(needle.content) - at
            if size > longest and content.startswith(needle.content[at:]):
                longest, mark = size, needle.mark
            at = needle.content.find(content[:ANCHOR_BYTES], at + 1)
    return mark + content[longest:]
