"""Real receivers on loopback in front of a real engine, and a sink that keeps what it is given."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from carbonquota.controls import Admission
from carbonquota.daemon.inputs import InputSettings
from carbonquota.daemon.inputs.pickle import PickleSettings
from carbonquota.daemon.inputs.receivers import InputTimeouts, Receivers
from carbonquota.daemon.intake import Admit, Batching, Intake
from carbonquota.daemon.settings import Settings
from carbonquota.service.health import HealthSample
from carbonquota.service.values.address import Address
from tests.support.small import engine_under

PATIENCE = 60.0
"""Seconds that anything may take before a test gives up."""

ANY_PORT = Address("127.0.0.1", 0)

Loops = Callable[[], asyncio.AbstractEventLoop]


class KeepingSink:
    """A sink in memory: full from `room` points on, until `drain` takes everything out."""

    def __init__(self, room: int | None = None) -> None:
        self.room = room
        self.lines: list[bytes] = []
        self.waiting = 0
        self.most_waiting = 0
        self.writes = 0
        self.on_room: Callable[[], None] = lambda: None

    @property
    def is_full(self) -> bool:
        return self.room is not None and self.waiting >= self.room

    def write(self, lines: bytes, points: int) -> None:
        assert lines.endswith(b"\n")
        written = [line for line in lines.splitlines(keepends=True) if line.strip()]
        assert len(written) == points
        self.lines += written
        self.writes += 1
        self.waiting += points
        self.most_waiting = max(self.most_waiting, self.waiting)

    def prepare(self, admission: Admission) -> Callable[[], None]:
        return partial(self.write, admission.accepted, admission.points)

    def drain(self) -> None:
        """Make room, and say so."""
        was_full, self.waiting = self.is_full, 0
        if was_full:
            self.on_room()

    @property
    def troubles(self) -> tuple[str, ...]:
        return ()

    async def start(self) -> None:
        """Nothing to open."""

    async def stop(self, seconds: float) -> None:
        """Nothing to get out."""

    def health(self) -> Iterable[HealthSample]:
        return ()


@dataclass
class Receiving:
    """Receivers that run, their intake, and what it writes to."""

    receivers: Receivers
    intake: Intake
    sink: KeepingSink

    def address(self, receiver: str = "tcp") -> tuple[str, int]:
        """Where a receiver listens."""
        address = self.receivers.addresses[receiver][0]
        return address.host, address.port

    async def connect(self, receiver: str = "tcp") -> asyncio.StreamWriter:
        """A connection to a receiver."""
        return (await asyncio.open_connection(*self.address(receiver)))[1]

    async def send(self, data: bytes, receiver: str = "tcp") -> None:
        """Send over a connection of its own."""
        writer = await self.connect(receiver)
        writer.write(data)
        await hang_up(writer)

    async def send_datagram(self, data: bytes) -> None:
        """Send one datagram."""
        loop = asyncio.get_running_loop()
        transport, _ = await loop.create_datagram_endpoint(asyncio.DatagramProtocol, remote_addr=self.address("udp"))
        transport.sendto(data)
        transport.close()
        await asyncio.sleep(0)

    def health(self) -> dict[tuple[str, str], float]:
        """All samples of intake and receivers by stat and label."""
        samples = [*self.intake.health(), *self.receivers.health()]
        return {(sample.stat, sample.label): sample.value for sample in samples}

    def counts(self, stat: str) -> dict[str, float]:
        """The samples of one stat by label."""
        return {label: value for (name, label), value in self.health().items() if name == stat}

    async def has(self, stat: str, value: float, label: str = "") -> None:
        """Wait until a sample has a value."""
        await until(lambda: self.health().get((stat, label), 0) == value, lambda: f"{stat} {label}: {self.health()}")

    async def has_lines(self, count: int) -> None:
        """Wait until the sink has so many lines."""
        await until(lambda: len(self.sink.lines) >= count, lambda: f"{len(self.sink.lines)} of {count} lines")


def settings_for(
    tcp: Address = ANY_PORT, udp: Address = ANY_PORT, pickle: Address = ANY_PORT, max_message_size: int = 1_000_000
) -> Settings:
    """Settings with these places to listen at."""
    pickles = PickleSettings(pickle, enabled=True, max_message_size=max_message_size)
    return Settings(inputs={"tcp": InputSettings(tcp), "udp": InputSettings(udp), "pickle": pickles})


def with_inputs(settings: Settings, **inputs: InputSettings) -> Settings:
    """The settings with others for some inputs."""
    return replace(settings, inputs={**settings.inputs, **inputs})


@asynccontextmanager
async def receiving(
    settings: Settings | None = None,
    *,
    rules: str = "",
    room: int | None = None,
    admit: Admit | None = None,
    batching: Batching | None = None,
    timeouts: InputTimeouts | None = None,
) -> AsyncIterator[Receiving]:
    """Receivers that run for as long as the block does."""
    sink = KeepingSink(room)
    intake = Intake(admit or engine_under(rules).admit, sink, batching=batching)
    sink.on_room = intake.on_room
    receivers = Receivers((settings or settings_for()).inputs, intake, timeouts)
    await receivers.start()
    try:
        yield Receiving(receivers, intake, sink)
    finally:
        await receivers.close(grace=0)
        intake.flush()


async def hang_up(writer: asyncio.StreamWriter) -> None:
    """Close a connection once all is sent; that the other side closed it first is nothing new."""
    try:
        await writer.drain()
        writer.close()
        await writer.wait_closed()
    except ConnectionError:
        pass


async def until(condition: Callable[[], object], complaint: Callable[[], str] = lambda: "it never came true") -> None:
    """Wait for a condition, for a bounded time."""
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, complaint()
        await asyncio.sleep(0.002)


def run(main: Coroutine[Any, Any, None], loops: Loops | None = None) -> None:
    """Run a test on a loop of its own."""
    with asyncio.Runner(loop_factory=loops) as runner:
        runner.run(main)
