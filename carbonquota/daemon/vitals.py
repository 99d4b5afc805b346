"""How the daemon as a whole is: what it waits for, since when it runs, and how large its index is."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from importlib.metadata import PackageNotFoundError, version

from carbonquota.daemon.http import ReloadStanding, Standing
from carbonquota.engine import QuotaEngine
from carbonquota.kernel import KERNEL
from carbonquota.model import Clock
from carbonquota.service.health import Sample
from carbonquota.service.rulebook import Rulebook


class Vitals:
    """What no part can say of itself. `waits_for` is set by the daemon; all else is for any thread."""

    def __init__(
        self,
        engine: QuotaEngine,
        rulebook: Rulebook,
        clock: Clock,
        *,
        troubles: Callable[[], tuple[str, ...]],
        failing: Callable[[], tuple[str, ...]],
    ) -> None:
        """The daemon starts now.

        `troubles` are what the parts cannot do as they should, `failing` why it should be restarted, one line each.
        """
        self.waits_for: tuple[str, ...] = ("the daemon is starting",)
        self.version = _version()
        self._engine = engine
        self._rulebook = rulebook
        self._troubles = troubles
        self._failing = failing
        self._clock = clock
        self._started = clock()

    def standing(self) -> Standing:
        """All of it in words."""
        last = self._rulebook.last
        return Standing(
            ready=not self.waits_for,
            reload=ReloadStanding(last.ok, last.time, last.error),
            kernel=KERNEL,
            version=self.version,
            uptime=self._clock() - self._started,
            not_ready=self.waits_for,
            degraded=self._troubles(),
            failing=self._failing(),
        )

    def health(self) -> Iterator[Sample]:
        """The size of the index, the start and the kernel."""
        yield Sample("series", len(self._engine))
        yield Sample("namespaces", self._engine.namespace_count())
        yield Sample("start_time", self._started)
        yield Sample("kernel", 1, KERNEL)


def _version() -> str:
    """The version that is installed."""
    try:
        return version("carbonquota")
    except PackageNotFoundError:
        return "unknown"
