"""
The only module that reads YAML and JSON that other people wrote, and the strictest.

What it understands is JSON's data, written in YAML 1.2's core schema or as JSON. No anchors and aliases (a few
bytes can stand for gigabytes), no tags (they make objects), no merge keys, no second value for a key, no dates, no
base-60 and no octal numbers (``1:30`` and ``010`` are text). It works on events, with a stack of its own, so that
no depth of nesting can exhaust ours.
"""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import yaml

from isolation.errors import FileError, RecipeError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

LARGEST_TEXT_BYTES = 2**20
_DEEPEST = 32
_MOST_NODES = 100_000
_LARGEST_INT = 2**53
_LONGEST_NUMBER = 100

_AS_UTF_8 = "Save the file as plain text, in UTF-8."
_IN_QUOTES = "Put it in quotes if it is text."
_IN_FILES = "Keep data in files of its own, and name them under `files`."
_LOOK = "Look at this line and the one before it: at quotes, brackets, commas, colons and tabs."

_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_WORDS = {"": None, "~": None, "null": None, "Null": None, "NULL": None} | {
    word: word.lower() == "true" for word in ("true", "True", "TRUE", "false", "False", "FALSE")
}
_INT = re.compile(r"[-+]?(0|[1-9][0-9]*)")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|(0|[1-9][0-9]*)(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_NOT_FINITE = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")
_TAG_DIRECTIVE = re.compile("(?:^|[\n\r\x85\u2028\u2029])%TAG")
_FORBIDDEN = re.compile("[\0\ud800-\udfff]")
_JSON_WORD = re.compile(r'"(?:[^"\\]|\\.)*"|[{}\[\]\n]|[^\s",:{}\[\]]+')

Place = tuple[str | int, ...]
"""Where a value stands: the keys and indices that lead to it, such as ``("steps", 2, "module")``."""


@dataclass(frozen=True, slots=True)
class Document:
    """
    A text's value, with the line (from 1) of every key and item.

    ``written`` keeps each number as it stands in the text: ``version: 1.10`` means 1.10, not 1.1.
    """

    value: Any
    lines: Mapping[Place, int]
    written: Mapping[Place, str]

    def line(self, place: Place) -> int:
        """Find the line of a place, or of the nearest place around it."""
        while place and place not in self.lines:
            place = place[:-1]
        return self.lines.get(place, 1)


class _Refusal(Exception):  # noqa: N818 - never leaves this module
    def __init__(self, sentence: str, line: int | None, hint: str = "") -> None:
        super().__init__(sentence)
        self.sentence, self.line, self.hint = sentence, line, hint


class _Event(NamedTuple):
    """``kind`` is ``{``, ``[``, ``end`` or ``scalar``; ``plain`` scalars may be something else than text."""

    kind: str
    line: int
    text: str = ""
    plain: bool = False


def read(content: bytes, path: Path | str, error: type[FileError] = RecipeError) -> Document:
    """
    Read a text, as JSON if its name ends in ``.json`` and as YAML otherwise.

    Raises ``error``, with path and line, for everything that is not plain data in strict UTF-8.
    """
    try:
        text = _decode(content)
        events = _json_events(text) if str(path).endswith(".json") else _yaml_events(text)
        return _build(events)
    except _Refusal as refusal:
        raise error(refusal.sentence, hint=refusal.hint, path=path, line=refusal.line) from refusal


def _decode(content: bytes) -> str:
    if len(content) > LARGEST_TEXT_BYTES:
        raise _Refusal("the file is larger than 1 MiB", None, _IN_FILES)
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as cause:
        line = content.count(b"\n", 0, cause.start) + 1
        raise _Refusal("the text is not UTF-8", line, _AS_UTF_8) from cause
    if "\0" in text:
        raise _Refusal("the text holds a NUL character", text.count("\n", 0, text.index("\0")) + 1, _AS_UTF_8)
    return text


def _yaml_events(text: str) -> Iterator[_Event]:
    # Before any parser sees them: libyaml compares each of these directives with all before it.
    if directive := _TAG_DIRECTIVE.search(text):
        raise _Refusal("tags are not allowed: '%TAG'", text.count("\n", 0, directive.end()) + 1, _IN_QUOTES)
    documents = 0
    try:
        for event in yaml.parse(text, Loader=_Loader):
            line = event.start_mark.line + 1 if event.start_mark else 1
            if isinstance(event, yaml.DocumentStartEvent):
                documents += 1
                if documents > 1:
                    raise _Refusal("a second document begins here", line, "Keep one document in a file.")
            elif isinstance(event, yaml.NodeEvent):
                yield _node(event, line)
            elif isinstance(event, yaml.CollectionEndEvent):
                yield _Event("end", line)
    except yaml.MarkedYAMLError as cause:
        mark = cause.problem_mark or cause.context_mark
        problem = cause.problem or cause.context
        raise _Refusal(f"the text is not YAML: {problem}", mark.line + 1 if mark else None, _LOOK) from cause
    except (yaml.YAMLError, ValueError) as cause:
        reason = str(cause).splitlines()[0]
        raise _Refusal(f"the text is not YAML: {reason}", None, _AS_UTF_8) from cause


def _node(event: yaml.NodeEvent, line: int) -> _Event:
    if event.anchor is not None:
        sign = "*" if isinstance(event, yaml.AliasEvent) else "&"
        raise _Refusal(
            f"anchors and aliases are not allowed: {sign + event.anchor[:60]!r}",
            line,
            "Write the value out, or put it in quotes if it is text.",
        )
    if isinstance(event, yaml.ScalarEvent | yaml.CollectionStartEvent) and event.tag is not None:
        tag = event.tag.replace("tag:yaml.org,2002:", "!!")
        raise _Refusal(f"tags are not allowed: {tag[:60]!r}", line, _IN_QUOTES)
    if isinstance(event, yaml.ScalarEvent):
        return _Event("scalar", line, event.value, plain=not event.style)
    return _Event("{" if isinstance(event, yaml.MappingStartEvent) else "[", line)


def _json_events(text: str) -> Iterator[_Event]:
    try:
        json.loads(text, parse_int=str, parse_float=str, parse_constant=_no_constant)
    except json.JSONDecodeError as cause:
        raise _Refusal(f"the text is not JSON: {_json_problem(cause)}", cause.lineno, _LOOK) from cause
    except RecursionError as cause:
        raise _Refusal(f"values are nested deeper than {_DEEPEST}", None, _IN_FILES) from cause
    line = 1
    for word in _JSON_WORD.findall(text):
        if word == "\n":
            line += 1
        elif word in {"{", "["}:
            yield _Event(word, line)
        elif word in {"}", "]"}:
            yield _Event("end", line)
        elif word[0] == '"':
            yield _Event("scalar", line, json.loads(word))
        else:
            yield _Event("scalar", line, word, plain=True)


def _json_problem(cause: json.JSONDecodeError) -> str:
    """Say what is wrong; of the most common mistake, versions of Python say different things."""
    before, after = cause.doc[: cause.pos].rstrip(), cause.doc[cause.pos :].lstrip()
    if re.match(r"[}\]]", after) and before.endswith(","):
        return "a comma stands before the closing bracket"
    if re.match(r",\s*[}\]]", after):
        return "a comma stands before the closing bracket"
    return cause.msg[:1].lower() + cause.msg[1:]


def _no_constant(word: str) -> None:
    raise _Refusal(f"the number {word} is not finite", None, _IN_QUOTES)


@dataclass(slots=True)
class _Frame:
    """A mapping or list that is still open; ``key`` waits for its value."""

    value: dict[str, Any] | list[Any]
    place: Place
    key: str | None = None


@dataclass(slots=True)
class _Tree:
    stack: list[_Frame] = field(default_factory=list)
    root: Any = None
    lines: dict[Place, int] = field(default_factory=dict)
    written: dict[Place, str] = field(default_factory=dict)

    def take(self, event: _Event) -> None:
        frame = self.stack[-1] if self.stack else None
        if event.kind == "end":
            self.stack.pop()
        elif frame is not None and isinstance(frame.value, dict) and frame.key is None:
            self.key(frame, frame.value, event)
        else:
            self.put(frame, event)

    def key(self, frame: _Frame, mapping: dict[str, Any], event: _Event) -> None:
        if event.kind != "scalar":
            raise _Refusal("a mapping or list cannot be a key", event.line, _IN_QUOTES)
        if event.plain and event.text == "<<":
            raise _Refusal("merge keys ('<<') are not allowed", event.line, "Write the keys out.")
        if event.text in mapping:
            raise _Refusal(
                f"the key {event.text[:60]!r} stands here for the second time",
                event.line,
                f"Keep one: line {self.lines[(*frame.place, event.text)]} has the first.",
            )
        _check_text(event)
        frame.key = event.text
        self.lines[(*frame.place, event.text)] = event.line

    def put(self, frame: _Frame | None, event: _Event) -> None:
        value: Any = {} if event.kind == "{" else [] if event.kind == "[" else _resolve(event)
        if frame is None:
            place: Place = ()
            self.root = value
        elif isinstance(frame.value, list):
            place = (*frame.place, len(frame.value))
            frame.value.append(value)
        else:
            place = (*frame.place, frame.key or "")
            frame.value[frame.key or ""] = value
            frame.key = None
        self.lines.setdefault(place, event.line)
        if event.kind == "scalar":
            if isinstance(value, int | float) and not isinstance(value, bool):
                self.written[place] = event.text
            return
        self.stack.append(_Frame(value, place))
        if len(self.stack) > _DEEPEST:
            raise _Refusal(f"values are nested deeper than {_DEEPEST}", event.line, _IN_FILES)


def _build(events: Iterator[_Event]) -> Document:
    tree = _Tree()
    for count, event in enumerate(events):
        if count > _MOST_NODES:
            raise _Refusal(f"the text holds more than {_MOST_NODES} values", event.line, _IN_FILES)
        tree.take(event)
    return Document(tree.root, tree.lines, tree.written)


def _check_text(event: _Event) -> None:
    if _FORBIDDEN.search(event.text):
        raise _Refusal("the text holds a character that is not allowed (NUL, or half of a pair)", event.line, _AS_UTF_8)


def _resolve(event: _Event) -> str | float | None:
    """Find what a scalar means: YAML 1.2's core schema, decimal and finite."""
    text = event.text
    if not event.plain:
        _check_text(event)
        return text
    if text in _WORDS:
        return _WORDS[text]
    if _NOT_FINITE.fullmatch(text):
        raise _Refusal(f"the number {text} is not finite", event.line, _IN_QUOTES)
    if not _FLOAT.fullmatch(text):
        _check_text(event)
        return text
    whole = _INT.fullmatch(text) is not None
    number = math.inf if len(text) > _LONGEST_NUMBER else int(text) if whole else float(text)
    if math.isinf(number) or (whole and abs(number) > _LARGEST_INT):
        raise _Refusal(f"the number {text[:30]} is too large", event.line, _IN_QUOTES)
    return number
