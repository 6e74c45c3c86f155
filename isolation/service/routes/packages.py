"""
Packages: uploaded by digest, listed, looked at; and recipes checked without being run.

Blobs lie together, whoever brought them. So that no digest is worth anything in another namespace, a package is made
only of blobs that its own has brought: what is *missing* says nothing of what others have, and to bring a blob takes as
long and answers the same whether it was there or not. There is no route that gives a blob by its digest.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from fastapi import APIRouter, Path, Query, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from isolation.clock import timestamp
from isolation.errors import InputError
from isolation.model.package import digest_of
from isolation.packaging.load import load_recipe
from isolation.packaging.manifest import package_of
from isolation.packaging.pack import pack
from isolation.packaging.requirements import Layers
from isolation.packaging.tree import read_manifest
from isolation.service.bodies import said
from isolation.service.here import Here, MayReadRuns, MayWritePackages
from isolation.service.problems import answers
from isolation.service.reading import BodyRoute
from isolation.service.refusals import BlobsMissingError
from isolation.service.run_bodies import BlobBody, BroughtBody, PackageBody, PackagesBody
from isolation.service.submitting import brought, check_package

if TYPE_CHECKING:
    from isolation.storage.blobs import BlobWriter

router = APIRouter(prefix="/v1", route_class=BodyRoute, tags=["packages"])

MOST_A_PAGE = 500
_MOST_TOLD = 1_000
Digest = Annotated[str, Path(pattern=r"^[0-9a-f]{64}$", description="A SHA-256, in hexadecimal.")]
_RAW: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
    }
}


@router.put("/blobs/{digest}", response_model=BlobBody, responses=answers(413, 422, 507), openapi_extra=_RAW)
async def put_blob(request: Request, here: MayWritePackages, digest: Digest) -> Response:
    """
    Bring a file of a package, as it is, at most 64 MiB; it is kept only if it has the digest that it is said to.

    It is for packages that are brought within a day; 507: this namespace has brought as much as it may in a day.
    """
    with here.stores.brought.writer() as writer:
        async for chunk in request.stream():
            await run_in_threadpool(writer.write, chunk)
        if writer.written != digest:
            raise InputError(f"the content has the digest {writer.written}", hint="Send the file byte for byte.")
        await run_in_threadpool(_keep, here, writer)
        return said({"digest": digest, "size_bytes": writer.size_bytes})


def _keep(here: Here, writer: BlobWriter) -> None:
    _record(here, writer.written, writer.size_bytes)
    writer.finish()


def _record(here: Here, digest: str, size_bytes: int) -> None:
    most_bytes = here.service.settings.uploads_bytes
    here.stores.uploads.keep_blob(digest, size_bytes, timestamp(here.service.clock.now()), most_bytes=most_bytes)


@router.put("/packages/{digest}", response_model=PackageBody, responses=answers(409, 413, 422, 507), openapi_extra=_RAW)
async def put_package(request: Request, here: MayWritePackages, digest: Digest) -> Response:
    """
    Bring a package: its manifest, as `isolation package -o` writes it, when all its files were brought.

    409 names the blobs that are missing: those that this namespace has not brought.
    """
    return await run_in_threadpool(_put_package, here, digest, await request.body())


def _put_package(here: Here, digest: str, manifest: bytes) -> Response:
    package = package_of(manifest, digest)
    stores = here.stores
    wanted = {file.digest for file in package.files}
    sizes = stores.uploads.sizes(wanted)
    _check_there(wanted, {one for one in sizes if stores.brought.has(one) or stores.blobs.has(one)})
    if any(sizes[file.digest] != file.size_bytes for file in package.files):
        raise InputError("a file has another size than the manifest says", hint="Pack the recipe anew.")
    _record(here, digest, len(manifest))
    for one in wanted:
        stores.blobs.take_over(one, stores.brought)
    _check_there(wanted, {one for one in wanted if stores.blobs.has(one)})  # they may have expired meanwhile
    stores.blobs.put(manifest)
    stores.uploads.keep_package(digest, package.recipe.name, timestamp(here.service.clock.now()))
    return said(package.document())


def _check_there(wanted: set[str], there: set[str]) -> None:
    missing = sorted(wanted - there)
    if missing:
        told = ", ".join(missing[:_MOST_TOLD])
        raise BlobsMissingError(f"{len(missing)} blobs are missing: {told}", hint="PUT each to /v1/blobs/DIGEST first.")


@router.get("/packages", response_model=PackagesBody, responses=answers(422))
def list_packages(
    here: MayReadRuns,
    after: Annotated[str, Query(pattern=r"^([0-9a-f]{64})?$", description="Go on after this one.")] = "",
    limit: Annotated[int, Query(ge=1, le=MOST_A_PAGE, description="At most so many.")] = MOST_A_PAGE,
) -> Response:
    """Return the packages that this namespace has brought or run, sorted by digest."""
    found = here.stores.uploads.packages(limit, after)
    return said({"packages": found, "next": found[-1].digest if len(found) == limit else None})


@router.get("/packages/{digest}", response_model=PackageBody, responses=answers(404, 422))
def get_package(here: MayReadRuns, digest: Digest) -> Response:
    """Return what is in a package."""
    check_package(here, digest)
    return said(read_manifest(here.stores.blobs.get(digest)).document())


@router.post("/check/recipe", response_model=PackageBody, responses=answers(413, 422))
def check_recipe(here: MayWritePackages, body: BroughtBody) -> Response:
    """Find all that a recipe needs, as `isolation package` does; nothing is run, and its files are not kept."""
    with brought(body.recipe, body.files) as path:
        loaded = load_recipe(path)
        return said(pack(loaded, blobs=_Forgets(), layers=Layers(here.stores.layers)).document())


class _Forgets:
    """Names content, and keeps none."""

    def put(self, content: bytes) -> str:
        """Name it."""
        return digest_of(content)
