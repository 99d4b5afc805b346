"""The limiter's store over TLS, behind a sentinel, and as a cluster: limits are exact, from threads and event loops."""

from __future__ import annotations

import asyncio
import ssl
import time
from pathlib import Path

import uvloop

from carbonquota.limiter.algorithms import Algorithm, policy_of
from carbonquota.limiter.charge import Charge, ChargeKind
from carbonquota.limiter.stores import StoreCounters, StoreSettings
from tests.support.certificates import write_certificate
from tests.support.proxies import TcpProxy
from tests.support.valkey import ValkeyServer, valkey_server
from tests.support.valkey_topologies import three_shards, watched_by_a_sentinel

HUNDRED = policy_of(Algorithm.TOKEN_BUCKET, 100, 86_400.0 * 365)


def counters(url: str) -> StoreCounters:
    return StoreCounters(StoreSettings(url, timeout=5.0, slices=False))


def passed(url: str, domain: str = "d", kind: int = ChargeKind.FAIL_CLOSED) -> int:
    """How many of 160 hits pass, half of them asked from an event loop, and all of those at once."""
    subject = counters(url)
    charges = [Charge(f"{domain}\x1fk", HUNDRED, 1, kind)]

    async def ask() -> int:
        decisions = await asyncio.gather(*(subject.decide_async(charges) for _ in range(80)))
        subject.close()
        return sum(decision.passes for decision in decisions)

    found = sum(subject.decide(charges).passes for _ in range(80))
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        found += runner.run(ask())
    assert subject.troubles == ()
    return found


def test_limits_are_exact_over_tls_and_a_store_of_another_certificate_is_not_believed(tmp_path: Path) -> None:
    certificate, key = tmp_path / "certificate.pem", tmp_path / "key.pem"
    write_certificate(certificate, key)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    with valkey_server(tmp_path / "valkey") as server:
        proxy = TcpProxy(server.port, context)
        try:
            url = f"valkeys://127.0.0.1:{proxy.port}"
            assert passed(f"{url}?ssl_ca_certs={certificate}") == 100
            stranger = counters(url)
            assert not stranger.decide([Charge("d\x1fother", HUNDRED, 1, ChargeKind.FAIL_CLOSED)]).passes
            assert "certificate" in stranger.troubles[0]
        finally:
            proxy.close()


def test_limits_are_exact_with_a_password(tmp_path: Path) -> None:
    with valkey_server(tmp_path / "valkey", {"requirepass": "secret"}) as server:
        assert passed(server.url.replace("//", "//:secret@")) == 100
        subject = counters(server.url)

        async def ask() -> str:
            assert not (await subject.decide_async([Charge("d\x1fk", HUNDRED, 1, ChargeKind.FAIL_CLOSED)])).passes
            subject.close()
            return subject.troubles[0]

        assert asyncio.run(ask()).startswith("the store refuses our user or password")


def test_behind_a_sentinel_the_master_is_asked_and_what_a_new_one_may_have_missed_counts_as_used(
    tmp_path: Path,
) -> None:
    with watched_by_a_sentinel(tmp_path) as watched:
        assert passed(watched.url) == 100
        subject = counters(watched.url)
        other = [Charge("d\x1fother", HUNDRED, 1, ChargeKind.FAIL_CLOSED)]
        assert sum(subject.decide(other).passes for _ in range(30)) == 30
        watched.master.kill()
        deadline = time.monotonic() + 30
        while subject.decide(other).outage:
            assert time.monotonic() < deadline, subject.troubles
            time.sleep(0.05)
        assert not any(subject.decide(other).passes for _ in range(100))


def test_in_a_cluster_each_domain_has_its_shard_and_its_limits_are_exact(tmp_path: Path) -> None:
    with three_shards(tmp_path) as shards:
        url = "cluster://" + ",".join(f"127.0.0.1:{shard.port}" for shard in shards)
        assert [passed(url, domain) for domain in ("a", "b", "c", "d")] == [100] * 4
        assert sum(1 for shard in shards if keys(shard)) > 1


def keys(server: ValkeyServer) -> int:
    return len(server.client().keys("{cql:*"))
