"""Who changed what: written in the transaction of the change itself, so that there is never one without the other."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection, insert, select

from carbonquota.hub.domain.values import AuditEntry
from carbonquota.hub.storage.tables import audit


def write_audit(connection: Connection, entries: Sequence[AuditEntry]) -> None:
    """Add entries; their numbers are given here."""
    if not entries:
        return
    rows = [
        {"time": one.time, "actor": one.actor, "action": one.action, "subject": one.subject, "before": one.before,
         "after": one.after, "why": one.why}
        for one in entries
    ]  # fmt: skip
    connection.execute(insert(audit), rows)


def read_audit(connection: Connection, *, before: int | None, limit: int, subject: str = "") -> list[AuditEntry]:
    """The newest entries first, of one subject or of all; those with numbers less than `before`, if given."""
    statement = select(audit).order_by(audit.c.number.desc()).limit(limit)
    if before is not None:
        statement = statement.where(audit.c.number < before)
    if subject:
        statement = statement.where(audit.c.subject == subject)
    return [AuditEntry(**row) for row in connection.execute(statement).mappings()]
