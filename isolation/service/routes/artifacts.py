"""The files that runs left: listed, and given as they are, whole or in parts."""

from __future__ import annotations

from base64 import b64encode
from typing import TYPE_CHECKING, Annotated

from fastapi import APIRouter, Path
from starlette.responses import FileResponse, Response

from isolation.service.bodies import said
from isolation.service.here import Here, MayReadRuns
from isolation.service.problems import answers
from isolation.service.refusals import NotThereError
from isolation.service.routes.runs import Run, result_of
from isolation.service.run_bodies import ArtifactsBody

if TYPE_CHECKING:
    from isolation.model.run import Artifact

router = APIRouter(prefix="/v1/runs", tags=["artifacts"])

_BYTES = "application/octet-stream"
_FILE = {"description": "The file.", "content": {_BYTES: {"schema": {"type": "string", "format": "binary"}}}}
Name = Annotated[str, Path(max_length=4096, description="Its name, as it is listed.")]


@router.get("/{run}/artifacts", response_model=ArtifactsBody, responses=answers(404, 409, 422))
def list_artifacts(here: MayReadRuns, run: Run) -> Response:
    """Return what a finished run left."""
    return said({"artifacts": result_of(here, run).artifacts})


@router.get(
    "/{run}/artifacts/{name:path}",
    response_class=FileResponse,
    responses={**answers(404, 409, 422), 200: _FILE, 206: {**_FILE, "description": "The part that `Range` names."}},
)
def get_artifact(here: MayReadRuns, run: Run, name: Name) -> Response:
    """
    Return a file, or the ranges of it that `Range` names; never as anything that a browser would show or run.

    `Repr-Digest` is that of the whole file (RFC 9530): nobody checks it on the way but who takes it.
    """
    artifact = _find(here, run, name)
    return FileResponse(
        here.stores.blobs.path(artifact.digest),
        media_type=_BYTES,
        filename=name.rpartition("/")[2],
        content_disposition_type="attachment",
        headers={
            "ETag": f'"{artifact.digest}"',
            "Repr-Digest": f"sha-256=:{b64encode(bytes.fromhex(artifact.digest)).decode()}:",
        },
    )


def _find(here: Here, run: str, name: str) -> Artifact:
    for artifact in result_of(here, run).artifacts:
        if artifact.name == name and here.stores.blobs.has(artifact.digest):
            return artifact
    raise NotThereError(f"this run has no artifact {name[:100]!r}", hint="GET .../artifacts lists all.")
