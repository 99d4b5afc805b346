"""Real sockets on loopback: what senders send arrives once and whole, and no sender can harm another."""

from __future__ import annotations

import asyncio
import os
import pickle
import resource
import socket
import struct
from contextlib import suppress
from pathlib import Path

import pytest
import uvloop

from carbonquota.daemon.inputs.receivers import InputTimeouts, Receivers
from carbonquota.daemon.intake import Batching, Intake
from tests.support.receiving import KeepingSink, Loops, hang_up, receiving, run, settings_for, until
from tests.support.small import engine_under

pytestmark = pytest.mark.parametrize(
    "loops", [pytest.param(asyncio.new_event_loop, id="asyncio"), pytest.param(uvloop.new_event_loop, id="uvloop")]
)

LINES = [f"servers.web{number}.cpu {number} 1700000000\n".encode() for number in range(2000)]


def framed(thing: object, protocol: int = 2) -> bytes:
    """A thing as carbon's pickle protocol has it."""
    message = pickle.dumps(thing, protocol)
    return struct.pack(">I", len(message)) + message


class Traced:
    """An object whose pickle leaves a trace when it is unpickled."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[object, ...]:
        return os.system, (f"touch {self.trace}",)


def test_lines_over_tcp_in_pieces(loops: Loops) -> None:
    async def main() -> None:
        async with receiving() as daemon:
            writer = await daemon.connect()
            stream = b"".join(LINES).replace(b"\n", b"\r\n")
            for start in range(0, len(stream), 997):
                writer.write(stream[start : start + 997])
                await asyncio.sleep(0)
            await daemon.has_lines(len(LINES))
            assert b"".join(daemon.sink.lines) == stream
            await daemon.has("connections", 1, "tcp")
            await hang_up(writer)
            await daemon.has("connections", 0, "tcp")
            assert daemon.counts("malformed") == {}

    run(main(), loops)


def test_datagrams(loops: Loops) -> None:
    async def main() -> None:
        async with receiving() as daemon:
            for datagram in (b"a 1 1\nb 2 2\n", b"c 3 3", b"", b"d 4 4\r\n", b"x" * 9000 + b"\ne 5 5\n", b"f 6\n"):
                await daemon.send_datagram(datagram)
            await daemon.has("received", 7)
            assert sorted(daemon.sink.lines) == [b"a 1 1\n", b"b 2 2\n", b"c 3 3\n", b"d 4 4\r\n", b"e 5 5\n"]
            assert daemon.counts("malformed") == {"long_line": 1, "fields": 1}

    run(main(), loops)


def test_pickles_of_all_protocols_on_one_connection(loops: Loops) -> None:
    points = [(f"a.m{number}", (1700000000, number / 3)) for number in range(100)]

    async def main() -> None:
        async with receiving() as daemon:
            messages = [framed(points, protocol) for protocol in range(pickle.HIGHEST_PROTOCOL + 1)]
            await daemon.send(b"".join(messages), "pickle")
            await daemon.has_lines(600)
            expected = [f"{name} {value!r} {timestamp}\n".encode() for name, (timestamp, value) in points]
            assert daemon.sink.lines == expected * 6
            await daemon.has("connections", 0, "pickle")

    run(main(), loops)


def test_two_hundred_connections_at_once(loops: Loops) -> None:
    async def main() -> None:
        async with receiving() as daemon:
            writers = await asyncio.gather(*(daemon.connect() for _ in range(200)))
            for number, line in enumerate(LINES):
                # Every line in two parts, so that all connections are in the middle of one.
                writers[number % 200].write(line[:10])
                await asyncio.sleep(0)
                writers[number % 200].write(line[10:])
            await daemon.has_lines(len(LINES))
            assert sorted(daemon.sink.lines) == sorted(LINES)
            assert daemon.counts("connections") == {"tcp": 200, "pickle": 0}
            for writer in writers:
                await hang_up(writer)

    run(main(), loops)


def test_a_full_sink_stops_senders_and_nothing_is_lost(loops: Loops) -> None:
    # More than the buffers of the system take.
    line = b"a" * 990 + b" 1 17000\n"
    sent = 48_000

    async def main() -> None:
        async with receiving(room=1000, batching=Batching(size=65_536)) as daemon:
            senders = asyncio.gather(*(daemon.send(line * (sent // 4)) for _ in range(4)))
            await until(lambda: daemon.intake.paused)
            stopped_at = len(daemon.sink.lines)
            await asyncio.sleep(0.05)
            assert len(daemon.sink.lines) == stopped_at
            assert not senders.done()
            # One read more for each connection at most, as the sink filled.
            while len(daemon.sink.lines) < sent:
                daemon.sink.drain()
                await asyncio.sleep(0)
            await senders
            assert daemon.sink.lines == [line] * sent
            assert daemon.sink.most_waiting < 5000
            assert daemon.counts("malformed") == {}

    run(main(), loops)


def test_a_connection_made_while_the_sink_is_full_waits(loops: Loops) -> None:
    async def main() -> None:
        async with receiving(room=1) as daemon:
            await daemon.send(b"a 1 1\n")
            await until(lambda: daemon.intake.paused)
            writer = await daemon.connect()
            writer.write(b"b 2 2\n")
            await daemon.has("connections", 1, "tcp")
            await asyncio.sleep(0.02)
            assert daemon.sink.lines == [b"a 1 1\n"]
            daemon.sink.drain()
            await daemon.has_lines(2)
            await hang_up(writer)

    run(main(), loops)


def test_a_connection_made_while_the_sink_is_full_cannot_fill_the_memory(loops: Loops) -> None:
    async def main() -> None:
        async with receiving(room=1) as daemon:
            await daemon.send(b"a 1 1\n")
            await until(lambda: daemon.intake.paused)
            with socket.create_connection(daemon.address()) as sender:
                sender.setblocking(False)
                taken, refusals = 0, 0
                while refusals < 10:
                    try:
                        taken += sender.send(b"b 2 2\n" * 10_000)
                        refusals = 0
                    except BlockingIOError:
                        refusals += 1
                    assert taken < 50_000_000
                    await asyncio.sleep(0.01)

    run(main(), loops)


def test_what_is_malformed_is_counted_and_the_rest_is_taken(loops: Loops) -> None:
    async def main() -> None:
        async with receiving() as daemon:
            await daemon.send(b"a 1 1\n\x00\xff\n" + b"x" * 20_000 + b"\nb 2 2\nc 3 17000")
            await daemon.has("malformed", 1, "unfinished")
            await daemon.has_lines(2)
            assert daemon.sink.lines == [b"a 1 1\n", b"b 2 2\n"]
            assert daemon.counts("malformed") == {"fields": 1, "long_line": 1, "unfinished": 1}
            assert daemon.counts("received") == {"": 5}
            assert daemon.counts("closed_connections") == {}

    run(main(), loops)


def test_malformed_things_are_logged_with_their_sender(loops: Loops, caplog: pytest.LogCaptureFixture) -> None:
    senders: list[str] = []

    async def main() -> None:
        async with receiving() as daemon:
            writer = await daemon.connect("pickle")
            senders.append("{}:{}".format(*writer.get_extra_info("sockname")))
            writer.write(b"GET / HTTP/1.1\r\n\r\n")
            await daemon.has("closed_connections", 1, "length")
            await hang_up(writer)

    run(main(), loops)
    malformed, closed = caplog.messages
    assert malformed == f"malformed (length): 1 from {senders[0]}, for example b'GET / HTTP/1.1\\r\\n\\r\\n'"
    assert closed == (
        f"closed the connection of {senders[0]}: "
        "it announced a message of 0 bytes or more than [pickle] max-message-size, or sent no pickles"
    )


def test_a_harmful_pickle_leaves_no_trace_and_its_connection_goes_on(loops: Loops, tmp_path: Path) -> None:
    trace = tmp_path / "trace"

    async def main() -> None:
        async with receiving() as daemon:
            bad = [framed([("a", (1, Traced(trace)))], protocol) for protocol in range(6)]
            good = framed([("a", (1, 2))])
            await daemon.send(b"".join(bad) + good + framed({}) + framed([None]) + good, "pickle")
            await daemon.has_lines(2)
            assert daemon.counts("malformed") == {"unsafe_pickle": 6, "pickle": 1, "pickle_point": 1}
            assert daemon.counts("received") == {"": 10}
            assert daemon.counts("closed_connections") == {}

    run(main(), loops)
    assert not trace.exists()


@pytest.mark.parametrize("length", [b"\x00\x00\x00\x00", b"\xff\xff\xff\xff", b"\x00\x0f\x42\x41"])
def test_after_a_length_that_cannot_be_the_connection_is_closed(loops: Loops, length: bytes) -> None:
    async def main() -> None:
        async with receiving() as daemon:
            reader, writer = await asyncio.open_connection(*daemon.address("pickle"))
            writer.write(framed([("a", (1, 2))]) + length + b"x" * 100)
            with suppress(ConnectionResetError):
                assert await reader.read() == b""
            await hang_up(writer)
            await daemon.has("closed_connections", 1, "length")
            assert daemon.counts("malformed") == {"length": 1}
            await daemon.has_lines(1)
            await daemon.send(b"b 1 1\n")
            await daemon.has_lines(2)

    run(main(), loops)


@pytest.mark.parametrize(("receiver", "begun"), [("tcp", b"a 1 17000"), ("pickle", b"\x00\x00\x00\x09half")])
def test_a_sender_that_hangs_in_the_middle_is_closed_and_a_quiet_one_is_not(
    loops: Loops, receiver: str, begun: bytes
) -> None:
    async def main() -> None:
        async with receiving(timeouts=InputTimeouts(unfinished=0.1, look=0.02)) as daemon:
            quiet, hanging = await daemon.connect(receiver), await daemon.connect(receiver)
            quiet.write(b"a 1 1\n" if receiver == "tcp" else framed([("a", (1, 1))]))
            hanging.write(begun)
            await daemon.has("closed_connections", 1, "timeout")
            await daemon.has("malformed", 1, "unfinished")
            await daemon.has_lines(1)
            assert daemon.counts("connections") == {"tcp": 0, "pickle": 0} | {receiver: 1}
            await hang_up(hanging)
            await hang_up(quiet)

    run(main(), loops)


def test_senders_are_not_closed_for_the_time_that_the_sink_was_full(loops: Loops) -> None:
    async def main() -> None:
        async with receiving(room=1, timeouts=InputTimeouts(unfinished=0.5, look=0.02)) as daemon:
            writer = await daemon.connect()
            writer.write(b"a 1 1\nb 2")
            await until(lambda: daemon.intake.paused)
            await asyncio.sleep(0.7)
            daemon.sink.drain()
            await asyncio.sleep(0.1)
            writer.write(b" 2\n")
            await daemon.has_lines(2)
            assert daemon.counts("closed_connections") == {}
            await hang_up(writer)

    run(main(), loops)


def test_unfinished_pickles_may_not_hold_any_memory_together(loops: Loops) -> None:
    async def main() -> None:
        async with receiving(settings_for(max_message_size=100_000)) as daemon:
            writers = await asyncio.gather(*(daemon.connect("pickle") for _ in range(6)))
            for writer in writers:
                writer.write(struct.pack(">I", 100_000) + b"x" * 90_000)
            await daemon.has("closed_connections", 2, "memory")
            assert daemon.counts("connections") == {"tcp": 0, "pickle": 4}
            for writer in writers:
                await hang_up(writer)
            await daemon.has("connections", 0, "pickle")
            await daemon.send(framed([("a", (1, 2))]), "pickle")
            await daemon.has_lines(1)

    run(main(), loops)


def test_more_connections_than_files_may_be_open_are_turned_away(
    loops: Loops, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _limit: (20, 20))

    async def main() -> None:
        async with receiving() as daemon:
            writers = await asyncio.gather(*(daemon.connect() for _ in range(15)))
            await daemon.has("closed_connections", 5, "too_many")
            assert daemon.counts("connections") == {"tcp": 10, "pickle": 0}
            for writer in writers:
                await hang_up(writer)
            await daemon.has("connections", 0, "tcp")
            await daemon.send(b"a 1 1\n")
            await daemon.has_lines(1)

    run(main(), loops)
    assert len(caplog.messages) == 1
    assert "no more files may be open; raise the limit (LimitNOFILE in a systemd unit" in caplog.messages[0]


def test_a_bug_costs_one_connection_and_the_daemon_goes_on(loops: Loops, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_message: bytes) -> None:
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr("carbonquota.daemon.inputs.pickle.read_pickle", broken)

    async def main() -> None:
        async with receiving() as daemon:
            await daemon.send(framed([("a", (1, 2))]), "pickle")
            await daemon.has("internal_errors", 1, "receiver")
            await daemon.has("closed_connections", 1, "internal_error")
            await daemon.send(b"b 1 1\n")
            await daemon.has_lines(1)

    run(main(), loops)


def test_what_was_sent_before_the_end_is_read(loops: Loops) -> None:
    async def main() -> None:
        sink = KeepingSink()
        intake = Intake(engine_under().admit, sink)
        receivers = Receivers(settings_for().inputs, intake)
        await receivers.start()
        address = receivers.addresses["tcp"][0]
        stays = socket.create_connection((address.host, address.port))
        for _ in range(100):
            with socket.create_connection((address.host, address.port)) as gone:
                gone.sendall(b"b 1 1\n")
        pickles = socket.create_connection((address.host, receivers.addresses["pickle"][0].port))
        # The loop has not run since: all of this waits in the kernel, the connections included.
        stays.sendall(b"".join(LINES) + b"half")
        pickles.sendall(framed([("c", (1, 1))]))
        with socket.socket(type=socket.SOCK_DGRAM) as datagrams:
            datagrams.sendto(b"d 1 1", (address.host, receivers.addresses["udp"][0].port))
        await receivers.stop_listening()
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection((address.host, address.port)).close()
        await receivers.close(grace=5)
        intake.flush()
        assert sorted(sink.lines) == sorted([*LINES, *[b"b 1 1\n"] * 100, b"c 1 1\n", b"d 1 1\n"])
        assert [(s.label, s.value) for s in intake.health() if s.stat == "malformed"] == [("unfinished", 1)]
        assert sum(s.value for s in receivers.health() if s.stat == "connections") == 0
        assert stays.recv(1) == b""
        stays.close()
        pickles.close()

    run(main(), loops)


def test_a_sender_that_never_stops_is_cut_off_after_the_grace(loops: Loops) -> None:
    async def main() -> None:
        async with receiving() as daemon:
            writer = await daemon.connect()

            async def send_on() -> None:
                while True:
                    writer.write(b"a 1 1\n")
                    await asyncio.sleep(0.005)

            sending = asyncio.create_task(send_on())
            await daemon.has_lines(1)
            started = asyncio.get_running_loop().time()
            await daemon.receivers.close(grace=0.3)
            assert 0.2 < asyncio.get_running_loop().time() - started < 5
            assert daemon.counts("connections") == {"tcp": 0, "pickle": 0}
            sending.cancel()
            await hang_up(writer)

    run(main(), loops)
