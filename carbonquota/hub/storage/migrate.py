"""Brings the tables to the newest shape, or back, in one transaction: whatever fails leaves them as they were."""

from __future__ import annotations

from typing import Final

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util.exc import CommandError
from sqlalchemy import Connection, text

from carbonquota.hub.domain.errors import InvalidError
from carbonquota.hub.storage.database import Database

_LOCK: Final = 7_102_301
"""The advisory lock of Postgres that servers which start at the same time wait for."""


def migrate(database: Database, revision: str = "head") -> None:
    """Bring the tables to a revision (`head`, `base`, or its number); InvalidError where they are newer than this."""
    with database.writing() as connection:
        if not database.is_sqlite:
            connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
        config = _config(connection)
        try:
            if _is_down(connection, config, revision):
                command.downgrade(config, revision)
            else:
                command.upgrade(config, revision)
        except CommandError as error:
            raise InvalidError(
                f"the database is not one that this version knows ({error}): run the version that it was last used with"
            ) from None


def current(connection: Connection) -> str:
    """The revision that the tables are at; empty where there are none."""
    return MigrationContext.configure(connection).get_current_revision() or ""


def _config(connection: Connection) -> Config:
    config = Config()
    config.set_main_option("script_location", "carbonquota.hub.storage:migrations")
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    return config


def _is_down(connection: Connection, config: Config, revision: str) -> bool:
    """Whether the revision lies before the present one."""
    if revision == "base":
        return True
    present = current(connection)
    if revision == "head" or not present:
        return False
    before = {one.revision for one in ScriptDirectory.from_config(config).iterate_revisions(present, "base")}
    return revision in before - {present}
