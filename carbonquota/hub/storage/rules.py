"""Versions of rules, their releases, and the daemons that run them, in the database."""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterable
from dataclasses import asdict
from typing import Any, Final

from sqlalchemy import (
    Column,
    Connection,
    Float,
    Integer,
    LargeBinary,
    RowMapping,
    String,
    Table,
    Text,
    delete,
    insert,
    select,
    update,
)

from carbonquota.hub.domain.rules import FleetDaemon, Mode, Release, RuleKind, RuleVersion
from carbonquota.hub.storage.tables import metadata
from carbonquota.hub.storage.upsert import upsert

_versions: Final = Table(
    "rule_versions",
    metadata,
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("text", Text, nullable=False),
    Column("checksum", String(64), nullable=False),
    Column("time", Float, nullable=False),
    Column("actor", Text, nullable=False),
    Column("why", Text, nullable=False),
    Column("kind", String(20), nullable=False, server_default=RuleKind.QUOTAS),
)
_releases: Final = Table(
    "rule_releases",
    metadata,
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("version", Integer, nullable=False),
    Column("mode", String(20), nullable=False),
    Column("group", String(200), nullable=False),
    Column("time", Float, nullable=False),
    Column("actor", Text, nullable=False),
    Column("approved", Text, nullable=False),
    Column("why", Text, nullable=False),
    Column("kind", String(20), nullable=False, server_default=RuleKind.QUOTAS),
)
_daemons: Final = Table(
    "fleet_daemons",
    metadata,
    Column("name", String(300), primary_key=True),
    Column("group", String(200), nullable=False),
    Column("running", Integer, nullable=False),
    Column("seen", Float, nullable=False),
    Column("trouble", Text, nullable=False),
)
_usage: Final = Table(
    "fleet_usage",
    metadata,
    Column("name", String(300), primary_key=True),
    Column("time", Float, nullable=False),
    Column("lines", LargeBinary, nullable=False),
)

UsageLines = list[list[Any]]
"""A namespace and its six amounts each, in the order of `CONTROL_FIELDS`."""


def add_version(connection: Connection, version: RuleVersion) -> None:
    """Keep a new one."""
    connection.execute(insert(_versions), [asdict(version) | {"kind": version.kind.value}])


def _version(row: RowMapping) -> RuleVersion:
    return RuleVersion(**dict(row) | {"kind": RuleKind(row["kind"])})


def read_version(connection: Connection, kind: RuleKind, number: int) -> RuleVersion | None:
    """One by its number."""
    statement = select(_versions).where(_versions.c.number == number, _versions.c.kind == kind.value)
    row = connection.execute(statement).mappings().first()
    return None if row is None else _version(row)


def newest_version(connection: Connection, kind: RuleKind) -> RuleVersion | None:
    """The last that was sent."""
    return next(iter(read_versions(connection, kind, None, 1)), None)


def read_versions(connection: Connection, kind: RuleKind, before: int | None, limit: int) -> list[RuleVersion]:
    """The newest first, those with lower numbers than `before`."""
    statement = select(_versions).where(_versions.c.kind == kind.value)
    statement = statement.order_by(_versions.c.number.desc()).limit(limit)
    if before is not None:
        statement = statement.where(_versions.c.number < before)
    return [_version(row) for row in connection.execute(statement).mappings()]


def add_release(connection: Connection, release: Release) -> None:
    """Keep a new one."""
    values = asdict(release) | {"mode": release.mode.value, "kind": release.kind.value}
    connection.execute(insert(_releases), [values])


def approve_release(connection: Connection, number: int, by: str) -> None:
    """Write down who approved of it."""
    connection.execute(update(_releases).where(_releases.c.number == number).values(approved=by))


def read_releases(connection: Connection, kind: RuleKind) -> list[Release]:
    """All of a kind, the oldest first."""
    statement = select(_releases).where(_releases.c.kind == kind.value).order_by(_releases.c.number)
    rows = connection.execute(statement).mappings()
    return [Release(**dict(row) | {"mode": Mode(row["mode"]), "kind": kind}) for row in rows]


def write_daemons(connection: Connection, daemons: Iterable[FleetDaemon]) -> None:
    """Write how daemons last were."""
    upsert(connection, _daemons, [asdict(one) for one in daemons])


def read_daemons(connection: Connection) -> list[FleetDaemon]:
    """All that were ever seen, by name."""
    return [FleetDaemon(**row) for row in connection.execute(select(_daemons).order_by(_daemons.c.name)).mappings()]


def has_daemon(connection: Connection, name: str) -> bool:
    """Whether a daemon was ever seen."""
    return connection.execute(select(_daemons.c.name).where(_daemons.c.name == name)).first() is not None


def unseen_daemons(connection: Connection, since: float) -> list[str]:
    """The names of those that were not seen since then."""
    statement = select(_daemons.c.name).where(_daemons.c.seen < since).order_by(_daemons.c.name)
    return list(connection.execute(statement).scalars())


def forget_daemons(connection: Connection, since: float) -> None:
    """Keep nothing of daemons that were not seen since then, nor of what they told."""
    gone = select(_daemons.c.name).where(_daemons.c.seen < since)
    connection.execute(delete(_usage).where(_usage.c.name.in_(gone)))
    connection.execute(delete(_daemons).where(_daemons.c.seen < since))


def write_usage(connection: Connection, name: str, time: float, lines: UsageLines) -> None:
    """Keep what a daemon told of its usage, in the place of what it told before."""
    packed = zlib.compress(json.dumps(lines).encode(), 1)
    upsert(connection, _usage, [{"name": name, "time": time, "lines": packed}])


def read_usage(connection: Connection) -> dict[str, tuple[float, UsageLines]]:
    """What daemons told, and when, by name."""
    rows = connection.execute(select(_usage)).mappings()
    return {row["name"]: (row["time"], json.loads(zlib.decompress(row["lines"]))) for row in rows}
