"""Who the peers are: addresses as they stand, and DNS names of which every address is a peer.

A name is looked up again and again, as a Kubernetes headless service gains and loses addresses. Looking up is injected,
so this file does no I/O.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

LookUp = Callable[[str], Iterable[str]]
"""Every address of a name; OSError where it cannot be looked up."""


@dataclass(frozen=True, slots=True)
class Peer:
    """A peer as it is configured; with `every_address`, each address of the name `host` is one."""

    host: str
    port: int
    every_address: bool = False

    def __str__(self) -> str:
        """As the configuration writes it."""
        return f"{'dns://' if self.every_address else ''}{_bracketed(self.host)}:{self.port}"


def peer_of(text: str) -> Peer:
    """A peer by its text, `host:port`, or `dns://name:port` for every address of a name; ValueError if it is none."""
    every_address = text.startswith("dns://")
    host, colon, port = text.removeprefix("dns://").removeprefix("tcp://").rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not colon or not host or not port.isdecimal() or not 0 < int(port) < 65536:
        raise ValueError(f'"{text}" is no host:port, nor dns://name:port')
    return Peer(host, int(port), every_address)


def endpoints(peers: Iterable[Peer], look_up: LookUp, known: frozenset[str]) -> tuple[frozenset[str], list[str]]:
    """Where to connect to now, and what could not be looked up; of that the addresses `known` before stay."""
    found: set[str] = set()
    failures: list[str] = []
    for peer in peers:
        hosts: Iterable[str] = (peer.host,)
        if peer.every_address:
            try:
                hosts = look_up(peer.host)
            except OSError as error:
                failures.append(f"{peer.host}: {error.strerror or error}")
                found |= {endpoint for endpoint in known if endpoint.endswith(f":{peer.port}")}
                continue
        found |= {f"tcp://{_bracketed(host)}:{peer.port}" for host in hosts}
    return frozenset(found), failures


def _bracketed(host: str) -> str:
    """An IPv6 address in brackets."""
    return f"[{host}]" if ":" in host else host
