"""How everything is changed: a transaction with the number of the change and its audit entries, then read back."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Connection

from carbonquota.hub.domain.errors import UnavailableError
from carbonquota.hub.domain.values import Actor, AuditEntry
from carbonquota.hub.service.synchronizer import Synchronizer
from carbonquota.hub.storage import counters
from carbonquota.hub.storage.audit import read_audit, write_audit
from carbonquota.hub.storage.database import Database
from carbonquota.model import Clock

_log = logging.getLogger(__name__)


class Writing:
    """Changes the database for all topics of the service."""

    def __init__(self, database: Database, synchronizer: Synchronizer, clock: Clock) -> None:
        """`clock` gives the time of audit entries, in seconds since the epoch."""
        self.database = database
        self._synchronizer = synchronizer
        self._clock = clock

    @contextmanager
    def change(self) -> Iterator[tuple[Connection, int]]:
        """A transaction and the number of this change; once it is committed, memory has it, too."""
        with self.database.writing() as connection:
            yield connection, counters.take(connection, "change")
        try:
            self._synchronizer.sync()
        except UnavailableError as error:
            # It is committed all the same; memory has it once the database is back.
            _log.warning("a change was committed, but cannot be read back yet: %s", error)

    def entry(
        self, actor: Actor, action: str, subject: str, before: dict[str, Any] | None, after: dict[str, Any] | None
    ) -> AuditEntry:
        """An entry of now."""
        return AuditEntry(self._clock(), actor.name, action, subject, before, after, actor.why)

    def audit(self, connection: Connection, entries: Sequence[AuditEntry]) -> None:
        """Write entries in the transaction of what they tell of."""
        write_audit(connection, entries)

    def entries(self, *, before: int | None = None, limit: int = 100, subject: str = "") -> list[AuditEntry]:
        """The newest entries first, of one subject or of all; those with numbers less than `before`, if given."""
        with self.database.reading() as connection:
            return read_audit(connection, before=before, limit=limit, subject=subject)
