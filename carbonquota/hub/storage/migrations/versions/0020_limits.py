"""Rules of rate limiters beside those of quotas: each version and release is of a kind."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0020"
down_revision = "0016"

_TABLES = ("rule_versions", "rule_releases")


def upgrade() -> None:
    """What there is, is of quotas."""
    for table in _TABLES:
        op.add_column(table, sa.Column("kind", sa.String(20), nullable=False, server_default="quotas"))


def downgrade() -> None:
    """Drop the others, which would be taken for quotas, and the columns."""
    for table in _TABLES:
        rows = sa.table(table, sa.column("kind", sa.String))
        op.execute(sa.delete(rows).where(rows.c.kind != "quotas"))
        op.drop_column(table, "kind")
