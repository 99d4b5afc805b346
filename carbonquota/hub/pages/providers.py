"""Providers as pages: which there are and how late each is, and the form for one."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from fastapi import Request
from starlette.responses import RedirectResponse, Response

from carbonquota.hub.domain.controls import CONTROLS
from carbonquota.hub.domain.errors import HubError, InvalidError, UnavailableError
from carbonquota.hub.domain.names import LONGEST
from carbonquota.hub.domain.scraping import KINDS
from carbonquota.hub.domain.values import Provider
from carbonquota.hub.pages.fields import ABOUT, actor, decimal, text, whole
from carbonquota.hub.pages.forms import Form, status_of
from carbonquota.hub.service.hub import Hub
from carbonquota.web.access import Identity
from carbonquota.web.kept import Recent
from carbonquota.web.page import Pages

_URL: Final = 2000
_MAPPING: Final = 100_000
_LINES: Final = 100
_NEW: Final = Provider("")


@dataclass(frozen=True, slots=True)
class Shown:
    """A provider, and how many seconds ago it last told of somebody; None where it never did."""

    provider: Provider
    age: float | None

    @property
    def is_stale(self) -> bool:
        """Whether it is late."""
        return self.age is None or self.age > self.provider.stale_after


class ProviderPages:
    """The list of providers, and the form for one."""

    def __init__(self, hub: Hub, pages: Pages) -> None:
        """Show and change what `hub` keeps."""
        self._hub = hub
        self._pages = pages
        self._heard: Recent[dict[str, float]] = Recent()

    def all(self, request: Request, _: Identity) -> Response:
        """All of them, and how late each is."""
        now, heard = self._hub.clock(), self._heard.get((), self._hear)
        found = [
            Shown(one, max(now - heard[one.name], 0) if heard.get(one.name) else None)
            for one in self._hub.providers.all()
        ]
        return self._pages.answer(request, "providers.html", values={"found": found})

    def _hear(self) -> dict[str, float]:
        """When each was last heard, in seconds since the epoch; 0 is never."""
        book = self._hub.book
        with book.lock:
            return {
                one.name: max((
                    float(book.times.column(number, control).max(initial=0.0))
                    for control in range(len(CONTROLS)) if book.times.has(number, control)
                ), default=0.0)
                for number, one in book.provider_at.items()
            }  # fmt: skip

    def show(self, request: Request, _: Identity) -> Response:
        """The form with what there is, or an empty one."""
        name = request.query_params.get("name", "")[:LONGEST].strip()
        return self._form(request, self._hub.providers.provider(name) if name else _NEW)

    def take(self, request: Request, who: Identity, form: Form) -> Response:
        """Make, change or delete it, if it still is as it was when the form was made."""
        name = text(form, "name", LONGEST)
        try:
            expected = whole(form, "expected")
            if form.get("action") == "delete":
                self._hub.providers.delete(actor(who, form), name, expected)
            else:
                self._hub.providers.put(actor(who, form), _wanted(name, form), expected)
        except UnavailableError:
            raise
        except HubError as error:
            return self._form(request, self._there(name), form, error)
        return RedirectResponse("/providers", 303)

    def _there(self, name: str) -> Provider:
        number = self._hub.book.providers.get(name)
        return _NEW if number is None else self._hub.book.provider_at[number]

    def _form(
        self, request: Request, there: Provider, form: Form | None = None, error: HubError | None = None
    ) -> Response:
        written = {
            "name": there.name,
            "kind": there.kind,
            "url": there.url,
            "interval": f"{there.interval:g}",
            "stale_after": f"{there.stale_after:g}",
            "mapping": "\n".join(map(_line, there.mapping)),
            "about": there.about,
            "why": "",
        }
        values = {"there": there, "form": written | dict(form or {}), "kinds": KINDS, "error": error}
        return self._pages.answer(request, "provider.html", status_of(error) if error else 200, values)


def _wanted(name: str, form: Form) -> Provider:
    lines = [line for line in text(form, "mapping", _MAPPING).splitlines() if line.strip()]
    if len(lines) > _LINES:
        raise InvalidError(f"mapping: there are {len(lines)} lines, and at most {_LINES} are taken")
    return Provider(
        name,
        text(form, "kind", LONGEST, "push"),
        text(form, "url", _URL),
        decimal("interval", form.get("interval", ""), 1, 86_400),
        decimal("stale_after", form.get("stale_after", ""), 1, 864_000),
        tuple(map(_mapped, lines)),
        text(form, "about", ABOUT),
    )


def _mapped(line: str) -> dict[str, Any]:
    """One line of a mapping: metric, label, control, and labels that must be so."""
    try:
        words = shlex.split(line)
    except ValueError as error:
        raise InvalidError(f"mapping: {line[:80]!r}: {error}") from None
    pairs = [word.partition("=") for word in words[3:]]
    if len(words) < 3 or any(not key or not equals for key, equals, _ in pairs):
        raise InvalidError(
            f"mapping: {line[:80]!r} is not a metric, the label that names the customer, and a control, such as "
            "`used_bytes tenant bytes`, with `label=value` for labels that must be so"
        )
    where = {key: value for key, _, value in pairs}
    return {"metric": words[0], "label": words[1], "control": words[2], "where": where}


def _line(row: Mapping[str, Any]) -> str:
    where = [f"{key}={value}" for key, value in (row.get("where") or {}).items()]
    return shlex.join([row["metric"], row["label"], row["control"], *where])
