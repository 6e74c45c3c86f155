"""
What was brought to a namespace over HTTP: blobs, and packages made of them.

Blobs lie together whoever brought them, and a digest says nothing of who may have its content. So a package may be made
only of what its own namespace has brought: whoever names a digest alone gets nothing, and learns nothing.

What was brought lies apart until a package is made of it, and counts for a day::

    brought ──package──▶ among all blobs, for good
       └────a day──────▶ gone
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from sqlalchemy import delete, func, insert, select, union_all, update

from isolation.clock import timestamp
from isolation.errors import UploadsFullError
from isolation.state.schema import packages, runs, uploads
from isolation.units import format_bytes

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from sqlalchemy import Connection, Select, Subquery, Table

    from isolation.state.database import Database

KEPT = timedelta(days=1)
"""A blob that was brought is for packages that are made in this time; then it has to be brought anew."""
_MOST_ASKED = 500
"""Of so many a query asks at once."""


@dataclass(frozen=True, kw_only=True, slots=True)
class KnownPackage:
    """A package that a namespace has brought or run; ``at`` is when it did so last."""

    digest: str
    recipe: str
    at: str


class Uploads:
    """What one namespace has brought; any number of threads and processes may use it at once."""

    def __init__(self, database: Database, namespace: str) -> None:
        self._database = database
        self._namespace = namespace

    def keep_blob(self, digest: str, size_bytes: int, at: str, *, most_bytes: int | None = None) -> None:
        """
        Record that the namespace brings a blob. What is said here and never written is missed when it is wanted.

        Raises UploadsFullError where it would have brought more than ``most_bytes`` within a day with it.
        """
        with self._database.writing() as connection:
            if most_bytes is not None:
                self._check_room(connection, digest, size_bytes, at, most_bytes)
            self._keep(connection, uploads, digest, {"size_bytes": size_bytes, "at": at})

    def keep_package(self, digest: str, recipe: str, at: str) -> None:
        """Record that the namespace has brought a package, whose manifest and files are there by now."""
        with self._database.writing() as connection:
            self._keep(connection, packages, digest, {"recipe": recipe, "at": at})

    def sizes(self, digests: Iterable[str]) -> Mapping[str, int]:
        """Return the sizes, in bytes, of those blobs that the namespace has brought."""
        wanted = sorted({*digests})
        found: dict[str, int] = {}
        with self._database.reading() as connection:
            for start in range(0, len(wanted), _MOST_ASKED):
                some = uploads.c.digest.in_(wanted[start : start + _MOST_ASKED])
                query = select(uploads.c.digest, uploads.c.size_bytes).where(uploads.c.namespace == self._namespace)
                found.update((row.digest, row.size_bytes) for row in connection.execute(query.where(some)))
        return found

    def has_package(self, digest: str) -> bool:
        """Tell whether the namespace has brought a package, or has run it."""
        ours = (packages.c.namespace == self._namespace) & (packages.c.digest == digest)
        ran = (runs.c.namespace == self._namespace) & (runs.c.package_digest == digest)
        with self._database.reading() as connection:
            return (
                connection.scalar(select(packages.c.digest).where(ours)) is not None
                or connection.scalar(select(runs.c.package_digest).where(ran).limit(1)) is not None
            )

    def packages(self, limit: int, after: str = "") -> tuple[KnownPackage, ...]:
        """Return at most ``limit`` packages that the namespace has brought or run, sorted by digest, after one."""
        known = self._known()
        return self._found(select(known).where(known.c.digest > after).order_by(known.c.digest).limit(limit))

    def of_recipe(self, recipe: str, limit: int) -> tuple[KnownPackage, ...]:
        """Return at most ``limit`` packages of a recipe that the namespace has brought or run, the newest first."""
        known = self._known()
        newest = (known.c.at.desc(), known.c.digest)
        return self._found(select(known).where(known.c.recipe == recipe).order_by(*newest).limit(limit))

    def recipes(self, limit: int, after: str = "") -> tuple[KnownPackage, ...]:
        """Return the newest package of at most ``limit`` recipes, sorted by the recipe's name, after one."""
        known = self._known()
        newest = (known.c.at.desc(), known.c.digest)
        place = func.row_number().over(partition_by=known.c.recipe, order_by=newest).label("place")
        placed = select(known, place).where(known.c.recipe > after).subquery()
        return self._found(select(placed).where(placed.c.place == 1).order_by(placed.c.recipe).limit(limit))

    def _known(self) -> Subquery:
        """Select the packages of this namespace: digest, recipe, and when it was last brought or run."""
        brought = select(packages.c.digest, packages.c.recipe, packages.c.at).where(
            packages.c.namespace == self._namespace
        )
        ran = select(runs.c.package_digest, runs.c.recipe, runs.c.submitted_at).where(
            runs.c.namespace == self._namespace
        )
        both = union_all(brought, ran).subquery()
        newest, recipe = func.max(both.c.at).label("at"), func.max(both.c.recipe).label("recipe")
        return select(both.c.digest, recipe, newest).group_by(both.c.digest).subquery()

    def _found(self, query: Select[Any]) -> tuple[KnownPackage, ...]:
        with self._database.reading() as connection:
            rows = connection.execute(query)
            return tuple(KnownPackage(digest=row.digest, recipe=row.recipe, at=row.at) for row in rows)

    def _check_room(self, connection: Connection, digest: str, size_bytes: int, at: str, most_bytes: int) -> None:
        others = (
            (uploads.c.namespace == self._namespace) & (uploads.c.digest != digest) & (uploads.c.at > _day_before(at))
        )
        brought_bytes = connection.scalar(select(func.coalesce(func.sum(uploads.c.size_bytes), 0)).where(others)) or 0
        if brought_bytes + size_bytes > most_bytes:
            raise UploadsFullError(
                f"the namespace {self._namespace!r} has brought {format_bytes(brought_bytes)} within a day, "
                f"and may bring {format_bytes(most_bytes)}",
                hint="Bring the rest tomorrow, or have the operator raise `uploads` in the server's settings.",
            )

    def _keep(self, connection: Connection, table: Table, digest: str, values: dict[str, object]) -> None:
        here = (table.c.namespace == self._namespace) & (table.c.digest == digest)
        if connection.execute(update(table).where(here).values(**values)).rowcount == 0:
            connection.execute(insert(table).values(namespace=self._namespace, digest=digest, **values))


def expired(database: Database, at: str) -> tuple[tuple[str, str], ...]:
    """Return what was brought and counts no more, of every namespace, as namespaces and digests."""
    late = uploads.c.at <= _day_before(at)
    with database.reading() as connection:
        rows = connection.execute(select(uploads.c.namespace, uploads.c.digest).where(late))
        return tuple((row.namespace, row.digest) for row in rows)


def forget_expired(database: Database, at: str) -> None:
    """Let what is ``expired`` by now count no more."""
    with database.writing() as connection:
        connection.execute(delete(uploads).where(uploads.c.at <= _day_before(at)))


def _day_before(at: str) -> str:
    return timestamp(datetime.fromisoformat(at) - KEPT)
