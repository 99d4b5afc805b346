"""The fleet at a glance, customers, and one customer's own page."""

from __future__ import annotations

from collections.abc import Container, Iterable
from math import ceil
from typing import Final

from fastapi import Request
from starlette.responses import Response

from carbonquota.hub.domain.controls import CONTROLS
from carbonquota.hub.domain.errors import UnavailableError
from carbonquota.hub.domain.grid import TOTAL
from carbonquota.hub.domain.ranking import Fullest, fullest
from carbonquota.hub.domain.values import AGGREGATE, Customer
from carbonquota.hub.service.history import SPANS, Moment
from carbonquota.hub.service.hub import Hub
from carbonquota.hub.service.utilization import KnownValue
from carbonquota.web.access import Identity, Role
from carbonquota.web.kept import Recent
from carbonquota.web.page import Pages
from carbonquota.web.page.charts import Chart, ChartLine, chart
from carbonquota.web.page.limits import tone_of
from carbonquota.web.page.parameters import choice
from carbonquota.web.page.site import link

MOST: Final = 25
PAGE: Final = 50
_LONGEST: Final = 200
_MOST_ELSEWHERE: Final = 20


Past = dict[float, float | None]
"""What was used, by time in seconds since the epoch."""


class FleetPages:
    """Pages on customers and what they hold."""

    def __init__(self, hub: Hub, pages: Pages) -> None:
        """Show what `hub` knows."""
        self._hub = hub
        self._pages = pages
        self._fullest: Recent[Fullest] = Recent()
        self._moments: Recent[list[Moment]] = Recent(most=30)

    def overview(self, request: Request, who: Identity) -> Response:
        """Who is nearest to a quota, and how providers and daemons are; a customer sees its own page."""
        if who.role is Role.CUSTOMER:
            return self._customer(request, who.subject)
        hub = self._hub
        full = self._fullest.get((), lambda: fullest(hub.book, MOST))
        trouble = hub.synchronizer.trouble
        try:
            daemons, entries, drops = hub.rules.daemons(), hub.writing.entries(limit=10), hub.drops.largest(MOST)
        except UnavailableError as error:
            # What is in memory is shown on.
            daemons, entries, drops, trouble = [], [], [], str(error)
        values = {
            "full": full,
            "customers": hub.book.total,
            "held": len(hub.book.numbers),
            "age": ceil(hub.synchronizer.age),
            "providers": hub.providers.all(),
            "daemons": daemons,
            "drops": drops,
            "now": hub.clock(),
            "entries": entries,
            "trouble": trouble,
            "tone_of": tone_of,
        }
        return self._pages.answer(request, "fleet.html", values=values)

    def customers(self, request: Request, _: Identity) -> Response:
        """Customers by name, all or those whose names begin so, page by page."""
        query = request.query_params
        begin, after = _name(query.get("from", "")), _name(query.get("after", ""))
        found = self._hub.quotas.customers(after=after, limit=PAGE, begin=begin)
        known = self._hub.holding.numbers([one.name for one in found])
        values = {
            "found": [
                (one, list(self._totals(one.name)) if number else []) for one, number in zip(found, known, strict=True)
            ],
            "begin": begin,
            "total": self._hub.book.total,
            "after": link("/customers", **{"from": begin}, after=found[-1].name) if len(found) == PAGE else "",
            "tone_of": tone_of,
        }
        return self._pages.answer(request, "customers.html", values=values)

    def _totals(self, customer: str) -> Iterable[KnownValue]:
        """What a customer holds in all, where that is limited."""
        return (value for value in self._hub.utilization.of(customer) if not value.provider and value.limit is not None)

    def customer(self, request: Request, who: Identity) -> Response:
        """One customer; another than one's own is as if there were none."""
        name = request.query_params.get("name", "")[:_LONGEST].strip()
        if not who.sees(Role.CUSTOMER, name):
            return self._refuse(request, name)
        return self._customer(request, name)

    def _refuse(self, request: Request, name: str) -> Response:
        return self._pages.refuse(request, 404, "No such customer", f"There is no customer called {name!r}.")

    def _customer(self, request: Request, name: str) -> Response:
        if not self._hub.holding.knows(name):
            return self._refuse(request, name)
        known = self._hub.utilization.of(name)
        asked = request.query_params.get("over", "")
        span = asked if asked in SPANS else ""
        by_provider: dict[str, list[KnownValue]] = {}
        for value in known:
            by_provider.setdefault(value.provider, []).append(value)
        values = {
            "customer": self._about(name),
            "total": by_provider.pop("", []),
            "by_provider": by_provider,
            "charts": [made for value in known if not value.provider and (made := self._chart(name, value, span))],
            "span": span,
            "age": ceil(self._hub.synchronizer.age),
            "trouble": self._hub.synchronizer.trouble,
            "done": choice(request.query_params.get("quota"), ("set", "deleted"), None),
            "elsewhere": self._elsewhere(by_provider),
            "percent": percent_of,
            "tone_of": tone_of,
        }
        return self._pages.answer(request, "customer.html", values=values)

    def _elsewhere(self, known: Container[str]) -> list[str]:
        """Some providers that nothing is known at yet."""
        return [one.name for one in self._hub.providers.all() if one.name not in known][:_MOST_ELSEWHERE]

    def _about(self, name: str) -> Customer:
        """A customer's words and namespaces; without them while the database is away."""
        try:
            return self._hub.quotas.customer(name)
        except UnavailableError:
            return Customer(name)

    def _chart(self, customer: str, total: KnownValue, span: str) -> Chart | None:
        """Usage of one control over time: in all, at the providers that hold the most, and the quota."""
        book = self._hub.book
        number, control = self._hub.holding.number(customer), CONTROLS.index(total.control)
        held = {at: int(book.usage.get(at, control, number)) for at in book.provider_at.copy()}
        most = [at for at in sorted(held, key=lambda at: -held[at]) if held[at] and len(held) > 1][:2]
        past = {at: self._past(customer, at, control, span) for at in (TOTAL, *most)}
        times = sorted(past[TOTAL])
        names = ("all providers", *(book.provider_name(at) for at in most))
        lines = [
            ChartLine(name, [past[at].get(time) for time in times], tone)
            for name, at, tone in zip(names, past, ("first", "second", "third"), strict=False)
        ]
        if total.limit is not None:
            lines.append(ChartLine("quota", [float(total.limit)] * len(times), "limit"))
        return chart(f"{total.control} over time", times, lines, total.control)

    def _past(self, customer: str, provider: int, control: int, span: str) -> Past:
        """What was used by time: from memory, or for a span of the stored history from there, a moment old at most."""
        if not span:
            times, values = self._hub.history.of(self._hub.holding.number(customer), provider, control)
            return dict(zip(times, values, strict=True))
        name = self._hub.book.provider_name(provider) if provider != TOTAL else AGGREGATE
        key = customer, provider, control, span
        moments = self._moments.get(key, lambda: self._hub.stored_history.of(customer, CONTROLS[control], span, name))
        return {float(one.time): float(one.usage) for one in moments}

    def growth(self, request: Request, _: Identity) -> Response:
        """Who grew the most in the last hour."""
        hub, now = self._hub, self._hub.clock()
        grown, since = hub.history.grown(hub.book, now, MOST), hub.history.since(now)
        values = {"grown": grown, "since": since, "controls": CONTROLS}
        return self._pages.answer(request, "growth.html", values=values)


def _name(text: str) -> str:
    """What may be a part of a customer's name, and nothing that a database could stumble over."""
    text = text.strip()[:_LONGEST]
    return text if text.isascii() and text.isprintable() else ""


def percent_of(value: KnownValue) -> float | None:
    """Usage in percent of a limit; None where there is none, or it is 0."""
    return 100 * value.usage / value.limit if value.limit else None
