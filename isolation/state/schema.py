"""
The tables, and nothing else; only ``isolation.storage`` and ``isolation.context`` read and write them.

::

    schema_version   one row
    runs             one row a run: number (order of start), state, digests, who runs it, at last the result
    attempts         one row an attempt, written as soon as it ended
    context_entries  one row a write, for ever; its version counts all writes of the store
    context_current  one row a key: the version of its newest entry, so that no reading costs more
                     with a longer history

Texts named ``*_at`` are RFC 3339 in UTC; ``document``, ``result`` and ``value`` are JSON.
"""

from __future__ import annotations

from sqlalchemy import Boolean, Column, Float, ForeignKey, Index, Integer, MetaData, Table, Text

VERSION = 1

metadata = MetaData()

schema_version = Table("schema_version", metadata, Column("version", Integer, nullable=False))

runs = Table(
    "runs",
    metadata,
    Column("number", Integer, primary_key=True),
    Column("run_id", Text, nullable=False, unique=True),
    Column("recipe", Text, nullable=False),
    Column("policy", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("epoch", Integer, nullable=False),
    Column("outcome", Text),
    Column("cause", Text),
    Column("started_at", Text, nullable=False),
    Column("finished_at", Text),
    Column("attempts", Integer, nullable=False),
    Column("wall_s", Float),
    Column("package_digest", Text, nullable=False),
    Column("snapshot_digest", Text, nullable=False),
    Column("policy_digest", Text, nullable=False),
    Column("image_digest", Text, nullable=False),
    Column("owner_boot", Text, nullable=False),
    Column("owner_pid", Integer, nullable=False),
    Column("owner_started", Text, nullable=False),
    Column("result", Text),  # last: SQLite reads the long tail of a row only when asked for it
    sqlite_autoincrement=True,
)

attempts = Table(
    "attempts",
    metadata,
    Column("run_id", Text, ForeignKey("runs.run_id"), primary_key=True),
    Column("number", Integer, primary_key=True),
    Column("outcome", Text, nullable=False),
    Column("cause", Text, nullable=False),
    Column("started_at", Text, nullable=False),
    Column("document", Text, nullable=False),
)

context_entries = Table(
    "context_entries",
    metadata,
    Column("version", Integer, primary_key=True, autoincrement=False),
    Column("key", Text, nullable=False),
    Column("deleted", Boolean, nullable=False),
    Column("who", Text, nullable=False),
    Column("run_id", Text),
    Column("at", Text, nullable=False),
    Column("value", Text),
    Index("context_entries_by_key", "key", "version"),
)

context_current = Table(
    "context_current",
    metadata,
    Column("key", Text, primary_key=True),
    Column("version", Integer, ForeignKey("context_entries.version"), nullable=False),
)

# Finds the few running runs among many ended ones.
Index("runs_running", runs.c.number, sqlite_where=runs.c.state == "running")
