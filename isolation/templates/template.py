"""A template, read: its tree with tokens in it, its placeholders, and the parameters that it declares."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from isolation.errors import RecipeError
from isolation.packaging.files import read_regular
from isolation.packaging.load import PARAMETERS
from isolation.packaging.shape import shape
from isolation.packaging.text import LARGEST_TEXT_BYTES, Document, read
from isolation.templates.parameters import Declared
from isolation.templates.placeholders import MOST_CHARS, MOST_PLACEHOLDERS, Marked, lines_of, mark

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from pydantic import JsonValue

    from isolation.templates.parameters import Parameter

UNNAMED = "template"
"""What the errors of a template without a file begin with."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Template:
    """``document`` is the template's tree, with tokens; ``parameters`` is None where it declares none."""

    path: str
    folder_name: str
    document: Document
    marked: Marked
    parameters: Mapping[str, Parameter] | None


def load_template(path: Path) -> Template:
    """Read a template from its file. Raises RecipeError, with file and line."""
    content = read_regular(path, LARGEST_TEXT_BYTES)
    return parse_template(content, str(path), path.parent.resolve().name)


def parse_template(content: bytes, path: str = UNNAMED, folder_name: str = "") -> Template:
    """Read a template; JSON if its name ends so, and YAML otherwise. Raises RecipeError, with ``path`` and line."""
    # What is not UTF-8 is handed on as it is, to whoever refuses it.
    marked = mark(content.decode("utf-8", "surrogateescape"))
    _check_size(marked, path)
    document = _read(marked, path)
    return Template(
        path=path,
        folder_name=folder_name,
        document=document,
        marked=marked,
        parameters=_declared(document, marked, path),
    )


def _check_size(marked: Marked, path: str) -> None:
    chars = 0
    for count, placeholder in enumerate(marked.placeholders, 1):
        chars += len(placeholder.source)
        if count > MOST_PLACEHOLDERS or chars > MOST_CHARS:
            raise RecipeError(
                f"there are more than {MOST_PLACEHOLDERS} placeholders, or {MOST_CHARS} characters in them",
                hint="Give lists and mappings as values of their own.",
                path=path,
                line=placeholder.line,
            )


def _read(marked: Marked, path: str) -> Document:
    try:
        return read(marked.text.encode("utf-8", "surrogateescape"), path)
    except RecipeError as error:
        lines = lines_of(marked.text)
        for placeholder in marked.placeholders:  # a statement, or one that is not closed, is rarely good YAML
            if placeholder.problem and not lines[placeholder.line - 1].lstrip().startswith("#"):
                raise RecipeError(
                    placeholder.problem, hint=placeholder.hint, path=path, line=placeholder.line
                ) from error
        raise


def _declared(document: Document, marked: Marked, path: str) -> Mapping[str, Parameter] | None:
    if not isinstance(document.value, dict) or PARAMETERS not in document.value:
        return None
    declared = document.value[PARAMETERS]
    for text in _texts(declared):
        for piece in marked.split(text):
            if not isinstance(piece, str):
                hint = "Write the value itself; for these two characters as text, declare it elsewhere."
                raise RecipeError("parameters hold no '{{'", hint=hint, path=path, line=piece.line)
    alone = Document({PARAMETERS: declared}, document.lines, document.written)
    return shape(Declared, alone, path).parameters


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
