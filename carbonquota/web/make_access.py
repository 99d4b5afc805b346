"""Who may ask a program, made from its settings: the tokens that it knows, and who asks without one."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from ipaddress import ip_address
from time import monotonic, time

from starlette.types import ASGIApp, Scope

from carbonquota.model import Clock
from carbonquota.web.access import EVERYBODY, Identity, Role
from carbonquota.web.access_settings import AccessSettings
from carbonquota.web.authentication import Anonymous, Authentication, Authenticator, Authenticators
from carbonquota.web.failed_logins import FailedLogins
from carbonquota.web.jwt_tokens import JwtAuthenticator, JwtSettings
from carbonquota.web.login import Login
from carbonquota.web.sessions import Sessions
from carbonquota.web.token_file import TokenFile
from carbonquota.web.tokens import TokenAuthenticator, TokenRecord

Find = Callable[[str], TokenRecord | None]
"""Gives what is kept of a token, by its id."""

_FORWARDED = frozenset({b"forwarded", b"x-forwarded-for", b"x-real-ip", b"via"})


@dataclass(frozen=True, slots=True)
class Access:
    """All of it: `sessions` are those of browsers; `login` is there where tokens are needed."""

    authenticators: Authenticators
    anonymous: Anonymous
    failures: FailedLogins
    sessions: Sessions
    login: Login | None
    file: TokenFile | None

    def around(self, application: ASGIApp) -> Authentication:
        """The application, with who asks in each request."""
        return Authentication(application, self.authenticators, self.anonymous, self.failures, self.sessions)


def make_access(
    settings: AccessSettings,
    *,
    stored: Iterable[Find] = (),
    secret: bytes = b"",
    is_open: Callable[[], bool] | None = None,
    clock: Clock = time,
) -> Access:
    """Read the tokens' file and the key set; QuotaError where one is bad.

    `stored` are other places where tokens are found; `is_open` says if there are none in these. Sessions are signed by
    `secret`, else they end with the program. `clock` gives seconds since the epoch.
    """
    finds, kinds = list(stored), list[Authenticator]()
    file = TokenFile(settings.tokens_file, monotonic) if settings.tokens_file else None
    if file is not None:
        finds.insert(0, file.find)

    def find(number: str) -> TokenRecord | None:
        return next((found for one in finds if (found := one(number)) is not None), None)

    if finds:
        kinds.append(TokenAuthenticator(find, clock))
    if settings.jwt_keys:
        kinds.append(_jwt(settings))
    authenticators, failures = Authenticators(kinds, wall=clock), FailedLogins(monotonic)
    sessions = Sessions(secret or secrets.token_bytes(32), clock, lambda identity: _is_good(identity, find, clock))
    login = Login(sessions, authenticators, failures) if kinds else None
    return Access(authenticators, _anonymous(settings, is_open or (lambda: True)), failures, sessions, login, file)


def _jwt(settings: AccessSettings) -> JwtAuthenticator:
    jwt = JwtAuthenticator(JwtSettings(settings.jwt_keys, settings.jwt_issuer, settings.jwt_audience), monotonic)
    jwt.load()
    return jwt


def _is_good(identity: Identity, find: Find, clock: Clock) -> bool:
    """Whether the token that a session began with is still good; a JWT is until it ends, as its session does."""
    if identity.credential.startswith("jwt:"):
        return True
    record = find(identity.credential)
    return record is not None and not record.revoked and record.expires > clock()


def _anonymous(settings: AccessSettings, is_open: Callable[[], bool]) -> Anonymous:
    """Who asks without a token."""
    reader = Identity("anonymous", Role.OPERATOR)

    def who(scope: Scope) -> Identity | None:
        if not settings.needs_tokens and is_open():
            return EVERYBODY
        may_read = settings.reading == "everywhere" or (settings.reading == "loopback" and is_from_here(scope))
        return reader if may_read else None

    return who


def is_from_here(scope: Scope) -> bool:
    """Whether this machine asks for itself. A proxy on it asks for others, and says so."""
    host = (scope.get("client") or ("", 0))[0]
    try:
        is_loopback = ip_address(host.partition("%")[0]).is_loopback
    except ValueError:
        return False
    return is_loopback and not any(name in _FORWARDED for name, _ in scope["headers"])
