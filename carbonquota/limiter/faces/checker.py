"""What a face needs of the limiter, and how its decisions are measured."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, Protocol

from carbonquota.limiter.model import Answer, Request
from carbonquota.web.listener import ConnectionStats


class Checker(Protocol):
    """The limiter as the faces know it."""

    @property
    def is_local(self) -> bool:
        """Whether `check` never waits for a store, so that an event loop may call it."""

    def check(self, request: Request) -> Answer:
        """Decide."""

    async def check_async(self, request: Request) -> Answer:
        """Decide, where a store may be asked."""

    def release(self, answer: Answer) -> None:
        """Give back its places among the requests in flight."""

    def check_soon(self, request: Request, done: Callable[[Answer | Exception], object]) -> Answer | None:
        """Decide; None where a store is asked first, and `done` is called then."""

    async def release_async(self, answer: Answer) -> None:
        """The same, where a store may be asked."""


BUCKETS: Final = (5e-6, 1e-5, 2.5e-5, 5e-5, 1e-4, 2.5e-4, 5e-4, 1e-3, 2.5e-3, 5e-3, 1e-2, 2.5e-2, 5e-2, 0.1, 0.25, 1.0)
"""Upper bounds of the latency histogram's buckets, in seconds."""


@dataclass(slots=True)
class Latency:
    """A histogram of the seconds that decisions took. Added to on one thread, read from any."""

    counts: list[int] = field(default_factory=lambda: [0] * (len(BUCKETS) + 1))
    total: float = 0.0

    def add(self, seconds: float, times: int = 1) -> None:
        """Note that each of `times` decisions took so long."""
        self.counts[bisect_left(BUCKETS, seconds)] += times
        self.total += seconds * times


@dataclass(slots=True)
class FaceStats(ConnectionStats):
    """What a face counts beside its connections: its decisions' latency and verdicts."""

    latency: Latency = field(default_factory=Latency)
    verdicts: Counter[str] = field(default_factory=Counter)
    waiting: int = 0
    """Decisions that wait for a store."""

    def note(self, answer: Answer, seconds: float) -> None:
        """Count a decision."""
        self.latency.add(seconds)
        self.verdicts["allowed" if answer.allowed else "challenged" if answer.challenge else "blocked"] += 1
