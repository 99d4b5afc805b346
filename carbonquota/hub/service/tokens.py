"""Tokens of the quota service: made, listed and revoked by administrators, each step with its entry of the audit."""

from __future__ import annotations

from collections.abc import Callable
from math import isinf
from typing import Any, Final

from carbonquota.errors import QuotaError
from carbonquota.hub.domain.errors import InvalidError, NotFoundError, UnavailableError
from carbonquota.hub.domain.names import checked_name
from carbonquota.hub.domain.values import Actor
from carbonquota.hub.service.writing import Writing
from carbonquota.hub.storage.tokens import add_token, all_tokens, find_token, has_tokens, revoke_token
from carbonquota.model import Clock
from carbonquota.web.access import OWN, Role
from carbonquota.web.authentication import AuthenticationUnavailable
from carbonquota.web.tokens import TokenRecord, mint

_LOOK = 1.0
"""Seconds between two looks whether there are any."""
_TRUSTED: Final = 3600.0
"""Seconds that what was known of tokens holds on for while the database is away."""
_MOST_KEPT: Final = 10_000


class Tokens:
    """Who may ask. From any thread."""

    def __init__(self, writing: Writing, clock: Clock, monotonic: Callable[[], float]) -> None:
        """`clock` gives seconds since the epoch, `monotonic` such that never go back."""
        self._writing = writing
        self._clock = clock
        self._monotonic = monotonic
        self._kept: dict[str, tuple[float, TokenRecord]] = {}
        self._any = False
        self._looked = float("-inf")

    def make(self, actor: Actor, name: str, role: Role, subject: str, lifetime: float) -> tuple[str, TokenRecord]:
        """A new token, to be shown once, and what is kept of it; InvalidError where it can be nobody's."""
        if role in OWN:
            checked_name(role.value, subject)
        if role is not Role.ADMIN and not self.any():
            raise InvalidError(
                "make the token of an administrator first: with any other nobody could make one after it"
            )
        try:
            text, record = mint(name, role, subject, now=self._clock(), lifetime=lifetime)
        except QuotaError as error:
            raise InvalidError(str(error)) from None
        with self._writing.change() as (connection, _):
            add_token(connection, record)
            self._writing.audit(connection, [
                self._writing.entry(actor, "make token", f"token/{record.id}", None, _told(record))
            ])  # fmt: skip
        self._any = True
        return text, record

    def all(self) -> list[TokenRecord]:
        """All of them."""
        with self._writing.database.reading() as connection:
            return all_tokens(connection)

    def revoke(self, actor: Actor, number: str) -> None:
        """Have one be good no more; NotFoundError."""
        with self._writing.change() as (connection, _):
            record = find_token(connection, number)
            if record is None or record.revoked:
                raise NotFoundError(f"there is no token {number!r} that could be revoked")
            revoke_token(connection, number)
            self._writing.audit(connection, [
                self._writing.entry(actor, "revoke token", f"token/{number}", _told(record), None)
            ])  # fmt: skip

    def find(self, number: str) -> TokenRecord | None:
        """What is kept of a token. While the database is away those are known that were asked for not long ago.

        AuthenticationUnavailable where this one was not.
        """
        now = self._monotonic()
        try:
            with self._writing.database.reading() as connection:
                record = find_token(connection, number)
        except UnavailableError as error:
            since, known = self._kept.get(number, (float("-inf"), None))
            if now - since > _TRUSTED:
                raise AuthenticationUnavailable(str(error)) from None
            return known
        if len(self._kept) >= _MOST_KEPT:
            self._kept.clear()
        if record is not None:
            self._kept[number] = now, record
        else:
            self._kept.pop(number, None)
        return record

    def any(self) -> bool:
        """Whether there are any, or that has not been known lately: then nobody gets in without one."""
        if self._any or self._monotonic() - self._looked < _LOOK:
            return self._any
        try:
            with self._writing.database.reading() as connection:
                self._any = has_tokens(connection)
        except UnavailableError:
            return self._monotonic() - self._looked > _TRUSTED
        self._looked = self._monotonic()
        return self._any


def _told(record: TokenRecord) -> dict[str, Any]:
    """What the audit has of a token."""
    expires = None if isinf(record.expires) else record.expires
    return {"name": record.name, "role": record.role.value, "subject": record.subject, "expires": expires}
