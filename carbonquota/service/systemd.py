"""What systemd is told of a service of `Type=notify`: that it is ready, that it lives, that it stops.

The protocol is sd_notify(3): lines in a datagram to the socket that `NOTIFY_SOCKET` names. Without that variable nobody
is told anything.
"""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Callable, Mapping
from contextlib import suppress

_log = logging.getLogger(__name__)


class Systemd:
    """Tells systemd how the service is. Used on one thread."""

    def __init__(self, environment: Mapping[str, str], clock: Callable[[], float]) -> None:
        """`environment` is the process's; `clock` gives seconds that never go back."""
        self._clock = clock
        self._address = _address(environment.get("NOTIFY_SOCKET", ""))
        self._every = _watchdog_interval(environment)
        self._told = clock() - self._every
        self._has_failed = False

    def ready(self) -> None:
        """It serves."""
        self._tell("READY=1")

    def alive(self) -> None:
        """It turns; to be called often: systemd is told as often as its `WatchdogSec` asks for."""
        if self._every and self._clock() - self._told >= self._every:
            self._told = self._clock()
            self._tell("WATCHDOG=1")

    def stopping(self) -> None:
        """It ends, and takes its time."""
        self._tell("STOPPING=1")

    def _tell(self, state: str) -> None:
        if not self._address:
            return
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as notify:
                notify.sendto(state.encode(), socket.MSG_DONTWAIT, self._address)
        except OSError as error:
            if not self._has_failed:
                _log.warning("systemd cannot be told %s: NOTIFY_SOCKET: %s", state, error.strerror or error)
            self._has_failed = True


def _address(written: str) -> str:
    """The socket's address; one that begins with "@" is no file, but a name in the kernel."""
    return "\0" + written[1:] if written.startswith("@") else written if written.startswith("/") else ""


def _watchdog_interval(environment: Mapping[str, str]) -> float:
    """How often to tell that it lives, in seconds: four times in the time that systemd waits; 0 for never."""
    with suppress(ValueError):
        if int(environment.get("WATCHDOG_PID", os.getpid())) == os.getpid():
            return max(int(environment.get("WATCHDOG_USEC", "0")), 0) / 1e6 / 4
    return 0.0
