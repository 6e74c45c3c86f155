"""Checks params against what a scriptlet declares; imported only where something is declared."""

from __future__ import annotations

import re
from copy import deepcopy
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    Schema = Mapping[str, Mapping[str, Any]]

_TYPES: dict[str, type | tuple[type, ...]] = {
    "string": str,
    "integer": int,
    "number": (int, float),
    "boolean": bool,
    "array": list,
    "object": dict,
    "null": type(None),
}
_WORDS = {
    "type", "required", "default", "enum", "pattern", "minimum", "maximum", "items", "properties", "description",
}  # fmt: skip
_LONGEST_SHOWN = 60


def check(params: Mapping[str, Any], schema: Schema, required: Sequence[str] = ()) -> tuple[dict, list[str]]:
    """
    Return the params with defaults filled in, and a sentence for each fault.

    With an empty schema only what is ``required`` is looked for, and any other name may be there. Raises TypeError
    for a schema that is none: that is its author's fault, not the recipe's.
    """
    for name, rule in schema.items():
        _check_rule(name, rule)
    if isinstance(required, str):
        raise TypeError(f"required_params is a text: write [{required!r}]")
    if not schema:
        return dict(params), [f"{name} is required" for name in required if name not in params]
    whole = {**schema, **{name: {**schema.get(name, {}), "required": True} for name in required}}
    filled: dict = {}
    return filled, list(_fill(params, whole, filled))


def _fill(params: Mapping[str, Any], schema: Schema, filled: dict, place: str = "") -> Iterator[str]:
    for name in params:
        if name not in schema:
            yield f"{place}{name} is unknown{_suggest(str(name), schema)}"
    for name, rule in schema.items():
        if name in params:
            filled[name] = params[name]
        elif "default" in rule:
            filled[name] = deepcopy(rule["default"])
        else:
            if rule.get("required"):
                yield f"{place}{name} is required"
            continue
        yield from _check_value(filled, name, rule, place + str(name))


def _check_value(holder: Any, at: Any, rule: Mapping[str, Any], place: str) -> Iterator[str]:  # noqa: ANN401 - JSON
    """Yield what is wrong with one value, and put defaults into the objects in it."""
    value = holder[at]
    wanted = _wanted_types(rule)
    if wanted and not any(_is(value, name) for name in wanted):
        yield f"{place} must be {_article(' or '.join(wanted))}, not {_show(value)}"
        return
    if "enum" in rule and not any(type(one) is type(value) and one == value for one in rule["enum"]):
        yield f"{place} must be one of {', '.join(map(_show, rule['enum']))}, not {_show(value)}"
    if "pattern" in rule and isinstance(value, str) and not re.fullmatch(rule["pattern"], value):
        yield f"{place} must match {rule['pattern']}, which {_show(value)} does not"
    yield from _check_size(value, rule, place)
    if "properties" in rule and isinstance(value, dict):
        inside: dict = {}
        yield from _fill(value, rule["properties"], inside, f"{place}.")
        holder[at] = inside
    if "items" in rule and isinstance(value, list):
        holder[at] = items = list(value)
        for index in range(len(items)):
            yield from _check_value(items, index, rule["items"], f"{place}[{index}]")


def _check_size(value: object, rule: Mapping[str, Any], place: str) -> Iterator[str]:
    sized = isinstance(value, str | list)
    size = len(value) if isinstance(value, str | list) else value
    if isinstance(size, bool) or not isinstance(size, int | float):
        return
    what = f"the length of {place}" if sized else place
    if "minimum" in rule and not size >= rule["minimum"]:
        yield f"{what} must be at least {rule['minimum']}, not {size}"
    if "maximum" in rule and not size <= rule["maximum"]:
        yield f"{what} must be at most {rule['maximum']}, not {size}"


def _check_rule(name: str, rule: object) -> None:
    if not isinstance(rule, dict):
        raise TypeError(f"the declaration of {name} is no mapping of words such as type and default")
    for word in rule:
        if word not in _WORDS:
            raise TypeError(f"the declaration of {name} has the unknown word {word!r}{_suggest(str(word), _WORDS)}")
    for kind in _wanted_types(rule):
        if kind not in _TYPES:
            raise TypeError(f"the declaration of {name} has the unknown type {kind!r}{_suggest(str(kind), _TYPES)}")
    for inner, inner_rule in rule.get("properties", {}).items():
        _check_rule(f"{name}.{inner}", inner_rule)
    if "items" in rule:
        _check_rule(f"{name}[]", rule["items"])


def _wanted_types(rule: Mapping[str, Any]) -> list[str]:
    wanted = rule.get("type", [])
    return [wanted] if isinstance(wanted, str) else list(wanted)


def _is(value: object, kind: str) -> bool:
    if isinstance(value, bool):  # which Python takes for a number
        return kind == "boolean"
    return isinstance(value, _TYPES[kind])


def _suggest(name: str, names: object) -> str:
    from difflib import get_close_matches

    close = get_close_matches(name, list(names), n=1)  # type: ignore[call-overload]
    return f": did you mean {close[0]}?" if close else ""


def _show(value: object) -> str:
    import json

    text = json.dumps(value, ensure_ascii=False, default=repr)
    return text if len(text) <= _LONGEST_SHOWN else text[:_LONGEST_SHOWN] + "…"


def _article(words: str) -> str:
    return f"an {words}" if words[0] in "aio" else f"a {words}"
