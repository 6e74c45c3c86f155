"""Packages that were brought over HTTP, and runs that are made again from the queue."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"

_text = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
_number = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    """Make the tables, and the index that finds a package among a namespace's runs."""
    op.create_table(
        "reruns",
        sa.Column("run_id", _text, sa.ForeignKey("runs.run_id"), primary_key=True),
        sa.Column("rerun_of", _text, nullable=False),
    )
    op.create_table(
        "uploads",
        sa.Column("namespace", _text, primary_key=True),
        sa.Column("digest", _text, primary_key=True),
        sa.Column("size_bytes", _number, nullable=False),
        sa.Column("at", _text, nullable=False),
    )
    op.create_table(
        "packages",
        sa.Column("namespace", _text, primary_key=True),
        sa.Column("digest", _text, primary_key=True),
        sa.Column("recipe", _text, nullable=False),
        sa.Column("at", _text, nullable=False),
    )
    op.create_index("runs_by_package", "runs", ["namespace", "package_digest"])
