"""Who makes a call: by its token, as over HTTP."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Set as AbstractSet

from carbonquota.web.access import Identity, Role
from carbonquota.web.authentication import UNAVAILABLE, AuthenticationUnavailable, NotAuthenticated
from carbonquota.web.grpc.protocol import Call
from carbonquota.web.grpc.replies import GrpcStatus
from carbonquota.web.make_access import Access

_log = logging.getLogger(__name__)


class NotAllowed(Exception):  # noqa: N818 - it is an answer
    """Whoever calls may not; the text says why, for the caller."""

    def __init__(self, code: GrpcStatus, text: str) -> None:
        """Answer so."""
        super().__init__(text)
        self.code = code


class Callers:
    """Finds out who calls."""

    def __init__(self, access: Access) -> None:
        """Know who `access` knows."""
        self._access = access

    def known(self, call: Call, allowed: AbstractSet[Role]) -> Identity | None:
        """Who calls, if it is of an allowed role; None where that has to be looked up by `find`. Refused."""
        token = _token(call)
        if not token:
            anonymous = self._access.anonymous({"client": call.peer, "headers": []})
            if anonymous is None:
                raise NotAllowed(GrpcStatus.UNAUTHENTICATED, "this needs a token: metadata `authorization: Bearer ...`")
            return _allowed(anonymous, allowed)
        identity = self._access.authenticators.remembered(token)
        return None if identity is None else _allowed(identity, allowed)

    async def find(self, call: Call, allowed: AbstractSet[Role]) -> Identity:
        """The same, looked up if need be."""
        return self.known(call, allowed) or _allowed(await self._look_up(_token(call), call.peer[0]), allowed)

    async def _look_up(self, token: str, address: str) -> Identity:
        failures = self._access.failures
        wait = failures.wait(address)
        if wait and not self._access.authenticators.is_familiar(token):
            raise NotAllowed(
                GrpcStatus.RESOURCE_EXHAUSTED,
                f"too many tokens that are not valid came from {address}: try again in {wait} seconds",
            )
        try:
            identity = await asyncio.to_thread(self._access.authenticators.authenticate, token)
        except NotAuthenticated:
            identity = None
        except AuthenticationUnavailable as error:
            _log.warning("gRPC: no token can be checked: %s", error)
            raise NotAllowed(GrpcStatus.UNAVAILABLE, UNAVAILABLE) from None
        if identity is None:
            failures.note(address)
            raise NotAllowed(GrpcStatus.UNAUTHENTICATED, "the token is not valid")
        return identity


def _token(call: Call) -> str:
    """The token of a call; empty for none, Refused where it is not one."""
    given = call.stream.head.authorization
    if not given:
        return ""
    scheme, _, token = given[0].decode("latin-1").partition(" ")
    if len(given) > 1 or scheme.lower() != "bearer" or not token:
        raise NotAllowed(GrpcStatus.UNAUTHENTICATED, "send one metadata `authorization: Bearer TOKEN`")
    return token


def _allowed(identity: Identity, allowed: AbstractSet[Role]) -> Identity:
    """The identity, if it is of an allowed role; Refused."""
    if identity.role not in allowed:
        needed = " or ".join(sorted(allowed))
        raise NotAllowed(GrpcStatus.PERMISSION_DENIED, f"this needs the role {needed}; the token is of {identity.role}")
    return identity
