"""Numbers that are given out once, in the order in which the transactions that took them are committed."""

from __future__ import annotations

from sqlalchemy import Connection, update

from carbonquota.hub.storage.tables import counters


def take(connection: Connection, name: str, count: int = 1) -> int:
    """The last of `count` new numbers. Others who want some wait until this transaction ends."""
    statement = (
        update(counters)
        .where(counters.c.name == name)
        .values(value=counters.c.value + count)
        .returning(counters.c.value)
    )
    return int(connection.execute(statement).scalar_one())
