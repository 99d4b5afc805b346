"""The status of the daemon as a whole: what it waits for, since when it runs, and why it should be restarted."""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version

from carbonquota.daemon.http import DaemonStatus, ReloadStatus
from carbonquota.kernel import KERNEL
from carbonquota.service.runtime import Runtime


class ProcessStatus:
    """What no part can say of itself. `waits_for` is set by the daemon; all else is for any thread."""

    def __init__(self, runtime: Runtime, failing: Callable[[], tuple[str, ...]]) -> None:
        """The daemon starts now; `failing` tells why it should be restarted, one line each."""
        self.waits_for: tuple[str, ...] = ("the daemon is starting",)
        self.version = _version()
        self._runtime = runtime
        self._failing = failing

    def status(self) -> DaemonStatus:
        """All of it in words."""
        runtime, last = self._runtime, self._runtime.rulebook.last
        return DaemonStatus(
            ready=not self.waits_for,
            reload=ReloadStatus(last.ok, last.time, last.error),
            kernel=KERNEL,
            version=self.version,
            uptime=runtime.clock() - runtime.started,
            not_ready=self.waits_for,
            degraded=runtime.troubles,
            failing=self._failing(),
        )


def _version() -> str:
    """The version that is installed."""
    try:
        return version("carbonquota")
    except PackageNotFoundError:
        return "unknown"
