"""Extractors: where rows come from. Each puts them under ``output_key``, and outputs how many they were."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, BinaryIO

from scriptlets._etl import formats
from scriptlets._etl import rows as travel
from scriptlets._etl.options import DATABASE, FORMAT, QUERY, TEXT, WEB
from scriptlets.framework import BaseScriptlet, ParamsError, register_scriptlet

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from orchestrator.context import Context

__all__ = ["CsvExtractor", "DatabaseExtractor", "HttpExtractor", "JsonLinesExtractor", "SqlExtractor"]


def _params(**options: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    return {
        "source_url": {"type": "string", "required": True, "minimum": 1},
        "connection_params": {"type": "object", "default": {}, "properties": options},
        "output_key": {"type": "string", "default": travel.KEY},
    }


class _Extractor(BaseScriptlet):
    """Keeps the rows that ``rows`` yields."""

    def run(self, context: Context, params: dict) -> dict:
        """Put the rows of the source into the context."""
        found = self.rows(params["source_url"], context, params["connection_params"])
        return {"rows": travel.keep(context, params["output_key"], found)}

    def rows(self, url: str, context: Context, options: Mapping[str, Any]) -> Iterator[dict]:
        """Yield the rows of a source."""
        raise NotImplementedError


@register_scriptlet
class CsvExtractor(_Extractor):
    """Reads a CSV file of the recipe, or of an address; all values are text: ``cast`` makes numbers of them."""

    params = _params(**TEXT, **WEB)

    def rows(self, url: str, context: Context, options: Mapping[str, Any]) -> Iterator[dict]:
        """Yield the rows of a file."""
        with _opened(url, context, options) as content:
            yield from formats.read_csv(content, options)


@register_scriptlet
class JsonLinesExtractor(_Extractor):
    """Reads a file, or an address, with a JSON object on each line."""

    params = _params(encoding=TEXT["encoding"], **WEB)

    def rows(self, url: str, context: Context, options: Mapping[str, Any]) -> Iterator[dict]:
        """Yield the rows of a file."""
        with _opened(url, context, options) as content:
            yield from formats.read_json_lines(content, options)


@register_scriptlet
class HttpExtractor(_Extractor):
    """Gets rows by HTTP: a JSON array that ``records`` leads to, JSON lines, or CSV."""

    params = _params(format={**FORMAT, "default": "json"}, records={"type": "string"}, **TEXT, **WEB)

    def rows(self, url: str, context: Context, options: Mapping[str, Any]) -> Iterator[dict]:
        """Yield the rows of an answer."""
        with _asked(url, context, options) as content:
            yield from formats.READERS[options["format"]](content, options)


@register_scriptlet
class SqlExtractor(_Extractor):
    """Reads what a query gives, or a whole table, of an SQLite file or of PostgreSQL; for reading only."""

    params = _params(**QUERY, **DATABASE)

    def rows(self, url: str, context: Context, options: Mapping[str, Any]) -> Iterator[dict]:
        """Yield the rows of a query."""
        from scriptlets._etl import sql

        if ("query" in options) == ("table" in options):
            raise ParamsError("connection_params names either a query or a table, and one of them")
        query = options.get("query") or f"SELECT * FROM {sql.quoted(options['table'])}"  # noqa: S608 - a quoted name
        with sql.reading(url, context, options) as connection:
            yield from sql.select(connection, query, options["parameters"], named=sql.is_postgresql(url))


@register_scriptlet
class DatabaseExtractor(SqlExtractor):
    """The same as SqlExtractor, by the name that some templates make."""


@contextmanager
def _opened(url: str, context: Context, options: Mapping[str, Any]) -> Iterator[BinaryIO]:
    if "://" not in url:
        try:
            file = open(url, "rb")  # noqa: SIM115 - closed below
        except FileNotFoundError:
            said = f"{url}: no such file: name one of the recipe's folder by its path from there, and it is packed"
            raise FileNotFoundError(said) from None
        with file:
            yield file
        return
    with _asked(url, context, options) as content:
        yield content


@contextmanager
def _asked(url: str, context: Context, options: Mapping[str, Any]) -> Iterator[BinaryIO]:
    from scriptlets._etl import web  # which is dear

    with web.answered(web.request("GET", url, context, options, {}), options) as content:
        yield content
