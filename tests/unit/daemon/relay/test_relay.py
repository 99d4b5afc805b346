"""The relay against a real destination that is slow, hangs, goes away and comes back."""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import resource
import socket
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import uvloop

from carbonquota import QuotaError
from carbonquota.daemon.relay.spool import Spool
from carbonquota.daemon.settings import Relay
from carbonquota.service.values.address import Address
from carbonquota.testing import ManualClock
from tests.support.destination import Destination, destination, until
from tests.support.relays import QUICK, Traffic, accounted, count, lost, relay_to, started

SMALL = Relay(queue_max_size=20_000)


def segments(spool: Path) -> int:
    return len(list(spool.glob("*.segment")))


@pytest.mark.parametrize("runner", [asyncio.run, uvloop.run])
def test_what_is_written_arrives_as_it_came(runner: object) -> None:
    async def scene() -> None:
        traffic = Traffic()
        async with destination() as there, started(relay_to(there.address), patience=60.0) as sink:
            traffic.write(sink, 10)
            await until(lambda: count(sink, "forwarded") == 10, "forwarded")
            traffic.write(sink, 5000, batch=7)
            sink.write(b"crlf 1 2\r\n", 1)
            await until(lambda: len(there.lines()) == 5011, "arrived")
            assert there.lines() == [*traffic.all(), b"crlf 1 2\r"]
            assert {s.stat: s.value for s in sink.health()} == {
                "queue_points": 0,
                "queue_bytes": 0,
                "spool_points": 0,
                "spool_bytes": 0,
                "forwarded": 5011,
                "resent": 0,
                "sink_up": 1,
            }

    assert callable(runner)
    runner(scene())


def test_it_starts_before_its_destination_does(caplog: pytest.LogCaptureFixture) -> None:
    async def scene() -> None:
        there, traffic = Destination(), Traffic()
        async with started(relay_to(there.address)) as sink:
            traffic.write(sink, 3)
            await until(lambda: "cannot connect" in caplog.text, "told")
            assert (count(sink, "sink_up"), count(sink, "queue_points"), sink.is_full) == (0, 3, False)
            await there.start()
            await until(lambda: there.lines() == traffic.all(), "arrived")
            await there.stop()
        assert "127.0.0.1" in caplog.text

    with caplog.at_level(logging.INFO):
        asyncio.run(scene())
    assert caplog.messages[0].endswith("; 3 points wait")


@pytest.mark.parametrize("host", ["no-such-host.invalid", "a" * 70, ".."])
def test_a_name_that_is_no_host_is_told_once(host: str, caplog: pytest.LogCaptureFixture) -> None:
    async def scene() -> None:
        async with started(relay_to(Address(host, 2003))) as sink:
            await until(lambda: f"cannot connect to {host}:2003: " in caplog.text, "told")
            assert count(sink, "sink_up") == 0

    asyncio.run(scene())
    assert len(caplog.messages) == 1


def test_the_destination_of_ipv6_is_reached() -> None:
    async def scene() -> None:
        with socket.create_server(("::1", 0), family=socket.AF_INET6) as server:
            address = Address("::1", server.getsockname()[1])
            async with started(relay_to(address)) as sink:
                await until(lambda: count(sink, "sink_up") == 1, "connected")

    asyncio.run(scene())


def test_what_a_lost_connection_may_not_have_delivered_goes_again_in_order(tmp_path: Path) -> None:
    async def scene() -> None:
        traffic = Traffic()
        async with destination() as there, started(relay_to(there.address, tmp_path)) as sink:
            await until(lambda: count(sink, "sink_up") == 1, "connected")
            there.pause()
            # What it is reading already is still read.
            traffic.write(sink, 1)
            await until(lambda: len(there.lines()) == 1, "read")
            traffic.write(sink, 49)
            await until(lambda: count(sink, "forwarded") == 50, "forwarded")
            await there.stop()
            await until(lambda: count(sink, "sink_up") == 0, "noticed")
            traffic.write(sink, 10)
            there.resume()
            await there.start()
            await until(lambda: there.first_lines() == traffic.all(), "all there")
            assert there.lines()[-60:] == traffic.all()
            assert (count(sink, "forwarded"), count(sink, "resent"), lost(sink)) == (60, 50, {})

    asyncio.run(scene())


def test_a_destination_that_comes_and_goes_gets_what_it_has_read_again_but_once(tmp_path: Path) -> None:
    async def scene() -> None:
        traffic, there = Traffic(), Destination()
        async with started(relay_to(there.address, tmp_path)) as sink:
            for _ in range(20):
                await there.start()
                traffic.write(sink, 50, batch=7)
                await until(lambda: len(there.first_lines()) == traffic.written, "read")
                await there.stop()
                await until(lambda: count(sink, "sink_up") == 0, "noticed")
            assert there.lines() == traffic.all()[:50] + traffic.all()
            assert (count(sink, "resent"), count(sink, "forwarded"), lost(sink)) == (50, 1000, {})

    asyncio.run(scene())


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere nobody tells what was acknowledged")
@pytest.mark.parametrize("with_spool", [False, True])
def test_only_what_was_not_acknowledged_goes_again_after_an_end_in_order(tmp_path: Path, with_spool: bool) -> None:
    async def scene() -> None:
        traffic, spool = Traffic(width=100), tmp_path if with_spool else None
        with socket.create_server(("127.0.0.1", 0)) as server:
            server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            server.settimeout(0)
            loop = asyncio.get_running_loop()
            async with started(relay_to(Address(*server.getsockname()), spool), patience=60.0) as sink:
                first, _ = await loop.sock_accept(server)
                traffic.write(sink, 50_000, batch=1000)
                await until(lambda: count(sink, "forwarded") > 0 and sink._sender.unacknowledged > 0, "stuck")  # noqa: SLF001
                # A program that says that it will send nothing, as some do before they read the rest.
                first.shutdown(socket.SHUT_WR)
                second, _ = await asyncio.wait_for(loop.sock_accept(server), 60)
                read = await read_all(first)
                rest = asyncio.create_task(read_all(second))
                await until(lambda: count(sink, "forwarded") == 50_000, "sent")
            lines = [*read.split(b"\n")[:-1], *(await rest).split(b"\n")[:-1]]
            assert list(dict.fromkeys(lines)) == traffic.all()
            assert accounted(sink) == count(sink, "forwarded") == 50_000

    asyncio.run(scene())


async def read_all(sock: socket.socket) -> bytes:
    """All that comes, up to its end."""
    content = bytearray()
    with sock:
        sock.settimeout(0)
        while data := await asyncio.get_running_loop().sock_recv(sock, 65_536):
            content += data
    return bytes(content)


def test_what_arrived_long_ago_does_not_go_again() -> None:
    async def scene() -> None:
        traffic, settings = Traffic(), Relay(resend_window=0.05)
        async with destination() as there, started(relay_to(there.address, settings=settings)) as sink:
            traffic.write(sink, 50)
            await until(lambda: len(there.lines()) == 50, "arrived")
            await asyncio.sleep(0.2)  # the window itself: there is nothing to be seen of its end
            await there.stop()
            await until(lambda: count(sink, "sink_up") == 0, "noticed")
            await there.start()
            traffic.write(sink, 1)
            await until(lambda: len(there.lines()) == 51, "arrived")
            assert count(sink, "resent") == 0

    asyncio.run(scene())


def test_a_line_cut_by_the_loss_of_a_connection_is_sent_whole_on_the_next() -> None:
    async def scene() -> None:
        traffic, settings = Traffic(width=100_000), Relay(queue_max_size=100_000_000)
        async with destination(4096) as there, started(relay_to(there.address, settings=settings)) as sink:
            await until(lambda: count(sink, "sink_up") == 1, "connected")
            there.pause()
            traffic.write(sink, 100)
            await until(lambda: 0 < count(sink, "forwarded") < 100, "stuck")
            await there.stop()
            there.resume()
            await there.start()
            await until(lambda: there.first_lines() == traffic.all(), "all there")

    asyncio.run(scene())


def test_a_slow_destination_makes_senders_wait_and_memory_stays_bounded(tmp_path: Path) -> None:
    async def scene() -> None:
        room, traffic = asyncio.Event(), Traffic(width=1000)
        async with (
            destination(4096) as there,
            started(relay_to(there.address, tmp_path, SMALL, on_room=room.set)) as sink,
        ):
            await until(lambda: count(sink, "sink_up") == 1, "connected")
            there.pause()
            while not sink.is_full:
                traffic.write(sink, 1)
                await asyncio.sleep(0)
            assert count(sink, "queue_bytes") < 30_000
            assert (count(sink, "spool_points"), room.is_set()) == (0, False)
            there.resume()
            await asyncio.wait_for(room.wait(), 60)
            await until(lambda: not sink.is_full, "room")
            await until(lambda: there.lines() == traffic.all(), "arrived")

    asyncio.run(scene())


def test_a_destination_that_is_slow_but_steady_is_not_left() -> None:
    async def scene() -> None:
        traffic = Traffic(width=1000)
        server = socket.create_server(("127.0.0.1", 0))
        server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        server.setblocking(False)
        address, clock = Address(*server.getsockname()), ManualClock()
        async with started(relay_to(address, settings=replace(SMALL, timeout=30.0), clock=clock)) as sink:
            reader, _ = await asyncio.get_running_loop().sock_accept(server)
            await until(lambda: count(sink, "sink_up") == 1, "connected")
            while not sink.is_full:
                traffic.write(sink, 1)
                await asyncio.sleep(0)
            for _ in range(100):
                await asyncio.get_running_loop().sock_recv(reader, 1000)
                clock.advance(1.0)
                await asyncio.sleep(0.01)
            assert (count(sink, "sink_up"), count(sink, "resent")) == (1, 0)
        reader.close()
        server.close()

    asyncio.run(scene())


def test_what_waits_long_goes_to_disk_however_little_it_is(tmp_path: Path) -> None:
    async def scene() -> None:
        there, traffic = Destination(), Traffic()
        async with started(relay_to(there.address, tmp_path)) as sink:
            traffic.write(sink, 3)
            await until(lambda: count(sink, "spool_points") == 3, "spooled")
            assert count(sink, "queue_points") == 0
            await there.start()
            await until(lambda: there.lines() == traffic.all(), "arrived")
            await there.stop()

    asyncio.run(scene())


@pytest.mark.parametrize("size", [1, 2, 3])
def test_the_smallest_queue_sends_too(size: int) -> None:
    async def scene() -> None:
        traffic = Traffic()
        async with (
            destination() as there,
            started(relay_to(there.address, settings=Relay(queue_max_size=size))) as sink,
        ):
            traffic.write(sink, 3)
            await until(lambda: there.lines() == traffic.all(), "arrived")

    asyncio.run(scene())


def test_a_destination_that_hangs_is_left_and_its_points_go_to_the_spool(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def scene() -> None:
        there, traffic = Destination(4096), Traffic(width=1000)

        def is_left() -> bool:
            traffic.write(sink, 0 if sink.is_full else 19)
            return f"relay: lost {there.address}: it took nothing for 0.1 s; " in caplog.text

        await there.start()
        async with started(relay_to(there.address, tmp_path, replace(SMALL, timeout=0.1))) as sink:
            await until(lambda: count(sink, "sink_up") == 1, "connected")
            there.pause()
            await until(is_left, "left")
            await there.stop()
            await until(lambda: count(sink, "sink_up") == 0, "noticed")
            traffic.write(sink, 100)
            await until(lambda: count(sink, "spool_points") > 90, "spooled")
            await until(lambda: not sink.is_full, "room")
            assert accounted(sink) == traffic.written
            there.resume()
            await there.start()
            await until(lambda: there.first_lines() == traffic.all(), "all there")
            await there.stop()

    asyncio.run(scene())


def test_without_a_spool_a_destination_that_is_away_makes_senders_wait() -> None:
    async def scene() -> None:
        there, traffic, room = Destination(), Traffic(), asyncio.Event()
        async with started(relay_to(there.address, settings=SMALL, on_room=room.set)) as sink:
            while not sink.is_full:
                traffic.write(sink, 1)
            assert 0 < count(sink, "queue_bytes") < 20_000
            await there.start()
            await asyncio.wait_for(room.wait(), 60)
            await until(lambda: there.lines() == traffic.all(), "arrived")
            await there.stop()

    asyncio.run(scene())


def test_with_a_spool_nobody_waits_for_a_destination_that_is_away(tmp_path: Path) -> None:
    async def scene() -> None:
        there, traffic = Destination(), Traffic()
        async with started(relay_to(there.address, tmp_path, SMALL)) as sink:
            for _ in range(50):
                traffic.write(sink, 50)
                await until(lambda: not sink.is_full, "room")
            await until(lambda: count(sink, "spool_points") == 2500, "spooled")
            assert count(sink, "spool_bytes") == sum(len(line) + 1 for line in traffic.all())
            await there.start()
            await until(lambda: there.lines() == traffic.all(), "arrived")
            await until(lambda: count(sink, "spool_points") == 0, "sent")
            assert (count(sink, "spool_bytes"), count(sink, "forwarded")) == (0, 2500)
            await there.stop()

    asyncio.run(scene())


def test_what_was_replayed_is_removed_only_when_the_window_has_passed(tmp_path: Path) -> None:
    async def scene() -> None:
        there, traffic = Destination(), Traffic()
        sink = relay_to(there.address, tmp_path, replace(SMALL, resend_window=0.3))
        async with started(sink):
            traffic.write(sink, 500)
            await until(lambda: count(sink, "spool_points") == 500, "spooled")
            await there.start()
            await until(lambda: count(sink, "forwarded") == 500, "forwarded")
            assert segments(tmp_path) > 0
            await until(lambda: segments(tmp_path) == 0, "removed")
            await there.stop()

    asyncio.run(scene())


def test_past_the_bound_of_the_spool_the_oldest_points_are_lost_and_counted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def scene() -> None:
        there, traffic = Destination(), Traffic()
        async with started(relay_to(there.address, tmp_path, replace(SMALL, spool_max_size=30_000))) as sink:
            for _ in range(50):
                traffic.write(sink, 50)
                await until(lambda: not sink.is_full, "room")
            await until(lambda: count(sink, "queue_points") == 0, "spooled")
            assert accounted(sink) == traffic.written
            gone = int(lost(sink)["spool_full"])
            assert 0 < gone < 2500
            await there.start()
            await until(lambda: there.lines() == traffic.all()[gone:], "the newest arrived")
            await there.stop()

    asyncio.run(scene())
    assert caplog.messages.count("relay spool: the spool is full, its oldest points are dropped") == 1


def test_a_full_disk_makes_senders_wait_and_passes(tmp_path: Path) -> None:
    async def scene() -> None:
        there, traffic, room = Destination(), Traffic(), asyncio.Event()
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        async with started(relay_to(there.address, tmp_path, SMALL, on_room=room.set)) as sink:
            resource.setrlimit(resource.RLIMIT_FSIZE, (100, before[1]))
            try:
                while not sink.is_full or count(sink, "sink_errors", "spool") < 2:
                    traffic.write(sink, 0 if sink.is_full else 1)
                    await asyncio.sleep(0)
                assert accounted(sink) == traffic.written
            finally:
                resource.setrlimit(resource.RLIMIT_FSIZE, before)
            await asyncio.wait_for(room.wait(), 60)
            await there.start()
            await until(lambda: there.lines() == traffic.all(), "arrived")
            await there.stop()
            assert lost(sink) == {}

    asyncio.run(scene())


def test_what_waits_at_the_stop_is_sent_by_the_next_process(tmp_path: Path) -> None:
    async def scene() -> None:
        there, traffic = Destination(), Traffic()
        async with started(relay_to(there.address, tmp_path)) as first:
            traffic.write(first, 30)
        assert (count(first, "spool_points"), accounted(first), lost(first)) == (30, 30, {})
        async with started(relay_to(there.address, tmp_path)) as second:
            assert (count(second, "spool_points"), accounted(second)) == (30, 30)
            traffic.write(second, 30)
            await there.start()
            await until(lambda: there.lines() == traffic.all(), "arrived")
            assert accounted(second) == count(second, "forwarded") == 60
        await there.stop()
        assert segments(tmp_path) == 0

    asyncio.run(scene())


def test_what_was_to_go_again_goes_again_in_the_next_process(tmp_path: Path) -> None:
    async def scene() -> None:
        there, traffic = Destination(), Traffic()
        await there.start()
        async with started(relay_to(there.address, tmp_path)) as first:
            await until(lambda: count(first, "sink_up") == 1, "connected")
            there.pause()
            traffic.write(first, 20)
            await until(lambda: count(first, "forwarded") == 20, "forwarded")
            await there.stop()
            await until(lambda: count(first, "sink_up") == 0, "noticed")
            traffic.write(first, 5)
        assert (count(first, "forwarded"), count(first, "spool_points")) == (20, 5)
        there.resume()
        await there.start()
        async with started(relay_to(there.address, tmp_path)) as second:
            await until(lambda: there.first_lines() == traffic.all(), "all there")
            assert count(second, "forwarded") == 5
        await there.stop()

    asyncio.run(scene())


def test_without_a_spool_what_waits_at_the_stop_is_counted_as_lost_and_told(caplog: pytest.LogCaptureFixture) -> None:
    async def scene() -> None:
        there, traffic = Destination(), Traffic()
        async with started(relay_to(there.address), patience=0.05) as sink:
            traffic.write(sink, 30)
        traffic.write(sink, 2)
        assert (lost(sink), accounted(sink), count(sink, "sink_up")) == ({"shutdown": 32}, 32, 0)

    asyncio.run(scene())
    assert (
        "relay: 30 accepted points are lost with this end: the destination did not take them in time, "
        "and there is no spool (spool-dir) to keep them"
    ) in caplog.messages


def test_what_a_full_spool_cannot_keep_at_the_stop_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def scene() -> None:
        there, traffic = Destination(), Traffic(width=1000)
        async with started(relay_to(there.address, tmp_path, Relay(spool_max_size=20_000))) as sink:
            traffic.write(sink, 100)
        gone = int(lost(sink)["spool_full"])
        assert (gone + count(sink, "spool_points"), accounted(sink)) == (100, 100)
        assert (
            f"relay: {gone} accepted points are lost with this end: the spool (spool-max-size) is too small"
            in caplog.text
        )

    asyncio.run(scene())


def test_what_a_failing_disk_cannot_keep_at_the_stop_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def scene() -> None:
        there, traffic = Destination(), Traffic()
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        try:
            async with started(relay_to(there.address, tmp_path)) as sink:
                resource.setrlimit(resource.RLIMIT_FSIZE, (10, before[1]))
                traffic.write(sink, 100)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
        assert (lost(sink), accounted(sink)) == ({"shutdown": 100}, 100)

    asyncio.run(scene())
    assert "relay: 100 accepted points are lost with this end: the disk fails: File too large" in caplog.messages
    assert "points go to the spool now" not in caplog.text


def test_a_full_disk_is_named_and_no_point_is_said_to_be_spooled(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def scene() -> None:
        there, traffic = Destination(), Traffic()
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        async with started(relay_to(there.address, tmp_path)) as sink:
            resource.setrlimit(resource.RLIMIT_FSIZE, (10, before[1]))
            try:
                traffic.write(sink, 100)
                await until(lambda: count(sink, "sink_errors", "spool") > 5, "tried again and again")
                assert sink.troubles[-1] == "the spool of the relay: the disk fails: File too large"
                assert "points go to the spool now" not in caplog.text
            finally:
                resource.setrlimit(resource.RLIMIT_FSIZE, before)
            await until(lambda: count(sink, "spool_points") == 100, "spooled")
            await until(lambda: len(sink.troubles) == 1, "well again, but for the destination")
            assert caplog.text.count("points go to the spool now") == 1
            await there.start()
            await until(lambda: there.lines() == traffic.all(), "arrived")
            await there.stop()

    with caplog.at_level(logging.INFO):
        asyncio.run(scene())
    assert caplog.text.count("the disk fails") == 1


@pytest.mark.parametrize("how", ["removed", "replaced", "a file removed"])
def test_a_spool_directory_that_goes_away_is_made_again_and_its_points_are_counted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, how: str
) -> None:
    async def scene() -> None:
        there, traffic, spool = Destination(), Traffic(), tmp_path / "spool"
        async with started(relay_to(there.address, spool)) as sink:
            traffic.write(sink, 100)
            await until(lambda: count(sink, "spool_points") == 100, "spooled")
            if how == "a file removed":
                for path in spool.glob("*.segment"):
                    path.unlink()
            else:
                spool.rename(tmp_path / "elsewhere")
            if how == "replaced":
                spool.mkdir()
            await until(lambda: lost(sink) == {"spool_removed": 100}, "noticed")
            traffic.write(sink, 50)
            await until(lambda: count(sink, "spool_points") == 50, "spooled")
            assert (accounted(sink), segments(spool)) == (150, 1)
            await there.start()
            await until(lambda: there.lines() == traffic.all()[100:], "arrived")
            await there.stop()

    asyncio.run(scene())
    assert "removed, with 100 points that were not sent yet" in caplog.text


def test_a_spool_that_the_disk_does_not_open_is_opened_later(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def scene() -> None:
        there, traffic, spool = Destination(), Traffic(), tmp_path / "spool"
        async with started(relay_to(there.address, spool)) as sink:
            traffic.write(sink, 10)
        opens = Spool.open
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Spool, "open", refuse)
            sink = relay_to(there.address, spool)
            await sink.start()
            traffic.write(sink, 10)
            await until(lambda: count(sink, "sink_errors", "spool") > 3, "tried again")
            assert sink.troubles[-1] == "the spool of the relay: the disk fails: No space left on device"
        assert Spool.open is opens
        await until(lambda: count(sink, "spool_points") == 20, "spooled")
        await sink.stop(0.0)
        assert lost(sink) == {}

    asyncio.run(scene())


def refuse(spool: Spool) -> tuple[int, int]:
    """A disk that has no room for even a lock."""
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_stop_is_patient_with_a_destination_that_takes_its_time() -> None:
    async def scene() -> None:
        traffic = Traffic(width=1000)
        async with destination(4096) as there:
            async with started(relay_to(there.address), patience=60.0) as sink:
                await until(lambda: count(sink, "sink_up") == 1, "connected")
                there.pause()
                traffic.write(sink, 10_000)
                asyncio.get_running_loop().call_later(0.05, there.resume)
            await until(lambda: there.lines() == traffic.all(), "arrived")
            assert lost(sink) == {}

    asyncio.run(scene())


def test_whatever_the_destination_says_is_not_listened_to() -> None:
    async def scene() -> None:
        traffic = Traffic()
        async with destination() as there, started(relay_to(there.address)) as sink:
            await until(lambda: there.connections == 1, "connected")
            there.say(b"go away\n" * 10_000)
            traffic.write(sink, 10)
            await until(lambda: there.lines() == traffic.all(), "arrived")
            assert len(there.streams) == 1

    asyncio.run(scene())


def test_a_destination_that_hangs_up_at_once_is_tried_at_a_growing_distance() -> None:
    async def scene() -> int:
        calls = 0

        async def hang_up(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            nonlocal calls
            calls += 1
            writer.close()

        server = await asyncio.start_server(hang_up, "127.0.0.1", 0)
        async with server:
            address = Address("127.0.0.1", server.sockets[0].getsockname()[1])
            tuning = replace(QUICK, shortest_wait=0.1, longest_wait=30.0, steady=10.0)
            async with started(relay_to(address, tuning=tuning)):
                await asyncio.sleep(0.35)  # the time in which the calls are counted
        return calls

    assert 2 <= asyncio.run(scene()) <= 4


def test_a_spool_that_is_in_use_is_refused(tmp_path: Path) -> None:
    async def scene() -> None:
        async with started(relay_to(Destination().address, tmp_path)):
            other = relay_to(Destination().address, tmp_path)
            with pytest.raises(QuotaError, match="another process uses this spool"):
                await other.start()
            await other.stop(0.0)

    asyncio.run(scene())
