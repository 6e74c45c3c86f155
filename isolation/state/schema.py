"""
The tables, and nothing else; only ``isolation.storage`` and ``isolation.context`` read and write them.

::

    alembic_version  one row: the revision of the schema (``migrations``)
    controllers      one row a process that runs runs: who it is, and a beat that tells that it still does
    namespaces       one row a namespace whose runs were ever taken from the queue: when it last had its turn
    runs             one row a run: number (order of submission), state, digests, who runs it, at last the result
    attempts         one row an attempt, written as soon as it ended
    reruns           one row a run that is made again from the record of another, in the queue
    uploads          one row a namespace and a blob that was brought to it over HTTP: it may make packages of these
    packages         one row a namespace and a package that was brought to it, whether or not it was run
    tokens           one row a token of the server's: who it is for, what it lets them do, never the token itself
    step_results     one row a result of a step that later runs may take; the newest of each key
    context_entries  one row a write, for ever; its version counts all writes of its namespace
    context_current  one row a key: the version of its newest entry, so that no reading costs more
                     with a longer history

Texts named ``*_at`` are RFC 3339 in UTC; ``document``, ``result`` and ``value`` are JSON. All texts
compare by their code points, on every database.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Float,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
    false,
)

REVISION = "0006"
"""The newest of ``migrations``; opening a database of an older one brings it here."""

metadata = MetaData()

# SQLite counts up a key only where it is called INTEGER; and it compares by code points unless told otherwise.
_number = BigInteger().with_variant(Integer, "sqlite")
_text = Text().with_variant(Text(collation="C"), "postgresql")

alembic_version = Table("alembic_version", metadata, Column("version_num", String(32), primary_key=True))

controllers = Table(
    "controllers",
    metadata,
    Column("controller_id", _text, primary_key=True),
    Column("owner_boot", _text, nullable=False),
    Column("owner_pid", Integer, nullable=False),
    Column("owner_started", _text, nullable=False),
    Column("started_at", _text, nullable=False),
    Column("beat", _number, nullable=False),
)

namespaces = Table(
    "namespaces",
    metadata,
    Column("namespace", _text, primary_key=True),
    Column("turn", _number, nullable=False),
)

runs = Table(
    "runs",
    metadata,
    Column("number", _number, primary_key=True),
    Column("namespace", _text, nullable=False),
    Column("run_id", _text, nullable=False, unique=True),
    Column("idempotency_key", _text),
    Column("recipe", _text, nullable=False),
    Column("policy", _text, nullable=False),
    Column("state", _text, nullable=False),
    Column("queued", Boolean, nullable=False),  # whether it came through the queue, where it may go back
    Column("priority", Integer, nullable=False),
    Column("epoch", Integer, nullable=False),
    Column("controller_id", _text, ForeignKey("controllers.controller_id")),
    Column("outcome", _text),
    Column("cause", _text),
    Column("submitted_at", _text, nullable=False),
    Column("started_at", _text),
    Column("finished_at", _text),
    Column("begun_at", _text),
    Column("parked_at", _text),
    Column("due_at", _text),
    Column("cancelled_at", _text),
    Column("begun", Integer, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("wall_s", Float),
    Column("package_digest", _text, nullable=False),
    Column("policy_digest", _text, nullable=False),
    Column("inputs_digest", _text),
    Column("snapshot_digest", _text),
    Column("image_digest", _text),
    Column("replay_of", _text, nullable=False),
    Column("result", _text),  # last: SQLite reads the long tail of a row only when asked for it
    UniqueConstraint("namespace", "idempotency_key", name="runs_idempotent"),
    sqlite_autoincrement=True,
)

attempts = Table(
    "attempts",
    metadata,
    Column("run_id", _text, ForeignKey("runs.run_id"), primary_key=True),
    Column("number", Integer, primary_key=True),
    Column("outcome", _text, nullable=False),
    Column("cause", _text, nullable=False),
    Column("started_at", _text, nullable=False),
    Column("document", _text, nullable=False),
)

reruns = Table(
    "reruns",
    metadata,
    Column("run_id", _text, ForeignKey("runs.run_id"), primary_key=True),
    Column("rerun_of", _text, nullable=False),
    Column("fresh", Boolean, nullable=False, server_default=false()),  # with the context as it is then
)

uploads = Table(
    "uploads",
    metadata,
    Column("namespace", _text, primary_key=True),
    Column("digest", _text, primary_key=True),
    Column("size_bytes", _number, nullable=False),
    Column("at", _text, nullable=False),
)

packages = Table(
    "packages",
    metadata,
    Column("namespace", _text, primary_key=True),
    Column("digest", _text, primary_key=True),
    Column("recipe", _text, nullable=False),
    Column("at", _text, nullable=False),
)

step_results = Table(
    "step_results",
    metadata,
    Column("number", _number, primary_key=True),
    Column("namespace", _text, nullable=False),
    Column("key", _text, nullable=False),
    Column("found", _text, nullable=False),
    Column("run_id", _text, ForeignKey("runs.run_id"), nullable=False),
    Column("kept_at", _text, nullable=False),
    Column("size_bytes", Integer, nullable=False),
    Column("document", _text, nullable=False),
    Index("step_results_by_key", "namespace", "key", "number"),
    sqlite_autoincrement=True,
)

tokens = Table(
    "tokens",
    metadata,
    Column("token_id", _text, primary_key=True),
    Column("digest", _text, nullable=False, unique=True),
    Column("name", _text, nullable=False),
    Column("role", _text, nullable=False),
    Column("namespaces", _text, nullable=False),  # a JSON list of globs
    Column("created_at", _text, nullable=False),
    Column("expires_at", _text),
    Column("revoked_at", _text),
)

context_entries = Table(
    "context_entries",
    metadata,
    Column("namespace", _text, primary_key=True),
    Column("version", _number, primary_key=True, autoincrement=False),
    Column("key", _text, nullable=False),
    Column("deleted", Boolean, nullable=False),
    Column("who", _text, nullable=False),
    Column("run_id", _text),
    Column("at", _text, nullable=False),
    Column("value", _text),
    Index("context_entries_by_key", "namespace", "key", "version"),
    Index("context_entries_by_who", "namespace", "who", "version"),
    Index("context_entries_by_run", "namespace", "run_id", "version"),
    Index("context_entries_by_time", "namespace", "at", "version"),
)

context_current = Table(
    "context_current",
    metadata,
    Column("namespace", _text, primary_key=True),
    Column("key", _text, primary_key=True),
    Column("version", _number, nullable=False),
    ForeignKeyConstraint(["namespace", "version"], ["context_entries.namespace", "context_entries.version"]),
)

# Each finds the few runs of one state among many ended ones.
Index(
    "runs_running",
    runs.c.controller_id,
    sqlite_where=runs.c.state == "running",
    postgresql_where=runs.c.state == "running",
)
Index(
    "runs_queued",
    runs.c.namespace,
    runs.c.priority.desc(),
    runs.c.number,
    sqlite_where=runs.c.state == "queued",
    postgresql_where=runs.c.state == "queued",
)
Index("runs_by_namespace", runs.c.namespace, runs.c.number)
Index("runs_by_package", runs.c.namespace, runs.c.package_digest)
