"""Rules for the fleet: versions, releases, daemons that were seen, and what they told of their usage."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"


def upgrade() -> None:
    """Make the tables, and the counters of their numbers."""
    op.create_table(
        "rule_versions",
        sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("text", sa.Text, nullable=False),
        sa.Column("checksum", sa.String(64), nullable=False),
        sa.Column("time", sa.Float, nullable=False),
        sa.Column("actor", sa.Text, nullable=False),
        sa.Column("why", sa.Text, nullable=False),
    )
    op.create_table(
        "rule_releases",
        sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("mode", sa.String(20), nullable=False),
        sa.Column("group", sa.String(200), nullable=False),
        sa.Column("time", sa.Float, nullable=False),
        sa.Column("actor", sa.Text, nullable=False),
        sa.Column("approved", sa.Text, nullable=False),
        sa.Column("why", sa.Text, nullable=False),
    )
    op.create_table(
        "fleet_daemons",
        sa.Column("name", sa.String(300), primary_key=True),
        sa.Column("group", sa.String(200), nullable=False),
        sa.Column("running", sa.Integer, nullable=False),
        sa.Column("seen", sa.Float, nullable=False),
        sa.Column("trouble", sa.Text, nullable=False),
    )
    op.create_table(
        "fleet_usage",
        sa.Column("name", sa.String(300), primary_key=True),
        sa.Column("time", sa.Float, nullable=False),
        sa.Column("lines", sa.LargeBinary, nullable=False),
    )
    op.bulk_insert(
        sa.table("counters", sa.column("name", sa.String), sa.column("value", sa.BigInteger)),
        [{"name": name, "value": 0} for name in ("rule version", "rule release")],
    )


def downgrade() -> None:
    """Drop them."""
    for table in ("fleet_usage", "fleet_daemons", "rule_releases", "rule_versions"):
        op.drop_table(table)
    op.execute("DELETE FROM counters WHERE name IN ('rule version', 'rule release')")
