"""The paths of all pages, and who may see each."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from fastapi import APIRouter, Request

from carbonquota.hub.pages.fleet import FleetPages
from carbonquota.hub.pages.forms import PageGate
from carbonquota.hub.pages.namespaces import FleetNamespaces
from carbonquota.hub.pages.rules import RulePages
from carbonquota.hub.service.hub import Hub
from carbonquota.web.access import EVERYBODY, Role, identity_of
from carbonquota.web.page import NavigationEntry, Pages, Site
from carbonquota.web.page.namespaces import NamespacePages
from carbonquota.web.sessions import CSRF

_PLACES: Final = (
    NavigationEntry("Fleet", "/"),
    NavigationEntry("Customers", "/customers"),
    NavigationEntry("Explore", "/explore"),
    NavigationEntry("Growth", "/growth"),
    NavigationEntry("Rules", "/rules"),
    NavigationEntry("Suggest", "/suggest"),
    NavigationEntry("API", "/docs"),
)
_OWN_PLACES: Final = (NavigationEntry("My usage", "/"), NavigationEntry("API", "/docs"))


def make_router(hub: Hub) -> APIRouter:
    """All pages of a quota service."""
    pages = Pages(Site("carbonquota", "", _PLACES), [Path(__file__).parent / "templates"], frame=_frame)
    gate, fleet, rules = PageGate(pages), FleetPages(hub, pages), RulePages(hub, pages)
    namespaces = NamespacePages(FleetNamespaces(hub), pages, with_limits=False)
    router = APIRouter(include_in_schema=False)
    router.include_router(pages.router())
    all_but_providers = (Role.OPERATOR, Role.CUSTOMER)
    for path, endpoint in (
        ("/", gate.shown(fleet.overview, *all_but_providers)),
        ("/customers", gate.shown(fleet.customers, Role.OPERATOR)),
        ("/customer", gate.shown(fleet.customer, *all_but_providers)),
        ("/explore", gate.shown(lambda request, _: namespaces.explore(request), Role.OPERATOR)),
        ("/growth", gate.shown(fleet.growth, Role.OPERATOR)),
        ("/rules", gate.shown(rules.overview, Role.OPERATOR)),
        ("/rules/edit", gate.shown(rules.edit, Role.OPERATOR)),
        ("/suggest", gate.shown(rules.suggest, Role.OPERATOR)),
    ):
        router.add_api_route(path, endpoint, response_model=None)
    for path, endpoint in (
        ("/rules/edit", gate.taken(rules.take_edit, Role.OPERATOR)),
        ("/rules/lint", gate.taken(rules.take_lint, Role.OPERATOR)),
        ("/rules/release", gate.taken(rules.take_release)),
        ("/rules/rollback", gate.taken(rules.take_rollback)),
        ("/rules/approve", gate.taken(rules.take_approval)),
    ):
        router.add_api_route(path, endpoint, methods=["POST"], response_model=None)
    router.include_router(pages.login_router())
    return router


def _frame(request: Request) -> dict[str, object]:
    """What every page shows of who is there."""
    who = identity_of(request)
    csrf = request.scope.get(CSRF, "")
    frame: dict[str, object] = {"who": who, "csrf": csrf, "is_open": who is EVERYBODY, "may_change": False}
    if who is not None:
        frame["may_change"] = who.role is Role.ADMIN
        if who.role is Role.CUSTOMER:
            frame["site"] = Site("carbonquota", who.subject, _OWN_PLACES)
    return frame
