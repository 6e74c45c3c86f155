"""Who may ask the server for what."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"

_text = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    """Make the table."""
    op.create_table(
        "tokens",
        sa.Column("token_id", _text, primary_key=True),
        sa.Column("digest", _text, nullable=False, unique=True),
        sa.Column("name", _text, nullable=False),
        sa.Column("role", _text, nullable=False),
        sa.Column("namespaces", _text, nullable=False),
        sa.Column("created_at", _text, nullable=False),
        sa.Column("expires_at", _text),
        sa.Column("revoked_at", _text),
    )
