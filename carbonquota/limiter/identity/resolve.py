"""The client, route and tier of a request, and the question to the limiter that they make.

Theory of operation. A client is who a verified token says, else whose API key it is, else an address. What cannot be
verified counts as if it were not there: a made-up token or key leads back to the address, so that nobody escapes a
limit by making up another one each time. Descriptors are lists of words such as ("route", "client"), each of which
becomes an entry with the request's own value. One whose value is not known (the user of a request without a token)
leaves the whole descriptor out, as in Envoy.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any, Final

from carbonquota.limiter.identity.address import ClientAddress, FoundAddress
from carbonquota.limiter.identity.keys import ApiKeys
from carbonquota.limiter.identity.routes import Route, RouteMatch, Routes, host_name
from carbonquota.limiter.model import Descriptor, Request

Verify = Callable[[str], Mapping[str, Any] | None]
"""The claims of a bearer token that is genuine and in force; None of any other."""

WORDS: Final = ("client", "user", "key", "remote_address", "tier", "route", "method", "host")
"""What a descriptor may be made of, beside "path.NAME" for a part of a route's template."""

_LONGEST: Final = 256
"""Characters that a value may have; longer ones are told by their digest."""


@dataclass(frozen=True, slots=True)
class Head:
    """What is looked at of a request: `hops` are the addresses that proxies wrote, the client's own first."""

    method: str
    host: str
    path: str
    peer: str
    hops: Sequence[str] = ()
    token: str = ""
    key: str = ""


@dataclass(frozen=True, slots=True)
class IdentityPolicy:
    """How requests become questions.

    `user_claim` and `tier_claim` are where a token has its user and tier; `tier` is for all who have none.
    """

    domain: str = "gateway"
    descriptors: tuple[tuple[str, ...], ...] = (("client",), ("route",), ("route", "client"))
    user_claim: str = "sub"
    tier_claim: str = "tier"
    tier: str = ""
    needs_identity: bool = False


@dataclass(frozen=True, slots=True)
class Identified:
    """What a request is: its `question`, and whether it may ask at all without a token or key."""

    question: Request
    known: bool


@dataclass(frozen=True, slots=True)
class _Client:
    """Who asks: at most one of `user` and `key`."""

    address: FoundAddress
    tier: str
    user: str = ""
    key: str = ""

    @property
    def name(self) -> str:
        if self.user:
            return f"user:{self.user}"
        if self.key:
            return f"key:{self.key}"
        return f"address:{self.address.counted}" if self.address.counted else ""


@dataclass(frozen=True, slots=True)
class IdentityResolver:
    """Makes questions of heads. May be used from any thread."""

    policy: IdentityPolicy = field(default_factory=IdentityPolicy)
    addresses: ClientAddress = field(default_factory=ClientAddress)
    routes: Routes = field(default_factory=lambda: Routes(()))
    keys: ApiKeys = field(default_factory=ApiKeys)
    verify: Verify | None = None

    def resolve(self, head: Head) -> Identified:
        """What a request is."""
        client = self._client(head)
        match = self.routes.match(head.method, head.host, head.path)
        values = _values(head, client, match)
        wanted = (match.route.descriptors if match else ()) or self.policy.descriptors
        descriptors = tuple(found for words in wanted if (found := _descriptor(words, values)) is not None)
        route = match.route if match else _NO_ROUTE
        question = Request(
            self.policy.domain,
            descriptors,
            route.cost,
            client.tier,
            client.address.exact,
            client.name,
            route.name,
        )
        return Identified(question, bool(client.user or client.key))

    def _client(self, head: Head) -> _Client:
        address = self.addresses.find(head.peer, head.hops)
        policy = self.policy
        if head.token and self.verify is not None and (claims := self.verify(head.token)) is not None:
            user = _text(claims.get(policy.user_claim))
            if user:
                return _Client(address, _text(claims.get(policy.tier_claim)) or policy.tier, user=user)
        if head.key and (owner := self.keys.owner(head.key)) is not None:
            return _Client(address, owner.tier or policy.tier, key=owner.client)
        return _Client(address, policy.tier)


_NO_ROUTE: Final = Route("")


def check_words(words: Sequence[str]) -> None:
    """ValueError where a descriptor is made of what there is not."""
    for word in words:
        if word not in WORDS and not (word.startswith("path.") and word[5:].isidentifier()):
            raise ValueError(
                f'"{word}" is nothing that a descriptor is made of: these are {", ".join(WORDS)}, path.NAME'
            )
    if not words:
        raise ValueError("a descriptor without words is the same for all requests: name at least one")


def _values(head: Head, client: _Client, match: RouteMatch | None) -> dict[str, str]:
    """What the words of descriptors stand for, "" where it is not known."""
    values = {
        "client": client.name,
        "user": client.user,
        "key": client.key,
        "remote_address": client.address.counted,
        "tier": client.tier,
        "route": match.route.name if match else "",
        "method": head.method,
        "host": host_name(head.host),
    }
    if match is not None:
        values.update((f"path.{name}", value) for name, value in match.parts.items())
    return values


def _descriptor(words: Sequence[str], values: Mapping[str, str]) -> Descriptor | None:
    """The descriptor of some words; None where one of them has no value."""
    entries = tuple((word, _bounded(values.get(word, ""))) for word in words)
    return Descriptor(entries) if all(value for _, value in entries) else None


def _text(claim: object) -> str:
    """A claim as a value; "" where it is none."""
    if isinstance(claim, str):
        # JSON can write halves of characters, which have no bytes.
        return _bounded(claim.encode("utf-8", "replace").decode())
    return str(claim) if type(claim) is int else ""


def _bounded(value: str) -> str:
    """A value that is not longer than it may be, so that no client has long keys kept."""
    return value if len(value) <= _LONGEST else "sha256:" + sha256(value.encode("utf-8", "replace")).hexdigest()
