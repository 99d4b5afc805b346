"""Numbers that are given out once, in the order in which the transactions that took them are committed."""

from __future__ import annotations

from sqlalchemy import Connection, select, update

from carbonquota.hub.storage.tables import counters
from carbonquota.hub.storage.upsert import upsert


def take(connection: Connection, name: str, count: int = 1) -> int:
    """The last of `count` new numbers. Others who want some wait until this transaction ends."""
    statement = (
        update(counters)
        .where(counters.c.name == name)
        .values(value=counters.c.value + count)
        .returning(counters.c.value)
    )
    return int(connection.execute(statement).scalar_one())


def read(connection: Connection, name: str) -> int | None:
    """The value of one; None where there is none of that name."""
    found = connection.execute(select(counters.c.value).where(counters.c.name == name)).scalar_one_or_none()
    return None if found is None else int(found)


def put(connection: Connection, name: str, value: int) -> None:
    """Have one be of this value."""
    upsert(connection, counters, [{"name": name, "value": value}])
