"""The two ends of a relay benchmark, a process each: senders of known traffic, and a drain that counts it."""

from __future__ import annotations

import random
import selectors
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

CHUNK = 65536
"""Bytes that a sender hands to the system at once, and that the drain reads at once."""
FULL = "servers.full"
"""A namespace that takes one metric."""
PER_HOST = 100
"""Series of one host."""


def names(series: int) -> list[str]:
    """Distinct names in an order that caches like least: ten teams, their hosts, a hundred metrics each."""
    every = [
        f"servers.team{host % 10}.host{host:05d}.metric.number{number:02d}"
        for host in range(-(-series // PER_HOST))
        for number in range(PER_HOST)
    ][:series]
    random.Random(1).shuffle(every)
    return every


def rules() -> str:
    """Four throughput limits over every series, none of which is ever reached, and one namespace that is full."""
    sections = ("/", "*", "*.*", "*.*.*")
    amounts = "metrics = 1,000,000,000\nthroughput = 1,000,000,000,000\n"
    return "".join(f"[{pattern}]\n{amounts}" for pattern in sections) + f"[{FULL}]\nmetrics = 1\n"


def write_traffic(path: Path, series: int) -> int:
    """Write one point of each series as plaintext lines; the number of bytes."""
    now = int(time.time()) // 60 * 60
    text = "".join(f"{name} {number % 97}.5 {now}\n" for number, name in enumerate(names(series)))
    return path.write_bytes(text.encode())


def write_flood(path: Path, series: int) -> None:
    """Write what `write_traffic` does, and behind each line one of a new metric that is rejected."""
    known = names(series - 1)
    now = int(time.time()) // 60 * 60
    lines = (f"{name} 1.5 {now}\n{FULL}.r{number:07d}.count 1 {now}\n" for number, name in enumerate(known))
    path.write_text(f"{FULL}.first 1 {now}\n" + "".join(lines))


def parts(buffer: bytes, count: int) -> list[bytes]:
    """The buffer's lines in `count` parts of about the same size."""
    lines = buffer.splitlines(keepends=True)
    step = -(-len(lines) // count)
    return [b"".join(lines[start : start + step]) for start in range(0, len(lines), step)]


def send(port: int, path: str, rounds: int, connections: int) -> None:
    """Send the file's lines `rounds` times, spread over so many connections, a chunk to each in turn."""
    sockets = [socket.create_connection(("127.0.0.1", port)) for _ in range(connections)]
    size = min(CHUNK, max(2_000, CHUNK * 16 // connections))
    shares = [_chunks(part, size) for part in parts(Path(path).read_bytes(), connections)]
    for _ in range(rounds):
        for step in range(max(map(len, shares))):
            for target, chunks in zip(sockets, shares, strict=False):
                if step < len(chunks):
                    target.sendall(chunks[step])
    for target in sockets:
        target.close()


def _chunks(part: bytes, size: int) -> list[bytes]:
    """The part cut anywhere, as a sender's system cuts it."""
    return [part[start : start + size] for start in range(0, len(part), size)]


def drain(count_path: str, bytes_per_second: float) -> None:
    """Read whatever comes on a free port, which is printed, and keep the number of lines in a file; 0 is no brake."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=128)
    print(listener.getsockname()[1], flush=True)
    selector = selectors.DefaultSelector()
    selector.register(listener, selectors.EVENT_READ)
    lines = 0
    while True:
        for key, _ in selector.select(timeout=0.2):
            if key.fileobj is listener:
                selector.register(listener.accept()[0], selectors.EVENT_READ)
                continue
            connection = key.fileobj
            assert isinstance(connection, socket.socket)  # noqa: S101 - what was registered above
            chunk = connection.recv(CHUNK * 4)
            lines += chunk.count(b"\n")
            if not chunk:
                selector.unregister(connection)
                connection.close()
            if bytes_per_second:
                time.sleep(len(chunk) / bytes_per_second)
        Path(count_path).write_text(str(lines))


@contextmanager
def running_drain(folder: Path, bytes_per_second: float = 0.0) -> Iterator[tuple[int, Path]]:
    """A drain in a process of its own: its port, and the file with the number of lines it has read."""
    count = folder / "drained"
    count.write_text("0")
    command = [sys.executable, __file__, "drain", str(count), str(bytes_per_second)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None  # noqa: S101 - it is a pipe
        try:
            yield int(process.stdout.readline()), count
        finally:
            process.kill()


def start_sender(port: int, path: Path, rounds: int, connections: int) -> subprocess.Popen[bytes]:
    """A sender in a process of its own."""
    return subprocess.Popen([sys.executable, __file__, "send", str(port), str(path), str(rounds), str(connections)])


def main() -> None:
    """Be one of the two ends."""
    end, *arguments = sys.argv[1:]
    if end == "send":
        port, path, rounds, connections = arguments
        send(int(port), path, int(rounds), int(connections))
    else:
        count_path, rate = arguments
        drain(count_path, float(rate))


if __name__ == "__main__":
    main()
