"""Tokens: random, shown once, and kept as a hash.

A token is `cq_`, an id that may be shown, and a secret of 32 random bytes. As nobody can guess that many, a plain
SHA-256 is as good as a slow hash would be, and checking one takes microseconds.
"""

from __future__ import annotations

import hmac
import re
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from hashlib import sha256
from math import inf
from typing import Final

from carbonquota.errors import QuotaError
from carbonquota.web.access import OWN, Identity, Role
from carbonquota.web.authentication import NotAuthenticated

PREFIX: Final = "cq_"
_TOKEN: Final = re.compile(r"cq_(?P<id>[0-9a-f]{12})_(?P<secret>[A-Za-z0-9_-]{43})", re.ASCII)


@dataclass(frozen=True, slots=True)
class TokenRecord:
    """What is kept of a token: who it is for, the hash of it, and until when it is good (seconds since the epoch)."""

    id: str
    name: str
    role: Role
    subject: str = ""
    hash: str = field(default="", repr=False)
    created: float = 0.0
    expires: float = inf
    revoked: bool = False

    def __post_init__(self) -> None:
        """Refuse what would be a customer or provider without a name, or anybody else with one."""
        if (self.role in OWN) is not bool(self.subject):
            remedy = f"say which {self.role}" if self.role in OWN else f"the role {self.role} is of nobody's own"
            raise QuotaError(f'the token "{self.name}" cannot be: {remedy}')


def mint(name: str, role: Role, subject: str = "", *, now: float, lifetime: float = inf) -> tuple[str, TokenRecord]:
    """A new token, to be shown once, and what is kept of it; QuotaError where it can be nobody's."""
    number = secrets.token_hex(6)
    text = f"{PREFIX}{number}_{secrets.token_urlsafe(32)}"
    return text, TokenRecord(number, name, role, subject, hash_of(text), now, now + lifetime)


def hash_of(token: str) -> str:
    """What is kept in a token's place."""
    return sha256(token.encode()).hexdigest()


class TokenAuthenticator:
    """Knows the tokens that a store has."""

    def __init__(self, find: Callable[[str], TokenRecord | None], clock: Callable[[], float]) -> None:
        """`find` gives what is kept of a token by its id; `clock` gives seconds since the epoch."""
        self._find = find
        self._clock = clock

    def authenticate(self, credential: str) -> Identity | None:
        """Who that is; as `Authenticator` has it."""
        if not credential.startswith(PREFIX):
            return None
        match = _TOKEN.fullmatch(credential)
        if match is None:
            raise NotAuthenticated("it has not the form of a token: was all of it copied?")
        number = match["id"]
        record = self._find(number)
        # A token that is not there takes as long as one that is.
        is_same = hmac.compare_digest(hash_of(credential), record.hash if record else hash_of(number))
        if record is None or not is_same:
            raise NotAuthenticated(f"there is no token {number}" if record is None else f"it is not the token {number}")
        if record.revoked:
            raise NotAuthenticated(f"the token {number} is revoked")
        if record.expires <= self._clock():
            raise NotAuthenticated(f"the token {number} has expired")
        return Identity(record.name, record.role, record.subject, number, record.expires)
