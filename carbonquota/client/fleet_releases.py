"""Releases as a program holds them: what it kept, was given, and runs."""

from __future__ import annotations

import logging

from carbonquota.client.fleet import FleetClient, FleetRules, FleetSettings
from carbonquota.client.kept_rules import KeptRules
from carbonquota.errors import ConfigError, QuotaError

_log = logging.getLogger(__name__)


class FleetReleases:
    """The release in force, and where it is kept; given releases by the follower."""

    def __init__(self, settings: FleetSettings, client: FleetClient, kept: KeptRules) -> None:
        """Nothing is asked yet."""
        self.settings = settings
        self.client = client
        self.kept = kept
        self.trouble = ""
        """Why the release that is kept is not in force, told by `at_start`."""
        self.given: FleetRules | None = None

    @property
    def running(self) -> int:
        """The number of the release in force, 0 for none."""
        return self.given.release if self.given else 0

    def take(self, rules: FleetRules) -> None:
        """Have a release be what is read from now on."""
        self.given = rules

    def keep(self, rules: FleetRules) -> None:
        """Keep a release that was asked for at the start."""
        try:
            self.kept.write(rules)
        except QuotaError as error:
            self.trouble = str(error)
            _log.warning("%s", error)

    def at_start(self) -> FleetRules | None:
        """The release that is kept, or what the service says now."""
        try:
            kept = self.kept.read()
        except QuotaError as error:
            self.trouble = str(error)
            _log.error("%s", error)
            kept = None
        if kept is not None:
            return kept
        try:
            rules = self.client.in_force(0, 0, self.trouble, 0)
        except QuotaError as error:
            # From then on the follower tells it.
            _log.warning("the quota service at %s: %s; and no release of it is kept here", self.settings.url, error)
            return None
        if rules is not None and not rules.is_whole:
            self.trouble = damaged(rules)
            return None
        return rules


def unreadable(rules: FleetRules, error: ConfigError) -> str:
    """What is told of a release that cannot be put in force here."""
    first = str(error).partition("\n")[0]
    return f"{rules.title} cannot be read here: {first}; is this program older than the quota service?"


def damaged(rules: FleetRules) -> str:
    """What is told of a release whose text is not that of its checksum."""
    return f"{rules.title} came damaged: its text is not that of its checksum"
