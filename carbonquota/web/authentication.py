"""Finds out who asks, before an application answers: by a token, a session's cookie, or where a request comes from.

A credential is taken from the `Authorization` header alone, never from a URL, which logs and histories keep. One that
is not valid is 401 whatever is asked for, and after ten of them in a minute an address has to wait; tokens that were
found to be valid a moment ago go on all the while. Why one is not valid is told in the log, without the token.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from hashlib import sha256
from time import monotonic, time
from typing import Final, Protocol

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from carbonquota.errors import QuotaError
from carbonquota.service.bounded_log import BoundedLog
from carbonquota.web.access import IDENTITY, Identity
from carbonquota.web.bounded_body import KNOWN, UNKNOWN, bounded
from carbonquota.web.failed_logins import FailedLogins
from carbonquota.web.problems import problem
from carbonquota.web.sessions import CSRF, ForgedRequestError, Sessions

UNAVAILABLE: Final = "nobody can be let in now, as tokens cannot be checked: try again; the log tells why"
_MOST_KEPT: Final = 10_000
_LONGEST: Final = 16_384
"""Characters of a credential; a JWT with many claims has some thousands."""


class NotAuthenticated(QuotaError):  # noqa: N818 - it is an answer
    """A credential that is not valid; the text is why, for the log, and has no secret."""


class AuthenticationUnavailable(QuotaError):  # noqa: N818 - the same
    """Whether a credential is valid cannot be found out now; the text is why."""


class Authenticator(Protocol):
    """Whoever knows a kind of credentials."""

    def authenticate(self, credential: str) -> Identity | None:
        """Who that is; None where it is of no kind that is known here.

        From any thread, and may wait for a database. NotAuthenticated where it is unknown, revoked or expired,
        AuthenticationUnavailable where that cannot be found out.
        """


class Authenticators:
    """Several of them as one, which remembers who was valid for some seconds."""

    def __init__(
        self,
        kinds: Sequence[Authenticator],
        *,
        remember: float = 5.0,
        clock: Callable[[], float] = monotonic,
        wall: Callable[[], float] = time,
    ) -> None:
        """Ask `kinds` in turn. What was found holds for `remember` seconds: so long a revoked token may go on."""
        self._kinds = tuple(kinds)
        self._remember = remember
        self._clock = clock
        self._wall = wall
        self._kept: dict[bytes, tuple[float, Identity]] = {}

    def remembered(self, credential: str) -> Identity | None:
        """Who that is, if it was found a moment ago; waits for nothing."""
        kept = self._kept.get(_key(credential))
        if kept is None or kept[0] < self._clock() or kept[1].expires <= self._wall():
            return None
        return kept[1]

    def is_familiar(self, credential: str) -> bool:
        """Whether it was valid some time ago, so that whoever sends it is not trying at random."""
        return _key(credential) in self._kept

    def authenticate(self, credential: str) -> Identity | None:
        """Who that is, found anew."""
        for kind in self._kinds:
            identity = kind.authenticate(credential)
            if identity is not None:
                self._keep(_key(credential), identity)
                return identity
        return None

    def _keep(self, key: bytes, identity: Identity) -> None:
        if len(self._kept) >= _MOST_KEPT:
            self._kept.clear()
        self._kept[key] = self._clock() + self._remember, identity


def _key(credential: str) -> bytes:
    """What is kept of a credential, so that a copy of the memory has no token in it."""
    return sha256(credential.encode("utf-8", "surrogatepass")).digest()


Anonymous = Callable[[Scope], Identity | None]
"""Says who asks without a credential; None where a token is needed for all that is not public."""


class Authentication:
    """An application around another, which finds who asks in the request."""

    def __init__(
        self,
        application: ASGIApp,
        authenticators: Authenticators,
        anonymous: Anonymous,
        failures: FailedLogins | None = None,
        sessions: Sessions | None = None,
    ) -> None:
        """Ask `authenticators` about credentials, and `anonymous` about requests without; browsers have `sessions`."""
        self._application = application
        self._authenticators = authenticators
        self._anonymous = anonymous
        self._failures = failures or FailedLogins(monotonic)
        self._sessions = sessions
        self._log = BoundedLog(logging.getLogger(__name__), monotonic)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        given = Headers(scope=scope).getlist("authorization")
        if not given:
            await self._without_credential(scope, receive, send)
            return
        credential = _bearer(given)
        if credential is None:
            await problem(401, "send one header `Authorization: Bearer TOKEN`", headers=_CHALLENGE)(
                scope, receive, send
            )
            return
        identity = self._authenticators.remembered(credential)
        if identity is None:
            identity = await self._found(credential, scope, receive, send)
        if identity is not None:
            scope[IDENTITY] = identity
            await self._application(scope, bounded(receive, KNOWN), _unkept(send))

    async def _without_credential(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request that has a session, or nothing."""
        try:
            session = (
                await asyncio.to_thread(self._sessions.of, scope) if self._sessions and _has_cookie(scope) else None
            )
        except ForgedRequestError as error:
            await problem(403, str(error))(scope, receive, send)
            return
        except AuthenticationUnavailable as error:
            self._log.warning("unavailable", "HTTP: no session can be checked: %s", error)
            await problem(503, UNAVAILABLE)(scope, receive, send)
            return
        if session is not None:
            scope[CSRF] = session.csrf
        scope[IDENTITY] = session.identity if session else self._anonymous(scope)
        most = UNKNOWN if scope[IDENTITY] is None else KNOWN
        await self._application(scope, bounded(receive, most), _unkept(send) if session else send)

    async def _found(self, credential: str, scope: Scope, receive: Receive, send: Send) -> Identity | None:
        """Who that is, on a thread; None where it was answered that this is nobody."""
        address = (scope.get("client") or ("", 0))[0]
        wait = self._failures.wait(address)
        if wait and not self._authenticators.is_familiar(credential):
            detail = f"too many tokens that are not valid came from {address}: try again in {wait} seconds"
            await problem(429, detail, headers={"Retry-After": str(wait)})(scope, receive, send)
            return None
        try:
            identity = await asyncio.to_thread(self._authenticators.authenticate, credential)
            reason = "it is of no kind that is taken here"
        except NotAuthenticated as error:
            identity, reason = None, str(error)
        except AuthenticationUnavailable as error:
            # Why is not for somebody who is not known.
            self._log.warning("unavailable", "HTTP: no token can be checked: %s", error)
            await problem(503, UNAVAILABLE)(scope, receive, send)
            return None
        if identity is None:
            self._failures.note(address)
            self._log.warning("refused", "HTTP: a token from %s is not valid: %s", address, reason)
            detail = "the token is not valid: it is unknown, revoked or expired"
            await problem(401, detail, headers=_INVALID)(scope, receive, send)
        return identity


def _unkept(send: Send) -> Send:
    """Have no cache keep what one who is known was answered, unless the endpoint says otherwise."""

    async def send_on(message: Message) -> None:
        """A part of the answer."""
        if message["type"] == "http.response.start":
            headers = list(message.get("headers", ()))
            if not any(name.lower() == b"cache-control" for name, _ in headers):
                message = {**message, "headers": [*headers, (b"cache-control", b"no-store")]}
        await send(message)

    return send_on


_CHALLENGE: Final = {"WWW-Authenticate": "Bearer"}
_INVALID: Final = {"WWW-Authenticate": 'Bearer error="invalid_token"'}


def _has_cookie(scope: Scope) -> bool:
    return any(name == b"cookie" for name, _ in scope["headers"])


def _bearer(given: list[str]) -> str | None:
    """The credential; None where there is not exactly one, or it is of another scheme."""
    scheme, _, credential = given[0].strip().partition(" ")
    credential = credential.strip()
    is_good = len(given) == 1 and scheme.lower() == "bearer" and 0 < len(credential) <= _LONGEST
    return credential if is_good and credential.isascii() and " " not in credential else None
