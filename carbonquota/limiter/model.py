"""The values that all parts of the limiter speak in: requests, limits, statuses, answers.

They are frozen and hold no behaviour beyond reading themselves. Times are in seconds. A *descriptor* is what Envoy
calls so: a list of (key, value) entries, of which a rule may limit each combination of values.

What is made for each request, itself, its statuses and its answer, is a tuple with names: a frozen dataclass takes
four times as long to make.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Final, NamedTuple, Protocol

UNLIMITED: Final = 2**32 - 1
"""What remains of no limit: the greatest number that fits into an answer of Envoy's protocol."""

Entry = tuple[str, str]
"""A key and its value."""


class Unit(Enum):
    """What requests are counted by; the value is the name in rules, as months have 30 days and years 365."""

    SECOND = "second"
    MINUTE = "minute"
    HOUR = "hour"
    DAY = "day"
    WEEK = "week"
    MONTH = "month"
    YEAR = "year"

    @property
    def seconds(self) -> int:
        """How long it is."""
        return _SECONDS[self]


_SECONDS: Final = {
    Unit.SECOND: 1,
    Unit.MINUTE: 60,
    Unit.HOUR: 3_600,
    Unit.DAY: 86_400,
    Unit.WEEK: 7 * 86_400,
    Unit.MONTH: 30 * 86_400,
    Unit.YEAR: 365 * 86_400,
}


@dataclass(frozen=True, slots=True)
class Limit:
    """What a rule grants: so many requests in `multiplier` units; `name` is the rule's own, if it has one.

    Of a limit on requests in flight, `requests` is how many may be, and a unit means nothing.
    """

    requests: int
    unit: Unit
    name: str = ""
    multiplier: int = 1

    @property
    def seconds(self) -> int:
        """The length of the time that `requests` are counted in."""
        return self.unit.seconds * self.multiplier


class Descriptor(NamedTuple):
    """What a request is known by: entries from the general to the special.

    `hits` is what the request counts by this descriptor, None for what the whole request does. `limit` takes the place
    of the rule's, or stands where there is no rule.
    """

    entries: tuple[Entry, ...]
    hits: int | None = None
    limit: Limit | None = None


class Request(NamedTuple):
    """One question: may a request with these descriptors pass in this domain?

    `hits` is what it counts. `tier` chooses among a rule's tiers (where it is empty, a descriptor whose only entry has
    the key `tier` does), `address` is the client's for lists of networks, `client` names it in the list of offenders,
    and `route` is what it is counted under; each may be empty.
    """

    domain: str
    descriptors: tuple[Descriptor, ...]
    hits: int = 1
    tier: str = ""
    address: str = ""
    client: str = ""
    route: str = ""


class Code(Enum):
    """Whether a descriptor passes; the values are those of Envoy's protocol."""

    OK = 1
    OVER_LIMIT = 2


class Reason(Enum):
    """Why a descriptor got its code; the value is how it is told."""

    NO_RULE = "no rule"
    UNDER = "under its limit"
    OVER = "over its limit"
    UNLIMITED = "unlimited by its rule"
    REPLACED = "replaced by another rule"
    ALLOWED = "on the rules' allow list"
    DENIED = "on the rules' deny list"
    BANNED = "denied for a while, having been blocked too often"
    FAIL_OPEN = "the store is away, and the rule lets pass"
    FAIL_CLOSED = "the store is away, and the rule lets nothing pass"
    SHARE = "the store is away, and the share of this process is used up"


class Status(NamedTuple):
    """What became of one descriptor.

    `limit` is the one in force, None where there is none. `remaining` is what is left of it now, and `reset` the
    seconds until all of it is there again. `retry_after` is how many seconds a refused request should wait, 0 where it
    was not refused, None where waiting does not help. `shadow` says that it would have been refused, by a rule that is
    only watched. `rule` names the rule, as counters do.
    """

    code: Code
    reason: Reason
    limit: Limit | None = None
    remaining: int = UNLIMITED
    reset: float = 0.0
    retry_after: float | None = 0.0
    shadow: bool = False
    rule: str = ""

    @property
    def is_over(self) -> bool:
        """Whether it keeps the request from passing."""
        return self.code is Code.OVER_LIMIT


@dataclass(frozen=True, slots=True)
class Lease:
    """A place among the requests in flight, which is given back when the request is done, or else runs out."""

    key: str
    token: int
    places: int = 1


class Answer(Protocol):
    """What is to be done with a request: it passes if none of its descriptors is over its limit."""

    @property
    def code(self) -> Code:
        """Whether it passes, as Envoy's protocol has it."""

    @property
    def statuses(self) -> tuple[Status, ...]:
        """A status a descriptor, in their order."""

    @property
    def challenge(self) -> bool:
        """Whether the edge should challenge the client rather than refuse it."""

    @property
    def leases(self) -> tuple[Lease, ...]:
        """To be handed to `Limiter.release` when the request is done."""

    @property
    def allowed(self) -> bool:
        """Whether the request passes."""

    @property
    def tightest(self) -> Status | None:
        """The status to tell a client of: what refuses it for longest, or leaves it least; None without a limit."""

    @property
    def retry_after(self) -> float | None:
        """The seconds to wait before asking again, 0 where it passes; None where waiting does not help."""


class FullAnswer(NamedTuple):
    """An `Answer` with all there is to it; that of the compiled counters makes its status when it is asked for."""

    code: Code
    statuses: tuple[Status, ...]
    challenge: bool = False
    leases: tuple[Lease, ...] = ()

    @property
    def allowed(self) -> bool:
        """Whether the request passes."""
        return self.code is Code.OK

    @property
    def tightest(self) -> Status | None:
        """The status to tell a client of: what refuses it for longest, or leaves it least; None without a limit."""
        limited = [status for status in self.statuses if status.limit is not None]
        return min(limited, key=_slack, default=None)

    @property
    def retry_after(self) -> float | None:
        """The seconds to wait before asking again, 0 where it passes; None where waiting does not help."""
        waits = [status.retry_after for status in self.statuses if status.is_over]
        return max((wait for wait in waits if wait is not None), default=None if waits else 0.0)


def _slack(status: Status) -> tuple[bool, float, float]:
    """What is lowest for the status that a client should be told of."""
    wait = status.retry_after or 0.0
    share = status.remaining / max(status.limit.requests, 1) if status.limit else 1.0
    return not status.is_over, -wait if status.is_over else share, -status.reset
