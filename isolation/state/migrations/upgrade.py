"""Run the steps that a database lacks, in the transaction of whoever calls."""

from __future__ import annotations

from typing import TYPE_CHECKING

from alembic import command
from alembic.config import Config
from sqlalchemy import insert, inspect

from isolation.state.schema import alembic_version

if TYPE_CHECKING:
    from sqlalchemy import Connection


def config(connection: Connection) -> Config:
    """Tell Alembic where the steps are, and to take them on this connection."""
    made = Config()
    made.set_main_option("script_location", "isolation.state:migrations")
    made.attributes["connection"] = connection
    return made


def upgrade(connection: Connection, found: str) -> None:
    """Bring the schema from a revision to the newest; the caller commits."""
    if not inspect(connection).has_table(alembic_version.name):
        alembic_version.create(connection)
        connection.execute(insert(alembic_version).values(version_num=found))
    command.upgrade(config(connection), "head")
