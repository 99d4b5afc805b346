"""Limits that come from the quota service: what a limiter starts with, and follows.

A limiter starts with the release that it kept. Without one it asks the service once; and where that is away, or nothing
was released, it takes its own files until a release comes.
"""

from __future__ import annotations

import logging
import socket
from typing import Final

from carbonquota.client.fleet import FleetClient, FleetRules, FleetSettings
from carbonquota.client.fleet_releases import FleetReleases, unreadable
from carbonquota.client.fleet_usage import node_name
from carbonquota.client.json_service import JsonService
from carbonquota.client.kept_rules import KeptRules
from carbonquota.errors import ConfigError
from carbonquota.limiter.process.settings import HubSection
from carbonquota.limiter.rulebook import Released
from carbonquota.limiter.rules import DomainRules

_log = logging.getLogger(__name__)

_KIND: Final = "limits"


class HubLimits(FleetReleases):
    """The release in force here."""

    def __init__(self, hub: HubSection) -> None:
        """Ask for a release to start with; InputError where the token cannot be read."""
        settings = FleetSettings(hub.url, hub.token, hub.token_file, hub.group, hub.wait, usage_interval=0.0)
        node = node_name(hub.node or socket.gethostname())
        client = FleetClient(JsonService(settings.url, settings.read_token()), node, settings.group, _KIND)
        super().__init__(settings, client, KeptRules(hub.kept_file))
        rules = self.at_start()
        if rules is None:
            return
        try:
            self.loaded_from(rules)
        except ConfigError as error:
            self.trouble = unreadable(rules, error)
            _log.error("%s", self.trouble)
        else:
            self.take(rules)
            self.keep(rules)
            _log.info("the limits are those of %s, %s", settings.url, rules.title)

    def loaded_from(self, rules: FleetRules) -> DomainRules:
        """What a release says; ConfigError with all problems."""
        return DomainRules.from_texts(self._texts(rules))

    def released(self) -> Released | None:
        """What is to be in force; None where that is the files."""
        return Released(self._texts(self.given), self.given.mode == "shadow") if self.given else None

    def _texts(self, rules: FleetRules) -> list[tuple[str, str]]:
        return [(f"{self.settings.url} version {rules.version}", rules.text)]
