"""The statements about customers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import Connection, RowMapping, func, insert, select, update

from carbonquota.hub.domain.values import Customer
from carbonquota.hub.storage import counters
from carbonquota.hub.storage.tables import customers
from carbonquota.hub.storage.upsert import stretches


def numbers_of(connection: Connection, names: Iterable[str]) -> dict[str, int]:
    """The numbers of those customers that there are, by name."""
    found: dict[str, int] = {}
    for some in stretches(sorted(set(names))):
        statement = select(customers.c.name, customers.c.id).where(
            customers.c.name.in_(some), customers.c.deleted.is_(False)
        )
        found.update((name, number) for name, number in connection.execute(statement))
    return found


def rows_of(connection: Connection, names: Iterable[str]) -> dict[str, RowMapping]:
    """The rows of customers by name, also of those that were deleted."""
    found: dict[str, RowMapping] = {}
    for some in stretches(sorted(set(names))):
        statement = select(customers).where(customers.c.name.in_(some))
        found.update((row["name"], row) for row in connection.execute(statement).mappings())
    return found


def put_customers(connection: Connection, wanted: Sequence[Customer], change: int) -> dict[str, int]:
    """Make customers, or change those that there are; their numbers by name."""
    there = rows_of(connection, (one.name for one in wanted))
    new = [one for one in wanted if one.name not in there]
    last = counters.take(connection, "customer", len(new)) if new else 0
    numbers = {one.name: last - len(new) + 1 + position for position, one in enumerate(new)}
    if new:
        rows = [{"id": numbers[one.name], "name": one.name, **_content(one, change)} for one in new]
        connection.execute(insert(customers), rows)
    for one in wanted:
        if (row := there.get(one.name)) is not None:
            numbers[one.name] = row["id"]
            connection.execute(update(customers).where(customers.c.id == row["id"]).values(**_content(one, change)))
    return numbers


def page_of_customers(connection: Connection, *, after: str, limit: int, begin: str = "") -> list[Customer]:
    """Customers by name, those behind `after`, whose names begin so."""
    name = customers.c.name
    statement = (
        select(customers).where(name > after, customers.c.deleted.is_(False)).order_by(name).limit(limit)
    )  # fmt: skip
    if begin:
        statement = statement.where(func.substr(name, 1, len(begin)) == begin)
        if connection.dialect.name == "sqlite":
            # Names are ASCII, and ordered as that; Postgres may order them otherwise.
            statement = statement.where(name >= begin, name < begin + "\x7f")
    return [customer_of(row) for row in connection.execute(statement).mappings()]


def owned_patterns(connection: Connection) -> list[tuple[str, str]]:
    """Customers with each pattern of namespaces that they own."""
    statement = select(customers.c.name, customers.c.namespaces).where(customers.c.namespaces != "")
    rows = connection.execute(statement.order_by(customers.c.id))
    return [(name, pattern) for name, patterns in rows for pattern in patterns.split("\n")]


def mark_deleted(connection: Connection, number: int, change: int) -> None:
    """Delete a customer; its number is not used again for another."""
    statement = update(customers).where(customers.c.id == number)
    connection.execute(statement.values(deleted=True, namespaces="", about="", change=change))


def _content(one: Customer, change: int) -> dict[str, Any]:
    namespaces = "\n".join(one.namespaces)
    return {"namespaces": namespaces, "about": one.about, "deleted": False, "change": change}


def customer_of(row: RowMapping) -> Customer:
    """A row as a value."""
    return Customer(row["name"], tuple(row["namespaces"].split("\n") if row["namespaces"] else ()), row["about"],
                    row["change"])  # fmt: skip
