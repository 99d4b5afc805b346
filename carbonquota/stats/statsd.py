"""Named values to a StatsD, as gauges over UDP."""

from __future__ import annotations

import logging
import re
import socket
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from math import isfinite
from typing import Any, Final

from carbonquota.stats.plaintext import number

PACKET_SIZE: Final = 1432
"""Bytes of a datagram that pass an Ethernet in one piece, over IPv4 and IPv6."""

_OTHER_CHARACTERS: Final = re.compile(r"[^!-~]|[:|@#]")
"""What StatsD reads as something else than a name, or not at all."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Target:
    """Where packets go: an address, as the socket's family has it."""

    socket: socket.socket
    address: Any


class StatsDEmitter:
    """Sends reports to a StatsD; trouble with the network is counted in `errors` and never raised.

    The host is resolved at the start, and again by the next `emit` after a failure. UDP itself tells of few failures:
    packets that are lost, or that nobody listens to, are not noticed. Not for use by two threads at once.
    """

    name: Final = "statsd"

    def __init__(self, host: str, port: int, prefix: str = "", *, packet_size: int = PACKET_SIZE) -> None:
        """Send to this host; `prefix` goes before every name, and a packet takes up to `packet_size` bytes."""
        self.errors = 0
        self._host = host
        self._port = port
        self._prefix = f"{_OTHER_CHARACTERS.sub('_', prefix)}." if prefix else ""
        self._packet_size = packet_size
        self._failing = False
        self._target = self._resolve()

    def emit(self, values: Iterable[tuple[str, float]]) -> None:
        """Send every finite value as a gauge, several a packet; the first failure ends it."""
        self._target = self._target or self._resolve()
        if self._target is None:
            return
        try:
            self._send(self._target, values)
        except OSError as error:
            self._note_failure(error)
            self.close()
        else:
            self._failing = False

    def close(self) -> None:
        """Give the socket back; a later `emit` opens another."""
        if self._target is not None:
            self._target.socket.close()
            self._target = None

    def _resolve(self) -> _Target | None:
        """A socket and what the host's name stands for now, over IPv4 if it has such an address; None on failure."""
        try:
            found = socket.getaddrinfo(self._host, self._port, socket.AF_UNSPEC, socket.SOCK_DGRAM)
            family, kind, protocol, _, address = min(found, key=lambda one: one[0] != socket.AF_INET)
            return _Target(socket.socket(family, kind, protocol), address)
        # A name that no host can have is a UnicodeError.
        except (OSError, UnicodeError) as error:
            self._note_failure(error)
            return None

    def _send(self, target: _Target, values: Iterable[tuple[str, float]]) -> None:
        """Join the gauges into packets and send them."""
        for packet in self._packets(values):
            target.socket.sendto(packet, target.address)

    def _packets(self, values: Iterable[tuple[str, float]]) -> Iterator[bytes]:
        """Whole lines, as many as a packet takes, separated by line ends."""
        packet = b""
        for name, value in values:
            if not isfinite(value):
                continue
            line = self._gauge(name, number(value))
            if packet and len(packet) + 1 + len(line) > self._packet_size:
                yield packet
                packet = line
            else:
                packet = packet + b"\n" + line if packet else line
        if packet:
            yield packet

    def _gauge(self, name: str, value: float) -> bytes:
        """One gauge. A sign means a change to StatsD, so that a negative value is set by way of 0."""
        stat = f"{self._prefix}{_OTHER_CHARACTERS.sub('_', name)}"
        return (f"{stat}:0|g\n{stat}:{value}|g" if value < 0 else f"{stat}:{value}|g").encode("ascii")

    def _note_failure(self, error: Exception) -> None:
        """Count it, and log the first of a row."""
        self.errors += 1
        if not self._failing:
            _log.warning("stats cannot be sent to StatsD at %s:%s: %s", self._host, self._port, error)
        self._failing = True
