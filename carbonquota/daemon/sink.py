"""Where accepted data points go: what the daemon asks of a store or a relay."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Protocol

from carbonquota.controls import Admission
from carbonquota.service.health import HealthSample


class Sink(Protocol):
    """Takes accepted points, and never loses one without counting it.

    All methods but `health` are called on the event loop's thread. At each moment: points that were written =
    stored or forwarded + lost + waiting in the queue or the spool.
    """

    @property
    def is_full(self) -> bool:
        """Whether senders should be made to wait; what is written nevertheless is still taken, or counted as lost.

        A sink is made with a callback `on_room`, which it calls on the loop's thread each time it stops being full.
        """

    async def start(self) -> None:
        """Open what it needs; QuotaError where it can never work (a data directory that cannot be made)."""

    def write(self, lines: bytes, points: int) -> None:
        r"""Take `points` plaintext data points: whole lines, each with its end (`\n` or `\r\n`). Does not block."""

    def prepare(self, admission: Admission) -> Callable[[], None]:
        """Bring the points that an answer passes into the form that is stored or sent; what is returned writes them."""

    async def stop(self, seconds: float) -> None:
        """Get out what waits, for at most so many `seconds`, then keep the rest on disk or count it as lost."""

    @property
    def troubles(self) -> tuple[str, ...]:
        """What does not go well, each a line for a person, with a remedy where there is one. From any thread."""

    def health(self) -> Iterable[HealthSample]:
        """Its counts: queue, spool, stored or forwarded, lost, errors. From any thread."""
