"""Clients that are denied for a while, as they were blocked too often, or as somebody said so."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from threading import Lock
from typing import Final

from carbonquota.limiter.algorithms import Algorithm, policy_of
from carbonquota.limiter.charge import Charge
from carbonquota.limiter.reference import PlainCounters
from carbonquota.limiter.rules.model import BanPolicy
from carbonquota.limiter.stats import Sample
from carbonquota.model import Clock

_MOST: Final = 100_000
"""Clients that are denied at once; the one denied first goes where there are more."""

_REMEMBERED: Final = 1_000
"""Events of the audit that are kept here."""


@dataclass(frozen=True, slots=True)
class Ban:
    """A client that is denied until a time, in seconds since the epoch; `by` is `limits`, or who did it by hand."""

    client: str
    until: float
    by: str
    reason: str


@dataclass(frozen=True, slots=True)
class BanEvent:
    """What happened to a client at a time: `banned`, `lifted` or `ended`."""

    time: float
    what: str
    ban: Ban


class Bans:
    """Who is denied now. Safe to use from any thread."""

    def __init__(self, clock: Clock, tell: Callable[[BanEvent], object] | None = None) -> None:
        """Nobody is; `tell` is called with each event, on the thread that brings it about."""
        self._clock = clock
        self._tell = [] if tell is None else [tell]
        self._lock = Lock()
        self.denied: dict[str, Ban] = {}
        """By client, to be read alone."""
        self._blocked = PlainCounters(clock, most=_MOST)
        self._audit: deque[BanEvent] = deque(maxlen=_REMEMBERED)
        self._counts: Counter[str] = Counter()

    def listen(self, tell: Callable[[BanEvent], object]) -> None:
        """Call `tell` with each event, too."""
        self._tell.append(tell)

    def take_over(self, bans: Mapping[str, Ban], own: frozenset[str]) -> None:
        """Deny whom other limiters deny, and nobody else but those of `own`; it is audited, and nobody is told."""
        with self._lock:
            gone = [ban for client, ban in self.denied.items() if client not in bans and client not in own]
            came = [
                ban for client, ban in bans.items() if client not in own and self.denied.get(client) != ban
            ][-_MOST:]  # fmt: skip
            for ban in gone:
                del self.denied[ban.client]
            for ban in came:
                self._put(ban)
            now = self._clock()
            self._audit.extend(BanEvent(now, "lifted" if ban in gone else "banned", ban) for ban in (*gone, *came))

    def __bool__(self) -> bool:
        """Whether anybody may be denied."""
        return bool(self.denied)

    def left(self, client: str) -> float:
        """The seconds that a client is still denied; 0 where it is not."""
        if not self.denied:
            return 0.0
        ban = self.denied.get(client)
        if ban is None:
            return 0.0
        left = ban.until - self._clock()
        if left <= 0:
            self._end(client, "ended")
        return max(left, 0.0)

    def note_blocked(self, client: str, policy: BanPolicy) -> None:
        """Count a blocked request, and deny the client where these are too many."""
        allowed = policy_of(Algorithm.SLIDING_WINDOW, policy.blocked, policy.within)
        if not self._blocked.decide([Charge(client, allowed)]).passes:
            reason = f"blocked more than {policy.blocked:,} times in {policy.within:,} s"
            self.add(client, policy.length, reason, by="limits")

    def add(self, client: str, seconds: float, reason: str, by: str) -> Ban:
        """Deny a client for a while, or for longer."""
        ban = Ban(client, self._clock() + seconds, by, reason)
        with self._lock:
            self._put(ban)
            self._counts[by if by == "limits" else "hand"] += 1
        self._note("banned", ban)
        return ban

    def _put(self, ban: Ban) -> None:
        """Deny a client; to be called under the lock."""
        self.denied.pop(ban.client, None)
        if len(self.denied) >= _MOST:
            del self.denied[next(iter(self.denied))]
        self.denied[ban.client] = ban

    def lift(self, client: str) -> bool:
        """Deny a client no more; False where it was not denied."""
        return self._end(client, "lifted")

    def listed(self) -> list[Ban]:
        """All that are denied now."""
        now = self._clock()
        with self._lock:
            over = [client for client, ban in self.denied.items() if ban.until <= now]
        for client in over:
            self._end(client, "ended")
        with self._lock:
            return list(self.denied.values())

    def audit(self) -> list[BanEvent]:
        """The latest events, the last one last."""
        with self._lock:
            return list(self._audit)

    def samples(self) -> Iterator[Sample]:
        """How many are denied, and came to be."""
        yield Sample("limiter_banned", len(self.listed()))
        for by, count in sorted(self._counts.items()):
            yield Sample("limiter_bans", count, (by,))

    def _end(self, client: str, what: str) -> bool:
        with self._lock:
            ban = self.denied.pop(client, None)
        if ban is not None:
            self._note(what, ban)
        return ban is not None

    def _note(self, what: str, ban: Ban) -> None:
        event = BanEvent(self._clock(), what, ban)
        with self._lock:
            self._audit.append(event)
        for tell in self._tell:
            tell(event)
