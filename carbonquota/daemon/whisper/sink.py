"""The sink that stores: cache, writer and files put together, from the start of the daemon to its stop."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from threading import Thread
from time import time
from typing import Final

from carbonquota.controls import Admission
from carbonquota.daemon.settings import Settings
from carbonquota.daemon.whisper import leftovers as kept_points
from carbonquota.daemon.whisper.cache import WriteCache
from carbonquota.daemon.whisper.files import WhisperFiles
from carbonquota.daemon.whisper.pace import WritePace
from carbonquota.daemon.whisper.points import read_points, storable
from carbonquota.daemon.whisper.writer import LOST, Writer
from carbonquota.errors import QuotaError
from carbonquota.model import Clock
from carbonquota.rules import Aggregations, Schemas
from carbonquota.rules.expressions import Search, search_here
from carbonquota.service.health import HealthSample
from carbonquota.storage.data_directory import DataDirectory
from carbonquota.storage.paths import path_of
from carbonquota.storage.tree import compressed_file

_log = logging.getLogger(__name__)

_LAST_WRITE: Final = 1.0
"""Seconds that the one write under way is waited for after that time."""


class WhisperSink:
    """Stores accepted points in the Whisper files of `settings.whisper.data_dir`. A `Sink`.

    `on_room` is called on the loop's thread when it stops being full. With a path for `leftovers`, what cannot be
    written before the stop is kept there and comes back at the next start; without one it is lost.
    """

    def __init__(  # noqa: PLR0913 - each is one thing that comes from outside
        self,
        settings: Settings,
        schemas: Schemas,
        aggregations: Aggregations,
        *,
        on_room: Callable[[], None],
        clock: Clock = time,
        leftovers: str | None = None,
        on_unstored: Callable[[str], object] = lambda _: None,
        search: Search = search_here,
    ) -> None:
        """Nothing is touched before `start`; `clock` gives the seconds since the epoch.

        `on_unstored` is called on the loop's thread with a metric that gets no file, as no point of it can be kept.
        `search` is asked, by the thread that makes files, about patterns that RE2 does not read.
        """
        store = settings.whisper
        self.directory = DataDirectory(store.data_dir)
        self._on_unstored = on_unstored
        self._on_room = on_room
        self._clock = clock
        self._leftovers = leftovers
        self._loop: asyncio.AbstractEventLoop | None = None
        self._files = WhisperFiles(self.directory, path_of, clock, sparse=store.sparse_create)
        self._search = search
        self.replace(schemas, aggregations)
        self._cache = WriteCache(settings.cache.max_size, path_of, self._tell_room)
        updates, creates = (
            WritePace(store.max_updates_per_second, clock),
            WritePace(store.max_creates_per_second, clock),
        )
        self._writer = Writer(self._cache, self._files, updates, creates, clock, self._tell_unstored)
        # Not waited for when the process ends: a disk that hangs must not keep it.
        self._thread = Thread(target=self._writer.run, name="whisper-writer", daemon=True)

    @property
    def is_full(self) -> bool:
        """Whether the cache reached its size, and `on_room` has not told since that there is room."""
        return self._cache.is_full

    async def start(self) -> None:
        """Begin to write; QuotaError where the data directory, or what was kept, can never be used."""
        self._loop = asyncio.get_running_loop()
        self.directory.open()
        if path := await asyncio.to_thread(compressed_file, self.directory.path):
            _log.warning(
                "%s is a compressed Whisper file: such files count, but points for them cannot be written", path
            )
        if self._leftovers is not None:
            self._take_back(self._leftovers)
        self._thread.start()

    def write(self, lines: bytes, points: int) -> None:
        """Take `points` plaintext data points: whole lines, each with its end. Does not block."""
        self._cache.add(read_points(lines, points, int(self._clock())))

    def prepare(self, admission: Admission) -> Callable[[], None]:
        """What writes the points that an answer passes; their lines were read when they were decided."""
        return partial(self._cache.add, storable(admission.columns(), int(self._clock())))

    def is_pending(self, metric: str) -> bool:
        """Whether points of this metric, named in normal form, are not in its file yet. From any thread."""
        return self._cache.is_pending(metric)

    def replace(self, schemas: Schemas, aggregations: Aggregations) -> None:
        """Make new files by these from now on. From any thread."""
        self._files.follow(schemas.searching(self._search), aggregations.searching(self._search))

    async def stop(self, seconds: float) -> None:
        """Write what waits at full speed, for at most so many seconds; then keep the rest, or count it as lost."""
        if self._thread.is_alive():
            self._writer.finish()
            await asyncio.to_thread(self._thread.join, seconds)
            self._writer.abandon()
            await asyncio.to_thread(self._thread.join, _LAST_WRITE)
        self._keep_rest()
        self._writer.tell_losses()
        self.directory.close()

    @property
    def troubles(self) -> tuple[str, ...]:
        """What does not go well, a line each. From any thread."""
        trouble = self.directory.trouble
        return (*((trouble,) if trouble else ()), *(text for text in self._writer.troubles if text != trouble))

    def health(self) -> Iterator[HealthSample]:
        """What waits, what was stored and lost, and how the disk does. From any thread."""
        counts = self._cache.counts()
        yield HealthSample("queue_points", counts.queued)
        yield HealthSample("stored", counts.stored)
        for reason in dict.fromkeys((*LOST, *counts.lost)):
            yield HealthSample("lost", counts.lost.get(reason, 0), reason)
        yield from self._writer.health()

    def _tell_room(self) -> None:
        """Let the loop know; it may be closed already where a write hung past the stop."""
        if self._loop is not None:
            with suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self._on_room)

    def _tell_unstored(self, metric: str) -> None:
        """Let whoever charged a metric know that it has no file, unless more points of it came meanwhile."""

        def tell() -> None:
            if not self._cache.is_pending(metric):
                self._on_unstored(metric)

        if self._loop is not None:
            with suppress(RuntimeError):
                self._loop.call_soon_threadsafe(tell)

    def _take_back(self, path: str) -> None:
        """Take in what was kept at the last stop."""
        taken = 0
        for lines, points in kept_points.kept(path):
            # However small the cache is by now: they were accepted once.
            self._cache.add(read_points(lines, points, int(self._clock())), bounded=False)
            taken += points
        try:
            kept_points.forget(path)
        except OSError as error:
            cause = (error.strerror or str(error)).lower()
            raise QuotaError(f"{path}: cannot be removed: {cause}; its points would be written twice") from None
        if taken:
            _log.info("%d points kept at the last stop were taken back from %s", taken, path)

    def _keep_rest(self) -> None:
        """Keep what is left in the cache, or count it as lost. What is kept still counts as queued."""
        rest = self._cache.close()
        left = sum(len(points) for _, points in rest)
        if not left:
            return
        if self._leftovers is None:
            _log.warning("%d points were not written in time, and are lost", left)
            self._cache.give_up()
            return
        try:
            kept_points.keep(self._leftovers, rest)
        except OSError as error:
            _log.error("%d points are lost: cannot write %s: %s", left, self._leftovers, error.strerror or error)
            self._cache.give_up()
        else:
            _log.info("%d points were not written in time, and are kept in %s", left, self._leftovers)
