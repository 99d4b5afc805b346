"""The rules of a fleet, as an administrator's program handles them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from carbonquota.client.json_service import JsonService

Document = dict[str, Any]
"""A document of the service; `/docs` there has its fields."""


class RulesClient:
    """The quota service's rules. ServiceRefusedError and ServiceAwayError from every call, with the reason."""

    def __init__(self, url: str, token: str = "", kind: str = "rules") -> None:
        """Ask the service at `url`; nothing is sent yet. `kind` is `rules`, of daemons, or `limits`, of limiters."""
        self._service = JsonService(url, token)
        self._path = f"/v1/{kind}"

    def push(self, text: str, why: str = "") -> Document:
        """Send a text as a new version, or get the newest one where that is the same."""
        return self._ask("POST", "/versions", {"text": text, "why": why})

    def check(self, text: str) -> Document:
        """Errors and findings of a text; nothing is kept."""
        return self._ask("POST", "/check", {"text": text})

    def trial(self, text: str, group: str = "") -> Document:
        """What a text would do to what the fleet uses now, against what is in force."""
        return self._ask("POST", "/trial", {"text": text}, {"group": group})

    def versions(self) -> list[Document]:
        """The newest first, without texts."""
        return list(self._ask("GET", "/versions")["versions"])

    def version(self, number: int) -> Document:
        """One with its text."""
        return self._ask("GET", f"/versions/{number}")

    def releases(self) -> list[Document]:
        """The newest first."""
        return list(self._ask("GET", "/releases")["releases"])

    def release(self, version: int, mode: str, group: str = "", why: str = "") -> Document:
        """Put a version in force, as `shadow` or `enforced`, for all daemons or a group."""
        return self._ask("POST", "/releases", {"version": version, "mode": mode, "group": group, "why": why})

    def approve(self, release: int, why: str = "") -> Document:
        """Approve of another administrator's release."""
        return self._ask("PUT", f"/releases/{release}/approval", query={"why": why})

    def rollback(self, group: str = "", why: str = "") -> Document:
        """Put in force what was before."""
        return self._ask("POST", "/rollback", {"group": group, "why": why})

    def daemons(self) -> list[Document]:
        """All daemons that were seen, by name."""
        return list(self._service.ask("GET", "/v1/rules/daemons", timeout=30).document["daemons"])

    def _ask(self, method: str, path: str, body: object = None, query: Mapping[str, object] | None = None) -> Document:
        document: Document = self._service.ask(method, self._path + path, body, query=query, timeout=30).document
        return document
