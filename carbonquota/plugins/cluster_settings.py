"""The settings of `carbon.conf` about limits that several daemons share: how each is read, and what they make."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, get_args

from carbonquota.cluster.peers import Peer, peer_of
from carbonquota.cluster.settings import ClusterSettings, Mode, OnOutage, Reports, is_private
from carbonquota.cluster.store_url import check_store_url

_DEFAULTS: Final = ClusterSettings()


class SettingError(Exception):
    """A value that a setting cannot have: what it must be, as the end of a sentence."""


def _word(*words: str) -> Callable[[object], str]:
    """Reads one of some words."""

    def read(value: object) -> str:
        if value not in words:
            raise SettingError(" or ".join(words))
        return str(value)

    return read


def _name(value: object) -> str:
    """Reads a name."""
    if not str(value).strip():
        raise SettingError("a name, the same on all nodes")
    return str(value)


def _address(value: object) -> str:
    """Reads where to listen."""
    host, _, port = str(value).rpartition(":")
    if not port.isdecimal() or int(port) > 65_535:
        raise SettingError("host:port, such as 127.0.0.1:2005")
    return f"{host}:{port}"


def _peers(value: object) -> tuple[Peer, ...]:
    """Reads addresses with commas between; carbon may have taken them apart."""
    texts = value if isinstance(value, list | tuple) else str(value).split(",")
    try:
        return tuple(peer_of(str(text).strip()) for text in texts if str(text).strip())
    except ValueError as error:
        raise SettingError(f"host:port of each node, with commas between: {error}") from None


def _seconds(value: object) -> float:
    """Reads a short time."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0.01 <= value <= 3_600:
        raise SettingError("a number of seconds, at least 0.01")
    return float(value)


def _file(value: object) -> str:
    """Reads a path, or none."""
    return str(value)


def _store(value: object) -> str:
    """Reads the URL of a store."""
    try:
        check_store_url(str(value))
    except ValueError as error:
        raise SettingError(f"the URL of a store, such as valkey://127.0.0.1:6379: {error}") from None
    return str(value)


READERS: Final[Mapping[str, tuple[Callable[[object], object], object]]] = {
    "QUOTA_CLUSTER_MODE": (_word(*get_args(Mode)), _DEFAULTS.mode),
    "QUOTA_CLUSTER_NAME": (_name, _DEFAULTS.name),
    "QUOTA_CLUSTER_LISTEN": (_address, _DEFAULTS.listen),
    "QUOTA_CLUSTER_PEERS": (_peers, ""),
    "QUOTA_CLUSTER_SYNC_INTERVAL": (_seconds, _DEFAULTS.sync_interval),
    "QUOTA_CLUSTER_KEY_FILE": (_file, ""),
    "QUOTA_CLUSTER_STORE": (_store, _DEFAULTS.store),
    "QUOTA_CLUSTER_STORE_PASSWORD_FILE": (_file, ""),
    "QUOTA_CLUSTER_STORE_TIMEOUT": (_seconds, _DEFAULTS.store_timeout),
    "QUOTA_CLUSTER_ON_OUTAGE": (_word(*get_args(OnOutage)), _DEFAULTS.on_outage),
    "QUOTA_CLUSTER_REPORTS": (_word(*get_args(Reports)), _DEFAULTS.reports),
}
"""How each setting is read, and its default as carbon would have it."""

_PREFIX: Final = "QUOTA_CLUSTER_"


def is_of_cluster(name: str) -> bool:
    """Whether a setting is one of these."""
    return name.startswith(_PREFIX)


def cluster_settings(found: Mapping[str, object]) -> ClusterSettings:
    """What the values read come to, by the names of settings."""
    fields: dict[str, Any] = {name.removeprefix(_PREFIX).lower(): value for name, value in found.items()}
    return ClusterSettings(**fields)


def complaint_about(settings: ClusterSettings) -> str:
    """What is wrong with settings that are right one by one; empty where nothing is."""
    host = settings.listen.rpartition(":")[0].removeprefix("[").removesuffix("]")
    if settings.mode == "sync" and not settings.key_file and not is_private(host):
        return (
            f"QUOTA_CLUSTER_LISTEN = {settings.listen}: whoever reaches it could use up limits: set "
            "QUOTA_CLUSTER_KEY_FILE (`carbonquota cluster-key` makes a key), or listen at a private address"
        )
    return ""
