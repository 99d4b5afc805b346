"""Who asks, and who may ask what: roles, an identity, and the rule of access that each endpoint names.

Theory of operation. A middleware (`web.authentication`) finds out who asks and leaves it in the request. An endpoint
names the roles that may use it by `require`, which answers 401 or 403 to all others; an administrator may use each.
The roles stand in the OpenAPI document, so that a table of every endpoint and role can be made from it. An endpoint
that is for everybody says so, too, by `PUBLIC`: one without either is a mistake that tests of the document find.
Whether a customer may see one certain name is for the service to say, as it answers as if other names did not exist.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from math import inf
from typing import Annotated, Any, Final

from fastapi import Depends, Request, Security
from fastapi.security import HTTPBearer
from starlette.exceptions import HTTPException


class Role(StrEnum):
    """What somebody may do: customers and providers see their own, operators read all, administrators do all."""

    CUSTOMER = "customer"
    PROVIDER = "provider"
    OPERATOR = "operator"
    ADMIN = "admin"


OWN: Final = frozenset({Role.CUSTOMER, Role.PROVIDER})
"""Roles of which each holder is one certain customer or provider."""


@dataclass(frozen=True, slots=True)
class Identity:
    """Who asks: `name` as the audit tells it, and `subject`, the customer or provider that a holder of `OWN` is.

    `credential` is the id of the token, which is no secret; it is valid until `expires`, seconds since the epoch.
    """

    name: str
    role: Role
    subject: str = ""
    credential: str = ""
    expires: float = inf

    def sees(self, role: Role, subject: str) -> bool:
        """Whether it may see what belongs to the customer or provider `subject`, `role` telling which of both."""
        return self.role not in OWN or (self.role is role and self.subject == subject)


EVERYBODY: Final = Identity("anonymous", Role.ADMIN)
"""Who asks where nobody is told apart."""

IDENTITY: Final = "carbonquota.identity"
"""The key of an identity in a request's scope; None where nobody is known to ask."""

PUBLIC: Final[dict[str, Any]] = {"security": []}
"""`openapi_extra` of an endpoint that everybody may use."""

_CHALLENGE: Final = {"WWW-Authenticate": "Bearer"}
_SCHEME: Final = HTTPBearer(
    scheme_name="token",
    auto_error=False,
    description="`Authorization: Bearer` with a token or a JWT. The roles that may use an operation are its scopes.",
)


def require(*roles: Role) -> Any:  # noqa: ANN401 - as FastAPI has it, to stand in a signature or in `dependencies`
    """Let only these roles use an endpoint, and administrators; the value is the `Identity` that asks."""
    allowed = frozenset({*roles, Role.ADMIN})

    async def check(request: Request, _: Annotated[object, Depends(_SCHEME)]) -> Identity:
        """The identity, if it may; HTTPException."""
        identity = identity_of(request)
        if identity is None:
            raise HTTPException(401, "this needs a token: send it as `Authorization: Bearer ...`", _CHALLENGE)
        if identity.role not in allowed:
            needed = " or ".join(sorted(allowed))
            raise HTTPException(403, f"this needs the role {needed}; the token is of the role {identity.role}")
        return identity

    return Security(check, scopes=sorted(allowed))


def identity_of(request: Request) -> Identity | None:
    """Who asks; None where that is not known."""
    found: Identity | None = request.scope.get(IDENTITY)
    return found
