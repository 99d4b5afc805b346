"""Rules tried on the requests of a log: decided by the times that it tells, and counted by who would be limited."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from carbonquota.limiter.counters import local_counters
from carbonquota.limiter.model import Reason, Status
from carbonquota.limiter.plan import client_of
from carbonquota.limiter.rules import DomainRules
from carbonquota.limiter.service import Limiter
from carbonquota.limiter.trial.access_log import LogLine
from carbonquota.limiter.trial.templates import Templates

_MOST_CLIENTS = 100_000
"""Clients that are told apart."""


@dataclass(slots=True)
class Limited:
    """Requests of a rule or a client: how many there were, how many were limited, and when the first one was."""

    requests: int = 0
    limited: int = 0
    shadow: int = 0
    clients: set[str] = field(default_factory=set)
    first: float | None = None
    sample: str = ""

    def note(self, status: Status, client: str, time: float) -> None:
        """Count a request."""
        self.requests += 1
        self.limited += status.is_over
        self.shadow += status.shadow
        if status.is_over or status.shadow:
            if len(self.clients) < _MOST_CLIENTS:
                self.clients.add(client)
            if self.first is None:
                self.first, self.sample = time, client


class Trial:
    """A limiter whose clock is the log's."""

    def __init__(self, rules: DomainRules, templates: Templates) -> None:
        """Nothing is tried yet."""
        self._time = 0.0
        self._templates = templates
        self._limiter = Limiter(rules, counters=local_counters(lambda: self._time), clock=lambda: self._time)
        self.requests = 0
        self.limited = 0
        self.unmatched = 0
        self.rules: dict[str, Limited] = {}
        self.clients: Counter[str] = Counter()
        self.seen: set[str] = set()

    def take(self, line: LogLine) -> None:
        """Try one request. One that is older than the one before, as it took longer, counts as of then."""
        self._time = max(self._time, line.time)
        request = self._templates.request(line.fields)
        answer = self._limiter.check(request)
        # A log does not tell how long requests were in flight.
        self._limiter.release(answer)
        client = client_of(request)
        self.requests += 1
        self.limited += not answer.allowed
        self.unmatched += all(status.reason is Reason.NO_RULE for status in answer.statuses)
        if len(self.seen) < _MOST_CLIENTS:
            self.seen.add(client)
        if not answer.allowed and (client in self.clients or len(self.clients) < _MOST_CLIENTS):
            self.clients[client] += 1
        for status in answer.statuses:
            name = status.rule or (status.reason.value if status.reason is not Reason.NO_RULE else "")
            if name:
                self.rules.setdefault(name, Limited()).note(status, client, self._time)
