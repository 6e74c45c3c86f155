"""Transformers: rows in, rows out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from scriptlets._etl import rows as travel
from scriptlets._etl.rules import placed, read_rules
from scriptlets.framework import BaseScriptlet, ParamsError, register_scriptlet

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from orchestrator.context import Context

__all__ = ["DataTransformerScriptlet"]


@register_scriptlet
class DataTransformerScriptlet(BaseScriptlet):
    """
    Takes rows through rules, one after another: select, rename, fill, cast, filter, join, aggregate.

    Outputs ``rows_in`` and ``rows``, how many they were before and after.
    """

    params = {  # noqa: RUF012 - nobody writes to it
        "transformation_rules": {"type": "array", "default": []},
        "input_key": {"type": "string", "default": travel.KEY},
        "output_key": {"type": "string", "default": travel.KEY},
    }

    def run(self, context: Context, params: dict) -> dict:
        """Read the rules, all of them before the first row, and apply them."""
        rules, faults = read_rules(params["transformation_rules"], context)
        if faults:
            raise ParamsError("transformation_rules: " + "; ".join(faults))
        rows = placed(travel.take(context, params["input_key"]), "of the input, ")
        count = 0

        def counted() -> Iterator[dict]:
            nonlocal count
            for row in rows:
                count += 1
                yield row

        made: Iterable[dict] = counted()
        for rule in rules:
            made = rule(made)
        kept = travel.keep(context, params["output_key"], made)
        return {"rows_in": count, "rows": kept}
