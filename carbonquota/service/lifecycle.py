"""The life of a runtime in its host: restore, scan, open, repeat, close, each in the right order.

Theory of operation. The state is read first. Where it had no whole index, the Whisper files are scanned before any
point is taken, so that no metric that has a file is taken for a new one; then the index is kept as a whole before any
change of it is, since half of an index would be taken for all of it. Only a whole index is kept at all. All that waits
for a disk or takes long runs on other threads; what decides on points goes on meanwhile.

The host decides when its own parts open and close in between: it calls these methods in the order in which they stand.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial
from typing import Final, Protocol

from carbonquota.service.periodic_tasks import Action, Delay, PeriodicTasks
from carbonquota.service.reporter import Piece, Report
from carbonquota.service.runtime import Runtime
from carbonquota.service.state import StateKeeper

_log = logging.getLogger(__name__)

_FLUSH: Final = 0.5
"""Seconds between two syncs of the journal: with the time that one takes, a new metric outlives the machine within a
second."""

Advance = Callable[[int], None]
"""Is told how many files a scan went on by."""


class Host(Protocol):
    """What a host does its own way; called on its main thread."""

    async def write_stats(self, piece: Piece) -> None:
        """Give some lines of a report to the host's own sink."""

    async def stop_receiving(self) -> None:
        """Take no more points, and decide on those that were taken."""


class Lifecycle:
    """One runtime from its state to its end. Used on the host's main thread, but for `restore`."""

    def __init__(self, runtime: Runtime, tasks: PeriodicTasks, host: Host) -> None:
        """Nothing is opened yet."""
        self._runtime = runtime
        self._tasks = tasks
        self._host = host
        self._is_restored = False
        self._is_live = False
        self._is_ending = False
        runtime.health.add(tasks.health)

    @property
    def is_ending(self) -> bool:
        """Whether the end has begun."""
        return self._is_ending

    @property
    def needs_first_scan(self) -> bool:
        """Whether the index is not known before the Whisper files are."""
        return not self._is_restored and self._runtime.scanner is not None

    def restore(self) -> None:
        """Take back what was kept at the last run, which waits for the disk; QuotaError where that cannot be."""
        state = self._runtime.state
        if state is None:
            return
        restored = state.restore()
        self._is_restored = restored.found
        if self._runtime.scanner is not None:
            self._runtime.scanner.expect_without_file(restored.journaled)
        if restored.found:
            _log.info("%d metrics restored in %.1f s", restored.series, restored.seconds)

    async def first_scan(self, advance: Advance = lambda _: None) -> None:
        """Fill the index from the Whisper files, and keep it."""
        await self.scan(advance)
        await self.keep(StateKeeper.snapshot)

    async def scan(self, advance: Advance = lambda _: None) -> None:
        """Bring the index in line with the Whisper files."""
        if self._runtime.scanner is not None:
            await self._tasks.in_thread(partial(self._runtime.scanner.scan, advance))
            if not self._is_ending:
                self.go_live()

    def go_live(self) -> None:
        """The index is whole from now on."""
        self._is_live = True
        if self._runtime.state is not None:
            self._runtime.state.go_live()

    async def keep(self, what: Callable[[StateKeeper], None]) -> None:
        """Write something of the state, if there is a whole index to be kept."""
        if self._runtime.state is not None and self._is_live:
            await self._tasks.in_thread(partial(what, self._runtime.state))

    def begin(self, *, scan_at_once: bool) -> None:
        """Watch the rules' files, and begin the periodic tasks; a scan is due at once where the index was restored."""
        runtime, settings, repeat = self._runtime, self._runtime.settings, self._tasks.repeat
        runtime.watch.start()
        repeat("report", lambda: runtime.reporter.next_report(runtime.clock()), self._report)
        if runtime.state is not None:
            repeat("flush", _each(_FLUSH), lambda: self.keep(StateKeeper.flush))
            repeat("snapshot", _each(settings.state_snapshot_frequency), lambda: self.keep(StateKeeper.snapshot))
        if runtime.scanner is not None and settings.scan_frequency:
            first = iter((0.0,) if scan_at_once else ())
            repeat("scan", lambda: next(first, settings.scan_frequency), self.scan)
        if settings.series_ttl:
            repeat("expiry", _each(min(settings.series_ttl / 4, 60.0)), self._in_thread(runtime.expiry.run))

    async def _report(self) -> None:
        """Make a report on another thread, and hand it on from this one, piece by piece."""
        report = await self._tasks.in_thread(self._runtime.reporter.report)
        assert isinstance(report, Report)  # noqa: S101 - what the reporter gives
        while isinstance(piece := await self._tasks.in_thread(report.next_piece), Piece):
            await self._host.write_stats(piece)
        self._runtime.throttling.take_report(report.over, report.creates)

    async def end(self) -> None:
        """Stop receiving, the watch, the cluster and the periodic tasks; whatever fails, the rest is stopped too."""
        runtime, attempt = self._runtime, self._tasks.attempt
        self._is_ending = True
        if runtime.scanner is not None:
            runtime.scanner.stop()
        await attempt("closing the receivers", self._host.stop_receiving)
        await attempt("closing the watch", self._in_thread(runtime.watch.stop))
        if runtime.cluster is not None:
            await attempt("closing the cluster", self._in_thread(runtime.cluster.stop))
        await self._tasks.stop()

    def close_state(self) -> None:
        """Keep everything a last time, when all points are where they belong; may wait for the disk."""
        state = self._runtime.state
        if state is not None:
            (state.close if self._is_live else state.abandon)()

    def _in_thread(self, function: Callable[[], object]) -> Action:
        """An action that calls it on another thread."""
        return partial(self._tasks.in_thread, function)


def _each(seconds: float) -> Delay:
    """Always the same delay."""
    return lambda: seconds
