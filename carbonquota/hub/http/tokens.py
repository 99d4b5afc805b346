"""`/v1/tokens`: made, listed and revoked by administrators; `/v1/me` says who asks."""

from __future__ import annotations

from math import inf, isinf
from typing import Annotated

from fastapi import APIRouter, Path, Query, Response
from pydantic import BaseModel, Field

from carbonquota.hub.domain.values import Actor
from carbonquota.hub.http.answers import CHANGES, READS
from carbonquota.hub.http.documents import STRICT, Why
from carbonquota.hub.service.hub import Hub
from carbonquota.web.access import Identity, Role, require
from carbonquota.web.tokens import TokenRecord

_YEAR = 365 * 86_400.0
Admin = Annotated[Identity, require(Role.ADMIN)]
Anybody = Annotated[Identity, require(*Role)]


class TokenOrder(BaseModel):
    """A token to make. `subject` is the customer or provider that it is for; `lifetime` is in seconds, null: no end."""

    model_config = STRICT

    name: Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f]+$")]
    role: Role
    subject: Annotated[str, Field(max_length=200)] = ""
    lifetime: Annotated[float | None, Field(ge=1, le=3_153_600_000)] = _YEAR
    why: Why = ""


class TokenDocument(BaseModel):
    """A token without what is secret; times are in seconds since the epoch, `expires` null is never."""

    id: str
    name: str
    role: Role
    subject: str
    created: float
    expires: float | None
    revoked: bool


class NewToken(BaseModel):
    """A token that was just made: `token` is shown this once."""

    token: str
    about: TokenDocument


class TokenList(BaseModel):
    """All tokens, the oldest first."""

    tokens: list[TokenDocument]


class Me(BaseModel):
    """Who asks, as the service sees it."""

    name: str
    role: Role
    subject: str


def make_router(hub: Hub) -> APIRouter:
    """The endpoints about tokens."""
    endpoints = _TokenEndpoints(hub)
    router = APIRouter(prefix="/v1", tags=["tokens"])
    router.add_api_route("/me", endpoints.me, summary="Who asks")
    router.add_api_route("/tokens", endpoints.all, summary="All tokens", responses=READS)
    router.add_api_route(
        "/tokens", endpoints.make, methods=["POST"], status_code=201, summary="Make a token", responses=CHANGES
    )
    router.add_api_route(
        "/tokens/{number}", endpoints.revoke, methods=["DELETE"], status_code=204, summary="Revoke a token",
        responses=CHANGES,
    )  # fmt: skip
    return router


class _TokenEndpoints:
    """Plain functions, each on a thread of its own."""

    def __init__(self, hub: Hub) -> None:
        self._tokens = hub.tokens

    async def me(self, who: Anybody) -> Me:
        """The name, role and subject of the token."""
        return Me(name=who.name, role=who.role, subject=who.subject)

    def all(self, _: Admin) -> TokenList:
        """Without what is secret, revoked ones among them."""
        return TokenList(tokens=[_document(one) for one in self._tokens.all()])

    def make(self, order: TokenOrder, who: Admin, response: Response) -> NewToken:
        """The answer has the token, this once; what is kept is its hash. The first one is an administrator's."""
        lifetime = inf if order.lifetime is None else order.lifetime
        text, record = self._tokens.make(Actor(who.name, order.why), order.name, order.role, order.subject, lifetime)
        response.headers["Cache-Control"] = "no-store"
        return NewToken(token=text, about=_document(record))

    def revoke(
        self,
        number: Annotated[str, Path(pattern=r"^[0-9a-f]{12}$", description="Its id")],
        who: Admin,
        why: Annotated[str, Query(max_length=1000, description="For the audit")] = "",
    ) -> None:
        """From then on, some five seconds later at the latest, nobody gets in with it, and its sessions end."""
        self._tokens.revoke(Actor(who.name, why), number)


def _document(record: TokenRecord) -> TokenDocument:
    return TokenDocument(
        id=record.id, name=record.name, role=record.role, subject=record.subject, created=record.created,
        expires=None if isinf(record.expires) else record.expires, revoked=record.revoked,
    )  # fmt: skip
