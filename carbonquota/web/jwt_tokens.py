"""JWTs of an identity provider: checked by the public keys of a JWKS, from a file or a URL.

Only signatures by a private key are taken: no "none", and no secret that both sides would share, whatever a token or
a key set says. A key works for the one algorithm that it is of. Issuer, audience and an end are always asked for.
A key set is read again when a token names a key that is not in it, but twice a minute at most, as anybody can make up
names of keys.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from threading import Lock, Thread
from typing import Any, Final
from urllib.parse import urlsplit
from urllib.request import ProxyHandler, Request, build_opener

import jwt

from carbonquota.errors import InputError, QuotaError
from carbonquota.service.urls import NoRedirect
from carbonquota.web.access import OWN, Identity, Role
from carbonquota.web.authentication import AuthenticationUnavailable, NotAuthenticated

_log = logging.getLogger(__name__)

ALGORITHMS: Final = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")
"""All that are ever taken."""
_LEEWAY: Final = 30
"""Seconds that the clocks of two machines may differ."""
_EVERY: Final = 30.0
"""Seconds between two readings of a key set that were asked for by unknown keys."""
_FRESH: Final = 3600.0
"""Seconds after which a key set is read again in any case, so that a key that was taken out is so."""
_TIMEOUT: Final = 5.0
_LARGEST: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class JwtSettings:
    """Whose tokens are taken, and in which claims they say who somebody is.

    `keys` is the path or the URL of the key set. A token's `role_claim` is a role; a customer's or provider's own name
    stands in the claim `subject_claim`.
    """

    keys: str
    issuer: str
    audience: str
    algorithms: tuple[str, ...] = ALGORITHMS
    role_claim: str = "role"
    subject_claim: str = "subject"

    def __post_init__(self) -> None:
        """Refuse algorithms that are not safe, and settings that would let other people's tokens in."""
        if unsafe := [one for one in self.algorithms if one not in ALGORITHMS]:
            raise QuotaError(f"{', '.join(unsafe)} cannot be taken for JWTs: choose of {', '.join(ALGORITHMS)}")
        if not (self.issuer and self.audience and self.algorithms):
            raise QuotaError("JWTs need an issuer, an audience and an algorithm: else tokens made for others would do")


class JwtAuthenticator:
    """Knows the tokens of an issuer."""

    def __init__(
        self, settings: JwtSettings, clock: Callable[[], float], read: Callable[[str], str] | None = None
    ) -> None:
        """`clock` gives seconds that never go back; `read` gives the text of the key set."""
        self._settings = settings
        self._clock = clock
        self._read = read or read_keys
        self._lock = Lock()
        self._keys: Mapping[str, jwt.PyJWK] = {}
        self._read_at = float("-inf")
        self._trouble = ""

    def load(self) -> None:
        """Read the key set now; QuotaError where it cannot be read, for a program that starts."""
        self._keys = _keys_in(self._read(self._settings.keys), self._settings.keys)
        self._read_at = self._clock()

    def verify(self, credential: str) -> Mapping[str, Any] | None:
        """The claims of a token that is genuine and in force, None of any other; waits for nothing.

        Where a token names a key that is not there, a thread of its own reads the key set again.
        """
        try:
            number = jwt.get_unverified_header(credential).get("kid")
            key = self._find(number)
            if self._is_to_read(number):
                Thread(target=self._read_again, name="jwks", daemon=True).start()
            return None if key is None else self._claims(credential, key)
        except (jwt.PyJWTError, ValueError, NotAuthenticated):
            return None

    def authenticate(self, credential: str) -> Identity | None:
        """Who that is; as `Authenticator` has it."""
        if credential.count(".") != 2:
            return None
        try:
            header = jwt.get_unverified_header(credential)
            key = self._key(header.get("kid"))
            return self._identity(self._claims(credential, key))
        except (jwt.PyJWTError, ValueError) as error:
            raise NotAuthenticated(f"a JWT: {error}") from None

    def _claims(self, credential: str, key: jwt.PyJWK) -> dict[str, Any]:
        settings = self._settings
        if key.algorithm_name not in settings.algorithms:
            raise NotAuthenticated("a JWT: its key is of an algorithm that is not taken")
        return jwt.decode(
            credential,
            key.key,
            algorithms=[key.algorithm_name],
            issuer=settings.issuer,
            audience=settings.audience,
            leeway=_LEEWAY,
            options={"require": ["exp", "iss", "aud", "sub"], "verify_signature": True, "strict_aud": False},
        )

    def _identity(self, claims: dict[str, Any]) -> Identity:
        """What the claims say."""
        settings = self._settings
        name, role = claims["sub"], claims.get(settings.role_claim)
        if role not in tuple(Role):
            raise NotAuthenticated(f'a JWT: its claim "{settings.role_claim}" is none of {", ".join(Role)}')
        subject = claims.get(settings.subject_claim, "") if role in OWN else ""
        if role in OWN and not (isinstance(subject, str) and subject):
            raise NotAuthenticated(f'a JWT: its claim "{settings.subject_claim}" does not say which {role}')
        return Identity(name, Role(role), subject, f"jwt:{claims.get('jti', '')}"[:100], float(claims["exp"]))

    def _key(self, number: object) -> jwt.PyJWK:
        """The key that a token names; one that names none may mean the only one."""
        if self._is_to_read(number):
            self._read_again()
        key = self._find(number)
        if key is None and self._trouble:
            raise AuthenticationUnavailable(self._trouble)
        if key is None:
            raise NotAuthenticated("a JWT: no key of the key set has signed it")
        return key

    def _is_to_read(self, number: object) -> bool:
        """Whether whoever asks is to read the key set again."""
        with self._lock:
            age = self._clock() - self._read_at
            is_old = age >= _FRESH or (age >= _EVERY and self._find(number) is None)
            if is_old:
                self._read_at = self._clock()
            return is_old

    def _find(self, number: object) -> jwt.PyJWK | None:
        if number is None and len(self._keys) == 1:
            return next(iter(self._keys.values()))
        return self._keys.get(number) if isinstance(number, str) else None

    def _read_again(self) -> None:
        """Read the key set; where that fails, the one there is goes on."""
        try:
            self._keys = _keys_in(self._read(self._settings.keys), self._settings.keys)
            self._trouble = ""
        except QuotaError as error:
            self._trouble = str(error)
            _log.warning("the key set of JWTs is the one of before: %s", error)


def _keys_in(text: str, source: str) -> dict[str, jwt.PyJWK]:
    """The public keys of a key set, by id; those of other kinds are passed over. QuotaError where there is none."""
    found: dict[str, jwt.PyJWK] = {}
    try:
        entries = json.loads(text)["keys"]
        for entry in entries:
            if entry.get("kty") in {"RSA", "EC", "OKP"} and entry.get("use", "sig") == "sig":
                key = jwt.PyJWK.from_dict(_public(entry))
                found[str(entry.get("kid", ""))] = key
    except (jwt.PyJWTError, ValueError, TypeError, LookupError, AttributeError, RecursionError) as error:
        raise InputError(f"{source}: this is no key set (JWKS): {error}") from None
    if not found:
        raise InputError(f"{source}: the key set has no public key (RSA, EC or Ed25519)")
    return found


def _public(entry: dict[str, Any]) -> dict[str, Any]:
    """A key without its private parts, with an algorithm; RSA keys that name none are for RS256."""
    public = {name: value for name, value in entry.items() if name not in {"d", "p", "q", "dp", "dq", "qi", "oth"}}
    if entry["kty"] == "RSA":
        public.setdefault("alg", "RS256")
    return public


def read_keys(place: str) -> str:
    """The text of a key set in a file or at a URL; InputError where it cannot be had."""
    try:
        if "://" not in place:
            return Path(place).read_text(encoding="utf-8")
        with build_opener(ProxyHandler({}), NoRedirect).open(Request(checked_url(place)), timeout=_TIMEOUT) as answer:  # noqa: S310
            text: str = answer.read(_LARGEST + 1)[:_LARGEST].decode()
            return text
    except (OSError, ValueError) as error:
        raise InputError(f"{place}: the key set cannot be read: {error}") from None


def checked_url(place: str) -> str:
    """The URL, if keys from it can be trusted; InputError where it is neither https nor on this machine."""
    parts = urlsplit(place)
    if parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in {"localhost", "127.0.0.1", "::1"}):
        return place
    raise InputError(
        f"{place}: a key set comes by https, or from this machine: else anybody on the way could change it"
    )
