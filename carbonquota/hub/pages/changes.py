"""The audit as a page: who changed what, when and why, and how it was before."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from fastapi import Request
from starlette.responses import Response

from carbonquota.hub.domain.values import AuditEntry
from carbonquota.hub.service.hub import Hub
from carbonquota.web.access import Identity
from carbonquota.web.page import Pages
from carbonquota.web.page.parameters import number
from carbonquota.web.page.site import link

_PAGE: Final = 50
_LONGEST: Final = 420
"""Characters of what a change is of: `customer/`, a name, and a provider's."""
_SHOWN: Final = 300
"""Characters of a value."""
_MOST: Final = 10**15


@dataclass(frozen=True, slots=True)
class Difference:
    """One thing that is otherwise since a change."""

    name: str
    before: str
    after: str


class ChangePages:
    """All changes, or those of one thing."""

    def __init__(self, hub: Hub, pages: Pages) -> None:
        """Show what `hub` keeps."""
        self._hub = hub
        self._pages = pages

    def show(self, request: Request, _: Identity) -> Response:
        """A page of them, the newest first."""
        query = request.query_params
        subject = query.get("of", "").replace("\0", "")[:_LONGEST].strip()
        before = number(query.get("before"), 0, _MOST) or None
        found = self._hub.writing.entries(before=before, limit=_PAGE, subject=subject)
        values = {
            "found": [(entry, list(_differences(entry))) for entry in found],
            "subject": subject,
            "after": link("/changes", of=subject, before=found[-1].number) if len(found) == _PAGE else "",
            "is_first": before is None,
        }
        return self._pages.answer(request, "changes.html", values=values)


def _differences(entry: AuditEntry) -> Iterator[Difference]:
    before, after = entry.before or {}, entry.after or {}
    for name in dict.fromkeys((*before, *after)):
        if before.get(name) != after.get(name):
            yield Difference(name, _told(before.get(name)), _told(after.get(name)))


def _told(value: Any) -> str:  # noqa: ANN401 - as JSON has it
    if value is None or value in ("", [], {}):
        return ""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return f"{value:,}"
    told = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
    return told if len(told) <= _SHOWN else told[:_SHOWN] + "..."
