"""What steps made, for later runs to take."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

_number = sa.BigInteger().with_variant(sa.Integer, "sqlite")
_text = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    """Make the table."""
    op.create_table(
        "step_results",
        sa.Column("number", _number, primary_key=True),
        sa.Column("namespace", _text, nullable=False),
        sa.Column("key", _text, nullable=False),
        sa.Column("found", _text, nullable=False),
        sa.Column("run_id", _text, sa.ForeignKey("runs.run_id"), nullable=False),
        sa.Column("kept_at", _text, nullable=False),
        sa.Column("size_bytes", sa.Integer, nullable=False),
        sa.Column("document", _text, nullable=False),
        sqlite_autoincrement=True,
    )
    op.create_index("step_results_by_key", "step_results", ["namespace", "key", "number"])
