"""
What a template's ``parameters`` say of the values that it takes, and whether given ones are such.

Each is a line such as ``limit: {type: integer, min: 1, max: 1000, default: 100, description: How many rows.}``.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, JsonValue, StringConstraints, TypeAdapter, ValidationError, model_validator
from pydantic_core import SchemaError

from isolation.errors import did_you_mean
from isolation.model.package import canonical
from isolation.model.recipe import Strict
from isolation.packaging.shape import quote

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_NAME = r"^[A-Za-z_][A-Za-z0-9_\-]{0,99}$"
_ALIASES = {
    "array": "list",
    "bool": "boolean",
    "dict": "mapping",
    "float": "number",
    "int": "integer",
    "object": "mapping",
    "str": "string",
    "text": "string",
}
"""Words of JSON Schema and of Python for the same."""
_TYPES: dict[str, tuple[tuple[type, ...], str]] = {
    "string": ((str,), "text"),
    "integer": ((int,), "a whole number"),
    "number": ((int, float), "a number"),
    "boolean": ((bool,), "true or false"),
    "list": ((list,), "a list"),
    "mapping": ((dict,), "a mapping"),
}
_MEASURED = {"string": "characters", "list": "items", "mapping": "keys"}
_MOST_UNKNOWN = 100
"""How many are told: it takes time to find what each of them was meant to be."""
_NUMBERS = ("integer", "number")

Kind = Literal["any", "string", "integer", "number", "boolean", "list", "mapping"]


def _kind(word: object) -> object:
    return _ALIASES.get(word, word) if isinstance(word, str) else word


class Parameter(Strict):
    """
    What one value must be.

    A parameter without a ``default`` must be given, unless it is not ``required``: then it is None. ``pattern`` is
    looked for anywhere in the text, as in JSON Schema, in linear time: it is one of Rust's regular expressions, which
    do not look back or around. ``min`` and ``max`` bound a number, or how long a text, list or mapping is.
    """

    type: Annotated[Kind, BeforeValidator(_kind)] = "any"
    description: str = ""
    required: bool = True
    default: JsonValue = None
    pattern: str | None = Field(default=None, max_length=1_000)
    enum: tuple[JsonValue, ...] | None = Field(default=None, min_length=1, max_length=1_000, strict=False)
    min: float | None = None
    max: float | None = None

    @model_validator(mode="after")
    def _make_sense(self) -> Self:
        for problem in self._contradictions():
            raise ValueError(problem)
        return self

    @property
    def must_be_given(self) -> bool:
        """Tell whether there is nothing to take in its place."""
        return self.required and not self._has_default

    @property
    def _has_default(self) -> bool:
        return "default" in self.model_fields_set

    def problem(self, value: JsonValue) -> str | None:
        """Say what is wrong with a value; None if nothing is."""
        if self.type != "any":
            types, said = _TYPES[self.type]
            if not isinstance(value, types) or (isinstance(value, bool) and self.type != "boolean"):
                return f"must be {said}, not {quote(value)}"
        if self.enum is not None and canonical(value) not in {canonical(one) for one in self.enum}:
            return f"must be one of {', '.join(quote(one) for one in self.enum[:20])}, not {quote(value)}"
        if self.pattern is not None and not self._matches(value):
            return f"must match '{self.pattern}', and {quote(value)} does not"
        return next(self._beyond(value), None)

    def _beyond(self, value: Any) -> Iterator[str]:  # noqa: ANN401 - a value of our type
        number, unit = value, ""
        if self.type in _MEASURED:
            number, unit = len(value), f" {_MEASURED[self.type]}"
        if self.min is not None and number < self.min:
            yield f"must be at least {self.min:.16g}{unit}, not {number}"
        if self.max is not None and number > self.max:
            yield f"must be at most {self.max:.16g}{unit}, not {number}"

    def _contradictions(self) -> Iterator[str]:
        if self._has_default and self.required and "required" in self.model_fields_set:
            yield "it is required, and has a default; keep one of them"
        if self.pattern is not None and self.type != "string":
            yield "only text has a pattern; write `type: string`"
        if (self.min is not None or self.max is not None) and self.type not in {*_MEASURED, *_NUMBERS}:
            yield "min and max are for numbers, text, lists and mappings; write its type"
        if self.pattern is not None:
            try:
                self._matches("")
            except SchemaError as error:
                yield f"the pattern {quote(self.pattern)} cannot be used: {_reason(error)}"
        if self._has_default and (problem := self.problem(self.default)):
            yield f"its default {problem}"

    def _matches(self, value: object) -> bool:
        try:
            self._pattern.validate_python(value)
        except ValidationError:
            return False
        return True

    @cached_property
    def _pattern(self) -> TypeAdapter[str]:
        return TypeAdapter(Annotated[str, StringConstraints(strict=True, pattern=self.pattern)])


def _reason(error: SchemaError) -> str:
    return str(error).strip().splitlines()[-1].removeprefix("error: ").strip()


class Declared(Strict):
    """A template's parameters, by name."""

    parameters: dict[Annotated[str, Field(pattern=_NAME)], Parameter]


def settle(
    parameters: Mapping[str, Parameter], given: Mapping[str, JsonValue]
) -> tuple[dict[str, JsonValue], list[tuple[str, str]]]:
    """Return the values of all parameters, and what is wrong with what was given: names, and what to say of each."""
    unknown = [name for name in given if name not in parameters]
    problems = [(name, _unknown(name, parameters)) for name in unknown[:_MOST_UNKNOWN]]
    values: dict[str, JsonValue] = {}
    for name, parameter in parameters.items():
        values[name] = given.get(name, parameter.default)
        problem = None
        if name in given:
            problem = parameter.problem(given[name])
        elif parameter.must_be_given:
            problem = f"is missing ({parameter.description})" if parameter.description else "is missing"
        if problem:
            problems.append((name, problem))
    return values, problems


def _unknown(name: str, parameters: Mapping[str, Parameter]) -> str:
    hint = did_you_mean(name, parameters)
    return "is no parameter" + (f" ({hint[:1].lower()}{hint[1:]})" if hint else "")
