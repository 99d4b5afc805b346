"""Tokens in the database: the hash of each, never itself."""

from __future__ import annotations

from math import inf, isinf
from typing import Any, Final

from sqlalchemy import Boolean, Column, Connection, Float, RowMapping, String, Table, func, insert, select, update

from carbonquota.hub.storage.tables import metadata
from carbonquota.web.access import Role
from carbonquota.web.tokens import TokenRecord

tokens: Final = Table(
    "tokens",
    metadata,
    Column("id", String(12), primary_key=True),
    Column("name", String(200), nullable=False),
    Column("role", String(20), nullable=False),
    Column("subject", String(200), nullable=False),
    Column("hash", String(64), nullable=False),
    Column("created", Float, nullable=False),
    Column("expires", Float),
    Column("revoked", Boolean, nullable=False),
)
"""`expires` is null where it never does."""


def find_token(connection: Connection, number: str) -> TokenRecord | None:
    """What is kept of a token."""
    row = connection.execute(select(tokens).where(tokens.c.id == number)).mappings().first()
    return None if row is None else _record(row)


def all_tokens(connection: Connection) -> list[TokenRecord]:
    """All of them, the oldest first, revoked ones among them."""
    return [_record(row) for row in connection.execute(select(tokens).order_by(tokens.c.created)).mappings()]


def has_tokens(connection: Connection) -> bool:
    """Whether any was ever made."""
    return bool(connection.execute(select(func.count()).select_from(tokens)).scalar())


def add_token(connection: Connection, record: TokenRecord) -> None:
    """Keep a new one."""
    row: dict[str, Any] = {
        "id": record.id, "name": record.name, "role": record.role.value, "subject": record.subject,
        "hash": record.hash, "created": record.created, "revoked": False,
        "expires": None if isinf(record.expires) else record.expires,
    }  # fmt: skip
    connection.execute(insert(tokens), [row])


def revoke_token(connection: Connection, number: str) -> None:
    """Have one be good no more."""
    connection.execute(update(tokens).where(tokens.c.id == number).values(revoked=True))


def _record(row: RowMapping) -> TokenRecord:
    fields = dict(row) | {"role": Role(row["role"]), "expires": inf if row["expires"] is None else row["expires"]}
    return TokenRecord(**fields)
