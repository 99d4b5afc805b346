"""Which fields of a request's head are looked at, and whose word is taken for what.

A gateway that asks about a request of somebody else tells that request's method, host and target in fields of its own.
Which ones is settled beforehand: a client can send any field, and most gateways pass on what they do not know, so
fields that the gateway does not write itself are never looked at. They count from trusted proxies alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final, Literal
from urllib.parse import urlsplit

from carbonquota.limiter.identity.address import ClientAddress, hops_of_forwarded, hops_of_x_forwarded_for
from carbonquota.limiter.identity.resolve import Head

Original = Literal["x-forwarded", "x-original", "request"]
"""Where the method, host and target of the request stand that is asked about; "request" is in the question itself."""
Forwarded = Literal["x-forwarded-for", "forwarded", "x-real-ip", "none"]
"""Where proxies tell the address that they were asked from."""
Fields = Mapping[str, Sequence[str]]
"""The values of a head's fields by name, in small letters, in the order in which they came."""

_ORIGINALS: Final[Mapping[Original, tuple[str, str, str]]] = {
    "x-forwarded": ("x-forwarded-method", "x-forwarded-host", "x-forwarded-uri"),
    "x-original": ("x-original-method", "x-original-host", "x-original-url"),
    "request": ("", "", ""),
}
_HOPS: Final[Mapping[Forwarded, Callable[[Iterable[str]], list[str]]]] = {
    "x-forwarded-for": hops_of_x_forwarded_for,
    "forwarded": hops_of_forwarded,
    "x-real-ip": lambda values: [value.strip() for value in values][-1:],
    "none": lambda _: [],
}


class RequestHeadReader:
    """Reads the heads of requests."""

    def __init__(
        self,
        addresses: ClientAddress,
        *,
        original: Original = "x-forwarded",
        forwarded: Forwarded = "x-forwarded-for",
        key_field: str = "x-api-key",
    ) -> None:
        """API keys stand in `key_field`."""
        self._addresses = addresses
        self._method, self._host, self._target = _ORIGINALS[original]
        self._hops_field = forwarded
        self._hops = _HOPS[forwarded]
        self._key = key_field.lower()

    @property
    def wanted(self) -> frozenset[str]:
        """The fields that are looked at; others need not be gathered."""
        own = {"host", "authorization", self._key, self._method, self._host, self._target, self._hops_field}
        return frozenset(own - {""})

    def read(self, method: str, target: str, fields: Fields, peer: str) -> Head:
        """The head of the request that is asked about, by somebody at the address `peer`."""
        trusted = self._addresses.is_trusted(peer)
        host = _last(fields, "host")
        if trusted:
            method = _last(fields, self._method) or method
            host = _last(fields, self._host) or host
            target = _last(fields, self._target) or target
        if "://" in target.partition("?")[0]:
            host, target = _of_url(target, host)
        hops = self._hops(fields.get(self._hops_field, ())) if trusted else ()
        return Head(method.upper(), host, target, peer, hops, _bearer(fields), _last(fields, self._key))


def _last(fields: Fields, name: str) -> str:
    """The value that the nearest one wrote; "" without any."""
    values = fields.get(name)
    return values[-1] if values else ""


def _bearer(fields: Fields) -> str:
    """The token of a request; "" without one."""
    kind, _, token = _last(fields, "authorization").partition(" ")
    return token.strip() if kind.lower() == "bearer" else ""


def _of_url(url: str, host: str) -> tuple[str, str]:
    """Host and path of a whole URL, as ingress-nginx and proxies' requests have them."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return host, "/"
    return parts.netloc.rpartition("@")[2] or host, parts.path or "/"
