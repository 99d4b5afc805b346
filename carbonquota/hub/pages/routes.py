"""The paths of all pages, and who may see each."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from fastapi import APIRouter, Request

from carbonquota.hub.pages.changes import ChangePages
from carbonquota.hub.pages.customers import CustomerPages
from carbonquota.hub.pages.fleet import FleetPages
from carbonquota.hub.pages.forms import PageGate
from carbonquota.hub.pages.many_quotas import ManyQuotaPages
from carbonquota.hub.pages.namespaces import FleetNamespaces
from carbonquota.hub.pages.providers import ProviderPages
from carbonquota.hub.pages.quotas import QuotaPages
from carbonquota.hub.pages.rules import LIMITS, QUOTAS, RulePages, Shelf
from carbonquota.hub.pages.tokens import TokenPages
from carbonquota.hub.service.hub import Hub
from carbonquota.web.access import EVERYBODY, Role, identity_of
from carbonquota.web.page import NavigationEntry, Pages, Site
from carbonquota.web.page.namespaces import NamespacePages

_PLACES: Final = (
    NavigationEntry("Fleet", "/"),
    NavigationEntry("Customers", "/customers", frozenset({"/customer", "/customer/edit", "/quota", "/quotas"})),
    NavigationEntry("Providers", "/providers", frozenset({"/provider"})),
    NavigationEntry("Explore", "/explore"),
    NavigationEntry("Growth", "/growth"),
    NavigationEntry("Rules", "/rules", frozenset({"/rules/edit", "/suggest"})),
    NavigationEntry("Limits", "/limits", frozenset({"/limits/edit"})),
    NavigationEntry("Changes", "/changes"),
    NavigationEntry("API", "/docs"),
)
_ADMIN_PLACES: Final = (*_PLACES[:-1], NavigationEntry("Tokens", "/tokens"), _PLACES[-1])
_OWN_PLACES: Final = (NavigationEntry("My usage", "/"), NavigationEntry("API", "/docs"))


def make_pages() -> Pages:
    """What pages are made with."""
    return Pages(Site("carbonquota", "", _PLACES), [Path(__file__).parent / "templates"], frame=_frame)


def make_router(hub: Hub, pages: Pages) -> APIRouter:
    """All pages of a quota service."""
    gate, fleet, rules = PageGate(pages), FleetPages(hub, pages), RulePages(hub, pages)
    providers, changes = ProviderPages(hub, pages), ChangePages(hub, pages)
    namespaces = NamespacePages(FleetNamespaces(hub), pages, with_limits=False)
    router = APIRouter(include_in_schema=False)
    router.include_router(pages.router())
    all_but_providers = (Role.OPERATOR, Role.CUSTOMER)
    for path, endpoint in (
        ("/", gate.shown(fleet.overview, *all_but_providers)),
        ("/customers", gate.shown(fleet.customers, Role.OPERATOR)),
        ("/customer", gate.shown(fleet.customer, *all_but_providers)),
        ("/providers", gate.shown(providers.all, Role.OPERATOR)),
        ("/changes", gate.shown(changes.show, Role.OPERATOR)),
        ("/explore", gate.shown(lambda request, _: namespaces.explore(request), Role.OPERATOR)),
        ("/growth", gate.shown(fleet.growth, Role.OPERATOR)),
        ("/suggest", gate.shown(rules.suggest, Role.OPERATOR)),
    ):
        router.add_api_route(path, endpoint, response_model=None)
    _add_rules(router, gate, QUOTAS, rules)
    _add_rules(router, gate, LIMITS, RulePages(hub, pages, LIMITS))
    _add_forms(router, gate, hub, pages)
    router.include_router(pages.login_router())
    return router


def _add_rules(router: APIRouter, gate: PageGate, shelf: Shelf, pages: RulePages) -> None:
    """Rules of one kind."""
    for path, endpoint in (("", pages.overview), ("/edit", pages.edit)):
        router.add_api_route(shelf.path + path, gate.shown(endpoint, Role.OPERATOR), response_model=None)
    for path, taken in (
        ("/edit", gate.taken(pages.take_edit, Role.OPERATOR)),
        ("/lint", gate.taken(pages.take_lint, Role.OPERATOR)),
        ("/release", gate.taken(pages.take_release)),
        ("/rollback", gate.taken(pages.take_rollback)),
        ("/approve", gate.taken(pages.take_approval)),
    ):
        router.add_api_route(shelf.path + path, taken, methods=["POST"], response_model=None)


def _add_forms(router: APIRouter, gate: PageGate, hub: Hub, pages: Pages) -> None:
    """What administrators alone see and do."""
    quota, many, customer = QuotaPages(hub, pages), ManyQuotaPages(hub, pages), CustomerPages(hub, pages)
    provider, tokens = ProviderPages(hub, pages), TokenPages(hub, pages)
    for path, show, take in (
        ("/quota", quota.show, quota.take),
        ("/quotas", many.show, many.take),
        ("/customer/edit", customer.show, customer.take),
        ("/provider", provider.show, provider.take),
        ("/tokens", tokens.show, tokens.take),
    ):
        router.add_api_route(path, gate.shown(show), response_model=None)
        router.add_api_route(path, gate.taken(take), methods=["POST"], response_model=None)
    router.add_api_route("/tokens/revoke", gate.taken(tokens.take_end), methods=["POST"], response_model=None)


def _frame(request: Request) -> dict[str, object]:
    """What every page shows of who is there."""
    who = identity_of(request)
    frame: dict[str, object] = {"is_open": who is EVERYBODY, "may_change": False}
    if who is not None:
        if who.role is Role.ADMIN:
            frame |= {"may_change": True, "site": Site("carbonquota", "", _ADMIN_PLACES)}
        if who.role is Role.CUSTOMER:
            frame["site"] = Site("carbonquota", who.subject, _OWN_PLACES)
    return frame
