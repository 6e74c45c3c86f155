"""
Namespaces, and a queue: all that was there is in the namespace ``default``, and did not come through the queue.

The first release knew SQLite alone, so this step is written for it: tables are made anew and filled from the old.
"""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

_OLD = ("runs", "attempts", "context_entries", "context_current")
_BY_STATE: dict[str, list[Any]] = {
    "runs_running": ["controller_id"],
    "runs_queued": ["namespace", sa.text("priority DESC"), "number"],
}


def upgrade() -> None:
    """Make the new tables, and take everything over."""
    op.drop_index("context_entries_by_key", "context_entries")
    op.drop_index("runs_running", "runs")
    for name in _OLD:
        op.rename_table(name, f"old_{name}")
    _make_controllers()
    _make_runs()
    _make_attempts()
    _make_context()
    _take_over()
    for name in reversed(_OLD):
        op.drop_table(f"old_{name}")
    op.drop_table("schema_version")


def _make_controllers() -> None:
    op.create_table(
        "controllers",
        sa.Column("controller_id", sa.Text, primary_key=True),
        sa.Column("owner_boot", sa.Text, nullable=False),
        sa.Column("owner_pid", sa.Integer, nullable=False),
        sa.Column("owner_started", sa.Text, nullable=False),
        sa.Column("started_at", sa.Text, nullable=False),
        sa.Column("beat", sa.Integer, nullable=False),
    )
    op.create_table(
        "namespaces",
        sa.Column("namespace", sa.Text, primary_key=True),
        sa.Column("turn", sa.Integer, nullable=False),
    )


def _make_runs() -> None:
    op.create_table(
        "runs",
        sa.Column("number", sa.Integer, primary_key=True),
        sa.Column("namespace", sa.Text, nullable=False),
        sa.Column("run_id", sa.Text, nullable=False, unique=True),
        sa.Column("idempotency_key", sa.Text),
        sa.Column("recipe", sa.Text, nullable=False),
        sa.Column("policy", sa.Text, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("queued", sa.Boolean, nullable=False),
        sa.Column("priority", sa.Integer, nullable=False),
        sa.Column("epoch", sa.Integer, nullable=False),
        sa.Column("controller_id", sa.Text, sa.ForeignKey("controllers.controller_id")),
        sa.Column("outcome", sa.Text),
        sa.Column("cause", sa.Text),
        *(sa.Column(f"{name}_at", sa.Text, nullable=name != "submitted") for name in _MOMENTS),
        sa.Column("begun", sa.Integer, nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("wall_s", sa.Float),
        sa.Column("package_digest", sa.Text, nullable=False),
        sa.Column("policy_digest", sa.Text, nullable=False),
        *(sa.Column(f"{name}_digest", sa.Text) for name in ("inputs", "snapshot", "image")),
        sa.Column("replay_of", sa.Text, nullable=False),
        sa.Column("result", sa.Text),
        sa.UniqueConstraint("namespace", "idempotency_key", name="runs_idempotent"),
        sqlite_autoincrement=True,
    )
    for name, columns in _BY_STATE.items():
        state = sa.text(f"state = '{name.removeprefix('runs_')}'")
        op.create_index(name, "runs", columns, sqlite_where=state, postgresql_where=state)
    op.create_index("runs_by_namespace", "runs", ["namespace", "number"])


def _make_attempts() -> None:
    op.create_table(
        "attempts",
        sa.Column("run_id", sa.Text, sa.ForeignKey("runs.run_id"), primary_key=True),
        sa.Column("number", sa.Integer, primary_key=True),
        sa.Column("outcome", sa.Text, nullable=False),
        sa.Column("cause", sa.Text, nullable=False),
        sa.Column("started_at", sa.Text, nullable=False),
        sa.Column("document", sa.Text, nullable=False),
    )


_MOMENTS = ("submitted", "started", "finished", "begun", "parked", "due", "cancelled")


def _make_context() -> None:
    op.create_table(
        "context_entries",
        sa.Column("namespace", sa.Text, primary_key=True),
        sa.Column("version", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("key", sa.Text, nullable=False),
        sa.Column("deleted", sa.Boolean, nullable=False),
        sa.Column("who", sa.Text, nullable=False),
        sa.Column("run_id", sa.Text),
        sa.Column("at", sa.Text, nullable=False),
        sa.Column("value", sa.Text),
    )
    for by, column in {"key": "key", "who": "who", "run": "run_id", "time": "at"}.items():
        op.create_index(f"context_entries_by_{by}", "context_entries", ["namespace", column, "version"])
    op.create_table(
        "context_current",
        sa.Column("namespace", sa.Text, primary_key=True),
        sa.Column("key", sa.Text, primary_key=True),
        sa.Column("version", sa.Integer, nullable=False),
        sa.ForeignKeyConstraint(["namespace", "version"], ["context_entries.namespace", "context_entries.version"]),
    )


def _take_over() -> None:
    # Who ran a run is told by its own controller now; of those that ended nobody asks any more.
    op.execute(
        "INSERT INTO controllers SELECT run_id, owner_boot, owner_pid, owner_started, started_at, 0"
        " FROM old_runs WHERE state = 'running'"
    )
    op.execute(
        "INSERT INTO runs (number, namespace, run_id, recipe, policy, state, queued, priority, epoch, controller_id,"
        " outcome, cause, submitted_at, started_at, finished_at, begun, attempts, wall_s, package_digest,"
        " policy_digest, snapshot_digest, image_digest, replay_of, result)"
        " SELECT number, 'default', run_id, recipe, policy, state, 0, 0, epoch,"
        " CASE WHEN state = 'running' THEN run_id END, outcome, cause, started_at, started_at, finished_at,"
        " attempts + (state = 'running'), attempts, wall_s, package_digest, policy_digest, snapshot_digest,"
        " image_digest, '', result FROM old_runs ORDER BY number"
    )
    op.execute("INSERT INTO attempts SELECT * FROM old_attempts")
    op.execute(
        "INSERT INTO context_entries SELECT 'default', version, key, deleted, who, run_id, at, value"
        " FROM old_context_entries"
    )
    op.execute("INSERT INTO context_current SELECT 'default', key, version FROM old_context_current")
