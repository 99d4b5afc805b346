"""What both kinds of middleware share: a request's question, and the reply to one that may not pass."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from carbonquota.limiter.faces.headers import Header, HeaderStyle, answer_headers
from carbonquota.limiter.identity.heads import Fields, Forwarded, RequestHeadReader
from carbonquota.limiter.identity.resolve import IdentityResolver
from carbonquota.limiter.model import Answer, Request
from carbonquota.limiter.service import Limiter

_TITLES: Final = {401: "Unauthorized", 429: "Too Many Requests"}


@dataclass(frozen=True, slots=True)
class Refusal:
    """The reply to a request that does not get to the application."""

    status: int
    headers: Sequence[Header]

    @property
    def reason(self) -> str:
        """The status in words."""
        return _TITLES[self.status]

    @property
    def body(self) -> bytes:
        """The reply's document, as RFC 9457 has it."""
        return json.dumps({"title": self.reason, "status": self.status}).encode()

    @property
    def all_headers(self) -> list[Header]:
        """With those of the body."""
        return [
            *self.headers,
            ("content-type", "application/problem+json"),
            ("content-length", str(len(self.body))),
        ]


class RequestLimits:
    """A limiter, and what makes questions of requests. May be used from any thread."""

    def __init__(
        self,
        limiter: Limiter,
        identity: IdentityResolver | None = None,
        *,
        forwarded: Forwarded = "x-forwarded-for",
        key_field: str = "x-api-key",
        style: HeaderStyle | None = None,
    ) -> None:
        """Method, host and path are the request's own; `forwarded` is where trusted proxies tell addresses."""
        self.limiter = limiter
        self._identity = identity or IdentityResolver()
        self._style = style or HeaderStyle()
        self._heads = RequestHeadReader(
            self._identity.addresses, original="request", forwarded=forwarded, key_field=key_field
        )

    def question(self, method: str, target: str, fields: Fields, peer: str) -> Request | Refusal:
        """What the limiter is asked about a request; the refusal of one from nobody, where that is needed."""
        found = self._identity.resolve(self._heads.read(method, target, fields, peer))
        if self._identity.policy.needs_identity and not found.known:
            return Refusal(401, [("www-authenticate", "Bearer")])
        return found.question

    def headers(self, answer: Answer) -> list[Header]:
        """What a reply says of an answer."""
        return answer_headers(answer, self._style)

    def refusal(self, answer: Answer) -> Refusal | None:
        """The reply to a request that may not pass; None for one that may."""
        return None if answer.allowed else Refusal(429, self.headers(answer))
