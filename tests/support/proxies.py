"""Networks that fail, on loopback: a TCP proxy that a test cuts, stalls or slows, and one of ZeroMQ's messages.

What TCP carries cannot be reordered or doubled on the way, as it would not be TCP; what ZeroMQ carries are messages, of
which a network between nodes may lose, delay, double and swap some.
"""

from __future__ import annotations

import random
import selectors
import socket
import ssl
import time
from contextlib import suppress
from threading import Event, Thread

import zmq


class TcpProxy:
    """Between whoever connects to `port` and a server, with a `delay` in seconds; `is_stalled` lets nothing through.

    With `tls` it is asked by TLS, and asks without.
    """

    def __init__(self, target: int, tls: ssl.SSLContext | None = None) -> None:
        self._tls = tls
        self.delay = 0.0
        self.is_stalled = False
        self.refuses = False
        self._target = target
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._server.getsockname()[1]
        self._open: set[socket.socket] = set()
        self._ended = Event()
        Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                near, _ = self._server.accept()
                if self.refuses:
                    near.close()
                else:
                    Thread(target=self._carry, args=(near,), daemon=True).start()

    def _carry(self, taken: socket.socket) -> None:
        """Pass on what comes from either side, until one of them ends."""
        with (
            suppress(OSError),
            self._tls.wrap_socket(taken, server_side=True) if self._tls else taken as near,
            socket.create_connection(("127.0.0.1", self._target)) as far,
        ):
            for one in (near, far):
                one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._open |= {near, far}
            with selectors.DefaultSelector() as selector:
                selector.register(near, selectors.EVENT_READ, far)
                selector.register(far, selectors.EVENT_READ, near)
                while self._pass_on(selector):
                    pass
            self._open -= {near, far}

    def _pass_on(self, selector: selectors.BaseSelector) -> bool:
        for key, _ in selector.select(0.1):
            while self.is_stalled and not self._ended.is_set():
                time.sleep(0.01)
            data = key.fileobj.recv(65_536)  # type: ignore[union-attr]
            while isinstance(key.fileobj, ssl.SSLSocket) and key.fileobj.pending():
                # What is decrypted already wakes nobody.
                data += key.fileobj.recv(65_536)
            if not data:
                return False
            if self.delay:
                time.sleep(self.delay)
            key.data.sendall(data)
        return not self._ended.is_set()

    def cut(self) -> None:
        """End all connections, and refuse new ones until `mend`."""
        self.refuses = True
        for one in self._open.copy():
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)

    def mend(self) -> None:
        """Let everything through."""
        self.refuses = self.is_stalled = False
        self.delay = 0.0

    def close(self) -> None:
        """End."""
        self._ended.set()
        self.cut()
        self._server.close()


class MessageProxy:
    """Between a node that publishes at `target` and those that listen at `port`; loses, doubles, delays and swaps."""

    def __init__(self, target: int, dice: random.Random, *, losing: float = 0.2, longest: float = 0.15) -> None:
        """Of the messages `losing` are lost and as many come twice, each after up to `longest` seconds."""
        self._dice, self._losing, self._longest = dice, losing, longest
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._in = self._context.socket(zmq.SUB)
        self._in.setsockopt(zmq.SUBSCRIBE, b"")
        self._in.connect(f"tcp://127.0.0.1:{target}")
        self._out = self._context.socket(zmq.PUB)
        self.port: int = self._out.bind_to_random_port("tcp://127.0.0.1")
        self._waiting: list[tuple[float, bytes]] = []
        self.passed = self.lost = self.doubled = 0
        self._ended = Event()
        self._thread = Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while not self._ended.is_set():
            while self._in.poll(5):
                self._take(self._in.recv())
            now = time.monotonic()
            due = [one for one in self._waiting if one[0] <= now]
            self._waiting = [one for one in self._waiting if one[0] > now]
            for _, data in sorted(due):
                self.passed += 1
                self._out.send(data)
        self._context.destroy(linger=0)

    def _take(self, data: bytes) -> None:
        if self._dice.random() < self._losing:
            self.lost += 1
            return
        times = 2 if self._dice.random() < self._losing else 1
        self.doubled += times - 1
        for _ in range(times):
            self._waiting.append((time.monotonic() + self._dice.random() * self._longest, data))

    def close(self) -> None:
        """End."""
        self._ended.set()
        self._thread.join()
