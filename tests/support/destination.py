"""A real TCP server on loopback that a relay sends to: it can go away, come back, stop reading, and hang up."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from collections.abc import AsyncIterator, Callable

from loopback_ports import free_port

from carbonquota.service.values.address import Address


async def until(condition: Callable[[], bool], what: str = "", within: float = 60.0) -> None:
    """Wait for a condition; an AssertionError names it when it does not come about."""
    deadline = time.monotonic() + within
    while not condition():
        assert time.monotonic() < deadline, f"not within {within} s: {what}"
        await asyncio.sleep(0.002)


class Destination:
    """Collects what arrives, a byte string a connection."""

    def __init__(self, receive_buffer: int = 0) -> None:
        """`receive_buffer` bounds what the kernel takes for a reader that does not read, 0 leaves it to it."""
        self._receive_buffer = receive_buffer
        self.address = Address("127.0.0.1", free_port())
        self._server: socket.socket | None = None
        self._reads = asyncio.Event()
        self._reads.set()
        self._sockets: set[socket.socket] = set()
        self._readers: set[asyncio.Task[None]] = set()
        self.streams: list[bytearray] = []

    @property
    def connections(self) -> int:
        """How many are open now."""
        return len(self._sockets)

    def lines(self) -> list[bytes]:
        """Every whole line that arrived, connection by connection; what follows a connection's last end is no line."""
        return [line for stream in self.streams for line in bytes(stream).split(b"\n")[:-1]]

    def first_lines(self) -> list[bytes]:
        """The same without those that came once before."""
        return list(dict.fromkeys(self.lines()))

    async def start(self) -> None:
        """Listen, at the same port each time."""
        server = socket.socket()
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if self._receive_buffer:
            server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, self._receive_buffer)
        server.bind((self.address.host, self.address.port))
        server.listen()
        server.settimeout(0)
        asyncio.get_running_loop().add_reader(server, self._accept, server)
        self._server = server

    async def stop(self) -> None:
        """Go away at once: what was not read is thrown away."""
        if self._server is not None:
            asyncio.get_running_loop().remove_reader(self._server)
            self._server.close()
            self._server = None
        readers = list(self._readers)
        for reader in readers:
            reader.cancel()
        await asyncio.gather(*readers, return_exceptions=True)
        # A reader that was cancelled before its first step has closed nothing.
        for sock in self._sockets:
            sock.close()
        self._sockets.clear()

    def pause(self) -> None:
        """Read no more for now."""
        self._reads.clear()

    def resume(self) -> None:
        """Read again."""
        self._reads.set()

    def say(self, text: bytes) -> None:
        """Send something to whoever is connected."""
        for sock in self._sockets:
            sock.send(text)

    def _accept(self, server: socket.socket) -> None:
        sock, _ = server.accept()
        sock.settimeout(0)
        reader = asyncio.get_running_loop().create_task(self._read(sock))
        self._sockets.add(sock)
        self._readers.add(reader)
        reader.add_done_callback(self._readers.discard)

    async def _read(self, sock: socket.socket) -> None:
        stream = bytearray()
        self.streams.append(stream)
        try:
            with sock, contextlib.suppress(ConnectionError):
                while True:
                    await self._reads.wait()
                    data = await asyncio.get_running_loop().sock_recv(sock, 65_536)
                    if not data:
                        return
                    stream += data
        finally:
            self._sockets.discard(sock)


@contextlib.asynccontextmanager
async def destination(receive_buffer: int = 0) -> AsyncIterator[Destination]:
    """One that listens, and is gone in the end."""
    there = Destination(receive_buffer)
    await there.start()
    try:
        yield there
    finally:
        await there.stop()
