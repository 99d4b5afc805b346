"""Any bytes in any cuts: they never end the daemon, nor cost a line that came over another connection."""

from __future__ import annotations

import asyncio
import pickle
import random
import socket
import struct
import threading
import time
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from tests.support.daemon import Daemon
from tests.support.destination import Destination, until

RULES = "[*]\nnamespaces = 50\n[limited]\nmetrics = 20\nthroughput = 500\n"
GOOD = 50_000
"""Numbered lines of the good sender."""
PIECES = 400
"""Pieces that each of the others sends."""


def rubbish(chance: random.Random) -> bytes:
    """Random bytes, of all values or of those that the format uses."""
    size = chance.choice((0, 1, 3, 40, 700, 20_000))
    alphabet = chance.choice((bytes(range(256)), b"a.b;c=d 1.-e\t\r\n", b"\n", b"0123456789 \n", b"\xc3\xa9 \n"))
    return bytes(chance.choices(alphabet, k=size))


def lines(chance: random.Random) -> bytes:
    """Some lines that may be good or nearly so."""
    return b"".join(line(chance) for _ in range(chance.randrange(10)))


def line(chance: random.Random) -> bytes:
    """One of them."""
    number = chance.randrange(60)
    name = chance.choice((f"limited.m{number}", f"x{number}.y.z", f"t;b=1;a={number % 9}"))
    value = chance.choice(("1", "-0.5", "1e300", "nan", "inf", "0x1", "1_0", "", "--1"))
    when = chance.choice(("1700000000", "-1", "1.5", "1e9", "9" * 30, "", "N", str(int(time.time()))))
    return f"{name} {value} {when}".encode() + chance.choice((b"\n", b"\n", b"\r\n", b"", b" \n", b"\0\n"))


def pickled(chance: random.Random) -> bytes:
    """A frame that may be a good pickle, a damaged or a dangerous one."""
    points = [(f"limited.p{number}", (1_700_000_000, number)) for number in range(chance.randrange(30))]
    payload = bytearray(pickle.dumps(points, protocol=chance.randrange(6)))
    kind = chance.randrange(5)
    if kind == 0 and payload:
        payload[chance.randrange(len(payload))] = chance.randrange(256)
    elif kind == 1:
        payload = bytearray(b"cos\nsystem\n(S'touch touched'\ntR.")
    elif kind == 2:
        payload = payload[: chance.randrange(len(payload) + 1)]
    length = len(payload) if chance.random() < 0.9 else chance.choice((0, 1, 2**20, 2**32 - 1))
    return struct.pack("!L", length) + bytes(payload)


def stream(daemon: Daemon, what: str, make: Callable[[random.Random], bytes], seed: int) -> None:
    """Send over connections that begin and break at random."""
    chance = random.Random(seed)
    connection = daemon.connect(what)
    for _ in range(PIECES):
        piece = chance.choice((make, make, rubbish))(chance)
        try:
            for cut in cuts(piece, chance):
                connection.sendall(cut)
        except ConnectionError:
            breaks = True
        else:
            breaks = chance.random() < 0.1
        if breaks:
            # Every other one breaks off with a reset.
            linger = struct.pack("ii", chance.randrange(2), 0)
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            connection.close()
            connection = daemon.connect(what)
    connection.close()


def datagrams(daemon: Daemon, seed: int) -> None:
    """Send datagrams of rubbish and of lines."""
    chance = random.Random(seed)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        for _ in range(PIECES * 3):
            datagram = b"".join(chance.choice((lines, rubbish))(chance) for _ in range(chance.randrange(4)))
            sender.sendto(datagram[:60_000], daemon.address("plaintext over UDP"))


def good(daemon: Daemon, seed: int) -> None:
    """Send the numbered lines in random cuts."""
    chance = random.Random(seed)
    text = b"".join(b"good.m%d %d 1700000000\n" % (number % 50, number) for number in range(GOOD))
    with daemon.connect() as connection:
        for cut in cuts(text, chance):
            connection.sendall(cut)


def cuts(text: bytes, chance: random.Random) -> list[bytes]:
    """The text in pieces."""
    pieces = []
    while text:
        size = chance.choice((1, 7, 500, 5000))
        pieces.append(text[:size])
        text = text[size:]
    return pieces


def attack(daemon: Daemon, seed: int) -> None:
    """All senders at once, until each is through."""
    daemon.start()
    threads = [threading.Thread(target=good, args=(daemon, seed))]
    for number in range(3):
        for what, make in (("plaintext over TCP", lines), ("pickle over TCP", pickled)):
            threads.append(threading.Thread(target=stream, args=(daemon, what, make, seed * 100 + number)))
        threads.append(threading.Thread(target=datagrams, args=(daemon, seed * 100 + number)))
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
        assert not thread.is_alive()


def check(daemon: Daemon) -> None:
    """It lives, everything is accounted for, it found no bug in itself, and it ends in order."""
    counts = daemon.settled(lambda counts: counts.accepted >= GOOD and not counts.waiting)
    assert counts.dropped > 0
    assert counts.malformed > 0
    assert counts.lost == 0
    assert daemon.count("internal_errors_total") == 0
    assert len(daemon.log) < 200_000
    assert daemon.stop() == 0
    assert "Traceback" not in daemon.log
    assert not Path("touched").exists()


@pytest.mark.parametrize("seed", [1, 2])
def test_rubbish_ends_nothing_and_costs_no_line_of_another_connection(tmp_path: Path, seed: int) -> None:
    destination = Destination()
    daemon = Daemon(tmp_path / "daemon", rules=RULES, destination=destination.address.port)

    async def scene() -> None:
        async with AsyncExitStack() as held:
            held.push_async_callback(destination.stop)
            await destination.start()
            await asyncio.to_thread(attack, daemon, seed)
            await asyncio.to_thread(check, daemon)
            await until(lambda: destination.connections == 0, "the end of the daemon's connection")

    try:
        asyncio.run(scene())
    finally:
        daemon.kill()
    numbers = [int(text.split()[1]) for text in destination.lines() if text.startswith(b"good.m")]
    assert numbers == list(range(GOOD))
