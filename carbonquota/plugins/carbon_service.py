"""The life of quotas inside carbon, as a twisted service among carbon's own.

Theory of operation. Carbon makes its services, becomes a daemon, and starts them: so this is made before the fork
and started after it, and no thread is begun before. Points are decided on the reactor's thread. All that waits for a
disk or takes long (state, scan, report, expiry) runs on the reactor's threads; the watch on files has its own.

Where no state was kept, the index is not known before the first scan: until it is done, carbon's sockets are open, but
nothing is read from them, so that no metric that has a file is taken for a new one.

At the end, everything that runs is waited for while the reactor still serves it. The state is closed after all
connections are, as it must know every metric that was accepted.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from typing import Final, Protocol

from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThread

from carbonquota.plugins.carbon_chores import Delay, Reactor, ReactorChores
from carbonquota.plugins.carbon_parts import Parts
from carbonquota.plugins.carbon_schemas import warn_of_slow
from carbonquota.plugins.carbon_stats import StatsWriter
from carbonquota.service.state import StateKeeper

_log = logging.getLogger(__name__)

_FLUSH: Final = 0.5
"""Seconds between two writes to the journal: with the time that one takes, a new metric is safe within a second."""


class Port(Protocol):
    """A socket that carbon takes points at."""

    def stopReading(self) -> None:  # noqa: N802 - twisted's name
        """Leave what comes in to the system's own queue."""

    def startReading(self) -> None:  # noqa: N802 - twisted's name
        """Take what comes in."""


class QuotaService(Service):
    """Keeps the parts going while carbon runs."""

    name = "carbonquota"

    def __init__(self, parts: Parts, stats: StatsWriter, ports: Callable[[], Iterable[Port]], reactor: Reactor) -> None:
        """Nothing is begun before `startService`; `ports` are asked for when carbon's services have started."""
        self._parts = parts
        self._stats = stats
        self._find_ports = ports
        self._reactor = reactor
        self._chores = ReactorChores(reactor)
        parts.health.add(self._chores.health)
        self._is_known = False
        self._is_ending = False

    def startService(self) -> None:  # noqa: N802 - twisted's name
        """Take back what was kept; the rest begins with the reactor. QuotaError where the state cannot be used."""
        super().startService()
        self._parts.rulebook.on_expressions(self._parts.patterns.use)
        self._parts.rulebook.on_expressions(warn_of_slow)
        self._is_known = self._restore()
        self._reactor.addSystemEventTrigger("after", "shutdown", self._close_state)
        self._reactor.callWhenRunning(self._begin)

    def _restore(self) -> bool:
        """Whether there was a whole index."""
        if self._parts.state is None:
            return False
        restored = self._parts.state.restore()
        if restored.found:
            _log.info("%d metrics restored in %.1f s", restored.series, restored.seconds)
        return restored.found

    def _begin(self) -> None:
        """Begin to work, on the reactor's thread."""
        if self._is_known or self._parts.scanner is None:
            self._begin_chores(scan_at_once=self._is_known)
            self._know()
            return
        ports = tuple(self._find_ports())
        for port in ports:
            port.stopReading()
        _log.info("nothing is known of a former run, and nothing is received before the first scan is done")
        self._chores.begin("first scan", lambda: self._first_scan(ports))

    async def _first_scan(self, ports: Iterable[Port]) -> None:
        """Fill the index from the Whisper files, and then receive."""
        try:
            if self._parts.has_tree:
                await self._scan()
            else:
                _log.info("%s: there is no such directory yet, so there are no metrics", self._parts.data_dir)
                self._know()
            # Kept as a whole before anything else is: half of an index would be taken for all of it.
            await self._keep(StateKeeper.snapshot)
        finally:
            if not self._is_ending:
                self._begin_chores(scan_at_once=False)
                for port in ports:
                    port.startReading()

    async def _scan(self) -> None:
        """Bring the index in line with the Whisper files."""
        if self._parts.scanner is not None:
            await deferToThread(self._parts.scanner.scan)
            if not self._is_ending:
                self._know()

    def _know(self) -> None:
        """The index is whole from now on."""
        self._is_known = True
        if self._parts.state is not None:
            self._parts.state.go_live()

    async def _keep(self, what: Callable[[StateKeeper], None]) -> None:
        """Write something of the state, if there is a whole index to be kept."""
        if self._parts.state is not None and self._is_known:
            await deferToThread(what, self._parts.state)

    def _begin_chores(self, *, scan_at_once: bool) -> None:
        """Begin what is to be done again and again."""
        parts, settings, repeat = self._parts, self._parts.settings, self._chores.repeat
        parts.watch.start()
        repeat("report", lambda: parts.reporter.next_report(parts.clock()), self._report)
        repeat("flush", _each(_FLUSH), lambda: self._keep(StateKeeper.flush))
        repeat("snapshot", _each(settings.state_snapshot_frequency), lambda: self._keep(StateKeeper.snapshot))
        self._begin_scans(at_once=scan_at_once)
        if settings.series_ttl:
            repeat("expiry", _each(min(settings.series_ttl / 4, 60.0)), lambda: deferToThread(parts.expiry.run))
        _log.info("quotas are in force; metrics: %d, rules: %d", len(parts.engine), len(parts.engine.rules.rules))

    def _begin_scans(self, *, at_once: bool) -> None:
        """Scan now, if that is due, and from time to time, if that is wanted; never two at a time."""
        frequency = self._parts.settings.scan_frequency
        first = iter((0.0,) if at_once else ())
        if frequency:
            self._chores.repeat("scan", lambda: next(first, frequency), self._scan)
        elif at_once:
            self._chores.begin("scan", self._scan)

    async def _report(self) -> None:
        """Report: made on another thread, given to carbon on this one."""
        report = await deferToThread(self._parts.reporter.report)
        self._parts.throttling.settle(report.over, report.creates)
        await self._stats.write(report.lines)

    def stopService(self) -> Deferred[None]:  # noqa: N802 - the same
        """End all that runs; fires when it has."""
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        self._is_ending = True
        super().stopService()
        # First, while whoever they go on to still takes them: carbon ends its services from the last to the first. What
        # comes in from here on, until all connections are closed, does not wait for the reactor.
        self._parts.processor.end()
        if self._parts.scanner is not None:
            self._parts.scanner.stop()
        await self._chores.stop()
        await deferToThread(self._parts.watch.stop)
        await self._keep(StateKeeper.flush)

    def _close_state(self) -> None:
        """Keep everything a last time; no point comes in any more."""
        self._parts.patterns.close()
        state = self._parts.state
        if state is None:
            return
        try:
            if self._is_known:
                state.close()
            else:
                state.abandon()
        except Exception:  # noqa: BLE001 - the edge of the process: carbon has more to end than us
            _log.exception("the state could not be closed")


def _each(seconds: float) -> Delay:
    """Always the same delay."""
    return lambda: seconds
