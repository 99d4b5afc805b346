"""A destination on loopback that reads everything and keeps nothing, in a thread of its own."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress


@contextmanager
def draining() -> Iterator[int]:
    """Its port, as long as the block runs."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=_drain, args=(server,), daemon=True)
        thread.start()
        try:
            yield server.getsockname()[1]
        finally:
            # Closing it alone does not wake up who waits in `accept`.
            server.shutdown(socket.SHUT_RDWR)
            thread.join(10)


def _drain(server: socket.socket) -> None:
    with suppress(OSError):
        while True:
            connection, _ = server.accept()
            threading.Thread(target=_read, args=(connection,), daemon=True).start()


def _read(connection: socket.socket) -> None:
    with connection, suppress(OSError):
        while connection.recv(1 << 20):
            pass
