"""What a node is told about its cluster, by the daemon's configuration or by carbon.conf."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import ip_address
from typing import Final, Literal

from carbonquota.cluster.peers import Peer

Mode = Literal["off", "sync", "slices"]
OnOutage = Literal["share", "accept", "reject"]
"""What a node may accept while the store is away: its part of each limit, all of it, or nothing more."""
Reports = Literal["node", "cluster"]
"""Whose usage a node's reports tell: its own, or that of all nodes together."""


@dataclass(frozen=True, slots=True)
class ClusterSettings:
    """How a node counts together with others; times are in seconds.

    `name` tells clusters apart. In mode "sync" it listens at `listen`, `host:port`, and connects to `peers`, encrypted
    where `key_file` holds the cluster's key. In mode "slices" limits are kept in `store`, a URL, which may take
    `store_timeout` to answer. `sync_interval` passes between two messages, or two round trips to the store. `reports`
    says whose usage they tell.
    """

    mode: Mode = "off"
    name: str = "carbonquota"
    listen: str = "127.0.0.1:2005"
    peers: tuple[Peer, ...] = ()
    sync_interval: float = 0.1
    key_file: str = ""
    store: str = "valkey://127.0.0.1:6379"
    store_password_file: str = ""
    store_timeout: float = 1.0
    on_outage: OnOutage = "share"
    reports: Reports = "node"


_LOOPBACK: Final = ("localhost", "127.0.0.1", "::1")
_ANYWHERE: Final = ("", "0.0.0.0", "::")  # noqa: S104 - to be recognized, not to be listened at


def is_private(host: str) -> bool:
    """Whether only this machine, or a private network, reaches an address."""
    try:
        return host in _LOOPBACK or (host not in _ANYWHERE and ip_address(host).is_private)
    except ValueError:
        return False


LOOK_UP_INTERVAL: Final = 5.0
"""Seconds between two look-ups of the peers' names."""
