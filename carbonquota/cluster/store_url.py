"""The URL of a store: which servers, and how to log in. Nothing of the client library is needed to read it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, Literal
from urllib.parse import unquote, urlsplit

from carbonquota.service.values.masking import masked

_SINGLE: Final = ("valkey", "valkeys", "redis", "rediss", "unix")


@dataclass(frozen=True, slots=True)
class StoreTarget:
    """What a URL names: one server by `url`, or `hosts` to ask, for a `service` where these are sentinels."""

    kind: Literal["single", "sentinel", "cluster"]
    url: str = ""
    hosts: tuple[tuple[str, int], ...] = ()
    service: str = ""
    user: str = ""
    password: str = ""


def has_password(url: str) -> bool:
    """Whether a URL has one."""
    return masked(url) != url


def check_store_url(url: str) -> None:
    """Raise ValueError where it is no URL of a store."""
    read_store_url(url)


def read_store_url(url: str) -> StoreTarget:
    """What a URL names; ValueError says what is wrong with it, without the password.

    `valkey://[user:password@]host:port[/database]` is one server (`valkeys://` with TLS, `redis://` is the same),
    `sentinel://host:port,host:port/service` asks sentinels for the master, and `cluster://host:port,host:port` is a
    cluster.
    """
    scheme, _, rest = url.partition("://")
    if scheme != "unix" and "@" in rest and "@" not in re.split("[/?#]", rest)[0]:
        raise ValueError("its user or password holds one of / ? #: write these as %2F, %3F and %23")
    if scheme in _SINGLE:
        parts = urlsplit(url)
        if scheme != "unix" and (not parts.hostname or _port_of(parts.netloc) is None):
            raise ValueError(f'"{parts.netloc.rpartition("@")[2]}" is no host:port')
        return StoreTarget("single", url=f"{scheme.replace('redis', 'valkey')}://{rest}")
    if scheme not in {"sentinel", "cluster"}:
        raise ValueError("it must begin with valkey://, valkeys://, redis://, rediss://, sentinel:// or cluster://")
    parts = urlsplit(f"//{rest}")
    login, _, hosts = parts.netloc.rpartition("@")
    user, _, password = login.partition(":")
    service = parts.path.strip("/")
    if scheme == "sentinel" and not service:
        raise ValueError("it names no service behind the last slash, as in sentinel://host:26379/mymaster")
    found = tuple(_host(part, 26379 if scheme == "sentinel" else 6379) for part in hosts.split(","))
    return StoreTarget(
        "sentinel" if scheme == "sentinel" else "cluster",
        hosts=found,
        service=service,
        user=unquote(user),
        password=unquote(password),
    )


def _port_of(netloc: str) -> int | None:
    """The port of an address, 6379 where it names none; None where it is no number in range."""
    _, colon, port = netloc.rpartition("@")[2].rpartition("]")[2].rpartition(":")
    if not colon:
        return 6379
    return int(port) if port.isdecimal() and 0 < int(port) < 65536 else None


def _host(text: str, port: int) -> tuple[str, int]:
    """One address of a list."""
    host, _, number = text.rpartition(":") if ":" in text else (text, "", str(port))
    if not host or not number.isdecimal():
        raise ValueError(f'"{text}" is no host:port')
    return host.strip("[]"), int(number)
