"""Rules that come from the quota service, as a source that a rulebook reads.

Theory of operation. Schemas and aggregation stay files of the machine; the quotas are those of the release in force. A
daemon starts with the release that it kept on disk. Without one it asks the service once; and where that is away, or
nothing was released, it takes the quotas file of its own configuration, if there is one, until a release comes.
"""

from __future__ import annotations

import logging
from collections.abc import Hashable
from dataclasses import replace

from carbonquota.client.fleet import FleetClient, FleetRules, FleetSettings
from carbonquota.client.fleet_releases import FleetReleases, unreadable
from carbonquota.client.json_service import JsonService
from carbonquota.client.kept_rules import KeptRules
from carbonquota.errors import ConfigError
from carbonquota.service.rule_source import FileSource, GivenQuotas, LoadedRules, RuleFiles, load_rules

_log = logging.getLogger(__name__)


class FleetSource(FleetReleases):
    """The rules of a fleet. Read by the rulebook, and given releases by the follower."""

    def __init__(self, settings: FleetSettings, files: RuleFiles, node: str, kept: KeptRules) -> None:
        """Nothing is asked yet; InputError where the token cannot be read."""
        super().__init__(
            settings, FleetClient(JsonService(settings.url, settings.read_token()), node, settings.group), kept
        )
        self._files = files
        self._source = FileSource(files)

    @property
    def name(self) -> str:
        """What it is called in messages."""
        return f"{self.settings.url}, {self.given.title}" if self.given else self._source.name

    def load(self) -> LoadedRules:
        """The rules to start with; ConfigError where there are only files, and they are bad."""
        rules = self.at_start()
        if rules is not None:
            try:
                loaded = self.loaded_from(rules)
            except ConfigError as error:
                self.trouble = unreadable(rules, error)
                _log.error("%s", self.trouble)
            else:
                self.given = rules
                _log.info("the rules are those of %s", self.name)
                self.keep(rules)
                return loaded
        return load_rules(self._files)

    def loaded_from(self, rules: FleetRules) -> LoadedRules:
        """What a release says together with the files; ConfigError with all problems."""
        source = f"{self.settings.url} version {rules.version}"
        return load_rules(self._files, given=GivenQuotas(rules.text, source, is_shadow=rules.mode == "shadow"))

    def version(self) -> Hashable:
        """The release, and the signatures of the files."""
        return self.running, self._source.version()

    def settled_version(self) -> Hashable | None:
        """The same, once nobody is writing the files."""
        settled = self._source.settled_version()
        return None if settled is None else (self.running, settled)

    def read(self, known: LoadedRules) -> LoadedRules:
        """What the release says, or the files where there is none; ConfigError."""
        if self.given is None:
            return self._source.read(known)
        loaded = self.loaded_from(self.given)
        if loaded.texts == known.texts:
            return known
        problems = tuple(replace(one, source=self.name) for one in loaded.emptied_since(known))
        if problems:
            raise ConfigError(problems)
        return loaded
