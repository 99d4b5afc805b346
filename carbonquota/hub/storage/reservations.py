"""What servers have reserved of quotas, what was deleted meanwhile, and until when each server may grant at all."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from sqlalchemy import Connection, Table, bindparam, delete, func, insert, select, update
from sqlalchemy.dialects.postgresql import insert as postgres_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert

from carbonquota.hub.storage import counters
from carbonquota.hub.storage.tables import given_back, reservations, servers
from carbonquota.hub.storage.upsert import stretches

LOCK: Final = "grant"
"""The counter that whoever reserves, deletes or measures takes one of, so that these come one after the other."""

Place = tuple[int, int]
"""The numbers of a customer and a provider."""

Sums = dict[int, dict[int, int]]
"""By customer and provider."""

Credits = dict[tuple[int, int], dict[int, int]]
"""By control and customer, and then by provider."""


def lock(connection: Connection) -> None:
    """Wait until no other transaction reserves, gives back or measures; until the end of this one none does."""
    counters.take(connection, LOCK)


def reserved(connection: Connection, control: int, customers: Iterable[int]) -> Sums:
    """What all servers together have reserved of these customers' quotas."""
    return _sums(connection, reservations, control, customers)


def deleted(connection: Connection, control: int, customers: Iterable[int]) -> Sums:
    """What was deleted since it was measured."""
    return _sums(connection, given_back, control, customers)


def _sums(connection: Connection, table: Table, control: int, customers: Iterable[int]) -> Sums:
    found: Sums = defaultdict(dict)
    columns = table.c
    for some in stretches(sorted(set(customers))):
        statement = (
            select(columns.customer, columns.provider, func.sum(columns.amount))
            .where(columns.control == control, columns.customer.in_(some))
            .group_by(columns.customer, columns.provider)
        )
        for customer, provider, amount in connection.execute(statement):
            found[customer][provider] = int(amount)
    return found


def reserve(connection: Connection, server: int, control: int, amounts: Mapping[Place, int]) -> None:
    """Reserve more for a server."""
    rows = [
        {"control": control, "customer": customer, "provider": provider, "server": server, "amount": amount}
        for (customer, provider), amount in amounts.items()
    ]
    _add(connection, reservations, rows)


def _add(connection: Connection, table: Table, rows: Sequence[Mapping[str, float]]) -> None:
    """Add amounts to those that there are."""
    if not rows:
        return
    make = sqlite_insert if connection.dialect.name == "sqlite" else postgres_insert
    statement = make(table)
    added = {"amount": table.c.amount + statement.excluded.amount}
    keys = [column.name for column in table.primary_key]
    connection.execute(statement.on_conflict_do_update(index_elements=keys, set_=added), list(rows))


def has_any(connection: Connection) -> bool:
    """Whether anything is reserved at all."""
    return connection.execute(select(reservations.c.server).limit(1)).first() is not None


def all_given_back(connection: Connection) -> Credits:
    """All that was deleted since it was measured."""
    columns = given_back.c
    found: Credits = {}
    for row in connection.execute(select(columns.control, columns.customer, columns.provider, columns.amount)):
        found.setdefault((row[0], row[1]), {})[row[2]] = int(row[3])
    return found


def release(connection: Connection, server: int, control: int, provider: int, amounts: Mapping[int, int]) -> None:
    """Reserve less for a server, by customer."""
    columns = reservations.c
    here = (columns.server == server) & (columns.control == control) & (columns.provider == provider)
    here &= columns.customer == bindparam("of")
    rows = [{"of": customer, "less": amount} for customer, amount in amounts.items()]
    connection.execute(update(reservations).where(here).values(amount=columns.amount - bindparam("less")), rows)
    connection.execute(delete(reservations).where(here, columns.amount <= 0), [{"of": one} for one in amounts])


def give_back(connection: Connection, control: int, amounts: Mapping[Place, int], now: float) -> None:
    """Note what was deleted at `now`."""
    rows = [
        {"control": control, "customer": customer, "provider": provider, "amount": amount, "since": now}
        for (customer, provider), amount in amounts.items()
    ]
    _add(connection, given_back, rows)


def places_given_back(connection: Connection, control: int, provider: int) -> dict[int, float]:
    """Since when customers have deleted something at a provider that no measurement has."""
    columns = given_back.c
    statement = select(columns.customer, columns.since).where(columns.control == control, columns.provider == provider)
    return dict(connection.execute(statement).all())


def clear_given_back(connection: Connection, control: int, provider: int, customers: Sequence[int]) -> None:
    """What these customers deleted at a provider was measured."""
    columns = given_back.c
    for some in stretches(customers):
        here = (columns.control == control) & (columns.provider == provider) & columns.customer.in_(some)
        connection.execute(delete(given_back).where(here))


def new_server(connection: Connection, name: str, lease: float) -> int:
    """The number of a server that begins."""
    number = counters.take(connection, "server")
    connection.execute(insert(servers).values(id=number, name=name, lease=lease))
    return number


def renew(connection: Connection, server: int, lease: float) -> bool:
    """Have a server go on until then; whether it is known still."""
    return connection.execute(update(servers).where(servers.c.id == server).values(lease=lease)).rowcount == 1


def leases(connection: Connection) -> dict[int, float]:
    """Until when each server grants."""
    return dict(connection.execute(select(servers.c.id, servers.c.lease)).all())


def rows_of_server(connection: Connection, server: int) -> list[tuple[int, int, int]]:
    """Control, customer and provider of what a server has reserved."""
    columns = reservations.c
    statement = select(columns.control, columns.customer, columns.provider).where(columns.server == server)
    return [(control, customer, provider) for control, customer, provider in connection.execute(statement)]


def drop_rows(connection: Connection, server: int, rows: Sequence[tuple[int, int, int]]) -> None:
    """What a server that is gone had reserved and granted was measured."""
    columns = reservations.c
    here = (columns.server == server) & (columns.control == bindparam("of_control"))
    here &= (columns.customer == bindparam("of_customer")) & (columns.provider == bindparam("of_provider"))
    values = [dict(zip(("of_control", "of_customer", "of_provider"), row, strict=True)) for row in rows]
    if values:
        connection.execute(delete(reservations).where(here), values)


def drop_server(connection: Connection, server: int) -> None:
    """A server that is gone has nothing reserved any more."""
    connection.execute(delete(servers).where(servers.c.id == server))
