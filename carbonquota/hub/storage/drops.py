"""What daemons told that they dropped, in the database."""

from __future__ import annotations

from typing import Final

from sqlalchemy import JSON, Column, Connection, Float, String, Table, delete, select

from carbonquota.hub.domain.drops import FleetDrop
from carbonquota.hub.storage.tables import metadata
from carbonquota.hub.storage.upsert import upsert

_drops: Final = Table(
    "fleet_drops",
    metadata,
    Column("name", String(300), primary_key=True),
    Column("time", Float, nullable=False),
    Column("lines", JSON, nullable=False),
)
"""Lines of namespace, control and points."""


def write_drops(connection: Connection, name: str, time: float, lines: list[list[str | int]]) -> None:
    """Keep what a daemon dropped, in the place of what it told before."""
    upsert(connection, _drops, [{"name": name, "time": time, "lines": lines}])


def forget_drops(connection: Connection, since: float) -> None:
    """Keep nothing that was told before."""
    connection.execute(delete(_drops).where(_drops.c.time < since))


def read_drops(connection: Connection, since: float) -> list[FleetDrop]:
    """All that was told since then."""
    rows = connection.execute(select(_drops).where(_drops.c.time >= since)).mappings()
    return [
        FleetDrop(row["name"], namespace, control, points, row["time"])
        for row in rows
        for namespace, control, points in row["lines"]
    ]
