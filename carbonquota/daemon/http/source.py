"""What the HTTP interface reads of the daemon, and the one thing it can ask of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from carbonquota.engine import QuotaEngine
from carbonquota.rules import Finding
from carbonquota.service.health import Health
from carbonquota.service.rates import RateHistory
from carbonquota.service.runtime import ClusterNode
from carbonquota.service.totals import OverQuota


@dataclass(frozen=True, slots=True)
class ReloadStatus:
    """How the last reload of the rules ended: `time` in seconds since the epoch, `error` empty where it is `ok`."""

    ok: bool
    time: float
    error: str = ""


@dataclass(frozen=True, slots=True)
class DaemonStatus:
    """How the daemon is, in words; a reason is one line for a person, with a remedy where there is one.

    It is `ready` once its index is and its listeners are open; until then `not_ready` says what it waits for.
    `degraded` are reasons for which it works less well (the state cannot be written). The last reload need
    not be among them: it is read from `reload`. `failing` are reasons to restart it. `uptime` is
    in seconds.
    """

    ready: bool
    reload: ReloadStatus
    kernel: str
    version: str
    uptime: float
    not_ready: tuple[str, ...] = ()
    degraded: tuple[str, ...] = ()
    failing: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ReloadAnswer:
    """How a reload ended that was asked for: `text` says what is in force since, or has every problem in full."""

    ok: bool
    text: str


@dataclass(frozen=True, slots=True)
class HttpSource:
    """All that is read of the daemon; every call may come from any thread, and some wait for the engine's lock.

    `metrics` gives the page for Prometheus, piece by piece. `reload` puts in force what the files say.

    The rest is for pages: what they call this daemon, its report interval in seconds, what looks wrong in the rules in
    force, which namespaces the last report found over a quota, and what came in over the last hour. `cluster` is what
    shares limits with other nodes, if anything does.
    """

    engine: QuotaEngine
    health: Health
    metrics: Callable[[], Iterable[bytes]]
    status: Callable[[], DaemonStatus]
    reload: Callable[[], ReloadAnswer]
    host: str = ""
    interval: float = 60.0
    findings: Callable[[], Sequence[Finding]] = tuple
    last_over: Callable[[], Sequence[OverQuota]] = tuple
    rates: RateHistory | None = None
    cluster: ClusterNode | None = None
