"""Who makes a call: by its token, as over HTTP."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Set as AbstractSet
from typing import Any

import grpc
import grpc.aio

from carbonquota.web.access import Identity, Role
from carbonquota.web.authentication import UNAVAILABLE, AuthenticationUnavailable, NotAuthenticated
from carbonquota.web.make_access import Access

_log = logging.getLogger(__name__)


class Refused(Exception):  # noqa: N818 - it is an answer
    """Whoever calls may not; the text says why, for the caller."""

    def __init__(self, code: grpc.StatusCode, text: str) -> None:
        """Answer so."""
        super().__init__(text)
        self.code = code


class Callers:
    """Finds out who calls."""

    def __init__(self, access: Access) -> None:
        """Know who `access` knows."""
        self._access = access

    async def caller(self, context: grpc.aio.ServicerContext[Any, Any], allowed: AbstractSet[Role]) -> Identity:
        """Who calls, if it is of an allowed role; Refused."""
        identity = await self._identity(context)
        if identity is None:
            raise Refused(grpc.StatusCode.UNAUTHENTICATED, "this needs a token: metadata `authorization: Bearer ...`")
        if identity.role not in allowed:
            needed = " or ".join(sorted(allowed))
            raise Refused(
                grpc.StatusCode.PERMISSION_DENIED, f"this needs the role {needed}; the token is of {identity.role}"
            )
        return identity

    async def _identity(self, context: grpc.aio.ServicerContext[Any, Any]) -> Identity | None:
        given = [value for key, value in context.invocation_metadata() or () if key == "authorization"]
        if not given:
            return self._access.anonymous({"client": _address(context.peer()), "headers": []})
        scheme, _, token = str(given[0]).partition(" ")
        if len(given) > 1 or scheme.lower() != "bearer" or not token:
            raise Refused(grpc.StatusCode.UNAUTHENTICATED, "send one metadata `authorization: Bearer TOKEN`")
        identity = self._access.authenticators.remembered(token)
        if identity is not None:
            return identity
        failures, address = self._access.failures, _address(context.peer())[0]
        wait = failures.wait(address)
        if wait and not self._access.authenticators.is_familiar(token):
            raise Refused(
                grpc.StatusCode.RESOURCE_EXHAUSTED,
                f"too many tokens that are not valid came from {address}: try again in {wait} seconds",
            )
        try:
            identity = await asyncio.to_thread(self._access.authenticators.authenticate, token)
        except NotAuthenticated:
            identity = None
        except AuthenticationUnavailable as error:
            _log.warning("gRPC: no token can be checked: %s", error)
            raise Refused(grpc.StatusCode.UNAVAILABLE, UNAVAILABLE) from None
        if identity is None:
            failures.note(address)
            raise Refused(grpc.StatusCode.UNAUTHENTICATED, "the token is not valid")
        return identity


def _address(peer: str) -> tuple[str, int]:
    """Host and port of a caller, as gRPC writes it (`ipv4:127.0.0.1:5000`)."""
    host, _, port = peer.partition(":")[2].rpartition(":")
    return host.strip("[]").replace("%5B", "").replace("%5D", ""), int(port) if port.isdigit() else 0
