"""The schema of the first release, which counted for itself in ``schema_version``."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Make the tables."""
    op.create_table("schema_version", sa.Column("version", sa.Integer, nullable=False))
    op.execute("INSERT INTO schema_version (version) VALUES (1)")
    _make_runs()
    _make_attempts()
    _make_context()


def _make_runs() -> None:
    op.create_table(
        "runs",
        sa.Column("number", sa.Integer, primary_key=True),
        sa.Column("run_id", sa.Text, nullable=False, unique=True),
        sa.Column("recipe", sa.Text, nullable=False),
        sa.Column("policy", sa.Text, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("epoch", sa.Integer, nullable=False),
        sa.Column("outcome", sa.Text),
        sa.Column("cause", sa.Text),
        sa.Column("started_at", sa.Text, nullable=False),
        sa.Column("finished_at", sa.Text),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("wall_s", sa.Float),
        sa.Column("package_digest", sa.Text, nullable=False),
        sa.Column("snapshot_digest", sa.Text, nullable=False),
        sa.Column("policy_digest", sa.Text, nullable=False),
        sa.Column("image_digest", sa.Text, nullable=False),
        sa.Column("owner_boot", sa.Text, nullable=False),
        sa.Column("owner_pid", sa.Integer, nullable=False),
        sa.Column("owner_started", sa.Text, nullable=False),
        sa.Column("result", sa.Text),
        sqlite_autoincrement=True,
    )
    op.create_index("runs_running", "runs", ["number"], sqlite_where=sa.text("state = 'running'"))


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


def _make_context() -> None:
    op.create_table(
        "context_entries",
        sa.Column("version", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("key", sa.Text, nullable=False),
        sa.Column("deleted", sa.Boolean, nullable=False),
        sa.Column("who", sa.Text, nullable=False),
        sa.Column("run_id", sa.Text),
        sa.Column("at", sa.Text, nullable=False),
        sa.Column("value", sa.Text),
    )
    op.create_index("context_entries_by_key", "context_entries", ["key", "version"])
    op.create_table(
        "context_current",
        sa.Column("key", sa.Text, primary_key=True),
        sa.Column("version", sa.Integer, sa.ForeignKey("context_entries.version"), nullable=False),
    )
