"""The daemon's values for `/health`: as they are, or as they last were where a part of the daemon does not answer.

Some values wait for the engine's lock. Where the event loop stands while it holds that, they would never come, and
`/health` must say so all the same. So they are asked for by one thread at a time, which may wait for ever.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from threading import Thread
from typing import Final

from carbonquota.daemon.http.documents import Stats, stats_document
from carbonquota.service.health import HealthSample

_TIMEOUT: Final = 0.5
"""Seconds that the values are waited for."""

TOO_OLD: Final = "the values are old: a part of the daemon does not answer"


class RecentStats:
    """Values that are never waited for long. Used on one event loop."""

    def __init__(self, samples: Callable[[], Iterable[HealthSample]]) -> None:
        """Ask `samples`, on another thread."""
        self._samples = samples
        self._asked: Future[Stats] | None = None
        self._last: Stats = {}

    async def stats(self) -> tuple[Stats, bool]:
        """The values, and whether they are those of now."""
        if self._asked is None:
            self._asked = Future()
            Thread(target=_answer, args=(self._asked, self._samples), name="http-health", daemon=True).start()
        asked = self._asked
        done, _ = await asyncio.wait((asyncio.wrap_future(asked),), timeout=_TIMEOUT)
        if not done:
            return self._last, False
        if self._asked is asked:
            self._asked = None
        self._last = asked.result()
        return self._last, True


def _answer(asked: Future[Stats], samples: Callable[[], Iterable[HealthSample]]) -> None:
    """What the thread does."""
    try:
        asked.set_result(stats_document(samples()))
    except Exception as error:  # noqa: BLE001 - it is raised where it was asked for
        asked.set_exception(error)
