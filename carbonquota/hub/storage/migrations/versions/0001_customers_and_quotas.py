"""Customers, providers, their quotas, what is used, and who changed what."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "counters",
        sa.Column("name", sa.String(40), primary_key=True),
        sa.Column("value", sa.BigInteger, nullable=False),
    )
    op.bulk_insert(
        sa.table("counters", sa.column("name", sa.String), sa.column("value", sa.BigInteger)),
        [{"name": name, "value": 0} for name in ("change", "customer", "provider")],
    )
    op.create_table(
        "customers",
        sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("name", sa.String(200), nullable=False, unique=True),
        sa.Column("namespaces", sa.Text, nullable=False),
        sa.Column("about", sa.Text, nullable=False),
        sa.Column("deleted", sa.Boolean, nullable=False),
        sa.Column("change", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "providers",
        sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("name", sa.String(200), nullable=False, unique=True),
        sa.Column("kind", sa.String(20), nullable=False),
        sa.Column("url", sa.Text, nullable=False),
        sa.Column("interval", sa.Float, nullable=False),
        sa.Column("stale_after", sa.Float, nullable=False),
        sa.Column("mapping", sa.JSON, nullable=False),
        sa.Column("about", sa.Text, nullable=False),
        sa.Column("deleted", sa.Boolean, nullable=False),
        sa.Column("change", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "quotas",
        sa.Column("customer", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("provider", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("bytes", sa.BigInteger),
        sa.Column("physical_bytes", sa.BigInteger),
        sa.Column("metrics", sa.BigInteger),
        sa.Column("data_points", sa.BigInteger),
        sa.Column("points_per_minute", sa.BigInteger),
        sa.Column("change", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "audit",
        sa.Column("number", sa.Integer().with_variant(sa.BigInteger, "postgresql"), primary_key=True),
        sa.Column("time", sa.Float, nullable=False),
        sa.Column("actor", sa.Text, nullable=False),
        sa.Column("action", sa.String(40), nullable=False),
        sa.Column("subject", sa.Text, nullable=False),
        sa.Column("before", sa.JSON),
        sa.Column("after", sa.JSON),
        sa.Column("why", sa.Text, nullable=False),
    )
    op.create_table(
        "utilization",
        sa.Column("provider", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("control", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("block", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("amounts", sa.LargeBinary, nullable=False),
        sa.Column("times", sa.LargeBinary, nullable=False),
        sa.Column("change", sa.BigInteger, nullable=False),
    )
    op.create_index("audit_subject", "audit", ["subject", "number"])
    for table in ("customers", "providers", "quotas", "utilization"):
        op.create_index(f"ix_{table}_change", table, ["change"])


def downgrade() -> None:
    """Drop them."""
    for table in ("utilization", "audit", "quotas", "providers", "customers", "counters"):
        op.drop_table(table)
