"""Rules in the browser: a draft with what is wrong in it, its trial, versions, releases, rollback, and suggestions.

Limits of rate limiters have the same pages, but for what only quotas have: a trial on present usage, and suggestions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from difflib import unified_diff
from itertools import islice
from typing import Final

from fastapi import Request
from starlette.responses import RedirectResponse, Response

from carbonquota.errors import MOST_SHOWN, ConfigError, Problem
from carbonquota.hub.domain.errors import InvalidError
from carbonquota.hub.domain.rules import EVERY_GROUP, FleetDaemon, Mode, RulesTrial, checked_rules, findings_of
from carbonquota.hub.domain.suggest import suggest
from carbonquota.hub.pages.fields import actor, decimal, whole
from carbonquota.hub.pages.forms import Form
from carbonquota.hub.service.hub import Hub
from carbonquota.rules import Finding, RuleSet
from carbonquota.web.access import Identity, Role
from carbonquota.web.page import Pages
from carbonquota.web.page.site import link

MOST: Final = 50
"""Versions and releases that are listed."""
_PERCENT: Final = "95"
_HEADROOM: Final = "1.5"
_MOST_CHANGES: Final = 400
"""Lines of a comparison that are shown."""
_MOST_COMPARED: Final = 200_000
"""Characters of texts that are compared: it takes long for very large ones."""


@dataclass(frozen=True, slots=True)
class CheckedDraft:
    """What is to be said of a draft: how many rules it has (None: it has errors), errors, and what looks wrong."""

    rules: int | None
    problems: Sequence[Problem]
    findings: Sequence[Finding]


_FIRST_LIMITS: Final = """domain: gateway
descriptors:
  - key: client
    rate_limit: {unit: minute, requests_per_unit: 100}
"""
"""What a first version may begin with."""


@dataclass(frozen=True, slots=True)
class Shelf:
    """Rules of one kind as pages show them: where they are, and what they and who runs them are called.

    `start` is what the first version is written from.
    """

    path: str
    title: str
    edit: str
    file: str
    daemons: str
    shadow: str
    enforced: str
    start: str
    has_trial: bool


QUOTAS: Final = Shelf(
    "/rules", "Rules of the fleet", "Edit rules", "storage-quotas.conf", "daemons",
    "counts, drops nothing", "drops what is over", "", has_trial=True,
)  # fmt: skip
LIMITS: Final = Shelf(
    "/limits", "Limits of rate limiters", "Edit limits", "limits.yaml", "limiters",
    "counts, refuses nobody", "refuses who is over", _FIRST_LIMITS, has_trial=False,
)  # fmt: skip


class RulePages:
    """Pages on the rules of the fleet, of one kind."""

    def __init__(self, hub: Hub, pages: Pages, shelf: Shelf = QUOTAS) -> None:
        """Show and change what `hub` keeps."""
        self._hub = hub
        self._pages = pages
        self._shelf = shelf
        self._rules, self._others = (hub.rules, hub.limits) if shelf is QUOTAS else (hub.limits, hub.rules)

    def check(self, text: str) -> CheckedDraft:
        """A draft, as `carbonquota check` looks at it; the first of very many errors and findings."""
        try:
            if self._shelf.has_trial:
                rules = checked_rules(text)
                return CheckedDraft(len(rules.rules), (), findings_of(rules)[:MOST_SHOWN])
            return CheckedDraft(self._rules.count(text), (), ())
        except ConfigError as error:
            return CheckedDraft(None, error.problems[:MOST_SHOWN], ())
        except InvalidError as error:
            return CheckedDraft(None, [Problem(self._shelf.file, 0, 0, 0, "", str(error), "")], ())

    def _daemons(self) -> list[FleetDaemon]:
        """Those that run rules of this kind. One that runs no release at all is of the fleet's daemons."""
        own, others = ({one.number for one in rules.releases()} for rules in (self._rules, self._others))
        every = self._rules.daemons()
        if self._shelf is QUOTAS:
            return [one for one in every if one.running not in others]
        return [one for one in every if one.running in own]

    def overview(self, request: Request, who: Identity) -> Response:
        """What is in force where, versions, releases, and which daemon runs which."""
        rules = self._rules
        daemons = self._daemons()
        groups = sorted({one.group for one in daemons} | {one.group for one in rules.releases()} | {EVERY_GROUP})
        releases = list(reversed(rules.releases()))
        values = {
            "in_force": [(group, rules.in_force(group)) for group in groups],
            "versions": rules.versions(limit=MOST),
            "releases": releases[:MOST],
            "waiting": [one for one in releases if not one.approved],
            "daemons": daemons,
            "groups": groups,
            "modes": list(Mode),
            "now": self._hub.clock(),
            "own_name": who.name,
            "shelf": self._shelf,
        }
        return self._pages.answer(request, "rules_fleet.html", values=values)

    def edit(self, request: Request, _: Identity) -> Response:
        """The editor, with a version, or with what is in force."""
        rules = self._rules
        asked = request.query_params.get("version", "")
        if asked.isascii() and asked.isdigit() and len(asked) < 10:
            text = rules.version(int(asked)).text
        else:
            newest = rules.newest()
            text = newest.text if newest is not None else self._shelf.start
        return self._editor(request, text, 200)

    def _editor(
        self, request: Request, text: str, status: int = 0, *, trial: RulesTrial | None = None, group: str = ""
    ) -> Response:
        checked = self.check(text)
        groups = sorted({one.group for one in self._daemons()} | {EVERY_GROUP, group})
        values = {
            "text": text, "checked": checked, "trial": trial, "group": group, "groups": groups, "shelf": self._shelf,
            "changes": self._changes(text),
        }  # fmt: skip
        return self._pages.answer(request, "rules_edit.html", status or (422 if checked.rules is None else 200), values)

    def _changes(self, text: str) -> Sequence[str]:
        """The lines by which a text differs from what is in force for all, as a patch; the first of very many."""
        release = self._rules.in_force(EVERY_GROUP)
        if release is None:
            return ()
        before, name = self._rules.version(release.version).text, self._shelf.file
        if max(len(before), len(text)) > _MOST_COMPARED:
            return ()
        head = f"version {release.version}, in force"
        lines = unified_diff(before.splitlines(), text.splitlines(), head, name, n=2, lineterm="")
        return list(islice(lines, _MOST_CHANGES))

    def take_edit(self, request: Request, who: Identity, form: Form) -> Response:
        """What the buttons of the editor do: check, try, or keep as a new version."""
        # Browsers send a text with the line ends of the network.
        text = form.get("text", "").replace("\r\n", "\n")
        group, action = form.get("group", EVERY_GROUP), form.get("action", "check")
        if action == "keep" and self.check(text).rules is not None:
            if who.role is not Role.ADMIN:
                return self._pages.refuse(request, 403, "Not for you", "Only administrators keep new versions.")
            version = self._rules.upload(actor(who, form), text)
            return RedirectResponse(link(self._shelf.path, kept=version.number), 303)
        is_tried = action == "try" and self._shelf.has_trial and self.check(text).rules is not None
        trial = self._rules.try_text(text, group) if is_tried else None
        return self._editor(request, text, trial=trial, group=group)

    def take_lint(self, request: Request, _: Identity, form: Form) -> Response:
        """What is wrong in a draft, as a part of the page."""
        checked = self.check(form.get("text", "").replace("\r\n", "\n"))
        return self._pages.answer(request, "rules_checked.html", values={"checked": checked})

    def take_release(self, _: Request, who: Identity, form: Form) -> Response:
        """Put a version in force."""
        mode = form.get("mode", "")
        if mode not in set(Mode):
            raise InvalidError(f"mode: {mode!r} is none: it is shadow or enforced")
        self._rules.release(actor(who, form), whole(form, "version"), Mode(mode), form.get("group", "").strip())
        return RedirectResponse(self._shelf.path, 303)

    def take_rollback(self, _: Request, who: Identity, form: Form) -> Response:
        """Put in force what was before."""
        self._rules.rollback(actor(who, form), form.get("group", EVERY_GROUP))
        return RedirectResponse(self._shelf.path, 303)

    def take_approval(self, _: Request, who: Identity, form: Form) -> Response:
        """Approve of somebody else's release."""
        self._rules.approve(actor(who, form), whole(form, "release"))
        return RedirectResponse(self._shelf.path, 303)

    def suggest(self, request: Request, _: Identity) -> Response:
        """Limits from usage, as rules to edit."""
        query = request.query_params
        percent, headroom = query.get("percent", _PERCENT), query.get("headroom", _HEADROOM)
        usage = list(self._rules.fleet_usage())
        least = decimal("percent", percent, 1, 100), decimal("headroom", headroom, 1, 100)
        text = suggest(usage, self._in_force(), *least)
        values = {"percent": percent, "headroom": headroom, "text": text, "is_known": bool(usage)}
        return self._pages.answer(request, "suggest.html", values=values)

    def _in_force(self) -> RuleSet:
        release = self._rules.in_force(EVERY_GROUP)
        text = "" if release is None else self._rules.version(release.version).text
        return RuleSet.from_text(text)
