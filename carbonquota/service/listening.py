"""Opens the sockets to listen at, and says what to do where that fails."""

from __future__ import annotations

import asyncio
import errno
import socket
from dataclasses import dataclass
from typing import Any, Final

from carbonquota.errors import QuotaError
from carbonquota.service.values.address import Address

BACKLOG: Final = 4096
"""Connections that may wait to be accepted, if the system allows as many."""

_DATAGRAM_BUFFER: Final = 8 * 1024 * 1024
"""Bytes of datagrams that the system is asked to keep while the daemon is busy; it gives what it allows."""

_NO_IPV6: Final = (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL, errno.EPROTONOSUPPORT)
"""What binding to all IPv6 interfaces says where IPv6 is off."""

_ATTEMPTS: Final = 20
"""How many free ports are tried, where one is wanted that is free for IPv4 and IPv6."""

_REMEDIES: Final = {
    errno.EADDRINUSE: "another program has the port: end it (`ss -lnp` names it), or choose another port",
    errno.EACCES: "not permitted: choose a port from 1024 on, or give the daemon the capability CAP_NET_BIND_SERVICE",
    errno.EADDRNOTAVAIL: "this machine has no such address: give one of its own, or none to listen at all of them",
    errno.EAFNOSUPPORT: "this machine has no such kind of address: give one of its own",
}


@dataclass(frozen=True, slots=True)
class ListenPlace:
    """Where to listen: the `address`, the setting it comes from, and whether for streams or datagrams."""

    setting: str
    address: Address
    kind: socket.SocketKind


async def open_sockets(place: ListenPlace) -> list[socket.socket]:
    """The bound sockets, those for streams listening already; QuotaError where there can be none."""
    targets = await _targets(place)
    try:
        for attempt in range(_ATTEMPTS):
            try:
                return _open_all(targets, place)
            except OSError as error:
                # A free port of the one family may be taken in the other.
                if error.errno != errno.EADDRINUSE or place.address.port or attempt == _ATTEMPTS - 1:
                    raise
    except OSError as error:
        remedy = _REMEDIES.get(error.errno or 0, error.strerror or str(error))
        raise QuotaError(f"{_listening(place)}: {remedy}") from None
    return []


def bound_address(opened: socket.socket) -> Address:
    """The address that a socket was bound to."""
    host, port = opened.getsockname()[:2]
    return Address(host, port)


def _listening(place: ListenPlace) -> str:
    """How an error begins."""
    return f"{place.setting}: cannot listen at {place.address}"


async def _targets(place: ListenPlace) -> list[tuple[socket.AddressFamily, tuple[Any, ...]]]:
    """The families and addresses to bind to; no host stands for all interfaces of both families."""
    host, port = place.address.host, place.address.port
    if not host:
        return [(socket.AF_INET, ("0.0.0.0", port)), (socket.AF_INET6, ("::", port))]  # noqa: S104 - as asked for
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=place.kind, flags=socket.AI_PASSIVE)
    except (socket.gaierror, UnicodeError):
        raise QuotaError(f"{_listening(place)}: there is no host called so: give an address of this machine") from None
    return list(dict.fromkeys((family, address) for family, _, _, _, address in found))


def _open_all(targets: list[tuple[socket.AddressFamily, tuple[Any, ...]]], place: ListenPlace) -> list[socket.socket]:
    """A socket for each target; where IPv6 is off, all interfaces are those of IPv4."""
    opened: list[socket.socket] = []
    port = place.address.port
    try:
        for family, address in targets:
            try:
                opened.append(_open(family, place.kind, (address[0], port, *address[2:])))
            except OSError as error:
                if not opened or place.address.host or error.errno not in _NO_IPV6:
                    raise
            port = port or bound_address(opened[0]).port
    except BaseException:
        for one in opened:
            one.close()
        raise
    return opened


def _open(family: socket.AddressFamily, kind: socket.SocketKind, address: tuple[Any, ...]) -> socket.socket:
    """One bound socket."""
    opened = socket.socket(family, kind)
    try:
        opened.settimeout(0)
        if kind is socket.SOCK_STREAM:
            # Datagram sockets go without: with it, two programs could have one port and steal from each other.
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            # Accepted connections inherit it.
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        else:
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _DATAGRAM_BUFFER)
        if family is socket.AF_INET6:
            opened.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        opened.bind(address)
        if kind is socket.SOCK_STREAM:
            opened.listen(BACKLOG)
    except BaseException:
        opened.close()
        raise
    return opened
