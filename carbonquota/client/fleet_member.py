"""A program that is one of a fleet: where its rules come from, and what follows the quota service, wired here."""

from __future__ import annotations

from dataclasses import replace

from carbonquota.client.fleet import FleetSettings
from carbonquota.client.fleet_follower import FleetFollower
from carbonquota.client.fleet_source import FleetSource
from carbonquota.client.fleet_usage import DropsSince, node_name, usages_of
from carbonquota.client.kept_rules import KeptRules
from carbonquota.service.rule_source import RuleFiles
from carbonquota.service.runtime import HostProfile, Runtime


class FleetMember:
    """What a daemon needs to take its rules from the quota service; without a URL nothing of it."""

    def __init__(self, settings: FleetSettings, node: str, kept_at: str) -> None:
        """It is called `node`, and keeps the release in force in the file `kept_at` (empty: nowhere)."""
        self._settings = settings
        self._node = node
        self._kept_at = kept_at
        self._sources: list[FleetSource] = []

    def profile(self, profile: HostProfile) -> HostProfile:
        """The profile of a runtime that takes its rules so."""
        return replace(profile, rule_source=self._make_source) if self._settings.url else profile

    def _make_source(self, files: RuleFiles) -> FleetSource:
        source = FleetSource(self._settings, files, node_name(self._node), KeptRules(self._kept_at))
        self._sources.append(source)
        return source

    def follower(self, runtime: Runtime) -> FleetFollower | None:
        """What follows the service for this runtime, made with that profile; None where there is none to follow."""
        if not self._sources:
            return None
        drops = DropsSince(lambda: runtime.reporter.quotas_and_counts()[1])
        follower = FleetFollower(
            self._sources[0], runtime.rulebook, lambda: usages_of(runtime.engine), drops.take
        )  # fmt: skip
        runtime.add_troubled_parts(follower)
        return follower
