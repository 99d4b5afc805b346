"""What daemons are dropping."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0021"
down_revision = "0020"


def upgrade() -> None:
    """Make the table."""
    op.create_table(
        "fleet_drops",
        sa.Column("name", sa.String(300), primary_key=True),
        sa.Column("time", sa.Float, nullable=False),
        sa.Column("lines", sa.JSON, nullable=False),
    )


def downgrade() -> None:
    """Drop it."""
    op.drop_table("fleet_drops")
