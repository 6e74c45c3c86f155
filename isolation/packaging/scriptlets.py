"""
Which scriptlets a source offers, found without running or compiling it: what it says of them, not what they are.

A scriptlet is a class that is derived from ``BaseScriptlet``, here or through another of the same file, and whatever
``register_scriptlet`` decorates. What a source computes (names, versions, bases) is left out rather than guessed.
"""

from __future__ import annotations

import ast
from dataclasses import dataclass, replace
from importlib.metadata import distributions
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

from isolation.errors import PackageError
from isolation.packaging.files import read_regular
from isolation.packaging.imports import decode, logical_lines

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from importlib.metadata import Distribution
    from tokenize import TokenInfo

PATTERN = "scriptlet_*.py"
GROUP = "isolation.scriptlets"
_LARGEST_BYTES = 2**20
_MOST_FILES = 1000
_BASE, _DECORATOR = "BaseScriptlet", "register_scriptlet"
_TOLD = {"name", "version", "description"}
_LONGEST_TEXT = 2000


@dataclass(frozen=True, kw_only=True, slots=True)
class Scriptlet:
    """
    A scriptlet as its source tells of it.

    ``name`` is what it is registered under, ``function`` the class or function to be named in a step, and ``module``
    what is to be imported for it. ``parameters`` are the names under ``required_params`` and ``params``. A text that
    the source does not say outright is empty.
    """

    name: str
    function: str
    kind: str
    module: str
    path: str
    line: int
    version: str = ""
    description: str = ""
    parameters: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Unreadable:
    """A file, or a part of one, that offers nothing, and why."""

    path: str
    why: str
    hint: str = ""


def scan(folder: Path) -> tuple[tuple[Scriptlet, ...], tuple[Unreadable, ...]]:
    """Find what the ``scriptlet_*.py`` of a folder offer, by file; nothing of them runs. Raises PackageError."""
    if not folder.is_dir():
        raise PackageError("there is no such folder of scriptlets", hint="Check its name.", path=folder)
    found: list[Scriptlet] = []
    unreadable: list[Unreadable] = []
    paths = sorted(folder.glob(PATTERN))
    for path in paths[:_MOST_FILES]:
        offered, problems = read(path, path.stem)
        found += offered
        unreadable += problems
    unreadable += [Unreadable(path=str(path), why=f"only {_MOST_FILES} files are read") for path in paths[_MOST_FILES:]]
    return tuple(found), tuple(unreadable)


def scan_installed() -> tuple[tuple[Scriptlet, ...], tuple[Unreadable, ...]]:
    """
    Find what installed packages offer as entry points of ``isolation.scriptlets``.

    Each names a module, and a class or function in it; that module's file is read, and no package is imported.
    """
    found: list[Scriptlet] = []
    unreadable: list[Unreadable] = []
    for distribution in distributions():
        for point in distribution.entry_points.select(group=GROUP):
            source, path = f"{point.name} = {point.value}", _file_of(distribution, point.module)
            if path is None:
                why, hint = f"the package has no file of {point.module}", "Name a module that is one of its own files."
                unreadable.append(Unreadable(path=source, why=why, hint=hint))
                continue
            offered, problems = read(path, point.module)
            wanted = [told for told in offered if told.function == point.attr]
            found += wanted
            unreadable += problems
            if not wanted:
                unreadable.append(Unreadable(path=source, why=f"{point.module} offers no scriptlet {point.attr!r}"))
    return tuple(found), tuple(unreadable)


def _file_of(distribution: Distribution, module: str) -> Path | None:
    """Find a module's file among those that a package brought; nothing is searched for, nothing imported."""
    stem = module.replace(".", "/")
    named = {f"{stem}.py", f"{stem}/__init__.py"}
    return next((Path(str(file.locate())) for file in distribution.files or () if str(file) in named), None)


def read(path: Path, module: str) -> tuple[tuple[Scriptlet, ...], tuple[Unreadable, ...]]:
    """Find what one file offers, and what of it cannot be offered."""
    try:
        found = find_scriptlets(read_regular(path, _LARGEST_BYTES, PackageError), path, module)
    except PackageError as error:
        where = f"{path}:{error.line}" if error.line else str(path)
        return (), (Unreadable(path=where, why=error.sentence.removeprefix(f"{where}: "), hint=error.hint),)
    if not found:
        hint = f"Derive a class from {_BASE}, or decorate one with @{_DECORATOR}."
        return (), (Unreadable(path=str(path), why="there is no scriptlet in it", hint=hint),)
    unable = [
        Unreadable(
            path=f"{path}:{one.line}",
            why=f"the class {one.function!r} has no run()",
            hint="Give it run(self, context, params).",
        )
        for one, runs in found
        if not runs
    ]
    return tuple(one for one, runs in found if runs), tuple(unable)


def find_scriptlets(content: bytes, path: Path, module: str) -> list[tuple[Scriptlet, bool]]:
    """Find what a source offers, in its order, each with whether it can run. PackageError where it is no Python."""
    reader = _Reader(path, module)
    for line in logical_lines(decode(content, path), path):
        reader.read(line)
    return reader.found()


@dataclass
class _Class:
    """A class as far as it has been read; ``offered`` if it is a scriptlet."""

    told: Scriptlet
    offered: bool
    bases: list[str]
    has_run: bool = False
    fresh: bool = True
    inside_init: bool = False


class _Reader:
    """Reads logical lines one after the other; a block's depth is the number of indents before it."""

    def __init__(self, path: Path, module: str) -> None:
        self._path = path
        self._module = module
        self._depth = 0
        self._decorators: list[list[TokenInfo]] = []
        self._classes: dict[str, _Class] = {}
        self._offered: list[_Class] = []
        self._open: _Class | None = None
        self._describes = False

    def found(self) -> list[tuple[Scriptlet, bool]]:
        return [(one.told, self._runs(one)) for one in self._offered]

    def read(self, line: list[TokenInfo]) -> None:
        from token import DEDENT, INDENT  # noqa: PLC0415 - comes with tokenize

        for token in line:
            self._depth += (token.type == INDENT) - (token.type == DEDENT)
        tokens = [token for token in line if token.type not in {INDENT, DEDENT}]
        if not tokens:
            return
        if self._depth == 0:
            self._at_top(tokens)
        elif self._open is not None:
            self._inside(self._open, tokens)

    def _at_top(self, tokens: list[TokenInfo]) -> None:
        words = [token.string for token in tokens]
        if words[0] == "@":
            self._decorators.append(tokens)
            return
        self._open = None
        registered = next((one for one in self._decorators if _last_name(one[1:]) == _DECORATOR), None)
        self._decorators = []
        at = 1 if words[0] == "async" else 0
        if words[at : at + 1] not in (["class"], ["def"]) or len(words) < at + 2:
            return
        name = words[at + 1]
        told = Scriptlet(
            name=(_registered_name(registered) if registered else "") or name,
            function=name,
            kind="class" if words[at] == "class" else "function",
            module=self._module,
            path=str(self._path),
            line=tokens[0].start[0],
        )
        bases = list(_bases(words[at + 2 :])) if words[at] == "class" else []
        derived = any(base.rpartition(".")[2] == _BASE or self._is_offered(base) for base in bases)
        made = _Class(told, bool(registered) or (derived and not name.startswith("_")), bases)
        made.has_run = words[at] == "def"
        self._open = made
        self._classes[name] = made
        if made.offered:
            self._offered.append(made)

    def _is_offered(self, base: str) -> bool:
        known = self._classes.get(base)
        return known is not None and (known.offered or any(one.rpartition(".")[2] == _BASE for one in known.bases))

    def _runs(self, one: _Class) -> bool:
        known = (self._classes.get(base) for base in one.bases)
        foreign = any(base not in self._classes and base.rpartition(".")[2] != _BASE for base in one.bases)
        return one.has_run or foreign or any(base is not None and self._runs(base) for base in known if base is not one)

    def _inside(self, one: _Class, tokens: list[TokenInfo]) -> None:
        from token import STRING  # noqa: PLC0415 - comes with tokenize

        words = [token.string for token in tokens]
        if one.fresh and len(tokens) == 1 and tokens[0].type == STRING:
            one.told = replace(one.told, description=_first_line(_text(tokens[0])))
        one.fresh = False
        if one.told.kind == "function":
            return
        if self._depth == 1:
            at = 1 if words[0] == "async" else 0
            defines = words[at] == "def" and len(words) > at + 1
            one.inside_init = defines and words[at + 1] == "__init__"
            one.has_run |= defines and words[at + 1] == "run"
            self._assigned(one, tokens, words)
        elif one.inside_init and words[:2] == ["self", "."]:
            self._assigned(one, tokens[2:], words[2:])

    def _assigned(self, one: _Class, tokens: list[TokenInfo], words: list[str]) -> None:
        if "=" not in words or words[0] not in _TOLD | {"required_params", "params"} or words[1] not in {"=", ":"}:
            return
        value = tokens[words.index("=") + 1 :]
        if words[0] in _TOLD:
            if len(value) == 1 and (text := _text(value[0])):
                one.told = replace(one.told, **{words[0]: text})  # type: ignore[arg-type]  # one of the texts
            return
        names = _items(value) if words[0] == "required_params" else _keys(value)
        parameters = dict.fromkeys((*one.told.parameters, *names))
        one.told = replace(one.told, parameters=tuple(parameters))


def _last_name(tokens: Sequence[TokenInfo]) -> str:
    """Return the last part of a dotted name."""
    name = ""
    for token in tokens:
        if token.string == "(":
            break
        name = "" if token.string == "." else token.string
    return name


def _registered_name(decorator: list[TokenInfo]) -> str:
    words = [token.string for token in decorator]
    for at, word in enumerate(words[:-2]):
        if word == "name" and words[at + 1] == "=":
            return _text(decorator[at + 2])
    return ""


def _bases(words: list[str]) -> Iterator[str]:
    """Yield the dotted names between a class's brackets; what is called, subscripted or named is none."""
    depth, part = 0, ""
    for word in words:
        if word == "(" and depth == 0:
            depth = 1
        elif depth == 1 and word in {",", ")"}:
            if part and all(piece.isidentifier() for piece in part.split(".")):
                yield part
            part = ""
            if word == ")":
                return
        else:
            depth += (word in "([{") - (word in ")]}")
            part += word


def _items(tokens: list[TokenInfo]) -> list[str]:
    """Return the texts of a literal list, tuple or set."""
    return [text for token in tokens if (text := _text(token))]


def _keys(tokens: list[TokenInfo]) -> list[str]:
    """Return the keys of a literal dict, not those of dicts in it."""
    keys, depth = [], 0
    for token, after in pairwise(tokens):
        depth += (token.string in {"(", "[", "{"}) - (token.string in {")", "]", "}"})
        if depth == 1 and after.string == ":" and (text := _text(token)):
            keys.append(text)
    return keys


def _text(token: TokenInfo) -> str:
    """Return the value of one plain text; empty for what is none."""
    from token import STRING  # noqa: PLC0415 - comes with tokenize

    if token.type != STRING or len(token.string) > _LONGEST_TEXT or token.string[:1] not in {'"', "'", "r", "R"}:
        return ""
    try:
        value = ast.literal_eval(token.string)  # one token: nothing in it is nested
    except (SyntaxError, ValueError):
        return ""
    return value if isinstance(value, str) else ""


def _first_line(text: str) -> str:
    return next((line.strip() for line in text.splitlines() if line.strip()), "")
