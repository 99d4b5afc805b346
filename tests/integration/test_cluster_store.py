"""The store of slices mode on a real Valkey: nothing is given out twice, and its troubles are told apart."""

from __future__ import annotations

import os
import random
import re
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from carbonquota.cluster.claim_store import ClaimStore
from carbonquota.cluster.look import Look
from carbonquota.cluster.messages import digests_of
from carbonquota.cluster.store import (
    IntervalSpan,
    Membership,
    SliceRequest,
    SliceStatus,
    Store,
    StoreError,
    TakenSlices,
    connector,
)
from carbonquota.testing import ManualClock
from tests.support.valkey import ValkeyServer, valkey_server

LENGTH = 60_000
A, B = b"\x00\x01\x02\x03\x04\x05\x06\x07", b"b" * 8


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ValkeyServer]:
    with valkey_server(tmp_path / "valkey") as running:
        yield running


def store(server: ValkeyServer, node: str = "n1", *, url: str = "", lapse: int = 2_000) -> Store:
    return Store(connector(url or server.url, 1.0), "test", Membership(node, lapse))


def next_span(server: ValkeyServer) -> IntervalSpan:
    """One that begins now by the server's clock, which has begun to keep this cluster already."""
    store(server, "asker").take(IntervalSpan(0, 0, LENGTH), 0, [])
    store(server, "asker").leave()
    seconds, micros = server.client().time()
    start = int(seconds) * 1000 + int(micros) // 1000
    return IntervalSpan(start, start, LENGTH)


def test_no_more_than_the_limit_is_given_out_however_it_is_asked(server: ValkeyServer) -> None:
    stores = [store(server, f"n{number}") for number in range(3)]
    span, given, dice, nodes = next_span(server), {A: 0, B: 0}, random.Random(1), 0
    limits = {A: 1_000, B: 7}
    for _ in range(400):
        one = dice.choice(stores)
        requests = [SliceRequest(digest, limits[digest], dice.randint(1, 200)) for digest in dice.sample([A, B], 2)]
        taken = one.take(span, 1, requests)
        assert taken.status is SliceStatus.OK
        nodes = taken.nodes
        for request, points in zip(requests, taken.points, strict=True):
            assert 0 <= points <= request.wanted
            given[request.digest] += points
    # All of it went, to the last point.
    assert given == limits
    assert nodes == 3


def test_a_single_node_gets_most_at_once_and_less_as_the_limit_comes_near(server: ValkeyServer) -> None:
    one, span = store(server), next_span(server)
    taken = [one.take(span, 1, [SliceRequest(A, 100, 1_000)]).points[0] for _ in range(8)]
    assert taken == sorted(taken, reverse=True)
    assert (taken[0], taken[-1], sum(taken)) == (50, 1, 100)


def test_what_is_handed_back_is_given_to_whoever_asks(server: ValkeyServer) -> None:
    one, other, span = store(server, "n1"), store(server, "n2"), next_span(server)
    while one.take(span, 1, [SliceRequest(A, 50, 50)]).points[0]:
        pass
    assert other.take(span, 1, [SliceRequest(A, 50, 50)]).points == (0,)
    one.hand_back(span, [(A, 8), (B, 5)])
    assert other.take(span, 1, [SliceRequest(A, 50, 50)]).points == (2,)
    # What was never given out cannot be handed back.
    assert other.take(span, 1, [SliceRequest(B, 4, 4)]).points == (1,)


def test_of_an_interval_that_began_before_the_server_it_gives_nothing(server: ValkeyServer) -> None:
    one, span = store(server), next_span(server)
    assert one.take(span, 1, [SliceRequest(A, 50, 10)]).points == (10,)
    server.kill()
    server.start()
    taken = one_try(store(server), span)
    assert (taken.status, taken.points) == (SliceStatus.YOUNG, (0,))
    assert one_try(store(server), next_span(server)).status is SliceStatus.OK


def one_try(one: Store, span: IntervalSpan) -> TakenSlices:
    return one.take(span, 1, [SliceRequest(A, 50, 10)])


def test_a_server_gives_nothing_of_an_interval_that_began_before_it_did(tmp_path: Path) -> None:
    # Late in a second, as the server knows its own start and uptime by full seconds only.
    time.sleep((0.6 - time.time()) % 1)
    span = IntervalSpan(1, int(time.time() * 1000), LENGTH)
    with valkey_server(tmp_path / "valkey") as server:
        for _ in range(20):
            assert one_try(store(server), span).status is SliceStatus.YOUNG
            server.client().flushall()
            time.sleep(0.05)


@pytest.mark.parametrize("command", ["FLUSHALL", "FLUSHDB"])
def test_a_server_that_was_flushed_gives_nothing_of_the_interval_in_which_that_was(
    server: ValkeyServer, command: str
) -> None:
    # The server has been up for longer than the interval.
    time.sleep(1.2)
    one, span = store(server), next_span(server)
    assert one_try(one, span).points == (10,)
    server.client().execute_command(command)
    assert one_try(one, span).status is SliceStatus.YOUNG
    assert one_try(one, next_span(server)).status is SliceStatus.OK


def test_a_server_that_evicts_keys_gives_nothing_of_the_interval_in_which_it_did(server: ValkeyServer) -> None:
    client = server.client()
    one, span = store(server), next_span(server)
    assert one_try(one, span).points == (10,)
    client.config_set("maxmemory-policy", "volatile-ttl")
    client.config_set("maxmemory", "3mb")
    # What goes first may be the counts of the interval.
    for number in range(100_000):
        client.set(f"filler{number}", "x" * 10_000, ex=10)
        if int(client.info("stats")["evicted_keys"]):
            break
    assert one_try(one, span).status is SliceStatus.YOUNG
    client.config_set("maxmemory", "0")
    assert one_try(one, next_span(server)).status is SliceStatus.OK


def test_a_replica_that_took_over_gives_nothing_of_the_interval_it_may_have_missed(tmp_path: Path) -> None:
    with valkey_server(tmp_path / "a") as first, valkey_server(tmp_path / "b") as second:
        replica = second.client()
        one, span = store(first), next_span(first)
        replica.replicaof("127.0.0.1", first.port)
        assert one_try(one, span).points == (10,)
        deadline = time.monotonic() + 15
        while replica.hget("{cq:test}:server", "run") is None and time.monotonic() < deadline:
            time.sleep(0.02)
        with pytest.raises(StoreError, match="takes no writes: it is a replica") as caught:
            one_try(store(second), span)
        assert caught.value.kind == "read_only"
        first.kill()
        replica.replicaof("NO", "ONE")
        assert one_try(store(second), span).status is SliceStatus.YOUNG


def test_intervals_long_past_or_far_ahead_are_not_served(server: ValkeyServer) -> None:
    one, span = store(server), next_span(server)
    assert one_try(one, IntervalSpan(1, span.start + 5_000, LENGTH)).status is SliceStatus.EARLY
    server.client().hset("{cq:test}:server", "since", "0")
    assert one_try(one, IntervalSpan(2, span.start - 3 * LENGTH, LENGTH)).status is SliceStatus.LATE


def test_the_share_of_a_node_that_may_be_cut_off_is_kept_back(server: ValkeyServer) -> None:
    one, other = store(server, "n1", lapse=100), store(server, "n2", lapse=100)
    first = next_span(server)
    one.take(first, 0, [])
    assert other.take(first, 0, []).nodes == 2
    # n1 divides by 2 from now on, as it was told so; then nothing is heard of it.
    one.take(first, 1, [])
    one.take(first, 2, [])
    time.sleep(0.3)
    other.take(first, 2, [])
    second = next_span(server)
    given = 0
    while points := other.take(second, 2, [SliceRequest(A, 100, 100)]).points[0]:
        given += points
    assert given == 50
    # A node that accepts nothing without the store has no share to keep back.
    store(server, "n3", lapse=100).take(second, -1, [])
    # It left in order before the next interval, so nothing is kept back then.
    one.leave()
    third = next_span(server)
    given = 0
    while points := other.take(third, 1, [SliceRequest(A, 100, 100)]).points[0]:
        given += points
    assert given == 100


def test_what_was_given_out_is_told_of_the_running_interval_and_of_one_that_ended(server: ValkeyServer) -> None:
    clock = ManualClock(1_000_000.0 * LENGTH / 1000)
    name, own = "team.a", [np.zeros(2, np.int64) for _ in range(6)]
    (digest,) = digests_of([name], "test").tolist()
    server.client().hset(f"{{cq:test}}:flow:{LENGTH}:1000000", digest.to_bytes(8, "little"), 30)
    look = Look(store(server), "test", LENGTH / 1000, clock)
    assert [column.tolist() for column in look.over_all_nodes([name, "b"], own)] == [[0, 0]] * 5 + [[30, 0]]
    started = clock()
    clock.advance(LENGTH / 1000)
    assert look.over_all_nodes([name, "b"], own)[-1].tolist() == [0, 0]
    assert look.over_all_nodes([name, "b"], own, started)[-1].tolist() == [30, 0]
    look.close()


def test_functions_that_are_gone_are_loaded_again(server: ValkeyServer) -> None:
    one, span = store(server), next_span(server)
    assert one_try(one, span).points == (10,)
    server.client().function_flush()
    assert one_try(one, span).points == (10,)


def test_keys_of_an_interval_do_not_stay(server: ValkeyServer) -> None:
    one, span = store(server), next_span(server)
    one_try(one, span)
    left = server.client().pttl(f"{{cq:test}}:flow:{LENGTH}:{span.number}")
    assert 0 < left <= 4 * LENGTH


def test_a_wrong_password_is_told(tmp_path: Path) -> None:
    with valkey_server(tmp_path, {"requirepass": "right"}) as server:
        for login, outcome in (("", "password"), (":wrong@", "password"), (":right@", "")):
            one = store(server, url=f"valkey://{login}127.0.0.1:{server.port}")
            span = IntervalSpan(1, int(time.time() * 1000) + 500, LENGTH)
            if outcome:
                with pytest.raises(StoreError, match="refuses our user or password") as caught:
                    one_try(one, span)
                assert caught.value.kind == outcome
            else:
                assert one_try(one, span).status is SliceStatus.OK


def test_a_password_beside_the_url_is_taken_where_the_url_has_none(tmp_path: Path) -> None:
    with valkey_server(tmp_path, {"requirepass": "right"}) as server:
        span = IntervalSpan(1, int(time.time() * 1000) + 500, LENGTH)
        for url in (server.url, server.url.replace("//", "//default@")):
            one = Store(connector(url, 1.0, "right"), "test", Membership("n1"))
            assert one_try(one, span).status in {SliceStatus.OK, SliceStatus.YOUNG}


def test_a_full_store_is_told(server: ValkeyServer) -> None:
    one, span = store(server), next_span(server)
    assert one_try(one, span).status is SliceStatus.OK
    # Less than the server itself takes.
    server.client().config_set("maxmemory", "100kb")
    with pytest.raises(StoreError, match="is full") as caught:
        one_try(one, span)
    assert caught.value.kind == "full"
    # What makes room is taken all the same.
    one.hand_back(span, [(A, 3)])
    one.leave()


def test_a_store_that_stands_still_is_slow_and_one_that_is_gone_is_away(server: ValkeyServer) -> None:
    one, span = store(server), next_span(server)
    one_try(one, span)
    os.kill(server.pid, signal.SIGSTOP)
    try:
        with pytest.raises(StoreError, match="did not answer in time") as caught:
            one_try(one, span)
        assert caught.value.kind == "slow"
    finally:
        os.kill(server.pid, signal.SIGCONT)
    assert one_try(one, span).status is SliceStatus.OK
    server.kill()
    with pytest.raises(StoreError, match="cannot be reached") as caught:
        one_try(one, span)
    assert caught.value.kind == "away"


def test_a_user_without_the_permission_is_told(tmp_path: Path) -> None:
    with valkey_server(tmp_path) as server:
        server.client().execute_command("ACL", "SETUSER", "narrow", "on", ">pw", "~*", "+get", "+ping")
        one = store(server, url=f"valkey://narrow:pw@127.0.0.1:{server.port}")
        with pytest.raises(StoreError, match="does not permit our user to use functions") as caught:
            one_try(one, IntervalSpan(1, int(time.time() * 1000) + 500, LENGTH))
        assert caught.value.kind == "permission"


def test_who_is_no_store_is_away_or_failed() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        one = Store(connector(f"valkey://127.0.0.1:{silent.getsockname()[1]}", 0.3), "test", Membership("n1"))
        with pytest.raises(StoreError) as caught:
            one_try(one, IntervalSpan(1, 0, LENGTH))
    assert caught.value.kind in {"slow", "away"}


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("http://x", "it must begin with valkey://"),
        ("sentinel://h:1", "it names no service behind the last slash"),
        ("valkey://:secret@host:x", '"host:x" is no host:port'),
        ("cluster://h:x", '"h:x" is no host:port'),
    ],
)
def test_what_is_no_url_of_a_store_is_refused(url: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        connector(url, 1.0)


def test_a_user_with_the_permissions_that_the_documents_name_is_enough(tmp_path: Path) -> None:
    text = (Path(__file__).parents[2] / "docs" / "cluster.md").read_text()
    found = re.search(r"user needs `([^`]+)` and those keys", " ".join(text.split()))
    assert found
    permissions = found[1].split()
    with valkey_server(tmp_path) as server:
        for left_out in (None, *permissions):
            name = f"u{permissions.index(left_out) if left_out else ''}"
            given = [one for one in permissions if one != left_out]
            server.client().execute_command("ACL", "SETUSER", name, "on", ">pw", "~{cq:*", *given)
            server.client().function_flush()
            one = store(server, url=f"valkey://{name}:pw@127.0.0.1:{server.port}")
            if left_out is None:
                assert one_try(one, next_span(server)).status is SliceStatus.OK
                claims = ClaimStore(one, "test")
                assert claims.declared(claims.begin(["n2"]))
                assert not claims.prune()
            else:
                with pytest.raises(StoreError, match="does not permit our user"):
                    one_try(one, IntervalSpan(1, int(time.time() * 1000) + 500, LENGTH))
