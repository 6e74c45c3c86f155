"""The bodies of the contract: what is taken, checked field by field, and what is answered."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from pydantic import BaseModel, ConfigDict, Field, JsonValue, SkipValidation, StrictBool, StrictInt
from starlette.responses import Response

from isolation.context.dumping import Format

if TYPE_CHECKING:
    from collections.abc import Mapping

_Who = Annotated[str, Field(max_length=200, description="Who writes, for the history; else the token's name.")]
_Version = Annotated[
    StrictInt, Field(ge=0, le=2**53, description="The key's newest version must be this; 0: it holds nothing.")
]
Value = SkipValidation[JsonValue]
"""A value that came as JSON: to look at all that is in it once more would take longer than to read it."""


class Body(BaseModel):
    """What is taken: fields that nobody knows are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class EntryBody(BaseModel):
    """One write in the context's history; a deleted one has no value. ``at`` is RFC 3339 in UTC."""

    version: int
    key: str
    value: JsonValue
    deleted: bool
    who: str
    run_id: str | None
    at: str


class EntriesBody(BaseModel):
    """A page of entries; ``next`` asks for the one after it, None: this is the last."""

    entries: list[EntryBody]
    next: str | None = None


class WriteBody(EntryBody):
    """One write, and with ``replaced`` what it replaced: null, and ``existed`` false, for nothing."""

    existed: bool | None = None
    before: JsonValue = None


class HistoryBody(BaseModel):
    """A page of writes; ``next`` asks for the one after it, None: this is the last."""

    entries: list[WriteBody]
    next: str | None = None


class ValueBody(Body):
    """A value to be written."""

    value: Value
    who: _Who | None = None
    if_version: _Version | None = None


class ChangesBody(Body):
    """
    Several keys to be written and deleted: all of it, or none.

    ``expected`` has versions, by key, and ``version`` is what the context's own must be. ``writers`` names, by key,
    who writes it where that is not ``who``.
    """

    set: dict[str, Value] = Field(default_factory=dict)
    delete: list[str] = Field(default_factory=list)
    expected: dict[str, _Version] = Field(default_factory=dict)
    version: Annotated[
        StrictInt | None, Field(ge=0, le=2**53, description="Only if nothing was written since this version.")
    ] = None
    who: _Who | None = None
    writers: dict[str, _Who] = Field(default_factory=dict)


class WrittenBody(BaseModel):
    """What was written, durable by now; ``version`` is the context's after it."""

    version: int
    entries: list[EntryBody]


class NewDumpBody(Body):
    """A dump to be written; without a name it gets one of the moment."""

    format: Format = Format.JSON
    filename: Annotated[str, Field(min_length=1, max_length=110)] | None = None
    include_history: StrictBool = False
    who: _Who | None = None


class DumpFileBody(BaseModel):
    """A dump that is there; ``file_size`` is in bytes, ``timestamp`` RFC 3339 in UTC."""

    filename: str
    file_size: int
    format: Format
    timestamp: str


class DumpBody(DumpFileBody):
    """A dump just written: so many keys, as the context was at a version."""

    include_history: bool
    who: str
    version: int
    keys: int


class DumpsBody(BaseModel):
    """The dumps that there are, the newest first."""

    dump_files: list[DumpFileBody]


class StatusBody(BaseModel):
    """How the server is."""

    status: str
    problems: list[str] = Field(default_factory=list)


class VersionBody(BaseModel):
    """What runs here."""

    version: str


def said(content: object, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """Answer with values that are known to be right, which pydantic would check again for longer than they took."""
    from pydantic_core import to_json  # noqa: PLC0415 - with pydantic

    return Response(to_json(content, inf_nan_mode="constants"), status, headers, media_type="application/json")
