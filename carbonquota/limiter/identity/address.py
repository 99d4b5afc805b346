"""The client's address, which only proxies that are known are believed about.

Theory of operation. Each proxy appends the address that it was asked from to `X-Forwarded-For` or `Forwarded`, so the
list is true from its right end for as long as the one who wrote is trusted. We begin with the peer of the connection
and go to the left while the address in hand is of a trusted network. What stands further left may have been made up by
the client, and is never looked at.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final

Network = IPv4Network | IPv6Network
IpAddress = IPv4Address | IPv6Address

_MOST_HOPS: Final = 32
"""So many entries are looked at, from the right; a longer way through trusted proxies is none."""
_REMEMBERED: Final = 16_384
"""So many written addresses are remembered as read."""
_FOR: Final = re.compile(r'(?:^|;)\s*for\s*=\s*("[^"]*"|[^;\s]*)', re.IGNORECASE)


def read_networks(texts: Iterable[str]) -> tuple[Network, ...]:
    """Networks or single addresses as written; ValueError names the first that is none."""
    networks = []
    for text in texts:
        try:
            networks.append(ip_network(text.strip()))
        except ValueError:
            raise ValueError(f'"{text}" is no address and no network such as 10.0.0.0/8') from None
    return tuple(networks)


def read_address(text: str) -> IpAddress | None:
    """An address as a proxy may write it: with port, brackets, quotes or zone; None where it is none."""
    text = text.strip().strip('"').strip()
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        found = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    return (found.ipv4_mapped or found) if isinstance(found, IPv6Address) else found


@dataclass(frozen=True, slots=True)
class FoundAddress:
    """An address, and what clients are counted by, which of IPv6 is its network; both "" where there is none."""

    exact: str = ""
    counted: str = ""
    trusted: bool = False


class ClientAddress:
    """Finds the client's address. May be used from any thread."""

    def __init__(self, trusted: Iterable[Network] = (), *, ipv6_prefix: int = 64) -> None:
        """`trusted` are the networks of proxies; IPv6 clients are told apart by so many bits of their address."""
        self._trusted = tuple(trusted)
        self._ipv6_prefix = ipv6_prefix
        self.read = lru_cache(_REMEMBERED)(self._judge)

    def is_trusted(self, peer: str) -> bool:
        """Whether what it says of others is believed."""
        return self.read(peer).trusted

    def find(self, peer: str, hops: Sequence[str] = ()) -> FoundAddress:
        """The address that a request came from, at `peer`, which was told of `hops`, the client first.

        A hop that is no address ends the way: then it is the one who wrote it that is told. A peer without an address
        (a Unix socket) is "".
        """
        found = self.read(peer)
        for hop in reversed(hops[-_MOST_HOPS:]):
            if not found.trusted:
                break
            before = self.read(hop)
            if not before.exact:
                break
            found = before
        return found

    def _judge(self, written: str) -> FoundAddress:
        found = read_address(written)
        if found is None:
            return FoundAddress()
        trusted = any(found.version == network.version and found in network for network in self._trusted)
        exact = counted = str(found)
        if isinstance(found, IPv6Address) and self._ipv6_prefix < 128:
            counted = str(ip_network((found, self._ipv6_prefix), strict=False))
        return FoundAddress(exact, counted, trusted)


def hops_of_x_forwarded_for(values: Iterable[str]) -> list[str]:
    """The entries of all such headers of a request, in their order."""
    return [hop.strip() for value in values for hop in value.split(",")]


def hops_of_forwarded(values: Iterable[str]) -> list[str]:
    """The same of RFC 7239's `Forwarded`: an element without an address is "", for its writer did not tell.

    A comma ends an element even where it stands in quotes: a quote that a client leaves open hides no proxy's entry.
    """
    found = (_FOR.search(element.strip()) for value in values for element in value.split(","))
    return [match[1].strip('"') if match else "" for match in found]
