"""Rules in the browser: a draft with what is wrong in it, its trial, versions, releases, rollback, and suggestions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from fastapi import Request
from starlette.responses import RedirectResponse, Response

from carbonquota.errors import MOST_SHOWN, ConfigError, Problem
from carbonquota.hub.domain.errors import InvalidError
from carbonquota.hub.domain.rules import EVERY_GROUP, Mode, RulesTrial, checked_rules, findings_of
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


@dataclass(frozen=True, slots=True)
class CheckedDraft:
    """What is to be said of a draft: how many rules it has (None: it has errors), errors, and what looks wrong."""

    rules: int | None
    problems: Sequence[Problem]
    findings: Sequence[Finding]


def check(text: str) -> CheckedDraft:
    """A draft, as `carbonquota check` looks at it; the first of very many errors and findings."""
    try:
        rules = checked_rules(text)
    except ConfigError as error:
        return CheckedDraft(None, error.problems[:MOST_SHOWN], ())
    return CheckedDraft(len(rules.rules), (), findings_of(rules)[:MOST_SHOWN])


class RulePages:
    """Pages on the rules of the fleet."""

    def __init__(self, hub: Hub, pages: Pages) -> None:
        """Show and change what `hub` keeps."""
        self._hub = hub
        self._pages = pages

    def overview(self, request: Request, who: Identity) -> Response:
        """What is in force where, versions, releases, and which daemon runs which."""
        rules = self._hub.rules
        daemons = rules.daemons()
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
        }
        return self._pages.answer(request, "rules_fleet.html", values=values)

    def edit(self, request: Request, _: Identity) -> Response:
        """The editor, with a version, or with what is in force."""
        rules = self._hub.rules
        asked = request.query_params.get("version", "")
        if asked.isascii() and asked.isdigit() and len(asked) < 10:
            text = rules.version(int(asked)).text
        else:
            newest = rules.newest()
            text = newest.text if newest is not None else ""
        return self._editor(request, text)

    def _editor(self, request: Request, text: str, *, trial: RulesTrial | None = None, group: str = "") -> Response:
        checked = check(text)
        groups = sorted({one.group for one in self._hub.rules.daemons()} | {EVERY_GROUP, group})
        values = {"text": text, "checked": checked, "trial": trial, "group": group, "groups": groups}
        return self._pages.answer(request, "rules_edit.html", 422 if checked.rules is None else 200, values)

    def take_edit(self, request: Request, who: Identity, form: Form) -> Response:
        """What the buttons of the editor do: check, try, or keep as a new version."""
        # Browsers send a text with the line ends of the network.
        text = form.get("text", "").replace("\r\n", "\n")
        group, action = form.get("group", EVERY_GROUP), form.get("action", "check")
        if action == "keep" and check(text).rules is not None:
            if who.role is not Role.ADMIN:
                return self._pages.refuse(request, 403, "Not for you", "Only administrators keep new versions.")
            version = self._hub.rules.upload(actor(who, form), text)
            return RedirectResponse(link("/rules", kept=version.number), 303)
        trial = self._hub.rules.try_text(text, group) if action == "try" and check(text).rules is not None else None
        return self._editor(request, text, trial=trial, group=group)

    def take_lint(self, request: Request, _: Identity, form: Form) -> Response:
        """What is wrong in a draft, as a part of the page."""
        checked = check(form.get("text", "").replace("\r\n", "\n"))
        return self._pages.answer(request, "rules_checked.html", values={"checked": checked})

    def take_release(self, _: Request, who: Identity, form: Form) -> Response:
        """Put a version in force."""
        mode = form.get("mode", "")
        if mode not in set(Mode):
            raise InvalidError(f"mode: {mode!r} is none: it is shadow or enforced")
        self._hub.rules.release(actor(who, form), whole(form, "version"), Mode(mode), form.get("group", "").strip())
        return RedirectResponse("/rules", 303)

    def take_rollback(self, _: Request, who: Identity, form: Form) -> Response:
        """Put in force what was before."""
        self._hub.rules.rollback(actor(who, form), form.get("group", EVERY_GROUP))
        return RedirectResponse("/rules", 303)

    def take_approval(self, _: Request, who: Identity, form: Form) -> Response:
        """Approve of somebody else's release."""
        self._hub.rules.approve(actor(who, form), whole(form, "release"))
        return RedirectResponse("/rules", 303)

    def suggest(self, request: Request, _: Identity) -> Response:
        """Limits from usage, as rules to edit."""
        query = request.query_params
        percent, headroom = query.get("percent", _PERCENT), query.get("headroom", _HEADROOM)
        usage = list(self._hub.rules.fleet_usage())
        least = decimal("percent", percent, 1, 100), decimal("headroom", headroom, 1, 100)
        text = suggest(usage, self._rules(), *least)
        values = {"percent": percent, "headroom": headroom, "text": text, "is_known": bool(usage)}
        return self._pages.answer(request, "suggest.html", values=values)

    def _rules(self) -> RuleSet:
        release = self._hub.rules.in_force(EVERY_GROUP)
        text = "" if release is None else self._hub.rules.version(release.version).text
        return RuleSet.from_text(text)
