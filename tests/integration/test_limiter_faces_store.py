"""Three limiters that count in one Valkey, asked over both faces: a limit over all of them, passed by none."""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from pathlib import Path

import grpc
from envoy.service.ratelimit.v3 import rls_pb2_grpc

from tests.support.daemon import wait_until
from tests.support.limiter import LimiterProcess, document, question, several
from tests.support.valkey import ValkeyServer, valkey_server

RULES = """
domain: d
descriptors:
  - key: many
    rate_limit: {unit: year, requests_per_unit: 100}
  - key: closed
    on_outage: fail-closed
    rate_limit: {unit: year, requests_per_unit: 100}
  - key: open
    on_outage: fail-open
    rate_limit: {unit: year, requests_per_unit: 1}
"""


async def grpc_codes(addresses: list[str], times: int) -> Counter[int]:
    async with (
        grpc.aio.insecure_channel(addresses[0]) as first,
        grpc.aio.insecure_channel(addresses[1]) as second,
        grpc.aio.insecure_channel(addresses[2]) as third,
    ):
        stubs = [rls_pb2_grpc.RateLimitServiceStub(channel) for channel in (first, second, third)]
        asked = question("d", {"many": "grpc"})
        calls = [stubs[n % 3].ShouldRateLimit(asked, timeout=60) for n in range(times)]
        return Counter(answer.overall_code for answer in await asyncio.gather(*calls))


CONNECTIONS = 500
BODY = b'{"domain": "d", "descriptors": [{"entries": [{"key": "many", "value": "http"}]}]}'
SENT = b"POST /json HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%b" % (len(BODY), BODY)


async def http_codes(ports: list[int], times: int) -> Counter[int]:
    """What so many requests are answered that are all sent before any answer is read, on many connections."""
    opened = [await asyncio.open_connection("127.0.0.1", ports[at % len(ports)]) for at in range(CONNECTIONS)]
    each = times // CONNECTIONS
    for _, writer in opened:
        writer.write(SENT * (each - 1) + SENT.replace(b"Host: x", b"Connection: close"))
    answers = b"".join(await asyncio.gather(*(reader.read() for reader, _ in opened)))
    for _, writer in opened:
        writer.close()
    return Counter(map(int, re.findall(rb"HTTP/1.1 (\d+) ", answers)))


def test_three_processes_let_in_what_the_limit_says_and_without_the_store_what_each_rule_says(tmp_path: Path) -> None:
    with valkey_server(tmp_path / "valkey") as store:
        more = f'[store]\nurl = "{store.url}"\ntimeout = "5s"\n'
        three = [LimiterProcess(tmp_path / name, RULES, more=more) for name in ("a", "b", "c")]
        with several(*three) as limiters:
            check(store, limiters)


def check(store: ValkeyServer, limiters: list[LimiterProcess]) -> None:
    assert asyncio.run(grpc_codes([one.address("gRPC") for one in limiters], 2_000)) == {1: 100, 2: 1_900}
    assert asyncio.run(http_codes([one.port("HTTP") for one in limiters], 2_000)) == {200: 100, 429: 1_900}
    with limiters[0].admin() as admin, limiters[2].http() as http:
        # Who is denied at one is denied at all.
        assert admin.post("/api/bans", json={"client": "mallory", "seconds": 600}).status_code == 201
        asked = {"questions": [{"domain": "d", "descriptors": [[["unlimited", "m"]]], "client": "mallory"}]}
        wait_until(
            lambda: not document(http.post("/v1/check", json=asked))["verdicts"][0]["allowed"],
            lambda: http.post("/v1/check", json=asked).text,
        )
    store.kill()
    with limiters[0].envoy() as envoy, limiters[0].admin() as admin:
        assert envoy.ShouldRateLimit(question("d", {"closed": "a"}), timeout=60).overall_code == 2
        assert [envoy.ShouldRateLimit(question("d", {"open": "a"}), timeout=60).overall_code for _ in "ab"] == [
            1,
            1,
        ]
        health = document(admin.get("/health"))
        assert (health["status"], health["ready"]) == ("degraded", True)
        assert "the store cannot be reached" in health["reasons"][0]
        store.start()
        # What an empty store has forgotten, it does not let in by a rule that is closed.
        assert envoy.ShouldRateLimit(question("d", {"closed": "b"}), timeout=60).overall_code == 2
        wait_until(
            lambda: (
                envoy.ShouldRateLimit(question("d", {"many": "again"}), timeout=60).overall_code == 1
                and document(admin.get("/health"))["status"] == "ok"
            ),
            "the store is not asked again",
        )
