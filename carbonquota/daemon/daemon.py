"""The daemon's life: its parts are wired, opened, kept going, and closed, each in the right order.

Theory of operation. One event loop thread takes bytes in, decides and gives them to the sink. What blocks runs on
other threads: the state, the reports and the scan on the loop's executor, HTTP and the watch on their own. Opening
goes from the back to the front: state, index and sink before the listeners, so that no sender is served by half a
daemon. Closing goes from the front to the back: listeners, what they hold, the sink, and the state last, so that the
snapshot knows of all that was accepted.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import platform
import resource
import signal
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext, suppress
from functools import partial
from time import time
from typing import Final

from carbonquota.daemon.chores import Action, Chores, Delay, LoopCalls
from carbonquota.daemon.parts import Parts
from carbonquota.daemon.settings import Settings
from carbonquota.kernel import KERNEL
from carbonquota.model import Clock
from carbonquota.service.scan import Scanner

try:
    from uvloop import new_event_loop
except ImportError:  # it is not to be had everywhere
    from asyncio import new_event_loop  # type: ignore[assignment]

_log = logging.getLogger(__name__)

_FLUSH: Final = 0.5
"""Seconds between two syncs of the journal: with the time that one takes, a new metric outlives the machine then."""
_GRACE: Final = 2.0
"""Seconds that senders have to finish what they have begun, once the daemon stops."""
_PATIENCE: Final = 30.0
"""Seconds that the sink has to get out what waits, once the daemon stops."""

_THREADS: Final = 16

Progress = Callable[[str], AbstractContextManager[Callable[[int], None]]]
"""Shows the progress of what is called so, as long as its block runs; what it gives is told of each step."""


def run(settings: Settings, *, progress: Progress | None = None, clock: Clock = time) -> int:
    """Run the daemon until it is told to end; its exit code. QuotaError where it cannot start."""
    _raise_file_limit()
    # The command line goes without: it ends before there is garbage.
    gc.enable()
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        runner.run(Daemon(settings, progress, clock).run())
    _log.info("ended")
    return 0


def _raise_file_limit() -> None:
    """Allow as many connections as the system does."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


class Daemon:
    """One daemon, from its files to its end. Used on one event loop's thread."""

    def __init__(self, settings: Settings, progress: Progress | None = None, clock: Clock = time) -> None:
        """Read its rules; QuotaError where they are bad. Nothing is opened before `run`."""
        self._settings = settings
        self._progress = progress
        self._on_loop = LoopCalls()
        self._parts = Parts(settings, clock, self._on_loop)
        self._clock = clock
        self._chores = Chores()
        self._parts.health.add(self._chores.health)
        self._ending = asyncio.Event()
        self._is_known = False
        self._is_reload_due = False
        self._reloading: asyncio.Task[None] | None = None

    async def run(self) -> None:
        """Open everything, go on until told to end, and close; QuotaError where it cannot open."""
        _log.info("carbonquota %s, kernel %s, Python %s", self._parts.vitals.version, KERNEL, platform.python_version())
        # More threads than there are kinds of work for them: none may keep another from its turn.
        asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(_THREADS, "carbonquota"))
        self._listen_to_signals()
        self._parts.loop_watch.begin()
        opening = asyncio.create_task(self._open())
        ending = asyncio.create_task(self._ending.wait())
        try:
            await asyncio.wait((opening, ending), return_when=asyncio.FIRST_COMPLETED)
            if opening.done():
                await opening
            await ending
        finally:
            opening.cancel()
            ending.cancel()
            await asyncio.gather(opening, ending, return_exceptions=True)
            await self._close()
            self._parts.loop_watch.end()

    def _listen_to_signals(self) -> None:
        """Take the signals of an operator."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._end, number)
        loop.add_signal_handler(signal.SIGHUP, self._ask_to_reload)

    def _end(self, number: signal.Signals) -> None:
        """End in order at the first signal, and at once at the second."""
        if self._ending.is_set():
            _log.warning("%s again: ending at once", number.name)
            os._exit(128 + number)
        _log.info("%s: ending; once more ends at once", number.name)
        self._ending.set()

    def _ask_to_reload(self) -> None:
        """Have the rules read anew; however often it is asked, one reload runs and one more waits."""
        self._is_reload_due = True
        if self._reloading is None or self._reloading.done():
            self._reloading = asyncio.get_running_loop().create_task(self._reload())

    async def _reload(self) -> None:
        """Read the rules anew, on another thread, until nobody asks any more."""
        while self._is_reload_due and not self._ending.is_set():
            self._is_reload_due = False
            await self._chores.attempt("reload", partial(asyncio.to_thread, self._parts.rulebook.reload, "SIGHUP"))

    async def _open(self) -> None:
        """Open everything, in order."""
        parts = self._parts
        self._on_loop.begin()
        parts.rulebook.loaded.log_findings()
        parts.rulebook.on_expressions(parts.patterns.use)
        if parts.http is not None:
            await parts.http.start()
            _log.info("listening for HTTP on %s", parts.http.address)
        is_known = await self._restore()
        await parts.sink.start()
        if parts.scanner is not None and not is_known:
            await self._first_scan(parts.scanner)
            if parts.state is not None:
                # Kept as a whole before anything else is: half of an index would be taken for all of it.
                await asyncio.to_thread(parts.state.snapshot)
        self._is_known = True
        if parts.state is not None:
            parts.state.go_live()
        # What is loaded stays: looking through it for garbage again and again would cost more than all else.
        gc.collect()
        gc.freeze()
        if parts.cluster is not None:
            parts.cluster.start()
        await parts.receivers.start()
        parts.watch.start()
        self._begin_chores(scan_at_once=is_known)
        parts.vitals.waits_for = ()
        parts.systemd.ready()
        rules = len(parts.engine.rules.rules)
        _log.info("ready: %d metrics, %d %s", len(parts.engine), rules, "rule" if rules == 1 else "rules")

    async def _restore(self) -> bool:
        """Take back what was kept at the last run; whether there was anything."""
        parts = self._parts
        if parts.state is None:
            return False
        parts.vitals.waits_for = ("the state is being read",)
        restored = await asyncio.to_thread(parts.state.restore)
        if restored.found:
            _log.info("%d metrics restored in %.1f s", restored.series, restored.seconds)
        return restored.found

    async def _first_scan(self, scanner: Scanner) -> None:
        """Fill the index from the Whisper files."""
        self._parts.vitals.waits_for = ("the Whisper files are being scanned",)
        with self._progress("Scanning Whisper files") if self._progress else nullcontext(_ignore) as advance:
            await asyncio.to_thread(scanner.scan, advance)

    def _begin_chores(self, *, scan_at_once: bool) -> None:
        """Begin what is to be done again and again."""
        parts, state, server = self._parts, self._settings.state, self._settings.carbonserver
        repeat = self._chores.repeat
        repeat("report", lambda: parts.reporter.next_report(self._clock()), self._report)
        if parts.state is not None:
            repeat("flush", _each(_FLUSH), in_thread(parts.state.flush))
            repeat("snapshot", _each(state.snapshot_frequency), in_thread(parts.state.snapshot))
        if parts.scanner is not None and server.scan_frequency:
            first = iter((0.0,) if scan_at_once else ())
            repeat("scan", lambda: next(first, server.scan_frequency), in_thread(parts.scanner.scan))
        if state.series_ttl:
            repeat("expiry", _each(min(state.series_ttl / 4, 60.0)), in_thread(parts.expiry.run))

    async def _report(self) -> None:
        """Report: made on another thread, given to the sink on this one."""
        parts = self._parts
        report = await asyncio.to_thread(parts.reporter.report)
        parts.sink.write(report.lines, report.points)
        parts.throttling.settle(report.over, report.creates)

    async def _close(self) -> None:
        """Close everything, in order; whatever fails, the rest is closed all the same."""
        parts = self._parts
        parts.vitals.waits_for = ("the daemon is ending",)
        parts.systemd.stopping()
        if parts.scanner is not None:
            parts.scanner.stop()
        attempt = self._chores.attempt
        await attempt("closing the watch", in_thread(parts.watch.stop))
        await attempt("closing the receivers", lambda: parts.receivers.close(_GRACE))
        parts.intake.finish()
        if parts.cluster is not None:
            await attempt("closing the cluster", in_thread(parts.cluster.stop))
        await self._chores.stop()
        self._on_loop.end()
        await attempt("closing the sink", lambda: parts.sink.stop(_PATIENCE))
        if parts.state is not None:
            await attempt("closing the state", in_thread(parts.state.close if self._is_known else parts.state.abandon))
        await attempt("closing the patterns", in_thread(parts.patterns.close))
        http = parts.http
        if http is not None:
            await attempt("closing HTTP", lambda: http.stop(_GRACE))


def in_thread(function: Callable[[], object]) -> Action:
    """A chore that waits, done where nobody waits for it."""
    return partial(asyncio.to_thread, function)


def _each(seconds: float) -> Delay:
    """Always the same delay."""
    return lambda: seconds


def _ignore(_: int) -> None:
    """Nobody looks at the progress."""
