"""Follows the quota service: waits for releases, has them put in force, and tells how that went.

On a thread of its own, as a poll waits for most of a minute. Whatever fails, the rules in force stay, and it is tried
again: at first after a second, then less and less often. Each way of failing has words of its own, in the log, in
`/health` and, where it can be reached, in the service.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Callable, Iterator
from threading import Event, Thread
from time import monotonic
from typing import Any, Final, Protocol

from carbonquota.client.fleet import FleetClient, FleetRules, FleetSettings
from carbonquota.client.fleet_releases import damaged, unreadable
from carbonquota.client.json_service import ServiceAwayError, ServiceRefusedError
from carbonquota.client.kept_rules import KeptRules
from carbonquota.errors import ConfigError, QuotaError
from carbonquota.service.bounded_log import BoundedLog
from carbonquota.service.health import HealthSample
from carbonquota.service.rulebook import ReloadResult

_log = logging.getLogger(__name__)

_FIRST_PAUSE: Final = 1.0
_LONGEST_PAUSE: Final = 5.0

Usages = Callable[[], list[dict[str, Any]]]
"""Gives what is to be told of namespaces, as the service takes it."""


class ReleaseSource(Protocol):
    """What a rulebook reads, and how it knows the service."""

    settings: FleetSettings
    client: FleetClient
    kept: KeptRules
    trouble: str

    @property
    def running(self) -> int:
        """The number of the release in force, 0 for none."""

    def loaded_from(self, rules: FleetRules) -> object:
        """What a release says; ConfigError with all problems."""

    def take(self, rules: FleetRules) -> None:
        """Have a release be what is read from now on."""


class Reloads(Protocol):
    """A rulebook."""

    def reload(self, reason: str) -> ReloadResult:
        """Put in force what its source says now."""


class FleetFollower:
    """The thread that follows."""

    def __init__(self, source: ReleaseSource, rulebook: Reloads, usages: Usages = list, drops: Usages = list) -> None:
        """Put releases in force by `rulebook`, which reads `source`. `drops` is what was dropped since it was asked."""
        self._source = source
        self._rulebook = rulebook
        self._usages = usages
        self._drops = drops
        self._has_drops = False
        self._ending = Event()
        self._seen = source.running
        self._is_up = False
        self._away = ""
        self._refused = source.trouble
        self._told_usage = float("-inf")
        self._pause = _FIRST_PAUSE
        self._notices = BoundedLog(_log, monotonic, every=60.0)

    def start(self) -> None:
        """Begin."""
        Thread(target=self._run, name="fleet", daemon=True).start()

    def stop(self) -> None:
        """Take no more releases; a poll that waits is left to itself."""
        self._ending.set()

    @property
    def troubles(self) -> tuple[str, ...]:
        """What is not as it should be, a line each."""
        return tuple(text for text in (self._away, self._refused) if text)

    def health(self) -> Iterator[HealthSample]:
        """Whether the service answers, and which release is in force."""
        yield HealthSample("hub_up", float(self._is_up))
        yield HealthSample("hub_release", self._source.running)

    def _run(self) -> None:
        while not self._ending.is_set():
            try:
                self.step()
            except Exception:  # noqa: BLE001 - the edge of a thread
                self._notices.exception("bug", "the quota service: a bug; trying again")
                self._ending.wait(_LONGEST_PAUSE)

    def step(self) -> None:
        """One poll, and what comes of it."""
        settings = self._source.settings
        # The first poll after something changed tells that at once.
        wait = settings.wait * random.uniform(0.8, 1.0) if self._is_up else 0.0  # noqa: S311 - no secret
        try:
            rules = self._source.client.in_force(self._seen, self._source.running, self._refused, wait)
        except QuotaError as error:
            self._on_failure(error)
            return
        if not self._is_up:
            _log.info("the quota service at %s answers", settings.url)
        self._is_up, self._away, self._pause = True, "", _FIRST_PAUSE
        if rules is not None and not self._ending.is_set():
            self._on_rules(rules)
        self._tell_usage()
        self._tell_drops()

    def _on_failure(self, error: QuotaError) -> None:
        """Say why, and wait a while."""
        self._is_up = False
        what = {401: "it refuses the token: ", 403: "the token is of a role that may not: "}
        prefix = what.get(error.status, "it refuses: ") if isinstance(error, ServiceRefusedError) else ""
        stays = f"release {self._source.running} stays in force" if self._source.running else "no release is in force"
        away = f"the quota service at {self._source.settings.url}: {prefix}{error}; {stays}"
        if away != self._away:
            _log.warning("%s", away)
        else:
            self._notices.warning("away", "%s", away)
        self._away = away
        self._ending.wait(self._pause * random.uniform(0.7, 1.3))  # noqa: S311 - no secret
        self._pause = min(self._pause * 2, _LONGEST_PAUSE)

    def _on_rules(self, rules: FleetRules) -> None:
        """Put a release in force, if it is whole and can be read here."""
        if not rules.is_whole:
            self._refuse(damaged(rules))
            # It may come whole the next time.
            self._is_up = False
            self._ending.wait(self._pause)
            return
        self._seen = rules.release
        try:
            self._source.loaded_from(rules)
        except ConfigError as error:
            self._refuse(unreadable(rules, error))
            return
        self._source.take(rules)
        result = self._rulebook.reload(f"{rules.title} of {self._source.settings.url}")
        self._refused = "" if result.ok else f"{rules.title} is not in force: {result.error.partition(chr(10))[0]}"
        self._keep(rules)
        # The next poll tells at once how it went.
        self._is_up = result.ok
        if not result.ok:
            _log.error("%s", self._refused)

    def _keep(self, rules: FleetRules) -> None:
        try:
            self._source.kept.write(rules)
        except QuotaError as error:
            self._refused = str(error)
            _log.warning("%s", error)

    def _refuse(self, text: str) -> None:
        self._refused = text
        _log.error("%s; the rules in force stay", text)

    def _tell_drops(self) -> None:
        """Tell what was dropped since the last time, also once that it is nothing any more."""
        drops = self._drops()
        if not drops and not self._has_drops:
            return
        try:
            self._source.client.tell_drops(drops)
            self._has_drops = bool(drops)
        except (ServiceAwayError, ServiceRefusedError) as error:
            self._notices.warning("drops", "the quota service cannot be told what is dropped: %s", error)

    def _tell_usage(self) -> None:
        """Tell what namespaces hold, when it is time to."""
        every = self._source.settings.usage_interval
        if not every or monotonic() - self._told_usage < every:
            return
        self._told_usage = monotonic()
        try:
            self._source.client.tell_usage(self._usages())
        except (ServiceAwayError, ServiceRefusedError) as error:
            self._notices.warning("usage", "the quota service cannot be told what namespaces hold: %s", error)
