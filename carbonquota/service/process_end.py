"""What every process that serves does alike: it ends at a signal, and has as many files open as it may."""

from __future__ import annotations

import asyncio
import logging
import os
import resource
import signal
from contextlib import suppress

_log = logging.getLogger(__name__)


class EndSignals:
    """SIGTERM and SIGINT: `ending` is set at the first, and the second ends the process at once."""

    def __init__(self) -> None:
        """No signal is taken before `listen`."""
        self.ending = asyncio.Event()

    def listen(self) -> None:
        """Take the signals; to be called on the event loop that is to end."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._end, number)

    def _end(self, number: signal.Signals) -> None:
        if self.ending.is_set():
            _log.warning("%s again: ending at once", number.name)
            os._exit(128 + number)
        _log.info("%s: ending; once more ends at once", number.name)
        self.ending.set()


def raise_file_limit() -> None:
    """Allow as many connections as the system does."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
