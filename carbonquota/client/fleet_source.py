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
from carbonquota.client.json_service import JsonService
from carbonquota.client.kept_rules import KeptRules
from carbonquota.errors import ConfigError, QuotaError
from carbonquota.service.rule_source import FileSource, GivenQuotas, LoadedRules, RuleFiles, load_rules

_log = logging.getLogger(__name__)


class FleetSource:
    """The rules of a fleet. Read by the rulebook, and given releases by the follower."""

    def __init__(self, settings: FleetSettings, files: RuleFiles, node: str, kept: KeptRules) -> None:
        """Nothing is asked yet; InputError where the token cannot be read."""
        self.settings = settings
        self.client = FleetClient(JsonService(settings.url, settings.read_token()), node, settings.group)
        self.kept = kept
        self.trouble = ""
        """Why the release that is kept is not in force, told by `load`."""
        self._files = files
        self._source = FileSource(files)
        self._given: FleetRules | None = None

    @property
    def running(self) -> int:
        """The number of the release in force, 0 for none."""
        return self._given.release if self._given else 0

    @property
    def name(self) -> str:
        """What it is called in messages."""
        return f"{self.settings.url}, {self._given.title}" if self._given else self._source.name

    def load(self) -> LoadedRules:
        """The rules to start with; ConfigError where there are only files, and they are bad."""
        rules = self._at_start()
        if rules is not None:
            try:
                loaded = self.loaded_from(rules)
            except ConfigError as error:
                self.trouble = unreadable(rules, error)
                _log.error("%s", self.trouble)
            else:
                self._given = rules
                _log.info("the rules are those of %s", self.name)
                self._keep(rules)
                return loaded
        return load_rules(self._files)

    def _keep(self, rules: FleetRules) -> None:
        """Keep a release that was asked for at the start."""
        try:
            self.kept.write(rules)
        except QuotaError as error:
            self.trouble = str(error)
            _log.warning("%s", error)

    def _at_start(self) -> FleetRules | None:
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

    def loaded_from(self, rules: FleetRules) -> LoadedRules:
        """What a release says together with the files; ConfigError with all problems."""
        source = f"{self.settings.url} version {rules.version}"
        return load_rules(self._files, given=GivenQuotas(rules.text, source, is_shadow=rules.mode == "shadow"))

    def take(self, rules: FleetRules) -> None:
        """Have a release be what is read from now on."""
        self._given = rules

    def version(self) -> Hashable:
        """The release, and the signatures of the files."""
        return self.running, self._source.version()

    def settled_version(self) -> Hashable | None:
        """The same, once nobody is writing the files."""
        settled = self._source.settled_version()
        return None if settled is None else (self.running, settled)

    def read(self, known: LoadedRules) -> LoadedRules:
        """What the release says, or the files where there is none; ConfigError."""
        if self._given is None:
            return self._source.read(known)
        loaded = self.loaded_from(self._given)
        if loaded.texts == known.texts:
            return known
        problems = tuple(replace(one, source=self.name) for one in loaded.emptied_since(known))
        if problems:
            raise ConfigError(problems)
        return loaded


def unreadable(rules: FleetRules, error: ConfigError) -> str:
    """What is told of a release that cannot be put in force here."""
    first = str(error).partition("\n")[0]
    return f"{rules.title} cannot be read here: {first}; is this program older than the quota service?"


def damaged(rules: FleetRules) -> str:
    """What is told of a release whose text is not that of its checksum."""
    return f"{rules.title} came damaged: its text is not that of its checksum"
