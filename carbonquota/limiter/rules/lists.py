"""Who is always let pass, and who never: networks of addresses, and values of descriptors' entries."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import Final

from carbonquota.limiter.model import Entry, Request

ADDRESS_KEYS: Final = ("remote_address", "masked_remote_address")
"""Entries whose value is the client's address, as Envoy names them."""

Network = IPv4Network | IPv6Network


def glob(value: str) -> re.Pattern[str]:
    """A value in which each `*` stands for any characters."""
    return re.compile(".*".join(map(re.escape, re.split(r"\*+", value))), re.DOTALL)


def address_of(text: str) -> IPv4Address | IPv6Address | None:
    """The address that a text is, one of IPv4 within IPv6 as itself; None where it is none."""
    try:
        address = ip_address(text)
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


@dataclass(frozen=True, slots=True)
class Clients:
    """A list: networks, values of entries, and globs of them. Networks are kept by length, so many cost little."""

    networks: dict[tuple[int, int], frozenset[int]] = field(default_factory=dict)
    entries: frozenset[Entry] = frozenset()
    globs: tuple[tuple[str, re.Pattern[str]], ...] = ()

    @classmethod
    def of(cls, networks: Iterable[Network] = (), entries: Iterable[Entry] = ()) -> Clients:
        """The list of these."""
        by_length: dict[tuple[int, int], set[int]] = {}
        for network in networks:
            shift = network.max_prefixlen - network.prefixlen
            by_length.setdefault((network.version, shift), set()).add(int(network.network_address) >> shift)
        known = tuple(entries)
        return cls(
            {length: frozenset(prefixes) for length, prefixes in by_length.items()},
            frozenset(entry for entry in known if "*" not in entry[1]),
            tuple((key, glob(value)) for key, value in known if "*" in value),
        )

    def __bool__(self) -> bool:
        """Whether anybody is on it."""
        return bool(self.networks or self.entries or self.globs)

    def has(self, request: Request) -> bool:
        """Whether a request is by somebody on it."""
        return self._has_entry(request) or (bool(self.networks) and any(map(self.has_address, _addresses(request))))

    def _has_entry(self, request: Request) -> bool:
        if not self.entries and not self.globs:
            return False
        entries = [entry for descriptor in request.descriptors for entry in descriptor.entries]
        return not self.entries.isdisjoint(entries) or any(
            key == name and pattern.fullmatch(value) for name, pattern in self.globs for key, value in entries
        )

    def has_address(self, text: str) -> bool:
        """Whether an address is in one of the networks."""
        address = address_of(text)
        if address is None:
            return False
        number, version = int(address), address.version
        return any(v == version and number >> shift in prefixes for (v, shift), prefixes in self.networks.items())


def _addresses(request: Request) -> Iterator[str]:
    """What a request says of its client's address."""
    if request.address:
        yield request.address
    for descriptor in request.descriptors:
        for key, value in descriptor.entries:
            if key in ADDRESS_KEYS:
                yield value
