"""One connection to the destination: how it is made, what it takes, and how one hears of its end.

The socket is used without asyncio's transports: these take whatever they are given into a buffer of their own, and
when the connection breaks nobody can say what of it had been sent. Here, what was not sent was not taken.
"""

from __future__ import annotations

import asyncio
import errno
import fcntl
import socket
import struct
import sys
import termios
from collections.abc import Callable, Sequence
from typing import Any, Final

from carbonquota.model import Clock
from carbonquota.service.values.address import Address

_READ_SIZE: Final = 65_536


async def connect(address: Address, seconds: float) -> socket.socket:
    """A socket connected to the first of the address's hosts that answers within so many `seconds`. OSError."""
    loop = asyncio.get_running_loop()
    failure = OSError("the name has no address")
    try:
        async with asyncio.timeout(seconds):
            found = await loop.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)
    except UnicodeError as error:
        raise OSError(f"not a name of a host: {error}") from error
    except TimeoutError:
        raise TimeoutError(f"the name was not resolved within {seconds:g} s") from None
    for family, kind, protocol, _, place in found:
        try:
            return await _connect_to(socket.socket(family, kind, protocol), place, seconds)
        except OSError as error:
            failure = error
    raise failure


async def _connect_to(sock: socket.socket, place: tuple[Any, ...], seconds: float) -> socket.socket:
    sock.settimeout(0)
    try:
        async with asyncio.timeout(seconds):
            await asyncio.get_running_loop().sock_connect(sock, place)
    except TimeoutError:
        sock.close()
        raise TimeoutError(f"no answer within {seconds:g} s") from None
    except BaseException:
        sock.close()
        raise
    return sock


class RelayConnection:
    """A connected socket that takes what it can at once, and says when it can take more.

    `lost` becomes the reason when the connection ends, whoever ends it. `on_writable` is called when it can be
    sent to after it could not. `was_read` tells, once it has ended, that the other program had read all that its
    machine acknowledged: a machine ends a connection in order only where nothing is left to be read, else it resets it.
    """

    def __init__(self, sock: socket.socket, seconds: float, clock: Clock, on_writable: Callable[[], None]) -> None:
        """Take the socket over; `seconds` is in seconds by the clock."""
        self._sock = sock
        self._clock = clock
        self._timeout = seconds
        self._on_writable = on_writable
        self._loop = asyncio.get_running_loop()
        self._waits_since = 0.0
        self._received_then = 0
        self.lost: asyncio.Future[str] = self._loop.create_future()
        self._is_closed = False
        self._acknowledged = 0
        self.was_read = False
        self.is_ready = True
        self.sent = 0
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        if sys.platform == "linux":
            # What the kernel holds is waiting, too: it gives up a peer that acknowledges nothing for that long.
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, max(int(seconds * 1000), 1))
        self._loop.add_reader(sock, self._read)

    def send(self, buffers: Sequence[bytes | memoryview]) -> int:
        """How many bytes of the buffers were taken. Where it is not all, `is_ready` is False from then on."""
        try:
            sent = self._sock.sendmsg(buffers)
        except BlockingIOError:
            sent = 0
        except OSError as error:
            self._fail(error)
            return 0
        self.sent += sent
        if sent < sum(map(len, buffers)):
            self._wait()
        return sent

    @property
    def received(self) -> int:
        """How much of what was sent the other machine has acknowledged, in bytes; all of it if that is not known.

        Once the connection has ended, what it was then.
        """
        if sys.platform != "linux":
            return self.sent
        if self._is_closed:
            return self._acknowledged
        unacknowledged: int = struct.unpack("i", fcntl.ioctl(self._sock, termios.TIOCOUTQ, bytes(4)))[0]
        return self.sent - unacknowledged

    def check(self) -> None:
        """End the connection if the destination has taken nothing for the timeout while something waited."""
        if self.is_ready or self._is_closed:
            return
        # A slow one takes a good deal before the socket can be written to again.
        received = self.received
        if received > self._received_then:
            self._received_then, self._waits_since = received, self._clock()
        elif self._clock() - self._waits_since >= self._timeout:
            self.end(f"it took nothing for {self._timeout:g} s")

    def end(self, cause: str) -> None:
        """Close the socket; the kernel goes on delivering what it has taken, if it can."""
        if self._is_closed:
            return
        self._acknowledged = self.received
        self._is_closed, self.is_ready = True, False
        self._loop.remove_reader(self._sock)
        self._loop.remove_writer(self._sock)
        self._sock.close()
        if not self.lost.done():
            self.lost.set_result(cause)

    def _wait(self) -> None:
        if self.is_ready:
            self.is_ready = False
            self._received_then, self._waits_since = self.received, self._clock()
            self._loop.add_writer(self._sock, self._writable)

    def _writable(self) -> None:
        self._loop.remove_writer(self._sock)
        self.is_ready = True
        self._on_writable()

    def _read(self) -> None:
        """A carbon says nothing; what is said is not ours to understand. The end of it is what we wait for."""
        try:
            if not self._sock.recv(_READ_SIZE):
                self.was_read = sys.platform == "linux"
                self.end("it closed the connection")
        except BlockingIOError:
            pass
        except OSError as error:
            self._fail(error)

    def _fail(self, error: OSError) -> None:
        """End it for an error. A reset that came after an end in order is a broken pipe, as Linux tells it."""
        self.was_read = sys.platform == "linux" and error.errno == errno.EPIPE
        self.end(error.strerror or str(error))
