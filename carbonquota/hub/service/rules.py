"""Rules for the fleet: sent, tried, released, approved, rolled back; and what each daemon is to have and has.

What is in force is kept in memory, as a thousand daemons wait for it, and read again when another server of the same
database has released: `refresh` is called every second.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from dataclasses import asdict, replace
from threading import Lock
from typing import Any, Final

from carbonquota.hub.domain.errors import ConflictError, InvalidError, NotFoundError, UnavailableError
from carbonquota.hub.domain.names import checked_name
from carbonquota.hub.domain.rules import (
    EVERY_GROUP,
    FleetDaemon,
    Mode,
    Release,
    RuleKind,
    RulesTrial,
    RuleVersion,
    before_that,
    checked_quotas,
    checked_rules,
    checksum_of,
    in_force,
    try_rules,
)
from carbonquota.hub.domain.values import Actor
from carbonquota.hub.service.writing import Writing
from carbonquota.hub.storage import counters
from carbonquota.hub.storage import rules as stored
from carbonquota.model import CONTROL_FIELDS, Clock, Usage
from carbonquota.rules import RuleSet

_log = logging.getLogger(__name__)

CheckRules = Callable[[str, str | None], int]

MOST_STANDINGS: Final = 200
MOST_DAEMONS: Final = 10_000
"""Names that are kept of daemons, so that nobody who has a token fills the database by making up more."""
FORGET_AFTER: Final = 86_400.0
"""Seconds after which a daemon that was not seen is gone."""
SILENT_AFTER: Final = 180.0
"""Seconds after which one that has not asked is silent: each asks once a minute at least."""
_FORGETTING: Final = 60.0
"""Seconds between two looks for those that are gone."""
LARGEST: Final = 1024 * 1024
"""Characters of a text of rules."""


class Rules:
    """The rules of a fleet, of one kind. From any thread."""

    def __init__(
        self,
        writing: Writing,
        clock: Clock,
        kind: RuleKind = RuleKind.QUOTAS,
        check: CheckRules = checked_quotas,
        *,
        needs_second: bool = False,
    ) -> None:
        """`clock` gives seconds since the epoch. With `needs_second` another administrator approves of releases.

        `check` is given a text that was sent, and the one in force, None where there is none, and tells how many rules
        it has; ConfigError from it.
        """
        self._writing = writing
        self._clock = clock
        self._kind = kind
        self._check = check
        self.needs_second = needs_second
        self._lock = Lock()
        self._releases: tuple[Release, ...] = ()
        self._texts: dict[int, RuleVersion] = {}
        self._seen: dict[str, FleetDaemon] = {}
        self._unwritten: set[str] = set()
        self._tell: list[Callable[[], None]] = []
        self.forget_after = FORGET_AFTER
        self._forgot = float("-inf")
        self._states: dict[str, int] = {}

    def on_change(self, tell: Callable[[], None]) -> None:
        """Call `tell` each time releases have changed, on any thread."""
        self._tell.append(tell)

    def refresh(self) -> None:
        """Read what others released, and write which daemons were seen; UnavailableError."""
        self._write_seen()
        self._forget_gone()
        with self._writing.database.reading() as connection:
            releases = tuple(stored.read_releases(connection, self._kind))
        self._put(releases)

    def _put(self, releases: tuple[Release, ...]) -> None:
        with self._lock:
            # Numbers are given in the order of commits, so more are newer, whoever read them.
            count = sum(bool(one.approved) for one in self._releases), len(self._releases)
            is_new = (sum(bool(one.approved) for one in releases), len(releases)) > count
            if is_new:
                self._releases = releases
        if is_new:
            for tell in self._tell:
                tell()

    def upload(self, actor: Actor, text: str) -> RuleVersion:
        """Keep a text as a new version, or give the newest one where that is the same.

        ConfigError with every error and its place; InvalidError where it is too long.
        """
        if len(text) > LARGEST:
            raise InvalidError(f"the rules have {len(text):,} characters: at most {LARGEST:,} are taken")
        newest = self.newest()
        if newest is not None and newest.text == text:
            return newest
        release = in_force(self._releases, EVERY_GROUP)
        self._check(text, None if release is None else self.version(release.version).text)
        with self._writing.change() as (connection, _):
            number = counters.take(connection, "rule version")
            version = RuleVersion(number, text, checksum_of(text), self._clock(), actor.name, actor.why, self._kind)
            stored.add_version(connection, version)
            told, name = {"checksum": version.checksum, "characters": len(text)}, _named(self._kind)
            entry = self._writing.entry(actor, f"send {name}", f"{name}/{number}", None, told)
            self._writing.audit(connection, [entry])
        return version

    def count(self, text: str) -> int:
        """How many rules a text has; ConfigError with every error and its place."""
        return self._check(text, None)

    def newest(self) -> RuleVersion | None:
        """The version that was sent last."""
        with self._writing.database.reading() as connection:
            return stored.newest_version(connection, self._kind)

    def version(self, number: int) -> RuleVersion:
        """One version; NotFoundError."""
        with self._lock:
            known = self._texts.get(number)
        if known is not None:
            return known
        with self._writing.database.reading() as connection:
            version = stored.read_version(connection, self._kind, number)
        if version is None:
            raise NotFoundError(f"there is no version {number} of the {_named(self._kind)}")
        with self._lock:
            if len(self._texts) >= 16:
                self._texts.clear()
            self._texts[number] = version
        return version

    def versions(self, before: int | None = None, limit: int = 100) -> list[RuleVersion]:
        """The newest first."""
        with self._writing.database.reading() as connection:
            return stored.read_versions(connection, self._kind, before, limit)

    def releases(self) -> tuple[Release, ...]:
        """All of them, the oldest first."""
        with self._lock:
            return self._releases

    def in_force(self, group: str) -> Release | None:
        """What daemons of a group are to have; None while nothing was released."""
        return in_force(self.releases(), group)

    def release(self, actor: Actor, version: int, mode: Mode, group: str = EVERY_GROUP) -> Release:
        """Put a version in force for a group, or for all; where a second one has to approve, it waits for that."""
        self.version(version)
        if group:
            checked_name("group", group)
        return self._add(actor, f"release {_named(self._kind)}", version, mode, group)

    def rollback(self, actor: Actor, group: str = EVERY_GROUP) -> Release:
        """Put in force for a group what was before the release that is; ConflictError where that was nothing.

        It needs nobody else's approval: what comes back was approved of when it came first.
        """
        self.refresh()
        back = before_that(self.releases(), group)
        if back is None:
            where = f"for the group {group!r}" if group else "for all daemons"
            raise ConflictError(f"nothing else was in force {where} before: release a version instead")
        return self._add(actor, f"roll back {_named(self._kind)}", back.version, back.mode, group, is_approved=True)

    def _add(
        self, actor: Actor, action: str, version: int, mode: Mode, group: str, *, is_approved: bool = False
    ) -> Release:
        approved = actor.name if is_approved or not self.needs_second else ""
        with self._writing.change() as (connection, _):
            number = counters.take(connection, "rule release")
            release = Release(number, version, mode, group, self._clock(), actor.name, approved, actor.why, self._kind)
            before = in_force(stored.read_releases(connection, self._kind), group)
            stored.add_release(connection, release)
            self._writing.audit(connection, [
                self._writing.entry(actor, action, self._subject(group), _told(before), _told(release))
            ])  # fmt: skip
            releases = tuple(stored.read_releases(connection, self._kind))
        self._put(releases)
        return release

    def approve(self, actor: Actor, number: int) -> Release:
        """Approve of a release that waits, as somebody other than who asked for it; it is in force from then on."""
        with self._writing.change() as (connection, _):
            found = {one.number: one for one in stored.read_releases(connection, self._kind)}.get(number)
            if found is None:
                raise NotFoundError(f"there is no release {number}")
            if found.approved:
                raise ConflictError(f"release {number} is approved already, by {found.approved}")
            if found.actor == actor.name:
                raise ConflictError(
                    f"release {number} is {actor.name}'s own: another administrator has to approve of it"
                )
            newer = in_force(stored.read_releases(connection, self._kind), found.group)
            if newer is not None and newer.number > number:
                raise ConflictError(f"release {newer.number} came later and is in force: release the version again")
            stored.approve_release(connection, number, actor.name)
            approved = replace(found, approved=actor.name)
            action, subject = f"approve {_named(self._kind)}", self._subject(found.group)
            entry = self._writing.entry(actor, action, subject, _told(newer), _told(approved))
            self._writing.audit(connection, [entry])
            releases = tuple(stored.read_releases(connection, self._kind))
        self._put(releases)
        return approved

    def try_text(self, text: str, group: str = EVERY_GROUP) -> RulesTrial:
        """What a text would do to what the fleet uses now, against what is in force for a group; ConfigError."""
        after = checked_rules(text)
        before = self._rules_of(self.in_force(group)) or RuleSet.from_text("")
        return try_rules(self._told(group), before, after, MOST_STANDINGS)

    def fleet_usage(self) -> list[tuple[str, Usage]]:
        """What each daemon last told of each of its namespaces."""
        return [line for lines in self._told(EVERY_GROUP).values() for line in lines]

    def _told(self, group: str) -> dict[str, list[tuple[str, Usage]]]:
        """What daemons of a group told, by their names."""
        with self._writing.database.reading() as connection:
            told = stored.read_usage(connection)
            groups = {one.name: one.group for one in stored.read_daemons(connection)}
        return {
            name: [(str(line[0]), Usage(*line[1:])) for line in lines]
            for name, (_, lines) in told.items()
            if not group or groups.get(name) == group
        }

    def _rules_of(self, release: Release | None) -> RuleSet | None:
        return None if release is None else RuleSet.from_text(self.version(release.version).text)

    def _subject(self, group: str) -> str:
        name = _named(self._kind)
        return f"{name}/group/{group}" if group else name

    def note_daemon(self, daemon: FleetDaemon) -> None:
        """A daemon told how it is; written to the database within a second. Of very many names, no new one is kept."""
        with self._lock:
            if daemon.name not in self._seen and len(self._seen) >= MOST_DAEMONS:
                return
            self._seen[daemon.name] = daemon
            self._unwritten.add(daemon.name)

    def note_usage(self, name: str, lines: Iterable[tuple[str, tuple[int, ...]]]) -> None:
        """A daemon told what its namespaces hold: a name and an amount a control each."""
        self.check_known(name)
        rows = [[namespace, *amounts] for namespace, amounts in lines]
        if any(len(row) != 1 + len(CONTROL_FIELDS) for row in rows):
            raise InvalidError(f"each line is a namespace and {len(CONTROL_FIELDS)} amounts")
        with self._writing.database.writing(quick=True) as connection:
            stored.write_usage(connection, name, self._clock(), rows)

    def check_known(self, name: str) -> None:
        """InvalidError where no daemon of that name was ever seen."""
        if not self._knows(name):
            raise InvalidError(f"no daemon {name!r} has asked for rules: ask for them first")

    def _knows(self, name: str) -> bool:
        """Whether a daemon was seen, by this server or another one."""
        with self._lock:
            if name in self._seen:
                return True
        with self._writing.database.reading() as connection:
            return stored.has_daemon(connection, name)

    def daemons(self) -> list[FleetDaemon]:
        """All that were seen, by name, those of other servers among them."""
        self._write_seen()
        with self._writing.database.reading() as connection:
            return stored.read_daemons(connection)

    def states(self, *others: Rules) -> dict[str, int]:
        """How many daemons run what they are to have, run something else, have trouble, or are silent.

        Those that take rules of other kinds stand in the same list. While the database is away, as it was known last.
        """
        try:
            daemons = self.daemons()
        except UnavailableError:
            return self._states
        states = dict.fromkeys(("in force", "other", "trouble", "silent"), 0)
        now = self._clock()
        for one in daemons:
            wanted = {found.number if found else 0 for found in (kind.in_force(one.group) for kind in (self, *others))}
            if now - one.seen > SILENT_AFTER:
                states["silent"] += 1
            elif one.trouble:
                states["trouble"] += 1
            else:
                states["in force" if one.running in wanted else "other"] += 1
        self._states = states
        return states

    def _forget_gone(self) -> None:
        """Know nothing more of daemons that were not seen for long; UnavailableError."""
        now = self._clock()
        if now - self._forgot < _FORGETTING:
            return
        self._forgot = now
        with self._lock:
            for name in [name for name, one in self._seen.items() if one.seen < now - self.forget_after]:
                del self._seen[name]
        with self._writing.database.reading() as connection:
            gone = stored.unseen_daemons(connection, now - self.forget_after)
        if gone:
            with self._writing.database.writing(quick=True) as connection:
                stored.forget_daemons(connection, now - self.forget_after)
            _log.info("%d daemons were not seen for long, and are forgotten: %s", len(gone), ", ".join(gone[:5]))

    def _write_seen(self) -> None:
        with self._lock:
            daemons = [self._seen[name] for name in sorted(self._unwritten)]
            self._unwritten.clear()
        if not daemons:
            return
        try:
            with self._writing.database.writing(quick=True) as connection:
                stored.write_daemons(connection, daemons)
        except UnavailableError:
            with self._lock:
                self._unwritten.update(one.name for one in daemons)
            raise


def not_checked(text: str, before: str | None) -> int:  # noqa: ARG001 - as those that check have it
    """InvalidError: nobody here knows rules of this kind."""
    raise InvalidError("limits cannot be checked here: install carbonquota with its extra limiter")


def _named(kind: RuleKind) -> str:
    """What rules of a kind are called in paths, and in the audit."""
    return "rules" if kind is RuleKind.QUOTAS else kind.value


def _told(release: Release | None) -> dict[str, Any] | None:
    if release is None:
        return None
    return {name: value for name, value in asdict(release).items() if name in {"number", "version", "mode", "approved"}}
