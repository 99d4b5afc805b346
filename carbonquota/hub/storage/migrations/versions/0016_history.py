"""What was used when: a minute apart for a day, and an hour apart for three months."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"


def upgrade() -> None:
    """Make the tables."""
    keys = ("span", "time")
    op.create_table(
        "history_slots", *(sa.Column(key, sa.Integer, primary_key=True, autoincrement=False) for key in keys)
    )
    op.create_table(
        "history",
        *(
            sa.Column(key, sa.Integer, primary_key=True, autoincrement=False)
            for key in ("span", "control", "block", "provider", "time")
        ),
        sa.Column("amounts", sa.LargeBinary, nullable=False),
    )
    op.create_index("ix_history_time", "history", ["span", "time"])


def downgrade() -> None:
    """Drop them."""
    op.drop_table("history")
    op.drop_table("history_slots")
