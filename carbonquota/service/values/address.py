"""Addresses as Go writes them: `host:port`, `:2003`, `[::1]:2003`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import IPv6Address
from typing import Final

from carbonquota.service.values.value_error import SettingValueError

_ADDRESS: Final = re.compile(r"(?:\[(?P<bracketed>[^\[\]]*)\]|(?P<host>[^\s\[\]:/@]*)):(?P<port>[^:]*)")
_SCHEME: Final = re.compile(r"[a-z]+://", re.IGNORECASE)
_HIGHEST_PORT: Final = 65_535


@dataclass(frozen=True, slots=True)
class Address:
    """A host and a port. As a place to listen at, an empty host means all interfaces, IPv4 and IPv6."""

    host: str
    port: int

    def __str__(self) -> str:
        """As the file writes it: `host:port`, an IPv6 address in brackets."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def read_listen(text: str) -> Address:
    """An address to listen at: an empty host is all interfaces, port 0 any free port.

    SettingValueError says what is wrong.
    """
    address = _read_address(text)
    if address.host == "*":
        raise SettingValueError('"*" is not a host', f'did you mean ":{address.port}"?')
    return address


def read_destination(text: str) -> Address:
    """An address to send to, with a host and a port. SettingValueError says what is wrong."""
    address = _read_address(text)
    if not address.host or address.host == "*":
        raise SettingValueError(f'"{text}" names no host', f'did you mean "127.0.0.1:{address.port}"?')
    if address.port == 0:
        raise SettingValueError("nothing can be sent to port 0", f'for example "{address.host}:2003"')
    return address


def _read_address(text: str) -> Address:
    match = _ADDRESS.fullmatch(text)
    if match is None:
        raise SettingValueError(f'"{text}" is not an address', _meant_address(text))
    host = match["host"] if match["bracketed"] is None else match["bracketed"]
    if match["bracketed"] is not None and not _is_ipv6(host):
        hint = f'did you mean "{host}:{match["port"]}"?' if host and ":" not in host else 'for example "[::1]:2003"'
        raise SettingValueError(f'"{host}" is not an IPv6 address', hint)
    return Address(host, _port(match["port"]))


def _port(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 5 and int(text) <= _HIGHEST_PORT):
        raise SettingValueError(f'"{text}" is not a port', f"a port is a number from 0 to {_HIGHEST_PORT}")
    return int(text)


def _is_ipv6(host: str) -> bool:
    try:
        IPv6Address(host)
    except ValueError:
        return False
    return True


def _meant_address(text: str) -> str:
    """The address that somebody may have meant."""
    if _SCHEME.match(text):
        return f'did you mean "{_SCHEME.sub("", text).rstrip("/")}"?'
    if text.isascii() and text.isdigit():
        return f'did you mean ":{text}"?'
    host, _, port = text.rpartition(":")
    if _is_ipv6(text):
        return f'an IPv6 address stands in brackets, with a port behind: "[{text}]:2003"'
    if _is_ipv6(host):
        return f'did you mean "[{host}]:{port}"?'
    return 'write it as "host:port", ":port" for all interfaces, or "[::1]:port"'
