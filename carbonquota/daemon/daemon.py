"""The daemon's life: its own parts opened and closed in between what every host of a runtime does.

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
import platform
import signal
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from time import time
from typing import Final

from carbonquota.daemon.parts import DaemonParts
from carbonquota.daemon.settings import Settings
from carbonquota.kernel import KERNEL
from carbonquota.model import Clock
from carbonquota.service.lifecycle import Lifecycle
from carbonquota.service.loop_tasks import LoopCalls, LoopTasks
from carbonquota.service.periodic_tasks import Action
from carbonquota.service.process_end import EndSignals, raise_file_limit
from carbonquota.service.rates import EVERY
from carbonquota.service.reporter import Piece
from carbonquota.service.rulebook import log_warnings
from carbonquota.web.tls import LOOK

try:
    from uvloop import new_event_loop
except ImportError:  # it is not to be had everywhere
    from asyncio import new_event_loop  # type: ignore[assignment]

_log = logging.getLogger(__name__)

_GRACE: Final = 2.0
"""Seconds that senders have to finish what they have begun, once the daemon stops."""
_SINK_TIMEOUT: Final = 30.0
"""Seconds that the sink has to get out what waits, once the daemon stops."""

_THREADS: Final = 16

Progress = Callable[[str], AbstractContextManager[Callable[[int], None]]]
"""Shows the progress of what is called so, as long as its block runs; what it gives is told of each step."""


def run(settings: Settings, *, progress: Progress | None = None, clock: Clock = time) -> int:
    """Run the daemon until it is told to end; its exit code. QuotaError where it cannot start."""
    raise_file_limit()
    # The command line goes without: it ends before there is garbage.
    gc.enable()
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        runner.run(Daemon(settings, progress, clock).run())
    _log.info("ended")
    return 0


class Daemon:
    """One daemon, from its files to its end. Used on one event loop's thread."""

    def __init__(self, settings: Settings, progress: Progress | None = None, clock: Clock = time) -> None:
        """Read its rules; QuotaError where they are bad. Nothing is opened before `run`."""
        self._progress = progress
        self._on_loop = LoopCalls()
        self._parts = DaemonParts(settings, clock, self._on_loop)
        self._runtime = self._parts.runtime
        self._tasks = LoopTasks()
        self._lifecycle = Lifecycle(self._runtime, self._tasks, self)
        self._signals = EndSignals()
        self._ending = self._signals.ending
        self._is_reload_due = False
        self._reloading: asyncio.Task[None] | None = None

    async def run(self) -> None:
        """Open everything, go on until told to end, and close; QuotaError where it cannot open."""
        _log.info("carbonquota %s, kernel %s, Python %s", self._parts.status.version, KERNEL, platform.python_version())
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
        self._signals.listen()
        loop.add_signal_handler(signal.SIGHUP, self._ask_to_reload)

    def _ask_to_reload(self) -> None:
        """Have the rules read anew; however often it is asked, one reload runs and one more waits."""
        self._is_reload_due = True
        if self._reloading is None or self._reloading.done():
            self._reloading = asyncio.get_running_loop().create_task(self._reload())

    async def _reload(self) -> None:
        """Read the rules anew, on another thread, until nobody asks any more."""
        while self._is_reload_due and not self._ending.is_set():
            self._is_reload_due = False
            await self._tasks.attempt("reload", self._in_thread(partial(self._runtime.rulebook.reload, "SIGHUP")))

    async def _open(self) -> None:
        """Open everything, in order."""
        parts, runtime, lifecycle = self._parts, self._runtime, self._lifecycle
        self._on_loop.begin()
        log_warnings(runtime.rulebook.loaded)
        runtime.rulebook.on_expressions(runtime.patterns.use)
        if parts.http is not None:
            await parts.http.start()
            scheme = "HTTPS" if parts.settings.access.tls_certificate else "HTTP"
            _log.info("listening for %s on %s", scheme, parts.http.address)
        if runtime.state is not None:
            parts.status.waits_for = ("the state is being read",)
            await asyncio.to_thread(lifecycle.restore)
        is_first = lifecycle.needs_first_scan
        await parts.sink.start()
        if is_first:
            await self._first_scan()
        lifecycle.go_live()
        # What is loaded stays: looking through it for garbage again and again would cost more than all else.
        gc.collect()
        gc.freeze()
        if runtime.cluster is not None:
            runtime.cluster.start()
        await self._receive()
        lifecycle.begin(scan_at_once=not is_first)
        self._watch_http()
        parts.status.waits_for = ()
        parts.systemd.ready()
        rules = len(runtime.engine.rules.rules)
        _log.info("ready: %d metrics, %d %s", len(runtime.engine), rules, "rule" if rules == 1 else "rules")

    async def _receive(self) -> None:
        """Take data points, and from now on rules from elsewhere."""
        await self._parts.receivers.start()
        if self._parts.follower is not None:
            self._parts.follower.start()

    def _watch_http(self) -> None:
        """What is looked at again and again for those who ask over HTTP."""
        parts = self._parts
        if parts.http is None:
            return
        parts.rates.look()
        self._tasks.repeat("rates", lambda: EVERY, self._in_thread(parts.rates.look))
        self._tasks.repeat("tls", lambda: LOOK, self._in_thread(parts.tls.refresh))

    async def _first_scan(self) -> None:
        """Fill the index from the Whisper files."""
        self._parts.status.waits_for = ("the Whisper files are being scanned",)
        with self._progress("Scanning Whisper files") if self._progress else nullcontext(_ignore) as advance:
            await self._lifecycle.first_scan(advance)

    async def write_stats(self, piece: Piece) -> None:
        """Give lines of a report to the sink."""
        self._parts.sink.write(piece.lines, piece.points)

    async def stop_receiving(self) -> None:
        """Close the inputs, and decide on what they read."""
        try:
            await self._parts.receivers.close(_GRACE)
        finally:
            self._parts.intake.finish()

    async def _close(self) -> None:
        """Close everything, in order; whatever fails, the rest is closed all the same."""
        parts, attempt = self._parts, self._tasks.attempt
        parts.status.waits_for = ("the daemon is ending",)
        parts.systemd.stopping()
        if parts.follower is not None:
            parts.follower.stop()
        await self._lifecycle.end()
        self._on_loop.end()
        await attempt("closing the sink", lambda: parts.sink.stop(_SINK_TIMEOUT))
        await attempt("closing the state", self._in_thread(self._lifecycle.close_state))
        await attempt("closing the patterns", self._in_thread(self._runtime.patterns.close))
        http = parts.http
        if http is not None:
            await attempt("closing HTTP", lambda: http.stop(_GRACE))

    def _in_thread(self, function: Callable[[], object]) -> Action:
        """An action that calls it where nobody waits for it."""
        return partial(self._tasks.in_thread, function)


def _ignore(_: int) -> None:
    """Nobody looks at the progress."""
