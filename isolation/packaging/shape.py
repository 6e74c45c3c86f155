"""
From plain data to a model: the only module that turns pydantic's findings into a sentence for people.

Recipes and policies are both read through here, so that both tell their mistakes alike::

    recipes/etl/recipe.yaml:7: unknown key 'modul' in step 'load'
    Did you mean 'module'?
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, TypeVar, get_args

from pydantic import BaseModel, ValidationError

from isolation.errors import FileError, RecipeError, did_you_mean
from isolation.model.determinism import ZONE
from isolation.model.recipe import DOTTED, NAME, NAMESPACE_GLOB, SECRET_GLOB, SECRET_NAME

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from pydantic_core import ErrorDetails

    from isolation.packaging.text import Document, Place

Model = TypeVar("Model", bound=BaseModel)

_EXPECTED = {
    "string_type": ("must be text", "Put it in quotes if it is text."),
    "bool_type": ("must be true or false", "Write true or false, without quotes."),
    "int_type": ("must be a whole number", "Write digits alone, without quotes."),
    "float_type": ("must be a number", "Write a number, without quotes."),
    "dict_type": ("must be a mapping", "Write it as {key: value}, or as lines below it."),
    "model_type": ("must be a mapping", "Write it as {key: value}, or as lines below it."),
    "tuple_type": ("must be a list", "Write it as [a, b], or as lines below it that begin with a dash."),
}
_CURES = {
    "greater_than_equal": "Raise it.",
    "greater_than": "Raise it.",
    "less_than_equal": "Lower it.",
    "less_than": "Lower it.",
    "string_too_long": "Shorten it.",
}
_ALLOWED = {
    NAME: "Use at most 100 letters, digits, dots, dashes, underscores and spaces; begin with a letter or a digit.",
    DOTTED: "Write it as Python would, such as `load` or `lib.load`.",
    ZONE: "Write a name such as UTC or Europe/Paris.",
    SECRET_NAME: "Use at most 64 capital letters, digits and underscores, such as API_TOKEN; begin with no digit.",
    SECRET_GLOB: "Write a name such as API_TOKEN, or a glob such as MAIL_*.",
    NAMESPACE_GLOB: "Write a name such as sales, or a glob such as team-*.",
}
_QUOTED = re.compile(r"'([^']*)'")
_LONGEST_QUOTE = 60


def shape(model: type[Model], document: Document, path: Path | str, error: type[FileError] = RecipeError) -> Model:
    """Make a model from a document; raises ``error`` with the first mistake's line and, if we know it, the cure."""
    try:
        return model.model_validate(document.value)
    except ValidationError as cause:
        first = _first(cause.errors(include_url=False), document)
        sentence, hint = _explain(model, first, document)
        raise error(sentence, hint=hint, path=path, line=document.line(first["loc"])) from cause


def _first(findings: list[ErrorDetails], document: Document) -> ErrorDetails:
    """
    Choose what to tell: the first line's, but causes before what follows from them.

    A misspelt key is also a missing one, and a list with a bad item is also too short.
    """
    places = [finding["loc"] for finding in findings]

    def weight(finding: ErrorDetails) -> tuple[bool, bool, int]:
        place = finding["loc"]
        holds_another = any(len(other) > len(place) and other[: len(place)] == place for other in places)
        return holds_another, finding["type"] == "missing", document.line(place)

    return min(findings, key=weight)


def _explain(model: type[BaseModel], finding: ErrorDetails, document: Document) -> tuple[str, str]:
    place = tuple(part for part in finding["loc"] if part != "[key]")
    if not place:
        return f"the file must hold a mapping, not {quote(finding['input'])}", _known(model)
    if finding["type"] == "extra_forbidden":
        owner = _model_at(model, place[:-1])
        hint = did_you_mean(str(place[-1]), _keys(owner)) or _known(owner)
        return f"unknown key {quote(place[-1])}{_whereabouts(place[:-1], document)}", hint
    subject = f"{_subject(place)}{_whereabouts(_owner(place), document)}"
    given = finding["input"]
    match finding["type"]:
        case "missing":
            said, hint = " is missing", "Add it."
        case "too_short":
            said, hint = " must not be empty", "Write at least one item."
        case "too_long":
            sizes = finding["ctx"]
            said, hint = f" must have at most {sizes['max_length']} items, not {sizes['actual_length']}", "Shorten it."
        case "string_pattern_mismatch":
            said = f" has characters that are not allowed here, or too many: {quote(given)}"
            hint = _ALLOWED.get(finding["ctx"]["pattern"], "")
        case kind if kind in _EXPECTED:
            must_be, hint = _EXPECTED[kind]
            said = f" {must_be}, not {quote(given)}"
        case "value_error":
            return _refused(subject, finding)
        case _:
            message = _message(finding)
            said = f" must be {message}, not {quote(given)}"
            hint = did_you_mean(str(given), _QUOTED.findall(message)) or _CURES.get(
                finding["type"], f"Write {message}."
            )
    return subject + said, hint


def _refused(subject: str, finding: ErrorDetails) -> tuple[str, str]:
    """Tell what a validator of ours said; what follows its semicolon is the hint."""
    said, _, hint = str(finding["ctx"]["error"]).partition("; ")
    return f"{subject}: {said}", f"{hint[:1].upper()}{hint[1:]}." if hint else "Write another."


def _message(finding: ErrorDetails) -> str:
    """Take pydantic's words, such as "Input should be less than or equal to 100", from their verb on."""
    return finding["msg"].removeprefix("Input ").removeprefix("should be ")


def quote(value: object) -> str:
    """Show a value in a sentence: a scalar shortened, of others the kind."""
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dict | list):
        return "a mapping" if isinstance(value, dict) else "a list"
    text = repr(value)
    return text if len(text) <= _LONGEST_QUOTE else f"{text[:_LONGEST_QUOTE]}…"


def _owner(place: Place) -> Place:
    """Find the mapping that the value, or the list it is an item of, belongs to."""
    while place and isinstance(place[-1], int):
        place = place[:-1]
    return place[:-1]


def _subject(place: Place) -> str:
    last = place[-1]
    if isinstance(last, str):
        return quote(last)
    return f"item {last + 1} of {quote(place[-2])}" if len(place) > 1 else f"item {last + 1}"


def _whereabouts(place: Place, document: Document) -> str:
    """
    Tell people where a mapping stands, in words of their own file.

    >>> from isolation.packaging.text import Document
    >>> document = Document({"steps": [{"name": "load", "success": {}}]}, {}, {})
    >>> _whereabouts(("steps", 0, "success"), document), _whereabouts(("limits",), document)
    (" in 'success' of step 'load'", " in 'limits'")
    """
    match place:
        case ():
            return ""
        case ("steps", int(index), *rest):
            step = f"step {_step_name(document.value, index)}"
            return f" in {quote('.'.join(map(str, rest)))} of {step}" if rest else f" in {step}"
        case _:
            return f" in {quote('.'.join(map(str, place)))}"


def _step_name(value: dict[str, list[object]], index: int) -> str:
    step = value["steps"][index]
    name = step.get("name") if isinstance(step, dict) else None
    return quote(name) if isinstance(name, str) else str(index + 1)


def _model_at(model: type[BaseModel], place: Place) -> type[BaseModel]:
    """Follow a place through the fields of models, past lists and mappings."""
    for part in place:
        for name, info in model.model_fields.items():
            if part in {name, info.alias}:
                model = _model_in(info.annotation) or model
    return model


def _model_in(annotation: object) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((found for part in get_args(annotation) if (found := _model_in(part))), None)


def _known(model: type[BaseModel]) -> str:
    return f"Known: {', '.join(sorted(_keys(model)))}."


def _keys(model: type[BaseModel]) -> Mapping[str, None]:
    return {info.alias or name: None for name, info in model.model_fields.items()}
