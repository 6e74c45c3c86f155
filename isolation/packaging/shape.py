"""
From plain data to a model: the only module that turns pydantic's findings into a sentence for people.

Recipes and policies are both read through here, so that both tell their mistakes alike::

    recipes/etl/recipe.yaml:7: unknown key 'modul' in step 'load'
    did you mean 'module'?
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar, get_args

from pydantic import BaseModel, ValidationError

from isolation.errors import FileError, RecipeError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from pydantic_core import ErrorDetails

    from isolation.packaging.text import Document, Place

Model = TypeVar("Model", bound=BaseModel)

_EXPECTED = {
    "string_type": "must be text",
    "bool_type": "must be true or false",
    "int_type": "must be a whole number",
    "float_type": "must be a number",
    "dict_type": "must be a mapping",
    "model_type": "must be a mapping",
    "tuple_type": "must be a list",
}
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
        return f"the file must hold a mapping, not {_quote(finding['input'])}", ""
    if finding["type"] == "extra_forbidden":
        known = _keys(_model_at(model, place[:-1]))
        hint = did_you_mean(str(place[-1]), known) or f"known: {', '.join(sorted(known))}"
        return f"unknown key {_quote(place[-1])}{_whereabouts(place[:-1], document)}", hint
    subject = f"{_subject(place)}{_whereabouts(_owner(place), document)}"
    given = finding["input"]
    match finding["type"]:
        case "missing":
            said, hint = " is missing", ""
        case "too_short":
            said, hint = " must not be empty", ""
        case "string_pattern_mismatch":
            said, hint = f" has characters that are not allowed here, or too many: {_quote(given)}", ""
        case kind if kind in _EXPECTED:
            said = f" {_EXPECTED[kind]}, not {_quote(given)}"
            hint = "put it in quotes" if kind == "string_type" and isinstance(given, int | float) else ""
        case _:
            said, hint = f": {_message(finding)}", ""
    return subject + said, hint


def _message(finding: ErrorDetails) -> str:
    raised = finding.get("ctx", {}).get("error")
    if isinstance(raised, Exception):
        return str(raised)
    message = finding["msg"].removeprefix("Input ")
    return message[:1].lower() + message[1:]


def _quote(value: object) -> str:
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
        return _quote(last)
    return f"item {last + 1} of {_quote(place[-2])}" if len(place) > 1 else f"item {last + 1}"


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
            return f" in {_quote('.'.join(map(str, rest)))} of {step}" if rest else f" in {step}"
        case _:
            return f" in {_quote('.'.join(map(str, place)))}"


def _step_name(value: dict[str, list[object]], index: int) -> str:
    step = value["steps"][index]
    name = step.get("name") if isinstance(step, dict) else None
    return _quote(name) if isinstance(name, str) else str(index + 1)


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


def _keys(model: type[BaseModel]) -> Mapping[str, None]:
    return {info.alias or name: None for name, info in model.model_fields.items()}
