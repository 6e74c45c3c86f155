"""
Evaluates what stands between ``{{ }}``: the only module that knows jinja2's insides.

jinja2's sandbox does it, and little is let through to it. An expression is short and consists of listed kinds of nodes:
no call, no attribute of any Python object (a dot looks a key up), no power, no repetition, none of jinja2's globals;
its filters are ours. So its work is bounded by what it is made of: each part takes time as its operands' size, and no
text or list in between grows beyond what fits into a recipe.
"""

from __future__ import annotations

import math
from itertools import islice
from typing import TYPE_CHECKING, Any

from jinja2 import StrictUndefined, TemplateSyntaxError, Undefined, nodes
from jinja2.exceptions import TemplateRuntimeError
from jinja2.sandbox import ImmutableSandboxedEnvironment

from isolation.errors import did_you_mean
from isolation.templates.filters import FILTERS, add, arithmetic
from isolation.templates.plain import Unfit

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from pydantic import JsonValue

    from isolation.templates.plain import Plain

LONGEST_EXPRESSION = 500
_DEEPEST = 32
STEPS = "steps"
"""``steps.NAME.outputs.KEY`` is known when the recipe runs, and not before."""

_TESTS = ("defined", "undefined", "none", "string", "number", "boolean", "mapping")
_MOST_NEAR = 100
"""How many names are looked through for one that was meant: a mapping may have as many as it likes."""
_NOT_FINITE = (math.inf, -math.inf)
_JINJAS_OWN = ("self", "super", "loop", "caller", "varargs", "kwargs")
_GUARDS = ("default", "defined", "undefined")
"""Filters and tests that ask for what may not be there."""
_OPERATORS = (nodes.Add, nodes.Sub, nodes.Mul, nodes.Div, nodes.FloorDiv, nodes.Mod, nodes.Neg, nodes.Pos)
_LOGIC = (nodes.CondExpr, nodes.And, nodes.Or, nodes.Not, nodes.Compare, nodes.Operand)
_VALUES = (nodes.Name, nodes.Const, nodes.List, nodes.Dict, nodes.Pair, nodes.Getattr, nodes.Getitem)
_ALLOWED = (*_VALUES, *_OPERATORS, *_LOGIC, nodes.Filter, nodes.Test, nodes.Keyword)
_REFUSED: dict[type[nodes.Node], str] = {
    nodes.Call: "nothing can be called",
    nodes.Slice: "nothing can be sliced",
    nodes.Pow: "'**' is not known",
    nodes.Concat: "'~' is not known; write text around the braces, or add texts with '+'",
    nodes.Tuple: "there are no tuples; write a list in brackets",
}


class Wrong(Exception):  # noqa: N818 - never leaves the templates
    """An expression cannot be used; its text says why. ``hint`` says what to do, if we know."""

    def __init__(self, why: str, hint: str = "") -> None:
        super().__init__(why)
        self.hint = hint


class _Sandbox(ImmutableSandboxedEnvironment):
    """jinja2's sandbox, in which a dot is a key and nothing else."""

    intercepted_binops = frozenset({"+", "-", "*", "/", "//", "%"})

    def __init__(self) -> None:
        # Unoptimised, it computes nothing while it compiles: no value is written into the code that it makes.
        super().__init__(undefined=StrictUndefined, optimized=False)
        self.globals.clear()
        self.filters = {**FILTERS, "default": self.filters["default"]}
        self.tests = {name: self.tests[name] for name in _TESTS}

    def getattr(self, obj: Any, attribute: str) -> Any:  # noqa: ANN401 - any value
        return self.getitem(obj, attribute)

    def getitem(self, obj: Any, argument: Any) -> Any:  # noqa: ANN401 - as above
        if isinstance(obj, dict) and isinstance(argument, str):
            return obj[argument] if argument in obj else self._absent(argument, obj)
        if isinstance(obj, list) and type(argument) is int and -len(obj) <= argument < len(obj):
            return obj[argument]
        if isinstance(obj, Undefined):
            return obj[argument]  # raises, and says of what
        return self._absent(argument)

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:  # noqa: ANN401, ARG002 - as above
        return add(left, right) if operator == "+" else arithmetic(operator, left, right)

    def _absent(self, argument: object, there: Iterable[str] = ()) -> Undefined:
        near = did_you_mean(str(argument), islice(there, _MOST_NEAR))
        return self.undefined(hint=f"there is no {argument!r} in what stands before it. {near}".rstrip())


_SANDBOX = _Sandbox()
LEXER = _SANDBOX.lexer


class Expression:
    """One expression, checked. Raises Wrong where it is none, or does more than it may."""

    def __init__(self, source: str) -> None:
        node = _parse(source)
        self.output = _output(node)
        """The step and the way through its outputs, of an expression that is this and nothing else; or else None."""
        self.needs = tuple(dict.fromkeys(_needs(node)))
        """What must be given; names that are asked for by ``default`` or ``is defined`` need not be."""
        if self.output is None and any(name.name == STEPS for name in _find_names(node)):
            raise Wrong(
                "what a step returned is known when the recipe runs: nothing can be computed with it here",
                "Write {{ steps.NAME.outputs.KEY }} and nothing else between the braces.",
            )
        self._compute = _compile(source)

    def evaluate(self, names: Mapping[str, JsonValue], plain: Plain) -> JsonValue:
        """Compute the value, as a copy. Raises Wrong for what cannot be computed, or cannot stand in a recipe."""
        try:
            return plain.copy(self._compute(names))
        except Unfit as unfit:
            raise Wrong(f"it {unfit}") from unfit
        except (TemplateRuntimeError, TypeError, ValueError, ArithmeticError, LookupError, RecursionError) as error:
            raise Wrong(f"it cannot be computed: {error}") from error


def _parse(source: str) -> nodes.Node:
    if not source:
        raise Wrong("it is empty", "Write the name of a value between the braces.")
    try:
        body = _SANDBOX.parse("{{" + source + "}}").body
    except TemplateSyntaxError as error:
        raise _unreadable(error) from error
    except RecursionError as error:
        raise Wrong(f"it is nested deeper than {_DEEPEST}") from error
    node = body[0].nodes[0] if isinstance(body[0], nodes.Output) else body[0]
    _check(node)
    return node


def _compile(source: str) -> Callable[..., object]:
    try:
        return _SANDBOX.compile_expression(source, undefined_to_none=False)
    except TemplateSyntaxError as error:  # a filter or a test that is none
        raise _unreadable(error) from error


def _unreadable(error: TemplateSyntaxError) -> Wrong:
    message = (error.message or "").replace("'end of print statement'", "'}}'").rstrip(".")
    kinds = {"filter": _SANDBOX.filters, "test": _SANDBOX.tests}
    hint = next(
        (f"Known: {', '.join(sorted(names))}." for kind, names in kinds.items() if f"No {kind} " in message), ""
    )
    return Wrong(f"it cannot be read: {message[:1].lower()}{message[1:]}", hint)


def _check(expression: nodes.Node) -> None:
    level, depth = [expression], 0
    while level:
        depth += 1
        if depth > _DEEPEST:
            raise Wrong(f"it is nested deeper than {_DEEPEST}")
        for node in level:
            if not isinstance(node, _ALLOWED):
                raise Wrong(_REFUSED.get(type(node), f"{type(node).__name__} is not allowed"))
            if isinstance(node, nodes.Const) and node.value in _NOT_FINITE:
                raise Wrong("a number in it is not finite")  # jinja2 writes its name into the code that it makes
            if isinstance(node, nodes.CondExpr) and node.expr2 is None:
                raise Wrong("'if' has no 'else'")
            if isinstance(node, nodes.Name) and node.name in _JINJAS_OWN:
                raise Wrong(f"{node.name!r} is jinja2's own")
        level = [child for node in level for child in node.iter_child_nodes()]


def _output(node: nodes.Node) -> tuple[str, tuple[str | int, ...]] | None:
    path: list[str | int] = []
    while isinstance(node, nodes.Getattr | nodes.Getitem):
        key = node.attr if isinstance(node, nodes.Getattr) else getattr(node.arg, "value", None)
        if not isinstance(key, str | int) or isinstance(key, bool):
            return None
        path.append(key)
        node = node.node
    match path[::-1]:
        case [str(step), "outputs", *rest] if isinstance(node, nodes.Name) and node.name == STEPS:
            return step, tuple(rest)
        case _:
            return None


def _find_names(node: nodes.Node) -> Iterator[nodes.Name]:
    if isinstance(node, nodes.Name):
        yield node
    yield from node.find_all(nodes.Name)


def _needs(node: nodes.Node) -> Iterator[str]:
    if isinstance(node, nodes.Name):
        yield node.name
    guarded = node.node if isinstance(node, nodes.Filter | nodes.Test) and node.name in _GUARDS else None
    for child in node.iter_child_nodes():
        if child is not guarded or not isinstance(child, nodes.Name | nodes.Getattr | nodes.Getitem):
            yield from _needs(child)
