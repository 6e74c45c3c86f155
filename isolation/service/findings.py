"""
What is wrong with a request, in words: the only module that turns FastAPI's findings into a sentence and a hint.

What may be sent is read in the contract (OpenAPI), so that what is told is what is published.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from fastapi.exceptions import RequestValidationError

from isolation.errors import did_you_mean
from isolation.packaging.shape import quote

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from starlette.requests import Request

CONTRACT = "The contract is at /openapi.json."
_JSON = "Send JSON, with `Content-Type: application/json`."
_SAID = {
    "missing": "is missing",
    "extra_forbidden": "is unknown",
    "string_type": "must be text",
    "bool_type": "must be true or false",
    "bool_parsing": "must be true or false",
    "int_type": "must be a whole number",
    "int_parsing": "must be a whole number",
    "int_from_float": "must be a whole number",
    "float_type": "must be a number",
    "float_parsing": "must be a number",
    "dict_type": "must be an object",
    "model_type": "must be an object",
    "model_attributes_type": "must be an object",
    "list_type": "must be a list",
    "tuple_type": "must be a list",
}
_WRITTEN = {
    "namespace": "Write 1 to 64 small letters, digits, dots, dashes or underscores, the first a letter or a digit.",
    "namespaces": "Write names such as sales, or globs such as team-*.",
    "digest": "A digest has 64 hexadecimal digits, small ones.",
}
_FIRST_WORD = re.compile(r"^(Input|String|List|Tuple|Dictionary|Value|Data) should ")


def said_of(findings: Sequence[Mapping[str, Any]]) -> str:
    """Put findings into a sentence; each has a place, such as ``("query", "limit")``."""
    return "; ".join(_of_field(finding) for finding in findings)


def explain(request: Request, findings: Sequence[Mapping[str, Any]]) -> tuple[str, str]:
    """Put all findings into a sentence; the hint is for the first."""
    first = findings[0]
    if first["loc"][0] == "body" and (len(first["loc"]) == 1 or first["type"] == "json_invalid"):
        return _of_body(request, first)
    return said_of(findings), _hint(request, first)


def refuse_unknown_parameters(request: Request) -> None:
    """Raise RequestValidationError for what the contract does not have: a filter that nobody knows filters nothing."""
    operation = _operation(request)
    if not request.query_params or not operation:
        return
    known = _parameters(operation)
    unknown = [name for name in request.query_params if name not in known]
    if unknown:
        raise RequestValidationError([{"type": "extra_forbidden", "loc": ("query", name)} for name in unknown])


def _of_body(request: Request, finding: Mapping[str, Any]) -> tuple[str, str]:
    kind = request.headers.get("content-type", "")
    if finding["type"] == "missing":
        return "there is no body", _JSON
    if finding["type"] == "json_invalid":
        at = f" at character {finding['loc'][1]}" if len(finding["loc"]) > 1 else ""
        said = str(finding.get("ctx", {}).get("error", ""))
        return f"the body is not JSON{at}{f': {said[:1].lower()}{said[1:]}' if said else ''}", _JSON
    if "json" not in kind.lower():
        return f"the body came as {kind!r}, and not as JSON" if kind else "nobody said that the body is JSON", _JSON
    return f"the body {_said(finding)}", CONTRACT


def _of_field(finding: Mapping[str, Any]) -> str:
    where, *names = finding["loc"]  # where: query, path, header, body, message
    named = f"{'.'.join(map(str, names))!r} of " if names else ""
    return f"{named}the {where} {_said(finding)}"


def _said(finding: Mapping[str, Any]) -> str:
    known = _SAID.get(finding["type"])
    if known:
        return known
    if finding["type"] == "string_pattern_mismatch":
        return f"cannot be {quote(finding['input'])}"
    said = str(finding["msg"]).removeprefix("Value error, ")
    return _FIRST_WORD.sub("must ", said) if _FIRST_WORD.match(said) else f"cannot be used: {said}"


def _hint(request: Request, finding: Mapping[str, Any]) -> str:
    where, *names = finding["loc"]
    if finding["type"] == "string_pattern_mismatch":
        return _WRITTEN.get(str(names[0]), CONTRACT)
    if finding["type"] != "extra_forbidden" or len(names) != 1:
        return CONTRACT
    operation = _operation(request)
    known = _parameters(operation) if where == "query" else _fields(request, operation)
    return did_you_mean(str(names[0]), known) or f"Known: {', '.join(sorted(known))}."


def _operation(request: Request) -> dict[str, Any]:
    """Return what the contract says of the route; empty for one that is not in it, such as a page."""
    path = getattr(request.scope.get("route"), "path", "")
    found: dict[str, Any] = request.app.openapi()["paths"].get(path, {}).get(request.method.lower(), {})
    return found


def _parameters(operation: Mapping[str, Any]) -> set[str]:
    return {one["name"] for one in operation.get("parameters", ()) if one["in"] == "query"}


def _fields(request: Request, operation: Mapping[str, Any]) -> set[str]:
    """Name the fields of the body, in whichever of its shapes."""
    content = operation.get("requestBody", {}).get("content", {})
    schemas = request.app.openapi()["components"]["schemas"]
    body = content.get("application/json", {}).get("schema", {})
    shapes = [schemas[one["$ref"].rpartition("/")[2]] for one in body.get("anyOf", [body]) if "$ref" in one]
    return {name for shape in shapes for name in shape.get("properties", {})}
