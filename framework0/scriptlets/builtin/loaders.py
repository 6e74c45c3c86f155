"""
Loaders: where rows go. Each takes those under ``input_key``, and outputs how many they were.

Rows that were loaded leave the context, unless ``keep_rows`` says otherwise: they were on their way only.
"""

from __future__ import annotations

import os
from contextlib import contextmanager
from io import TextIOWrapper
from tempfile import TemporaryFile
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from scriptlets._etl import formats
from scriptlets._etl import rows as travel
from scriptlets._etl.options import CSV, DATABASE, FORMAT, S3, TABLE, WEB
from scriptlets._etl.rules import placed
from scriptlets.framework import BaseScriptlet, ParamsError, register_scriptlet

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from io import BufferedRandom

    from orchestrator.context import Context

__all__ = [
    "ArtifactLoader",
    "ContextLoader",
    "CsvLoader",
    "DatabaseLoader",
    "HttpLoader",
    "JsonLinesLoader",
    "S3Loader",
    "SqlLoader",
]


def _params(**options: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    return {
        "target_url": {"type": "string", "required": True, "minimum": 1},
        "load_options": {"type": "object", "default": {}, "properties": options},
        "input_key": {"type": "string", "default": travel.KEY},
        "keep_rows": {"type": "boolean", "default": False},
    }


class _Loader(BaseScriptlet):
    """Loads the rows by ``load``."""

    def run(self, context: Context, params: dict) -> dict:
        """Take the rows to the target, and out of the context."""
        rows = placed(travel.take(context, params["input_key"]), "of the input, ")
        if not params["keep_rows"]:
            context.delete(params["input_key"])  # which counts if all goes well; the target may be that key
        return {"rows": self.load(rows, params["target_url"], context, params["load_options"])}

    def load(self, rows: Iterable[dict], url: str, context: Context, options: Mapping[str, Any]) -> int:
        """Take rows to a target; returns how many."""
        raise NotImplementedError


@register_scriptlet
class ArtifactLoader(_Loader):
    """Writes a file: an artifact of the run, or one at a full path; csv, jsonl or json, as its name ends."""

    format = ""
    params = _params(format=FORMAT, **CSV)

    def load(self, rows: Iterable[dict], url: str, context: Context, options: Mapping[str, Any]) -> int:
        """Write the rows to a file; one that could not be finished is taken away."""
        form = self.format or options.get("format") or _form_of(url)
        path = _path(url, context)
        try:
            with open(path, "w", encoding="utf-8", newline="") as text:
                return formats.WRITERS[form](rows, text, options)
        except BaseException:
            if os.path.exists(path):
                os.unlink(path)
            raise


@register_scriptlet
class CsvLoader(ArtifactLoader):
    """Writes a CSV file: an artifact of the run, or one at a full path."""

    format = "csv"
    params = _params(**CSV)


@register_scriptlet
class JsonLinesLoader(ArtifactLoader):
    """Writes a file with a JSON object on each line: an artifact of the run, or one at a full path."""

    format = "jsonl"
    params = _params()


@register_scriptlet
class SqlLoader(_Loader):
    """
    Inserts into a table of PostgreSQL, or of an SQLite file: an artifact of the run, or one at a full path.

    All rows or none. ``mode: replace`` deletes what was there; a table that an SQLite file lacks is made.
    """

    params = _params(**TABLE, **DATABASE)

    def load(self, rows: Iterable[dict], url: str, context: Context, options: Mapping[str, Any]) -> int:
        """Insert the rows in one transaction."""
        from scriptlets._etl import sql

        postgresql = sql.is_postgresql(url)
        path = "" if postgresql else _path(sql.sqlite_path(url), context)
        with sql.writing(url, path, context, options) as connection:
            table = sql.Table(connection, options["table"], sqlite=not postgresql)
            if options["mode"] == "replace":
                table.empty()
            return table.insert(rows, options.get("columns"))


@register_scriptlet
class DatabaseLoader(SqlLoader):
    """The same as SqlLoader, by the name that some templates make."""


@register_scriptlet
class HttpLoader(_Loader):
    """Sends all rows in one request."""

    params = _params(
        method={"enum": ["POST", "PUT", "PATCH"], "default": "POST"}, format={**FORMAT, "default": "json"}, **CSV, **WEB
    )

    def load(self, rows: Iterable[dict], url: str, context: Context, options: Mapping[str, Any]) -> int:
        """Send the rows; whatever is not answered with success is an error."""
        from scriptlets._etl import web

        with _written(rows, options["format"], options) as (body, count, size_bytes):
            if size_bytes > options["max_bytes"]:
                raise web.WebError(f"the rows are {size_bytes} bytes: max_bytes allows {options['max_bytes']}")
            headers = {"Content-Type": formats.CONTENT_TYPES[options["format"]], "Content-Length": str(size_bytes)}
            web.send(web.request(options["method"], url, context, options, headers, body=body), options)
        return count


@register_scriptlet
class S3Loader(_Loader):
    """
    Puts an object into a bucket: ``s3://bucket/key``, or ``s3://bucket/folder/`` for ``rows.jsonl`` in there.

    The keys are secrets that the step names, AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY if nothing else is said.
    """

    params = _params(format=FORMAT, **CSV, **S3)

    def load(self, rows: Iterable[dict], url: str, context: Context, options: Mapping[str, Any]) -> int:
        """Put the rows into one object."""
        from scriptlets._etl import s3, web

        parts = urlsplit(url)
        if parts.scheme != "s3" or not parts.netloc or parts.query or parts.fragment:
            raise ParamsError(f"{url!r} is no target in S3: s3://bucket/key")
        key = parts.path.removeprefix("/")
        folder = not key or key.endswith("/")
        form = options.get("format") or ("jsonl" if folder else _form_of(key))
        key = f"{key}rows.{form}" if folder else key
        where = s3.address(parts.netloc, key, options["region"], options.get("endpoint_url"))
        with _written(rows, form, options) as (body, count, size_bytes):
            headers = {"Content-Type": formats.CONTENT_TYPES[form], "Content-Length": str(size_bytes)}
            if not options["anonymous"]:
                headers = s3.signed("PUT", where, headers, body, keys=_keys(context, options), region=options["region"])
            web.send(web.request("PUT", where, context, {}, headers, body=body), options)
        return count


@register_scriptlet
class ContextLoader(_Loader):
    """Sets a key of the context to the list of rows: what the context cannot hold is refused."""

    params = _params()

    def load(self, rows: Iterable[dict], url: str, context: Context, _: Mapping[str, Any]) -> int:
        """Set the key."""
        values = list(rows)
        context.set(url.removeprefix("context:"), values)
        return len(values)


def _path(url: str, context: Context) -> str:
    """Return where to write: a relative path is the name of an artifact."""
    if "://" in url:
        raise ParamsError(f"{url!r} is no file: the name of an artifact is wanted, or a full path")
    return url if url.startswith("/") else str(context.artifact(url))


def _form_of(name: str) -> str:
    form = name.rpartition(".")[2].lower()
    if form not in formats.WRITERS:
        raise ParamsError(f"the name {name!r} does not tell a format: load_options.format is csv, jsonl or json")
    return form


@contextmanager
def _written(rows: Iterable[dict], form: str, options: Mapping[str, Any]) -> Iterator[tuple[BufferedRandom, int, int]]:
    """Write the rows to a file without a name; gives it from its beginning, and the counts of rows and bytes."""
    with TemporaryFile() as body:
        text = TextIOWrapper(body, "utf-8", newline="")
        count = formats.WRITERS[form](rows, text, options)
        text.detach()
        size_bytes = body.tell()
        body.seek(0)
        yield body, count, size_bytes


def _keys(context: Context, options: Mapping[str, Any]) -> tuple[str, str, str]:
    session = options.get("session_token_secret")
    return (
        context.secret(options["access_key_secret"]),
        context.secret(options["secret_key_secret"]),
        context.secret(session) if session else "",
    )
