"""Named values to a StatsD, as gauges over UDP."""

from __future__ import annotations

import logging
import re
import socket
from collections.abc import Mapping
from math import isfinite
from typing import Final

from statsd import StatsClient

from carbonquota.stats.plaintext import number

PACKET_SIZE: Final = 1432
"""Bytes of a datagram that pass an Ethernet in one piece, over IPv4 and IPv6."""

_UNFIT: Final = re.compile(r"[^!-~]|[:|@#]")
"""What StatsD reads as something else than a name, or not at all."""

_log = logging.getLogger(__name__)


class _Client(StatsClient):  # type: ignore[misc]  # the library comes without types
    """The library's client, which tells when a packet cannot be sent instead of passing over it."""

    def _send(self, data: str) -> None:
        """Send one packet; OSError where the system refuses it."""
        self._sock.sendto(data.encode("ascii"), self._addr)


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
        self._prefix = _UNFIT.sub("_", prefix) or None
        self._packet_size = packet_size
        self._failing = False
        self._client = self._connect()

    def emit(self, values: Mapping[str, float]) -> None:
        """Send every finite value as a gauge, several a packet; the first failure ends it."""
        self._client = self._client or self._connect()
        if self._client is None:
            return
        try:
            self._send(self._client, values)
        except OSError as error:
            self._note_failure(error)
            self.close()
        else:
            self._failing = False

    def close(self) -> None:
        """Give the socket back; a later `emit` opens another."""
        if self._client is not None:
            self._client.close()
            self._client = None

    def _connect(self) -> _Client | None:
        """A client for what the host's name stands for now, over IPv4 if it has such an address; None on failure."""
        try:
            try:
                return self._client_over(ipv6=False)
            except socket.gaierror:
                return self._client_over(ipv6=True)
        # A name that no host can have is a UnicodeError.
        except (OSError, UnicodeError) as error:
            self._note_failure(error)
            return None

    def _client_over(self, *, ipv6: bool) -> _Client:
        """A client over one family of addresses; OSError where there is none."""
        return _Client(self._host, self._port, prefix=self._prefix, maxudpsize=self._packet_size, ipv6=ipv6)

    def _send(self, client: _Client, values: Mapping[str, float]) -> None:
        """Join the gauges into packets and send them."""
        with client.pipeline() as pipeline:
            for name, value in values.items():
                if isfinite(value):
                    pipeline.gauge(_UNFIT.sub("_", name), number(value))

    def _note_failure(self, error: Exception) -> None:
        """Count it, and log the first of a row."""
        self.errors += 1
        if not self._failing:
            _log.warning("stats cannot be sent to StatsD at %s:%s: %s", self._host, self._port, error)
        self._failing = True
