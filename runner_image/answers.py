"""What a step sent, checked: its word on its own work, and nothing that could break ours."""

from __future__ import annotations

from isolation.contract import (
    LONGEST,
    MOST_FIELDS,
    MOST_READS,
    RECORD_CHARS,
    Malformed,
    check_json,
    is_context_key,
    loads,
)

TYPE_CHECKING = False  # not typing's: run.py says why
if TYPE_CHECKING:
    from typing import TypeGuard

_ANSWER_KEYS = {"set", "deleted", "writers", "reads", "read_all", "import_s", "outputs", "problem"}
_RECORD_KEYS = {"level", "logger", "message", "fields", "at"}
SPARE = 64
"""Values that the report around an answer may need, so that who checks it again does not find it too large."""


def read_answer(content: bytes) -> dict:
    """Read what a step answered. Raises Malformed."""
    answer = loads(content, spare=SPARE)
    if not isinstance(answer, dict) or set(answer) != _ANSWER_KEYS:
        raise Malformed("not an answer")
    good = (
        isinstance(answer["set"], dict)
        and _is_texts(answer["deleted"])
        and _is_reads(answer["reads"])
        and isinstance(answer["read_all"], bool)
        and _is_time(answer["import_s"])
        and isinstance(answer["writers"], dict)
        and _is_texts([*answer["writers"].values()])
        and isinstance(answer["outputs"], dict | None)
        and _is_problem(answer["problem"])
    )
    if not good:
        raise Malformed("not an answer")
    return answer


def read_record(content: bytes) -> dict:
    """Read a log record of a step. Raises Malformed."""
    record = loads(content)
    if not isinstance(record, dict) or set(record) != _RECORD_KEYS:
        raise Malformed("not a log record")
    good = (
        _is_short(record, "level", "logger")
        and isinstance(record["message"], str)
        and len(record["message"]) <= RECORD_CHARS
        and isinstance(record["fields"], dict)
        and len(record["fields"]) <= MOST_FIELDS
        and _is_number(record["at"])
    )
    if not good:
        raise Malformed("not a log record")
    check_json([record])  # with its step around it, it lies deeper
    return record


def _is_time(value: object) -> bool:
    return value is None or (_is_number(value) and value >= 0)


def _is_number(value: object) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_problem(problem: object) -> bool:
    if problem is None:
        return True
    keys = ("cause", "type", "message", "traceback")
    return isinstance(problem, dict) and set(problem) == {*keys} and _is_short(problem, *keys)


def _is_short(document: dict, *keys: str) -> bool:
    return all(isinstance(document[key], str) and len(document[key]) <= LONGEST[key] for key in keys)


def _is_reads(value: object) -> bool:
    return isinstance(value, list) and len(value) <= MOST_READS and all(map(is_context_key, value))


def _is_texts(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)
