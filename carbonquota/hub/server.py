"""One server of the quota service as a process: opened, its faces and periodic tasks run, closed at a signal."""

from __future__ import annotations

import asyncio
import gc
import logging
import signal
from pathlib import Path
from time import monotonic
from typing import Final

from carbonquota.cluster.grant_store import GrantStore
from carbonquota.cluster.prepaid_service import read_password
from carbonquota.cluster.store import connector
from carbonquota.cluster.store_url import check_store_url
from carbonquota.errors import QuotaError
from carbonquota.hub.domain.errors import InvalidError, UnavailableError
from carbonquota.hub.domain.grants import GrantTerms
from carbonquota.hub.grpc.server import GrpcServer
from carbonquota.hub.http.app import is_open, make_app
from carbonquota.hub.service.hub import Hub
from carbonquota.hub.service.rules import CheckRules, not_checked
from carbonquota.hub.settings import HubSettings
from carbonquota.hub.storage.database import Database
from carbonquota.service.bounded_log import BoundedLog
from carbonquota.service.loop_tasks import LoopTasks
from carbonquota.service.process_end import EndSignals, raise_file_limit
from carbonquota.web.make_access import Access, make_access
from carbonquota.web.server import HttpServer, ServerOptions
from carbonquota.web.sessions import secret_of
from carbonquota.web.tls import LOOK, TlsFiles

try:
    from uvloop import new_event_loop
except ImportError:  # it is not to be had everywhere
    from asyncio import new_event_loop  # type: ignore[assignment]

_log = logging.getLogger(__name__)

_LOOPBACK: Final = ("localhost", "127.0.0.1", "::1")
_MOST: Final = 4096
"""Connections at a time, most of them daemons that wait for rules."""
_TENDING: Final = 2.0
"""Seconds between two looks at leases and grants."""
_STORE_PATIENCE: Final = 1.0
"""Seconds that the store has to answer."""
_GRACE: Final = 5.0
"""Seconds that requests have to be answered, once the server stops."""


def serve(settings: HubSettings, check_limits: CheckRules = not_checked) -> int:
    """Serve until told to end; the exit code. QuotaError where it cannot start. `check_limits` knows limits' rules."""
    raise_file_limit()
    terms = GrantTerms(max_grant=settings.max_grant)
    hub = Hub(Database(settings.database), terms=terms, check_limits=check_limits, store=_make_store(settings))
    hub.book.held.most = settings.most_held
    try:
        hub.open()
        _log.info("database: %s", hub.database.place)
        # What was read stays until the end: looking through it for garbage is work for nothing.
        gc.freeze()
        gc.enable()
        with asyncio.Runner(loop_factory=new_event_loop) as runner:
            runner.run(_Server(hub, settings).run())
    finally:
        hub.close()
    _log.info("ended")
    return 0


def _make_store(settings: HubSettings) -> GrantStore | None:
    """Where parts of quotas are reserved beside the database; QuotaError where that cannot be."""
    if not settings.store:
        return None
    try:
        check_store_url(settings.store)
    except ValueError as error:
        raise InvalidError(f"--store: {error}") from None
    password = read_password(settings.store_password_file, "--store-password-file")
    return GrantStore(connector(settings.store, _STORE_PATIENCE, password), settings.store_name)


class _Server:
    """The faces and the periodic tasks, on one event loop."""

    def __init__(self, hub: Hub, settings: HubSettings) -> None:
        self._hub = hub
        self._settings = settings
        self._tls = TlsFiles(settings.access)
        self._tasks = LoopTasks()
        self._notices = BoundedLog(_log, monotonic)
        self._signals = EndSignals()
        self._ending = self._signals.ending

    async def run(self) -> None:
        """Serve until a signal."""
        self._signals.listen()
        # What SIGHUP is sent for, files that have changed, is read without it, too.
        asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, self._tls.refresh)
        access = self._make_access()
        http = self._make_http(access)
        calls = GrpcServer(self._hub, access, self._settings.grpc_listen, self._tls.context("h2"))
        await http.start()
        await calls.start()
        _log.info("gRPC: %s", calls.address)
        _log.info("ready: %s://%s answers", "https" if self._settings.access.tls_certificate else "http", http.address)
        try:
            self._tasks.repeat("sync", lambda: self._settings.freshness, self._sync)
            self._tasks.repeat("scrape", lambda: _TENDING, self._scrape)
            self._tasks.repeat("tls", lambda: LOOK, self._read_tls)
            self._tasks.repeat("leases", lambda: _TENDING, self._tend)
            await self._ending.wait()
        finally:
            await asyncio.gather(http.stop(_GRACE), calls.stop(_GRACE))
            await self._tasks.stop()
            await self._leave()

    def _make_access(self) -> Access:
        """Who may ask; QuotaError where everybody could do all from elsewhere, and nobody said so."""
        hub, settings = self._hub, self._settings
        hub.rules.needs_second = hub.limits.needs_second = settings.second_approver
        hub.rules.forget_after = hub.limits.forget_after = settings.forget_daemons * 3600
        hub.scraper.token_file = settings.scrape_token_file
        access = make_access(
            settings.access, stored=(hub.tokens.find,), secret=secret_of(Path(settings.secret_file)),
            is_open=is_open(hub), clock=hub.clock,
        )  # fmt: skip
        is_open_to_all = not settings.access.needs_tokens and not hub.tokens.any()
        addresses = {"--listen": settings.listen, "--grpc-listen": settings.grpc_listen}
        for flag, address in addresses.items() if is_open_to_all and not settings.open_to_all else ():
            if address.host in _LOOPBACK:
                continue
            raise QuotaError(
                f"{flag} {address}: whoever reaches it could do all, as there is no token yet: make one with "
                "`carbonquota token new --file FILE --name NAME --role admin` and give --tokens-file FILE"
            )
        return access

    def _make_http(self, access: Access) -> HttpServer:
        """The HTTP side."""
        hub, settings = self._hub, self._settings
        app = make_app(hub, (settings.listen.host, *settings.allowed_hosts), access)
        options = ServerOptions(
            setting="--listen", program="quota service", tls=self._tls.context(), most=_MOST, share=2,
            new_loop=new_event_loop, prepare=app.state.prepare,
        )  # fmt: skip
        return HttpServer(app, settings.listen, options=options)

    async def _sync(self) -> None:
        """Read what others changed."""
        was_away = bool(self._hub.synchronizer.trouble)
        try:
            await asyncio.to_thread(self._hub.synchronizer.sync)
            await asyncio.to_thread(self._hub.refresh_rules)
        except UnavailableError as error:
            self._notices.warning("away", "%s; what is in memory is told on", error)
        else:
            if was_away:
                _log.info("the database is back")

    async def _read_tls(self) -> None:
        """Have connections from now on get the certificate as it is in its files."""
        await asyncio.to_thread(self._tls.refresh)

    async def _scrape(self) -> None:
        """Read what providers tell who do not push."""
        try:
            await asyncio.to_thread(self._hub.scraper.scrape)
        except UnavailableError as error:
            self._notices.warning("scrape", "%s; providers are not read", error)

    async def _tend(self) -> None:
        """Renew the lease, hand back what is not needed."""
        try:
            await asyncio.to_thread(self._hub.tend)
        except UnavailableError as error:
            self._notices.warning("lease", "%s; writes are granted until the lease ends", error)

    async def _leave(self) -> None:
        """Leave nothing reserved."""
        try:
            await asyncio.to_thread(self._hub.leases.end)
        except UnavailableError as error:
            _log.warning("what was reserved for grants stays so until its lease ends: %s", error)
