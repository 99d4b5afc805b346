"""The statements about quotas. Customers and providers stand by their numbers here; provider 0 is all together."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from sqlalchemy import Connection, select

from carbonquota.hub.domain.controls import CONTROLS, Amounts
from carbonquota.hub.storage.tables import quotas
from carbonquota.hub.storage.upsert import stretches, upsert

Place = tuple[int, int]
"""The numbers of a customer and a provider."""

Stored = tuple[Amounts, int]
"""Limits, and the number of the change that made them so."""


def read_quotas(connection: Connection, customers: Iterable[int]) -> dict[Place, Stored]:
    """All quotas of these customers; those deleted are all None."""
    found: dict[Place, Stored] = {}
    for some in stretches(sorted(set(customers))):
        rows = connection.execute(select(quotas).where(quotas.c.customer.in_(some))).mappings()
        for row in rows:
            limits = Amounts(**{control: row[control] for control in CONTROLS})
            found[row["customer"], row["provider"]] = limits, row["change"]
    return found


def write_quotas(connection: Connection, limits: Mapping[Place, Amounts], change: int) -> None:
    """Put these in the place of what there is; all None is none any more."""
    rows = [
        {
            "customer": customer,
            "provider": provider,
            "change": change,
            **dict(zip(CONTROLS, amounts.values(), strict=True)),
        }
        for (customer, provider), amounts in limits.items()
    ]
    upsert(connection, quotas, rows)
