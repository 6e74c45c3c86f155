"""
What a Python source imports and defines, found without compiling it.

A compiler is a large thing to show a hostile text to (deep nesting exhausts its stack), and it is not ours to run
the recipe's code, not even its parser. Tokens are enough: one pass, in time that grows with the text, no recursion.
What this misses (``exec``, computed names) fails inside the container with Python's own words.
"""

from __future__ import annotations

import io
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from isolation.errors import PackageError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from tokenize import TokenInfo

_COOKIE = re.compile(rb"^[ \t\f]*#.*?coding[:=][ \t]*([-\w.]+)", re.ASCII)
_AS_UTF_8 = "Save the file as plain text, in UTF-8."
_CORRECT = "Correct it: Python would refuse it, too."
_BLANK = re.compile(rb"^[ \t\f]*(?:#.*)?$")
_CODECS = {
    "utf-8": "utf-8", "utf8": "utf-8", "ascii": "ascii", "us-ascii": "ascii",
    "latin-1": "latin-1", "iso-8859-1": "latin-1", "iso-latin-1": "latin-1",
}  # fmt: skip

_CONDITIONAL = frozenset({"if", "elif", "else", "try", "except", "for", "while", "match", "case"})
_HEADERS = _CONDITIONAL | {"finally", "with", "def", "class", "async"}
_OPENING, _CLOSING = frozenset("([{"), frozenset(")]}")
_DYNAMIC = frozenset({"__import__", "import_module"})
_OPEN_ENDED = frozenset({"globals", "exec", "vars", "locals", "setattr", "__getattr__"})
_REGISTER = "register_scriptlet"
_LITERAL = re.compile(r"""(["'])([A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*)\1""")


@dataclass(frozen=True, kw_only=True, slots=True)
class Import:
    """
    One import of one module.

    ``level`` counts the dots of a relative import; ``module`` is then what follows them, possibly nothing.
    ``names`` are what is taken from it, and may be modules too. ``conditional`` ones may fail: they stand in an
    ``if``, ``try`` or the like, or name their module in a call.
    """

    module: str
    level: int = 0
    names: tuple[str, ...] = ()
    line: int = 0
    conditional: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Source:
    """
    What a source text tells about itself.

    ``names`` are bound at its top level, or what scriptlets are registered under; ``open_ended`` tells that there may
    be more of them, by ``import *`` or by code that computes names. ``has_code`` is False for comments and a
    docstring alone.
    """

    imports: tuple[Import, ...]
    names: frozenset[str]
    open_ended: bool
    has_code: bool


def find_imports(content: bytes, path: Path | str) -> tuple[Import, ...]:
    """Find the imports of a source, in its order; those for type checkers alone are left out."""
    return read_source(content, path).imports


def read_source(content: bytes, path: Path | str) -> Source:
    """Find what a source imports and defines; raises PackageError for what is not Python text."""
    text = decode(content, path)
    reader = _Reader()
    for line in logical_lines(text, path):
        reader.read(line)
    return reader.source()


def decode(content: bytes, path: Path | str) -> str:
    """Decode as PEP 263 says, but with a fixed few codecs: looking up any other name would import a module."""
    codec = "utf-8-sig"
    for line in content.splitlines()[:2] if len(content) < 2**12 else content[: 2**12].splitlines()[:2]:
        cookie = _COOKIE.match(line)
        if cookie:
            name = cookie[1].decode().lower().replace("_", "-")
            if name not in _CODECS:
                raise PackageError(f"the source is written in {name[:40]!r}", hint=_AS_UTF_8, path=path, line=1)
            codec = _CODECS[name] if name not in {"utf-8", "utf8"} else "utf-8-sig"
            break
        if not _BLANK.match(line):
            break
    try:
        text = content.decode(codec)
    except UnicodeDecodeError as cause:
        line_number = content.count(b"\n", 0, cause.start) + 1
        raise PackageError("the source is not UTF-8 text", hint=_AS_UTF_8, path=path, line=line_number) from cause
    if "\0" in text:
        line_number = text.count("\n", 0, text.index("\0")) + 1
        raise PackageError("the source holds a NUL character", hint=_AS_UTF_8, path=path, line=line_number)
    return text.replace("\r\n", "\n").replace("\r", "\n")


def logical_lines(text: str, path: Path | str) -> Iterator[list[TokenInfo]]:
    """Yield the tokens of each logical line, with the INDENT and DEDENTs before it, without comments."""
    import tokenize  # noqa: PLC0415 - a tenth of what starting costs

    skipped = {tokenize.COMMENT, tokenize.NL, tokenize.ENCODING}
    line: list[TokenInfo] = []
    try:
        for token in tokenize.generate_tokens(io.StringIO(text).readline):
            if token.type in {tokenize.NEWLINE, tokenize.ENDMARKER}:
                yield line
                line = []
            elif token.type not in skipped:
                line.append(token)
    except tokenize.TokenError as cause:
        sentence, (number, _) = cause.args
        if "EOF" in sentence or "unterminated" in sentence:  # versions of Python word it differently
            sentence = "a bracket or a quote is never closed"
        raise PackageError(f"the source is not Python: {sentence}", hint=_CORRECT, path=path, line=number) from cause
    except SyntaxError as cause:
        raise PackageError(
            f"the source is not Python: {cause.msg}", hint=_CORRECT, path=path, line=cause.lineno
        ) from cause


@dataclass(frozen=True, slots=True)
class _Block:
    """What holds for the lines of a block, and of all blocks in it."""

    conditional: bool = False
    typing_only: bool = False
    local: bool = False


class _Reader:
    """Reads logical lines one after the other, and remembers which blocks are open."""

    def __init__(self) -> None:
        self.blocks = [_Block()]
        self.next_block = _Block()
        self.imports: list[Import] = []
        self.names: set[str] = set()
        self.open_ended = False
        self.has_code = False
        self.lines = 0

    def source(self) -> Source:
        return Source(
            imports=tuple(self.imports),
            names=frozenset(self.names),
            open_ended=self.open_ended,
            has_code=self.has_code,
        )

    def read(self, line: list[TokenInfo]) -> None:
        from token import DEDENT, INDENT, STRING  # noqa: PLC0415 - comes with tokenize

        start = 0
        while start < len(line) and line[start].type in {INDENT, DEDENT}:
            if line[start].type == INDENT:
                self.blocks.append(self.next_block)
            elif len(self.blocks) > 1:
                self.blocks.pop()
            start += 1
        tokens = line[start:]
        if not tokens:
            return
        self.has_code |= self.lines > 0 or any(token.type != STRING for token in tokens)
        self.lines += 1
        block = self.blocks[-1]
        words = [token.string for token in tokens]
        body = _body_start(words)
        if body:
            self.bind(tokens[:body], block)
            block = self.next_block = _enter(block, words[:body])
        self.scan_calls(tokens, self.blocks[-1])
        for first, last in _statements(words, body):
            self.statement(tokens[first:last], block)

    def statement(self, tokens: list[TokenInfo], block: _Block) -> None:
        if not tokens or block.typing_only:
            return
        if tokens[0].string == "import":
            found = list(_plain_imports(tokens, conditional=block.conditional))
            bound = [(alias or module.partition(".")[0]) for module, alias in _parts(tokens[1:])]
        elif tokens[0].string == "from":
            found, bound = _from_import(tokens, conditional=block.conditional)
        else:
            self.bind(tokens, block)
            return
        self.imports += found
        if not block.local:
            self.names.update(bound)
            self.open_ended |= "*" in bound

    def bind(self, tokens: list[TokenInfo], block: _Block) -> None:
        """Note the names that a statement, or the head of a block, binds at the top level."""
        words = [token.string for token in tokens]
        if words[0] in {"async", "def", "class"}:
            at = 2 if words[0] == "async" else 1
            if not block.local and words[at - 1 : at] in (["def"], ["class"]):
                self.names.update(words[at : at + 1])
            return
        if block.local or block.typing_only:
            return
        ends = [index for index, word in enumerate(words) if word in {"=", ":=", "in"}]
        ends += [index + 2 for index, word in enumerate(words) if word == "as"]
        ends += [1] if words[1:2] == [":"] else []
        self.names.update(word for word in words[: max(ends, default=0)] if word.isidentifier())

    def scan_calls(self, tokens: list[TokenInfo], block: _Block) -> None:
        """Note ``__import__("x")`` and ``import_module("x")``, and whether names are computed."""
        from token import NAME  # noqa: PLC0415 - comes with tokenize

        for index, token in enumerate(tokens):
            if token.type != NAME:
                continue
            self.open_ended |= token.string in _OPEN_ENDED
            if token.string == _REGISTER:
                self.note_registered(tokens[index + 1 :])
            after = tokens[index + 1 : index + 3]
            if token.string in _DYNAMIC and len(after) == 2 and after[0].string == "(" and not block.typing_only:  # noqa: PLR2004
                literal = _LITERAL.fullmatch(after[1].string)
                if literal:
                    self.imports.append(Import(module=literal[2], line=token.start[0], conditional=True))

    def note_registered(self, after: list[TokenInfo]) -> None:
        """Note the name in ``register_scriptlet(name="x")``: a recipe may call the scriptlet by it."""
        for word, sign, value, end in zip(after, after[1:], after[2:], after[3:], strict=False):
            if (word.string, sign.string) == ("name", "="):
                literal = _LITERAL.fullmatch(value.string) if end.string in {",", ")"} else None
                self.names.update([literal[2]] if literal else [])
                self.open_ended |= literal is None


def _enter(block: _Block, head: list[str]) -> _Block:
    """
    Tell what holds in the block that a head opens.

    >>> _enter(_Block(), ["if", "typing", ".", "TYPE_CHECKING", ":"]).typing_only
    True
    """
    typing = head[0] in {"if", "elif"} and head[-2] == "TYPE_CHECKING" and head[1] != "not" and len(head) <= 5  # noqa: PLR2004
    word = head[1] if head[0] == "async" and len(head) > 1 else head[0]
    return _Block(
        conditional=block.conditional or word in _CONDITIONAL,
        typing_only=block.typing_only or typing,
        local=block.local or word in {"def", "class"},
    )


def _body_start(words: list[str]) -> int:
    """Find where the body of a compound statement begins, after its colon; 0 if the line is none."""
    if words[0] not in _HEADERS:
        return 0
    depth = lambdas = 0
    for index, word in enumerate(words):
        if word in _OPENING:
            depth += 1
        elif word in _CLOSING:
            depth -= 1
        elif depth == 0 and word == "lambda":
            lambdas += 1
        elif depth == 0 and word == ":":
            if lambdas == 0:
                soft_keyword_is_a_name = words[0] in {"match", "case"} and index == 1
                return 0 if soft_keyword_is_a_name else index + 1
            lambdas -= 1
    return 0


def _statements(words: list[str], start: int) -> Iterator[tuple[int, int]]:
    depth = 0
    for index in range(start, len(words)):
        if words[index] in _OPENING:
            depth += 1
        elif words[index] in _CLOSING:
            depth -= 1
        elif words[index] == ";" and depth == 0:
            yield start, index
            start = index + 1
    yield start, len(words)


def _parts(tokens: list[TokenInfo]) -> Iterator[tuple[str, str]]:
    """Yield (dotted name, alias or nothing) of ``a.b as c, d``; brackets around them do not matter."""
    name, alias, after_as = "", "", False
    for word in [token.string for token in tokens] + [","]:
        if word == ",":
            if name:
                yield name, alias
            name, alias, after_as = "", "", False
        elif word == "as":
            after_as = True
        elif word not in {"(", ")"}:
            name, alias = (name, word) if after_as else (name + word, alias)


def _plain_imports(tokens: list[TokenInfo], *, conditional: bool) -> Iterator[Import]:
    for module, _ in _parts(tokens[1:]):
        if _is_dotted(module):
            yield Import(module=module, line=tokens[0].start[0], conditional=conditional)


def _from_import(tokens: list[TokenInfo], *, conditional: bool) -> tuple[list[Import], list[str]]:
    words = [token.string for token in tokens]
    if "import" not in words:
        return [], []
    at = words.index("import")
    origin = "".join(words[1:at])
    module = origin.lstrip(".")
    if not origin or (module and not _is_dotted(module)):
        return [], []
    parts = list(_parts(tokens[at + 1 :]))
    found = Import(
        module=module,
        level=len(origin) - len(module),
        names=tuple(name for name, _ in parts),
        line=tokens[0].start[0],
        conditional=conditional,
    )
    return [found], [alias or name for name, alias in parts]


def _is_dotted(name: str) -> bool:
    return all(part.isidentifier() for part in name.split("."))
