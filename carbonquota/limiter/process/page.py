"""The limiter's page: what was decided, who is blocked most, who is denied, and the brownout switch.

Forms change something by a POST, which the guard in front of it takes from this site's own pages alone.
"""

from __future__ import annotations

import socket
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import parse_qs

from fastapi import APIRouter, Depends, Request
from starlette.responses import RedirectResponse, Response

from carbonquota.limiter.process.parts import LimiterParts
from carbonquota.web.access import Role, require
from carbonquota.web.page import NavigationEntry, Pages, Site
from carbonquota.web.page.site import ask_for_token

_ROWS: Final = 50
_OFFENDERS: Final = 20
_LONGEST: Final = 4_096
"""Bytes of a form."""
_YEAR: Final = 31_536_000.0


@dataclass(frozen=True, slots=True)
class _Row:
    """What became of requests by a rule, on a route, at a tier."""

    rule: str
    route: str
    tier: str
    allowed: int
    blocked: int
    shadow: int


class LimiterPage:
    """The page and its forms."""

    def __init__(self, parts: LimiterParts) -> None:
        """Show these parts."""
        self._parts = parts
        site = Site(
            "carbonquota limiter",
            socket.gethostname(),
            (NavigationEntry("Limits", "/"), NavigationEntry("API", "/docs")),
        )
        self._pages = Pages(site, [Path(__file__).parent / "templates"])

    def router(self) -> APIRouter:
        """The paths, for an application to include."""
        router = APIRouter(include_in_schema=False)
        router.include_router(self._pages.router())
        router.include_router(self._pages.login_router())
        readers = [Depends(ask_for_token), require(Role.OPERATOR)]
        router.add_api_route("/", self.page, response_model=None, dependencies=readers)
        for path, answer in (
            ("/page/ban", self.ban),
            ("/page/lift", self.lift),
            ("/page/brownout", self.brownout),
            ("/page/brownout/lift", self.lift_brownout),
        ):
            router.add_api_route(
                path, answer, methods=["POST"], response_model=None, dependencies=[require(Role.ADMIN)]
            )
        return router

    def page(self, request: Request) -> Response:
        """How things stand."""
        limiter = self._parts.limiter
        rows = [_Row(*key, *counts) for key, counts in limiter.counts.rows().items()]
        rows.sort(key=lambda row: (-row.blocked, -row.shadow, -row.allowed))
        values = {
            "troubles": self._parts.troubles,
            "rules": len(limiter.rules.rules()),
            "where": "in the store" if self._parts.settings.store.url else "in this process",
            "rows": rows[:_ROWS],
            "more": max(len(rows) - _ROWS, 0),
            "offenders": limiter.offenders.top(_OFFENDERS),
            "bans": limiter.bans.listed()[:_ROWS],
            "brownouts": [
                {"tier": one.tier, "factor": float(one.factor), "until": one.until} for one in limiter.brownout.listed()
            ],
        }
        return self._pages.answer(request, "limiter.html", values=values)

    async def ban(self, request: Request) -> Response:
        """Deny a client for a while."""
        form = await _form(request)
        seconds = _number(form.get("seconds", ""))
        if not form.get("client") or not 0 < seconds <= _YEAR:
            return self._refuse(request, "A client, and for how many seconds, must be told.")
        self._parts.limiter.bans.add(form["client"], seconds, "blocked often", "the page")
        return _back()

    async def lift(self, request: Request) -> Response:
        """Deny a client no more."""
        self._parts.limiter.bans.lift((await _form(request)).get("client", ""))
        return _back()

    async def brownout(self, request: Request) -> Response:
        """Multiply the limits of a tier for a while."""
        form = await _form(request)
        factor, seconds = _number(form.get("factor", "")), _number(form.get("minutes", "")) * 60
        if not form.get("tier") or not 0 <= factor <= 10 or not 0 < seconds <= _YEAR:
            return self._refuse(request, "Tell a tier, a factor from 0 to 10, and for how many minutes.")
        self._parts.limiter.brownout.set(form["tier"], factor, seconds)
        return _back()

    async def lift_brownout(self, request: Request) -> Response:
        """Have the limits of a tier be as the rules say."""
        self._parts.limiter.brownout.lift((await _form(request)).get("tier", ""))
        return _back()

    def _refuse(self, request: Request, detail: str) -> Response:
        return self._pages.refuse(request, 422, "That cannot be done", detail)


async def _form(request: Request) -> dict[str, str]:
    """The fields of a form; none of one that is far too long."""
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > _LONGEST:
            return {}
    fields = parse_qs(body.decode("utf-8", "replace"), max_num_fields=10)
    return {name: values[-1].strip() for name, values in fields.items()}


def _number(text: str) -> float:
    """A number as somebody writes it; NaN, which is in no range, for anything else."""
    try:
        return float(text.replace(",", "."))
    except ValueError:
        return float("nan")


def _back() -> Response:
    return RedirectResponse("/", 303, headers={"Cache-Control": "no-store"})
