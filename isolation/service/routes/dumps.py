"""Dumps: the context written to files on the server, which can be fetched."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

from fastapi import APIRouter, Path
from starlette.responses import Response, StreamingResponse

from isolation.clock import timestamp
from isolation.context.dumping import Format
from isolation.service.bodies import DumpBody, DumpsBody, NewDumpBody, said
from isolation.service.here import MayReadContext, MayWriteContext
from isolation.service.problems import answers
from isolation.service.reading import BodyRoute

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import BinaryIO

    from isolation.context.dumps import Dump
    from isolation.service.here import Here

router = APIRouter(prefix="/v1/context/dumps", route_class=BodyRoute, tags=["context"])

Filename = Annotated[str, Path(max_length=200, description="The dump's name, as the list has it.")]
_PIECE_BYTES = 2**18
_MEDIA_TYPES = {
    Format.JSON: "application/json",
    Format.PRETTY: "application/json",
    Format.CSV: "text/csv; charset=utf-8",
    Format.TXT: "text/plain; charset=utf-8",
}
FILE: dict[int | str, dict[str, object]] = {
    200: {
        "description": "The dump, as a file.",
        "content": {one.partition(";")[0]: {} for one in _MEDIA_TYPES.values()},
    }
}


@router.post("", response_model=DumpBody, responses=answers(413, 422))
def write_dump(here: MayWriteContext, body: NewDumpBody) -> Response:
    """Write the context as it is now to a file, whole and durable when this answers; one of that name is replaced."""
    return said(write(here, body))


@router.get("", response_model=DumpsBody, responses=answers(422))
def list_dumps(here: MayReadContext) -> Response:
    """Return the dumps that there are, the newest first."""
    return said({"dump_files": here.stores.dumps.list()})


@router.get("/{filename}", response_class=StreamingResponse, responses=answers(404, 422) | FILE)
def get_dump(here: MayReadContext, filename: Filename) -> Response:
    """Return a dump."""
    return sent(here, filename)


@router.delete("/{filename}", status_code=204, responses=answers(404, 422))
def delete_dump(here: MayWriteContext, filename: Filename) -> Response:
    """Delete a dump."""
    here.stores.dumps.delete(filename)
    return Response(status_code=204)


def write(here: Here, body: NewDumpBody) -> Dump:
    """Write a dump for whoever asks."""
    at = timestamp(here.service.clock.now())
    who = body.who or here.token.name
    dump = here.stores.dumps.write(body.format, body.filename, include_history=body.include_history, who=who, at=at)
    here.service.sockets.dumped(here.namespace, asdict(dump))
    return dump


def sent(here: Here, filename: str) -> Response:
    """Send a dump, as a file that no browser shows in place of a page."""
    file = here.stores.dumps.open(filename)  # a name that is found has nothing that a header would mind
    headers = {"Content-Disposition": f'attachment; filename="{filename}"'}
    return StreamingResponse(_pieces(file), 200, headers, _MEDIA_TYPES[Format(filename.rpartition(".")[2])])


def _pieces(file: BinaryIO) -> Iterator[bytes]:
    with file:
        while piece := file.read(_PIECE_BYTES):
            yield piece
