"""The frame of all pages: templates, the places of a site, the theme, and what browsers may load."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import urlencode, urlsplit

from fastapi import APIRouter, Request
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.exceptions import HTTPException
from starlette.responses import HTMLResponse, PlainTextResponse, RedirectResponse, Response

from carbonquota.controls import CONTROLS
from carbonquota.web.access import identity_of
from carbonquota.web.page import amounts
from carbonquota.web.page.carets import caret
from carbonquota.web.page.limits import filled, most_pressing
from carbonquota.web.page.statics import HERE, Statics
from carbonquota.web.sessions import CSRF

THEMES: Final = ("auto", "light", "dark")
"""`auto` is what the browser prefers."""

SECURITY: Final = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-store",
}
"""Pages load from where they come from alone, hold no script in themselves, and are kept nowhere."""

_YEAR: Final = 31_536_000
_COOKIE: Final = "theme"


@dataclass(frozen=True, slots=True)
class NavigationEntry:
    """One entry of the navigation."""

    label: str
    path: str
    around: frozenset[str] = frozenset()
    """Other paths that belong to it."""


@dataclass(frozen=True, slots=True)
class Site:
    """What a site is called, what it shows (a host, a fleet), and where one can go."""

    name: str
    subject: str
    places: Sequence[NavigationEntry]


Frame = Callable[[Request], dict[str, object]]


class Pages:
    """Makes pages from templates."""

    def __init__(
        self, site: Site, folders: Sequence[Path] = (), statics: Statics | None = None, frame: Frame = lambda _: {}
    ) -> None:
        """Look for templates in `folders` first, then among those that all sites share.

        `frame` gives what a site's own templates show on every page; it may say that the site is open to everybody.
        """
        self._site = site
        self._frame = frame
        self._statics = statics or Statics()
        loader = FileSystemLoader([*map(str, folders), str(HERE / "templates")])
        self._templates = Environment(
            loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
        )
        self._templates.filters |= {
            "whole": amounts.whole,
            "short": amounts.short,
            "size": amounts.size,
            "share": amounts.share,
            "span": amounts.span,
            "moment": amounts.moment,
            "amount_of": lambda amount, control: amounts.amount_of(control, amount),
            "short_amount_of": lambda amount, control: amounts.short_amount_of(control, amount),
        }
        self._templates.globals |= {
            "static": self._statics.url,
            "has_asset": self._statics.__contains__,
            "link": link,
            "filled": filled,
            "most_pressing": most_pressing,
            "controls": CONTROLS,
            "caret": caret,
        }

    def prepare(self) -> None:
        """Compile all templates, so that no visitor waits for that; takes some tenths of a second."""
        for name in self._templates.list_templates(extensions=["html"]):
            self._templates.get_template(name)

    def answer(
        self, request: Request, template: str, status: int = 200, values: Mapping[str, object] | None = None
    ) -> Response:
        """The page of a template."""
        theme = request.cookies.get(_COOKIE, "")
        here = request.url.path
        frame: dict[str, object] = {
            "site": self._site,
            "who": identity_of(request),
            "csrf": request.scope.get(CSRF, ""),
            "is_open": False,
            "theme": theme if theme in THEMES else "auto",
            "themes": THEMES,
            "path": here,
            "address": f"{here}?{request.url.query}" if request.url.query else here,
        }
        text = self._templates.get_template(template).render(frame | self._frame(request) | dict(values or {}))
        return HTMLResponse(text, status, headers=SECURITY)

    def refuse(self, request: Request, status: int, title: str, detail: str) -> Response:
        """A page that says why there is no other."""
        return self.answer(request, "error.html", status, {"title": title, "detail": detail})

    def router(self) -> APIRouter:
        """The paths that every site has."""
        router = APIRouter(include_in_schema=False)
        router.add_api_route("/static/{name}", self.static, response_model=None)
        router.add_api_route("/theme", self.theme, response_model=None)
        return router

    def login_router(self) -> APIRouter:
        """The page that asks for a token, for sites where one may be needed."""
        router = APIRouter(include_in_schema=False)
        router.add_api_route("/login", self.login, response_model=None)
        return router

    def login(self, request: Request) -> Response:
        """Ask for a token; who is known goes on to the first page."""
        wrong = "wrong" in request.query_params
        if identity_of(request) is not None and not wrong:
            return RedirectResponse("/", 303)
        return self.answer(request, "login.html", values={"wrong": wrong})

    async def static(self, name: str) -> Response:
        """A static file."""
        return self._statics.answer(name) or PlainTextResponse("no such file", 404)

    async def theme(self, to: str = "auto", back: str = "/") -> Response:
        """Choose a theme, and go back to a page of this site."""
        answer = RedirectResponse(back if is_own(back) else "/", 303, headers={"Cache-Control": "no-store"})
        answer.set_cookie(_COOKIE, to if to in THEMES else "auto", _YEAR, samesite="lax")
        return answer


async def ask_for_token(request: Request) -> None:
    """Send a browser whose user nobody knows to the page that asks for a token; others go on, and are refused."""
    if identity_of(request) is None and "text/html" in request.headers.get("accept", ""):
        raise HTTPException(303, "this needs a token", {"Location": "/login", "Cache-Control": "no-store"})


def link(path: str, **query: object) -> str:
    """An address on this site; what is None or empty is left out of the query."""
    given = {name: value for name, value in query.items() if value is not None and value != ""}
    return f"{path}?{urlencode(given)}" if given else path


def is_own(address: str) -> bool:
    """Whether an address stays on the site: a path, and nothing that browsers could take for another host."""
    if not address.startswith("/") or address.startswith("//") or "\\" in address:
        return False
    if any(character < " " for character in address):
        return False
    parts = urlsplit(address)
    return not parts.scheme and not parts.netloc
