"""
Writes a tree as text that reads back as the same tree: by our own reader (YAML 1.2's core schema) and by PyYAML (1.1).

The two take different words for numbers, dates and truth: a text stands without quotes only where it is made of plain
words, the first of which begins with a letter, and PyYAML takes it for a text.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import yaml

if TYPE_CHECKING:
    from pydantic import JsonValue

_DUMPER: Any = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
_COLUMNS = 10**9
"""No text is folded: one line a value."""
_MOST_ON_A_LINE = 8
_PLAIN = re.compile(r"[A-Za-z/_][A-Za-z0-9/_.@+-]*(?: [A-Za-z0-9/_.@+-]+)*")


class _Dumper(_DUMPER):  # type: ignore[misc] # which of two classes it is, only the machine knows
    """Puts texts in quotes that are not plain words, and those that do not print so that all of them is escaped."""

    def ignore_aliases(self, data: object) -> bool:
        """Write a value out each time: our reader knows no aliases."""
        del data
        return True


def _represent_text(dumper: Any, text: str) -> Any:  # noqa: ANN401 - of a library without types
    style = None if _PLAIN.fullmatch(text) else "'" if text.isprintable() and "'" not in text and text else '"'
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


def _represent_list(dumper: Any, items: list[JsonValue]) -> Any:  # noqa: ANN401 - as above
    short = len(items) <= _MOST_ON_A_LINE and not any(isinstance(item, dict | list) for item in items)
    return dumper.represent_sequence("tag:yaml.org,2002:seq", items, flow_style=short)


_Dumper.add_representer(str, _represent_text)
_Dumper.add_representer(list, _represent_list)


def to_yaml(value: JsonValue) -> str:
    """Write YAML. What does not print stands in double quotes, as an escape."""
    return str(yaml.dump(value, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=_COLUMNS))


def to_json(value: JsonValue) -> str:
    """Write JSON, readable."""
    return json.dumps(value, ensure_ascii=False, allow_nan=False, indent=2) + "\n"
