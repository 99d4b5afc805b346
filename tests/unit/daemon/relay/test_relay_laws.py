"""What holds for the relay whatever happens to it and its destination, in whatever order."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from carbonquota.daemon.relay import RelaySink
from carbonquota.daemon.settings import Relay
from tests.support.destination import Destination, until
from tests.support.relays import Traffic, accounted, count, lost, relay_to

SMALL = Relay(queue_max_size=8000, spool_max_size=10_000_000, timeout=0.2)

EVENTS = st.one_of(
    st.tuples(st.just("write"), st.integers(1, 200)),
    st.tuples(st.sampled_from(["away", "back", "pause", "resume", "settle", "breathe", "restart"]), st.just(0)),
)


class World:
    """A relay, its destination, and what was given to the one and must come to the other."""

    def __init__(self, spool: Path) -> None:
        self.spool = spool
        self.there = Destination(4096)
        self.traffic = Traffic(width=50)
        self.sink: RelaySink = relay_to(self.there.address, spool, SMALL)
        self.is_there = False
        # Points that this process's relay knows of: it has to account for each at any time.
        self.known = 0

    async def happen(self, event: str, amount: int) -> None:
        """One event."""
        if event == "write":
            self.traffic.write(self.sink, amount, batch=10)
            self.known += amount
        else:
            await getattr(self, event)()
        assert accounted(self.sink) == self.known, event

    async def away(self) -> None:
        """The destination is gone, with all it had not read; the relay hears of it at once."""
        if self.is_there:
            self.is_there = False
            await self.there.stop()
            await until(lambda: count(self.sink, "sink_up") == 0, "noticed")

    async def back(self) -> None:
        if not self.is_there:
            self.is_there = True
            await self.there.start()

    async def pause(self) -> None:
        self.there.pause()

    async def resume(self) -> None:
        self.there.resume()

    async def settle(self) -> None:
        if self.is_there:
            self.there.resume()
            await until(lambda: count(self.sink, "queue_points") + count(self.sink, "spool_points") == 0, "sent")

    async def breathe(self) -> None:
        for _ in range(20):
            await asyncio.sleep(0)

    async def restart(self) -> None:
        """Another process takes over; what this one sent last is given the time to arrive."""
        if self.is_there:
            await self.settle()
        await self.sink.stop(5.0)
        await until(lambda: self.there.connections == 0, "ended")
        assert (accounted(self.sink), count(self.sink, "queue_points")) == (self.known, 0)
        self.known = int(count(self.sink, "spool_points"))
        self.sink = relay_to(self.there.address, self.spool, SMALL)
        await self.sink.start()

    async def end(self) -> None:
        """In the end the destination is there."""
        await self.back()
        self.there.resume()
        await until(lambda: self.there.first_lines() == self.traffic.all(), "every point, in order")
        await until(lambda: count(self.sink, "queue_points") + count(self.sink, "spool_points") == 0, "counted")


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(EVENTS, max_size=25))
def test_law_every_point_arrives_in_order_and_is_accounted_for_at_each_moment(events: list[tuple[str, int]]) -> None:
    async def scene(spool: str) -> None:
        world = World(Path(spool))
        await world.sink.start()
        try:
            for event, amount in events:
                await world.happen(event, amount)
            await world.end()
            assert lost(world.sink) == {}
        finally:
            await world.sink.stop(0.0)
            await world.there.stop()

    with tempfile.TemporaryDirectory() as spool:
        asyncio.run(scene(spool))
