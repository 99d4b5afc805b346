"""A write that somebody waits for, but not for ever: done on a thread of its own, which may be left behind.

A disk that hangs holds up whoever writes to it, and nothing can call a write back. The event loop must not be that one.
So the loop asks for the write and waits for a while; if it is not done by then, the loop goes on, and asks again only
when that write has come to its end.
"""

from __future__ import annotations

from collections.abc import Callable
from threading import Lock, Thread
from typing import Final

TIMEOUT: Final = 0.5
"""Seconds that a write may hold up the event loop, once for each time that the disk hangs."""


class BoundedWrite:
    """Has `write` done on a thread that lives until the process ends. To be called by one thread at a time."""

    def __init__(self, write: Callable[[], None], timeout: float = TIMEOUT) -> None:
        """`write` raises nothing. The thread begins with the first call, so a process may still fork before it."""
        self._write = write
        self._timeout = timeout
        self._wanted, self._done = Lock(), Lock()
        self._wanted.acquire()
        self._done.acquire()
        self._thread: Thread | None = None
        self._is_late = False

    def __call__(self) -> bool:
        """Have it done; whether it was done in time. While a late one lasts, it is not waited for."""
        if self._is_late:
            if not self._done.acquire(blocking=False):
                return False
            self._is_late = False
        if self._thread is None:
            self._thread = Thread(target=self._run, name="carbonquota journal", daemon=True)
            self._thread.start()
        self._wanted.release()
        # Late already if the wait is broken off, lest the end of this one is taken for that of the next.
        self._is_late = True
        self._is_late = not self._done.acquire(timeout=self._timeout)
        return not self._is_late

    def _run(self) -> None:
        while True:
            self._wanted.acquire()
            try:
                self._write()
            finally:
                self._done.release()
