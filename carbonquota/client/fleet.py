"""What a daemon is told about its fleet, and the release of rules that it is to have."""

from __future__ import annotations

from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

from carbonquota.client.json_service import JsonService, ServiceAwayError
from carbonquota.errors import InputError


@dataclass(frozen=True, slots=True)
class FleetSettings:
    """`[hub]`: the `url` of the quota service, the token, or a file with it, and the `group` whose rules are taken.

    A poll waits for `wait` seconds at most. What namespaces hold is told every `usage_interval` seconds, 0 for never.
    """

    url: str = ""
    token: str = field(default="", repr=False)
    token_file: str = ""
    group: str = ""
    wait: float = 50.0
    usage_interval: float = 300.0

    def read_token(self) -> str:
        """The token; InputError where its file cannot be read."""
        if not self.token_file:
            return self.token
        try:
            return Path(self.token_file).read_text(encoding="utf-8").strip()
        except (OSError, ValueError) as error:
            raise InputError(f"{self.token_file}: the token cannot be read: {error}") from None


@dataclass(frozen=True, slots=True)
class FleetRules:
    """A release: its number and version, whether it drops, and the text with the SHA-256 that was sent with it."""

    release: int
    version: int
    mode: str
    checksum: str
    text: str = field(repr=False)

    @property
    def is_whole(self) -> bool:
        """Whether the text is the one that was sent."""
        return sha256(self.text.encode()).hexdigest() == self.checksum

    @property
    def title(self) -> str:
        """What it is called in messages."""
        return f"release {self.release} (version {self.version}, {self.mode})"


def rules_of(document: Any) -> FleetRules:  # noqa: ANN401 - JSON
    """A release as JSON has it; ValueError where it is none."""
    kinds = {"release": int, "version": int, "mode": str, "checksum": str, "text": str}
    if not isinstance(document, dict) or any(type(document.get(name)) is not kind for name, kind in kinds.items()):
        raise ValueError("this is no release")
    if document["mode"] not in {"shadow", "enforced"}:
        raise ValueError(f"the mode {document['mode']!r} is not known here")
    return FleetRules(**{name: document[name] for name in kinds})


class FleetClient:
    """The quota service, as a daemon asks it."""

    def __init__(self, service: JsonService, node: str, group: str, kind: str = "rules") -> None:
        """Ask for the rules of `group` as the daemon `node`; or for `limits`, as a rate limiter."""
        self._kind = kind
        self._service = service
        self._node = node
        self._group = group

    def in_force(self, seen: int, running: int, trouble: str, wait: float) -> FleetRules | None:
        """The release that is to be in force, None where it is `seen` already or there is none.

        It is waited for another one for `wait` seconds. ServiceAwayError and ServiceRefusedError as they say.
        """
        query = {"node": self._node, "group": self._group, "running": running, "trouble": trouble[:500], "wait": wait}
        headers = {"If-None-Match": f'"{seen}"'}
        answer = self._service.ask("GET", f"/v1/{self._kind}/in-force", query=query, headers=headers, timeout=wait + 10)
        if answer.document is None:
            return None
        try:
            return rules_of(answer.document)
        except ValueError as error:
            raise ServiceAwayError(f"what it answers is not known to this version: {error}") from None

    def tell_drops(self, drops: list[dict[str, Any]]) -> None:
        """Tell what was dropped since the last time."""
        self._service.ask("PUT", "/v1/rules/drops", {"drops": drops}, query={"node": self._node})

    def tell_usage(self, namespaces: list[dict[str, Any]]) -> None:
        """Tell what namespaces hold, for trials."""
        self._service.ask("PUT", "/v1/rules/usage", {"namespaces": namespaces}, query={"node": self._node})
