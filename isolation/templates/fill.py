"""
Puts values into a template's tree: each where its placeholder stands, as a whole, and nowhere else.

What a recipe does is decided by its template alone. So a list of values, or a single one, may stand anywhere, and the
recipe's own rules judge it; a mapping, and text in a mapping's key, only in ``args`` and ``config``, which are data.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, NamedTuple

from isolation.errors import InputError, RecipeError, did_you_mean
from isolation.packaging.load import HEADS, PARAMETERS
from isolation.packaging.text import Document
from isolation.templates.filters import text_of
from isolation.templates.parameters import settle
from isolation.templates.placeholders import Placeholder
from isolation.templates.plain import Plain, Unfit, plain_values
from isolation.templates.sandbox import STEPS, Expression, Wrong

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pydantic import JsonValue

    from isolation.packaging.text import Place
    from isolation.templates.template import Template

_RESERVED = (PARAMETERS, STEPS)
_MOST_TOLD = _MOST_NEAR = 100
_SHOWN_CHARS = 80
_ARGS = 3
"""How deep in the tree a step's ``args`` stand: ("steps", 0, "args")."""


def fill(template: Template, given: Mapping[str, object]) -> Document:
    """
    Return the recipe's tree, with the template's lines.

    Raises InputError for values that cannot be, and RecipeError, with the template's lines, that tells all that is
    wrong with the values of parameters, or else all placeholders that cannot be filled.
    """
    values = plain_values(given)
    for name in _RESERVED:
        if name in values:
            raise InputError(f"no value can be named {name!r}", hint="Templates mean something else by it; rename it.")
    if template.parameters is not None:
        values, problems = settle(template.parameters, values)
        if problems:
            hint = f"The parameters are: {', '.join(list(template.parameters)[:20]) or 'none'}."
            lines = template.document.line
            told = [_Problem(lines((PARAMETERS, name)), f"{name!r} {problem}", hint) for name, problem in problems]
            raise _refusal(template, told)
    filling = _Filling(template, {**values, PARAMETERS: values})
    tree = filling.tree(template.document.value, (), ())
    if filling.problems:
        raise _refusal(template, filling.problems)
    return Document(tree, filling.lines, {})


class _Problem(NamedTuple):
    line: int
    sentence: str
    hint: str = ""


def _refusal(template: Template, problems: list[_Problem]) -> RecipeError:
    """Make one error of all problems; the first line is the error's own."""
    problems = sorted(dict.fromkeys(problems))
    first = problems[0]
    if len(problems) == 1:
        sentence = first.sentence
    else:
        lines = [f"\n  line {problem.line}: {problem.sentence}" for problem in problems[:_MOST_TOLD]]
        sentence = "".join([f"{len(problems)} things are wrong", *lines, "\n  ..." * (len(problems) > _MOST_TOLD)])
    hint = next((problem.hint for problem in problems if problem.hint), "")
    return RecipeError(sentence, hint=hint, path=template.path, line=first.line)


@dataclass(slots=True)
class _Filling:
    """One filling in: what is known, what is left of a recipe's size, and what was wrong so far."""

    template: Template
    names: Mapping[str, JsonValue]
    plain: Plain = field(default_factory=Plain)
    lines: dict[Place, int] = field(default_factory=dict)
    problems: list[_Problem] = field(default_factory=list)
    outputs: dict[Place, list[JsonValue]] = field(default_factory=dict)
    """What the step that is being filled in takes from others: by the place in its ``args``, the parts."""

    def tree(self, value: JsonValue, was: Place, place: Place) -> JsonValue:
        """Fill in what stands at ``was`` in the template, for ``place`` in the recipe."""
        self.lines[place] = self.template.document.line(was)
        if isinstance(value, dict):
            return self._mapping(value, was, place)
        if isinstance(value, list):
            return [self.tree(item, (*was, at), (*place, at)) for at, item in enumerate(value)]
        if isinstance(value, str):
            return self._scalar(self.template.marked.split(value), value, place)
        return self.template.document.written.get(was, value) if place[:1] in _HEAD_PLACES else value

    def _mapping(self, mapping: dict[str, JsonValue], was: Place, place: Place) -> JsonValue:
        is_step = len(place) == _ARGS - 1 and place[0] == STEPS
        if is_step:
            self.outputs = {}
        filled: dict[str, JsonValue] = {}
        for raw, item in mapping.items():
            if place == () and raw == PARAMETERS:
                continue
            key = self._key(raw, (*was, raw), place)
            if key in filled:
                self._tell(self.template.document.line((*was, raw)), f"the key {key!r} stands here for the second time")
            filled[key] = self.tree(item, (*was, raw), (*place, key))
        if is_step and self.outputs:
            self._take_outputs(filled, place)
        return filled

    def _take_outputs(self, step: dict[str, JsonValue], place: Place) -> None:
        """Hand over to the step which outputs of others it takes; those that it names itself come first."""
        own = step.get("args_from", [])
        if not isinstance(own, list):
            self._tell(self.lines[(*place, "args_from")], "'args_from' must be a list", "Write it as [...].")
            return
        for at in self.outputs:
            self.lines[(*place, "args_from", len(own))] = self.lines[(*place, "args", *at)]
            own = [*own, {"at": [*at], "parts": self.outputs[at]}]
        step["args_from"] = own

    def _key(self, raw: str, was: Place, place: Place) -> str:
        pieces = self.template.marked.split(raw)
        if all(isinstance(piece, str) for piece in pieces):
            return raw
        line = self.template.document.line(was)
        if not _is_data((*place, raw)):
            self._tell(line, "'{{' may stand in a key of args and config alone", _BY_THE_TEMPLATE)
            return raw
        told = len(self.problems)
        value = self._scalar(pieces, raw, ())
        if isinstance(value, str):
            return value
        if len(self.problems) == told:
            self._tell(line, "a key must be text", "Write it in quotes with something beside it, or add: | string.")
        return raw

    def _scalar(self, pieces: list[str | Placeholder], raw: str, place: Place) -> JsonValue:
        """Fill in a scalar; at no ``place``, it is a key."""
        match pieces:
            case [Placeholder() as alone]:
                return self._whole(alone, place)
            case [] | [str()]:
                return raw
        texts: list[JsonValue] = [self._part(piece, place) for piece in pieces]
        if all(isinstance(text, str) for text in texts):
            return "".join(map(str, texts))
        self.outputs[place[_ARGS:]] = _joined(texts)
        return None

    def _whole(self, placeholder: Placeholder, place: Place) -> JsonValue:
        expression = self._expression(placeholder)
        if expression is None:
            return None
        if expression.output is not None:
            if part := self._output(expression.output, placeholder, place):
                self.outputs[place[_ARGS:]] = [part]
            return None
        value = self._value(expression, placeholder)
        if not _is_data(place) and not _is_flat(value):
            self._tell(placeholder.line, "a mapping may be filled in in args and config alone", _BY_THE_TEMPLATE)
        return _as_in_a_head(value) if place[:1] in _HEAD_PLACES else value

    def _part(self, piece: str | Placeholder, place: Place) -> JsonValue:
        """Return the text of one piece of a text, or what stands for an output."""
        if isinstance(piece, str):
            return piece
        expression = self._expression(piece)
        if expression is None:
            return ""
        if expression.output is not None:
            return self._output(expression.output, piece, place) or ""
        try:
            return text_of(self._value(expression, piece, else_=""))
        except Unfit as unfit:
            hint = "Let it stand alone, with nothing beside the braces, or write it as text: | tojson."
            self._tell(piece.line, f"{_shown(piece)} {unfit}", hint)
            return ""

    def _output(self, output: tuple[str, tuple[str | int, ...]], placeholder: Placeholder, place: Place) -> JsonValue:
        """Return what stands for an output of a step in the recipe; None, and a problem, where none may stand."""
        if len(place) <= _ARGS or place[0] != STEPS or place[2] != "args":
            hint = "Elsewhere, a recipe must be known before it runs."
            self._tell(placeholder.line, f"{_shown(placeholder)} may stand for a value in a step's args alone", hint)
            return None
        step, path = output
        return {"step": step, "output": [*path]}

    def _expression(self, placeholder: Placeholder) -> Expression | None:
        if placeholder.problem:
            self._tell(placeholder.line, placeholder.problem, placeholder.hint)
            return None
        try:
            return Expression(placeholder.source)
        except Wrong as wrong:
            self._tell(placeholder.line, f"{_shown(placeholder)}: {wrong}", wrong.hint)
            return None

    def _value(self, expression: Expression, placeholder: Placeholder, else_: JsonValue = None) -> JsonValue:
        try:
            return expression.evaluate(self.names, self.plain)
        except Wrong as wrong:
            missing = [name for name in expression.needs if name not in self.names]
            for name in missing:
                self._tell(placeholder.line, f"nothing is given for {name!r}", self._near(name))
            if not missing:
                self._tell(placeholder.line, f"{_shown(placeholder)}: {wrong}", wrong.hint)
            return else_

    def _near(self, name: str) -> str:
        known = [other for other in islice(self.names, _MOST_NEAR) if other != PARAMETERS]
        return did_you_mean(name, known) or f"Given are: {', '.join(known[:20]) or 'no values'}."

    def _tell(self, line: int, sentence: str, hint: str = "") -> None:
        self.problems.append(_Problem(line, sentence, hint))


_HEAD_PLACES = [(head,) for head in HEADS]
_BY_THE_TEMPLATE = "What a recipe does is decided by its template: write out what stands here."


def _is_data(place: Place) -> bool:
    """Tell whether a place lies in what is data to a recipe; a key of a mapping lies in it, too."""
    return place[:1] == ("config",) or (len(place) >= _ARGS and place[0] == STEPS and place[2] == "args")


def _is_flat(value: JsonValue) -> bool:
    items = value if isinstance(value, list) else [value]
    return not any(isinstance(item, dict | list) for item in items)


def _as_in_a_head(value: JsonValue) -> JsonValue:
    """Write numbers as text: in a recipe's head, they mean what is written."""
    if isinstance(value, list):
        return [_as_in_a_head(item) for item in value]
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return json.dumps(value) if is_number else value


def _joined(parts: list[JsonValue]) -> list[JsonValue]:
    """Make one of texts that stand side by side."""
    joined: list[JsonValue] = []
    for part in parts:
        if joined and isinstance(part, str) and isinstance(joined[-1], str):
            joined[-1] += part
        else:
            joined.append(part)
    return joined


def _shown(placeholder: Placeholder) -> str:
    source = placeholder.source
    return f"{{{{ {source if len(source) <= _SHOWN_CHARS else source[:_SHOWN_CHARS] + '…'} }}}}"
