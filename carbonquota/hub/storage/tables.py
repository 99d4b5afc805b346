"""The tables, as the newest migration leaves them.

Customers have numbers from 1 on that are never used again: a number is the position of a customer in all columns, in
memory and in blocks of utilization. Rows that servers keep in memory bear the number of their last `change`; a deleted
customer or quota stays as a row without content, so that others hear of it.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    Float,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
)

metadata: Final = MetaData()

counters: Final = Table(
    "counters",
    metadata,
    Column("name", String(40), primary_key=True),
    Column("value", BigInteger, nullable=False),
)
"""Numbers that are given out once: whoever takes one holds its row until the end of the transaction."""

customers: Final = Table(
    "customers",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("name", String(200), nullable=False, unique=True),
    Column("namespaces", Text, nullable=False),
    Column("about", Text, nullable=False),
    Column("deleted", Boolean, nullable=False),
    Column("change", BigInteger, nullable=False, index=True),
)

"""Its namespaces are patterns, one a line."""

providers: Final = Table(
    "providers",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("name", String(200), nullable=False, unique=True),
    Column("kind", String(20), nullable=False),
    Column("url", Text, nullable=False),
    Column("interval", Float, nullable=False),
    Column("stale_after", Float, nullable=False),
    Column("mapping", JSON, nullable=False),
    Column("about", Text, nullable=False),
    Column("deleted", Boolean, nullable=False),
    Column("change", BigInteger, nullable=False, index=True),
)

quotas: Final = Table(
    "quotas",
    metadata,
    Column("customer", Integer, primary_key=True, autoincrement=False),
    Column("provider", Integer, primary_key=True, autoincrement=False),
    Column("bytes", BigInteger),
    Column("physical_bytes", BigInteger),
    Column("metrics", BigInteger),
    Column("data_points", BigInteger),
    Column("points_per_minute", BigInteger),
    Column("change", BigInteger, nullable=False, index=True),
)
"""Provider 0 is the quota over all of them."""

audit: Final = Table(
    "audit",
    metadata,
    Column("number", Integer().with_variant(BigInteger, "postgresql"), primary_key=True),
    Column("time", Float, nullable=False),
    Column("actor", Text, nullable=False),
    Column("action", String(40), nullable=False),
    Column("subject", Text, nullable=False),
    Column("before", JSON(none_as_null=True)),
    Column("after", JSON(none_as_null=True)),
    Column("why", Text, nullable=False),
    Index("audit_subject", "subject", "number"),
)

utilization: Final = Table(
    "utilization",
    metadata,
    Column("provider", Integer, primary_key=True, autoincrement=False),
    Column("control", Integer, primary_key=True, autoincrement=False),
    Column("block", Integer, primary_key=True, autoincrement=False),
    Column("amounts", LargeBinary, nullable=False),
    Column("times", LargeBinary, nullable=False),
    Column("change", BigInteger, nullable=False, index=True),
)
"""The last known usage of 256 customers each: int64 amounts, and float64 seconds since the epoch, 0 for not known."""

servers: Final = Table(
    "servers",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("name", Text, nullable=False),
    Column("lease", Float, nullable=False),
)
"""Servers that grant writes, and until when (seconds since the epoch) they do so at most."""

reservations: Final = Table(
    "reservations",
    metadata,
    Column("control", Integer, primary_key=True, autoincrement=False),
    Column("customer", Integer, primary_key=True, autoincrement=False),
    Column("provider", Integer, primary_key=True, autoincrement=False),
    Column("server", Integer, primary_key=True, autoincrement=False),
    Column("amount", BigInteger, nullable=False),
    Index("ix_reservations_server", "server"),
)
"""What a server may grant or has granted of a quota, and what usage does not show for sure yet."""

given_back: Final = Table(
    "credits",
    metadata,
    Column("control", Integer, primary_key=True, autoincrement=False),
    Column("customer", Integer, primary_key=True, autoincrement=False),
    Column("provider", Integer, primary_key=True, autoincrement=False),
    Column("amount", BigInteger, nullable=False),
    Column("since", Float, nullable=False),
)
"""What was deleted since usage was measured."""

history_slots: Final = Table(
    "history_slots",
    metadata,
    Column("span", Integer, primary_key=True, autoincrement=False),
    Column("time", Integer, primary_key=True, autoincrement=False),
)
"""Moments of which the history was written, by whichever server came first: every `span` seconds, since the epoch."""

history: Final = Table(
    "history",
    metadata,
    Column("span", Integer, primary_key=True, autoincrement=False),
    Column("control", Integer, primary_key=True, autoincrement=False),
    Column("block", Integer, primary_key=True, autoincrement=False),
    Column("provider", Integer, primary_key=True, autoincrement=False),
    Column("time", Integer, primary_key=True, autoincrement=False),
    Column("amounts", LargeBinary, nullable=False),
    Index("ix_history_time", "span", "time"),
)
"""The usage of 256 customers each at a moment: int64, -1 for not known or stale, compressed by zlib."""
