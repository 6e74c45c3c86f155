"""Whether a run is made again with the context as it is then: who asks twice with one key has to mean the same."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """Add the column; of those that are there nobody gave a key."""
    op.add_column("reruns", sa.Column("fresh", sa.Boolean, nullable=False, server_default=sa.false()))
