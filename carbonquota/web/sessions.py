"""Sessions of browsers: a cookie in the place of a token, and a second token that other sites cannot know.

Theory of operation. Who logs in sends a token once, and gets a cookie that is signed by the service: it says who that
is and until when, and has no secret of the token. Scripts cannot read it, and a browser does not send it along where
another site makes it post something. Beside that each request that may change something needs the header
`X-CSRF-Token`, or `?csrf=` in a form's action: made from the cookie by the service's secret, it stands in its pages.
As nothing is kept, any number of processes with one secret serve one session. A token that is revoked ends its
sessions.
"""

from __future__ import annotations

import hmac
import os
import secrets
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from hashlib import sha256
from http.cookies import CookieError, SimpleCookie
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qs

import jwt
from starlette.datastructures import Headers
from starlette.types import Scope

from carbonquota.errors import InputError, QuotaError
from carbonquota.web.access import Identity, Role

CSRF_HEADER: Final = "x-csrf-token"
CSRF: Final = "carbonquota.csrf"
"""The key of the session's second token in a request's scope, for pages."""

_ALGORITHM: Final = "HS256"
_AUDIENCE: Final = "carbonquota-session"
_LIFETIME: Final = 12 * 3600.0
_SAFE: Final = frozenset({"GET", "HEAD", "OPTIONS"})
_SECRET_BYTES: Final = 32


class ForgedRequestError(QuotaError):
    """A request of a session that may change something, without the session's second token."""


@dataclass(frozen=True, slots=True)
class Session:
    """Who is logged in, and the second token of the session."""

    identity: Identity
    csrf: str


class Sessions:
    """Makes and reads cookies."""

    def __init__(
        self,
        secret: bytes,
        clock: Callable[[], float],
        is_good: Callable[[Identity], bool],
        lifetime: float = _LIFETIME,
    ) -> None:
        """Sign by `secret`. `clock` gives seconds since the epoch; `is_good` tells if an identity's token still is."""
        self._secret = secret
        self._clock = clock
        self._is_good = is_good
        self._lifetime = lifetime

    def begin(self, identity: Identity, *, encrypted: bool) -> str:
        """The `Set-Cookie` that logs somebody in; over TLS the cookie is never sent without."""
        until = min(self._clock() + self._lifetime, identity.expires)
        claims = {
            "aud": _AUDIENCE,
            "exp": until,
            "jti": secrets.token_hex(8),
            "sub": identity.name,
            "role": identity.role.value,
            "subject": identity.subject,
            "credential": identity.credential,
        }
        value = jwt.encode(claims, self._secret, _ALGORITHM)
        return _cookie(value, max(int(until - self._clock()), 0), encrypted=encrypted)

    @staticmethod
    def end(*, encrypted: bool) -> str:
        """The `Set-Cookie` that logs somebody out."""
        return _cookie("", 0, encrypted=encrypted)

    def of(self, scope: Scope) -> Session | None:
        """The session of a request; None where there is none that is good. ForgedRequestError as it says."""
        headers = Headers(scope=scope)
        value = _value(headers, encrypted=scope["scheme"] == "https")
        identity = self._identity(value) if value else None
        if identity is None or not self._is_good(identity):
            return None
        session = Session(identity, self._csrf(value))
        given = (headers.get(CSRF_HEADER) or _of_form(scope)).encode("utf-8", "replace")
        if scope["method"] not in _SAFE and not hmac.compare_digest(given, session.csrf.encode()):
            raise ForgedRequestError("this needs the header X-CSRF-Token of the page: load the page again")
        return session

    def _identity(self, value: str) -> Identity | None:
        try:
            claims: dict[str, Any] = jwt.decode(
                value, self._secret, algorithms=[_ALGORITHM], audience=_AUDIENCE, options={"verify_exp": False}
            )
        except (jwt.PyJWTError, ValueError):
            return None
        if claims["exp"] <= self._clock():
            return None
        return Identity(claims["sub"], Role(claims["role"]), claims["subject"], claims["credential"], claims["exp"])

    def _csrf(self, value: str) -> str:
        return hmac.new(self._secret, b"csrf " + value.encode(), sha256).hexdigest()


def _of_form(scope: Scope) -> str:
    """The second token in the action of a form, which can set no header. It is of no use without the cookie."""
    query = scope.get("query_string", b"").decode("ascii", "replace")
    found: list[str] = parse_qs(query).get("csrf", [])
    return found[0] if len(found) == 1 else ""


def _name(*, encrypted: bool) -> str:
    """Over TLS the name says that no other host, and nobody without TLS, can have set the cookie."""
    return "__Host-carbonquota" if encrypted else "carbonquota"


def _cookie(value: str, seconds: int, *, encrypted: bool) -> str:
    secure = "; Secure" if encrypted else ""
    return f"{_name(encrypted=encrypted)}={value}; Path=/; Max-Age={seconds}; HttpOnly; SameSite=Lax{secure}"


def _value(headers: Headers, *, encrypted: bool) -> str:
    """The cookie's value; empty where there is none, or several."""
    name, found = _name(encrypted=encrypted), []
    for header in headers.getlist("cookie"):
        try:
            found += [morsel.value for key, morsel in SimpleCookie(header).items() if key == name]
        except CookieError:
            continue
    return found[0] if len(found) == 1 else ""


def secret_of(path: Path) -> bytes:
    """The secret in a file, made where there is none; InputError where it cannot be, or others may read it."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            _make(path)
        return _checked(path)
    except OSError as error:
        raise InputError(f"{path}: the secret of sessions cannot be had: {error.strerror or error}") from None


def _make(path: Path) -> None:
    """Make the file in one step, so that of several that start at the same time none reads half of it."""
    beside = path.with_name(f"{path.name}.{secrets.token_hex(4)}")
    try:
        with os.fdopen(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(secrets.token_bytes(_SECRET_BYTES))
        with suppress(FileExistsError):
            path.hardlink_to(beside)
    finally:
        beside.unlink(missing_ok=True)


def _checked(path: Path) -> bytes:
    if path.stat().st_mode & 0o007:
        raise InputError(f"{path}: everybody can read the secret of sessions: `chmod o= {path}`")
    secret = path.read_bytes()
    if len(secret) < _SECRET_BYTES:
        raise InputError(f"{path}: a secret of sessions has {_SECRET_BYTES} bytes: remove the file, and one is made")
    return secret
