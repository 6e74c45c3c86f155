"""
The one form in which results are kept and shown: JSON, read back as the same values.

``python -m isolation.model.document`` writes its schema, as published in ``docs/result.schema.json``.
"""

from __future__ import annotations

import json
import sys
from dataclasses import fields, is_dataclass
from enum import Enum
from functools import cache
from typing import TYPE_CHECKING, Any, cast

from isolation.model.run import Attempt, Result

if TYPE_CHECKING:
    from pydantic import JsonValue, TypeAdapter

SCHEMA_ID = "urn:isolation:result:1"


def to_document(value: Result | Attempt) -> dict[str, JsonValue]:
    """
    Turn a result, or one attempt, into plain JSON values.

    Every field is there, also those that were not measured (null). Values of the recipe's own stand as they were.
    """
    return cast("dict[str, JsonValue]", _plain(value))


def to_json(value: Result | Attempt) -> str:
    """Write a result, or one attempt, as JSON on one line; ValueError for a number that JSON does not have."""
    from pydantic_core import to_json as write  # noqa: PLC0415 - slow to import

    text = write(value, inf_nan_mode="constants").decode()
    if "NaN" in text or "Infinity" in text:  # a number, or within a text: that encoder does not say which
        return json.dumps(to_document(value), ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return text


def from_json(text: str) -> Result:
    """Read a result; equal to the one that was written."""
    return _results().validate_python(json.loads(text))


def attempt_from_json(text: str) -> Attempt:
    """Read one attempt; equal to the one that was written."""
    return _attempts().validate_python(json.loads(text))


def result_schema() -> dict[str, Any]:
    """Describe the document of a result: JSON Schema (2020-12) of exactly what ``isolation run --json`` prints."""
    schema = _results().json_schema()
    for part in (schema, *schema["$defs"].values()):
        if "properties" in part:
            part["required"] = list(part["properties"])
            part["additionalProperties"] = False
            for described in part["properties"].values():
                described.pop("default", None)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "$id": SCHEMA_ID, **schema}


def _plain(value: object) -> object:
    if is_dataclass(value):
        return {field.name: _plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value.value if isinstance(value, Enum) else value


# Only readers need these two, and building one takes some ten milliseconds. pydantic looks for the names that
# the dataclasses import for the type checker alone among the local ones of whoever asks for the adapter.


@cache
def _results() -> TypeAdapter[Result]:
    from pydantic import JsonValue, TypeAdapter  # noqa: F401, PLC0415

    return TypeAdapter(Result)


@cache
def _attempts() -> TypeAdapter[Attempt]:
    from pydantic import JsonValue, TypeAdapter  # noqa: F401, PLC0415

    return TypeAdapter(Attempt)


if __name__ == "__main__":
    sys.stdout.write(json.dumps(result_schema(), indent=2, ensure_ascii=False) + "\n")
