"""What a server can be asked about its context, and how it answers; each is a Request, or a Talk of several."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import quote

from isolation.client.request import Request, body_of, params_of
from isolation.errors import InputError
from isolation.model.changes import Entry

if TYPE_CHECKING:
    from collections.abc import Mapping

    import httpx
    from pydantic import JsonValue

    from isolation.client.request import Talk
    from isolation.model.changes import Changes

_CONTEXT = "/v1/context"
_ENTRY = f"{_CONTEXT}/entry"
_HISTORY = f"{_CONTEXT}/history"
_DUMPS = f"{_CONTEXT}/dumps"
FORMATS = ("json", "pretty", "csv", "txt")
LARGEST_PAGE = 1_000


@dataclass(frozen=True, kw_only=True, slots=True)
class Past:
    """A page of a history, the newest first; ``then`` asks for the one after it, None: this is the last."""

    entries: tuple[Entry, ...]
    writes: list[dict[str, JsonValue]]
    then: Request[Past] | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Held:
    """All that the context held at one version, sorted by key."""

    version: int
    entries: tuple[Entry, ...]


def entry(key: str) -> Request[Entry | None]:
    """Ask what a key holds; None if nothing."""
    return Request(
        method="GET", path=_ENTRY, params=params_of(key=key), read=lambda one: _entry(one.json()), if_missing=_none
    )


def set_(key: str, value: JsonValue, who: str | None, if_version: int | None) -> Request[Entry]:
    """Ask for a value to be written."""
    body = {"value": value} | _given(who=who, if_version=if_version)
    return Request(
        method="PUT",
        path=_ENTRY,
        params=params_of(key=key),
        body=body_of(body),
        read=lambda one: _entry(one.json()),
    )


def delete(key: str, who: str | None, if_version: int | None) -> Request[bool]:
    """Ask for a key to be deleted; False if it was not there."""
    params = params_of(key=key, who=who, if_version=if_version)
    return Request(method="DELETE", path=_ENTRY, params=params, read=_true, if_missing=_false)


def change(
    changes: Changes, who: str | None, expected: Mapping[str, int], version: int | None = None
) -> Request[tuple[Entry, ...]]:
    """Ask for several keys to be written and deleted: all of it, or none."""
    body = {
        "set": dict(changes.set),
        "delete": [*changes.deleted],
        "writers": dict(changes.writers),
        "expected": dict(expected),
    } | _given(who=who, version=version)
    return Request(method="POST", path=f"{_CONTEXT}/changes", body=body_of(body), read=_entries)


def everything(glob: str = "*") -> Talk[tuple[Entry, ...]]:
    """Ask what all keys under a glob hold, as it was at one moment, however many there are."""
    entries, after = yield _page(glob)
    if after is not None:  # others may write between two pages: all are then asked for as they were at one version
        entries = yield from _at_version(glob, (yield newest_version()))
    return cast("tuple[Entry, ...]", entries)


def held() -> Talk[Held]:
    """Ask for all that the context holds, and its version."""
    version = yield newest_version()
    entries = yield from _at_version("*", version)
    return Held(version=version, entries=entries)


def newest_version() -> Request[int]:
    """Ask for the context's version: that of its newest write, 0 if there is none."""
    return Request(
        method="GET",
        path=_HISTORY,
        params=params_of(limit=1),
        read=lambda one: max((entry.version for entry in _entries(one)), default=0),
    )


def since(version: int) -> Talk[tuple[Entry, ...]]:
    """Ask for all that was written after a version, the newest first, deletions included."""
    found: list[Entry] = []
    request: Request[Past] | None = past()
    while request is not None:
        page = yield request
        younger = [entry for entry in page.entries if entry.version > version]
        found += younger
        request = page.then if len(younger) == len(page.entries) else None
    return tuple(found)


def past(limit: int | None = None, *, replaced: bool = False, **filters: str | None) -> Request[Past]:
    """
    Ask for the newest writes, page by page, at most ``limit`` (None: all); ``filters`` are as the server has them.

    With ``replaced``, ``writes`` tell what was there before.
    """
    here = LARGEST_PAGE if limit is None else min(limit, LARGEST_PAGE)
    params = params_of(limit=here, replaced="true" if replaced else None, **filters)

    def read(response: httpx.Response) -> Past:
        page = response.json()
        found, before = page["entries"], page["next"]
        left = None if limit is None else limit - len(found)
        is_last = before is None or left == 0
        return Past(
            entries=tuple(_entry(one) for one in found),
            writes=[_told(one) for one in found],
            then=None if is_last else past(left, replaced=replaced, **filters | {"before": before}),
        )

    return Request(method="GET", path=_HISTORY, params=params, read=read)


def dump(format_: str, filename: str | None, include_history: bool, who: str | None) -> Request[dict[str, Any]]:  # noqa: FBT001 - as dump_context has it
    """Ask for a dump to be written, there."""
    if format_ not in FORMATS:
        raise InputError(f"there is no dump format {format_!r}", hint=f"Say one of {', '.join(FORMATS)}.")
    body = {"format": format_, "include_history": include_history} | _given(filename=filename, who=who)
    return Request(method="POST", path=_DUMPS, body=body_of(body), read=_object)


def list_dumps() -> Request[dict[str, Any]]:
    """Ask which dumps there are."""
    return Request(method="GET", path=_DUMPS, read=_object)


def download_dump(filename: str) -> Request[str]:
    """Ask for a dump."""
    if filename in {"", ".", ".."}:
        raise InputError(f"{filename!r} is no dump's name", hint="`list_dumps()` tells all.")
    return Request(method="GET", path=f"{_DUMPS}/{quote(filename, safe='')}", read=lambda one: one.content.decode())


def _page(glob: str, version: int | None = None, after: str | None = None) -> Request[tuple[tuple[Entry, ...], Any]]:
    params = params_of(glob=glob, version=version, after=after, limit=LARGEST_PAGE)
    return Request(method="GET", path=_CONTEXT, params=params, read=lambda one: (_entries(one), one.json()["next"]))


def _at_version(glob: str, version: int) -> Talk[tuple[Entry, ...]]:
    found: list[Entry] = []
    after: str | None = None
    while True:
        entries, after = yield _page(glob, version, after)
        found += entries
        if after is None:
            return tuple(found)


def _told(write: dict[str, Any]) -> dict[str, JsonValue]:
    told: dict[str, JsonValue] = {
        "key": write["key"],
        "before": write.get("before"),
        "after": write["value"],
        "who": write["who"],
        "timestamp": datetime.fromisoformat(write["at"]).timestamp(),
    }
    return told | {"deleted": True} if write["deleted"] else told


def _entries(response: httpx.Response) -> tuple[Entry, ...]:
    return tuple(_entry(one) for one in response.json()["entries"])


def _entry(one: dict[str, Any]) -> Entry:
    return Entry(**{name: one[name] for name in Entry.__slots__})


def _object(response: httpx.Response) -> dict[str, Any]:
    return dict(response.json())


def _given(**more: object) -> dict[str, Any]:
    return {name: value for name, value in more.items() if value is not None}


def _none() -> None:
    return None


def _true(_response: httpx.Response) -> bool:
    return True


def _false() -> bool:
    return False
