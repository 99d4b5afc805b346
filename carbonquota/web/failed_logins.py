"""Counts failed logins by address, so that nobody tries tokens as fast as the machine goes."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from ipaddress import IPv6Address, ip_address
from math import ceil
from threading import Lock
from typing import Final

_MOST: Final = 10
"""Failed logins of an address in a period."""
_PERIOD: Final = 60.0
_MOST_ADDRESSES: Final = 10_000
"""Addresses that are remembered; the one that failed longest ago goes first."""


class FailedLogins:
    """A count of each address for a minute. From any thread."""

    def __init__(self, clock: Callable[[], float], most: int = _MOST) -> None:
        """`clock` gives seconds that never go back; after `most` failures in a minute an address waits."""
        self._clock = clock
        self._most = most
        self._counts: OrderedDict[str, tuple[float, int]] = OrderedDict()
        self._lock = Lock()

    def note(self, address: str) -> None:
        """One more failed."""
        place, now = _network(address), self._clock()
        with self._lock:
            begun, count = self._counts.pop(place, (now, 0))
            if now - begun >= _PERIOD:
                begun, count = now, 0
            if len(self._counts) >= _MOST_ADDRESSES:
                self._counts.popitem(last=False)
            self._counts[place] = begun, count + 1

    def wait(self, address: str) -> int:
        """Seconds until another may be tried; 0 where that is now."""
        with self._lock:
            begun, count = self._counts.get(_network(address), (0.0, 0))
        left = begun + _PERIOD - self._clock()
        return ceil(left) if count >= self._most and left > 0 else 0


def _network(address: str) -> str:
    """What is counted as one: an IPv4 address, the /64 of an IPv6 address, of which one machine has all."""
    try:
        parsed = ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if not isinstance(parsed, IPv6Address):
        return str(parsed)
    return str(parsed.ipv4_mapped or IPv6Address(int(parsed) >> 64 << 64))
