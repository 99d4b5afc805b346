"""Servers, what they reserve of quotas to grant it, and what was deleted since usage was measured."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0011"

_COUNTERS = ("utilization", "server", "grant")


def upgrade() -> None:
    """Make the tables."""
    op.bulk_insert(
        sa.table("counters", sa.column("name", sa.String), sa.column("value", sa.BigInteger)),
        [{"name": name, "value": 0} for name in _COUNTERS],
    )
    op.create_table(
        "servers",
        sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("lease", sa.Float, nullable=False),
    )
    keys = ("control", "customer", "provider")
    op.create_table(
        "reservations",
        *(sa.Column(key, sa.Integer, primary_key=True, autoincrement=False) for key in (*keys, "server")),
        sa.Column("amount", sa.BigInteger, nullable=False),
    )
    op.create_index("ix_reservations_server", "reservations", ["server"])
    op.create_table(
        "credits",
        *(sa.Column(key, sa.Integer, primary_key=True, autoincrement=False) for key in keys),
        sa.Column("amount", sa.BigInteger, nullable=False),
        sa.Column("since", sa.Float, nullable=False),
    )


def downgrade() -> None:
    """Drop them."""
    counters = sa.table("counters", sa.column("name", sa.String))
    op.execute(counters.delete().where(counters.c.name.in_(_COUNTERS)))
    for table in ("credits", "reservations", "servers"):
        op.drop_table(table)
