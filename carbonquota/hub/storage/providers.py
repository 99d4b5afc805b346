"""The statements about providers, of which there are few."""

from __future__ import annotations

from typing import Final

from sqlalchemy import Connection, RowMapping, delete, select, update

from carbonquota.hub.domain.values import Provider
from carbonquota.hub.storage import counters
from carbonquota.hub.storage.tables import given_back, providers, quotas, reservations, utilization
from carbonquota.hub.storage.upsert import upsert

_FIELDS: Final = ("name", "kind", "url", "interval", "stale_after", "about", "change")


def read_providers(connection: Connection) -> dict[str, tuple[int, Provider]]:
    """All providers with their numbers, by name."""
    rows = connection.execute(select(providers).where(providers.c.deleted.is_(False))).mappings()
    return {row["name"]: (row["id"], provider_of(row)) for row in rows}


def put_provider(connection: Connection, provider: Provider, change: int) -> None:
    """Make a provider, or change the one that there is."""
    number = connection.execute(select(providers.c.id).where(providers.c.name == provider.name)).scalar()
    row = {name: getattr(provider, name) for name in _FIELDS} | {"mapping": list(provider.mapping)}
    number = number or counters.take(connection, "provider")
    upsert(connection, providers, [row | {"id": number, "deleted": False, "change": change}])


def delete_provider(connection: Connection, number: int, change: int) -> None:
    """Delete a provider with all that is known of it; its number is not used again for another."""
    connection.execute(update(providers).where(providers.c.id == number).values(deleted=True, change=change))
    for table in (quotas, utilization, reservations, given_back):
        connection.execute(delete(table).where(table.c.provider == number))


def provider_of(row: RowMapping) -> Provider:
    """A row as a value."""
    return Provider(**{name: row[name] for name in _FIELDS}, mapping=tuple(row["mapping"]))
