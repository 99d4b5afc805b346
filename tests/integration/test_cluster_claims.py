"""What all nodes hold, in a real Valkey: it equals a small model, and no limit is passed by even one."""

from __future__ import annotations

import random
import struct
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from carbonquota import QuotaEngine, RuleSet, Size
from carbonquota.cluster.claim_store import (
    Claimed,
    ClaimStatus,
    ClaimStore,
    ClaimTimeouts,
    Digester,
    Metrics,
    StoredRun,
    refusal,
)
from carbonquota.cluster.namespaces import namespace_of, namespaces_of
from carbonquota.cluster.store import Membership, Store, StoreError, connector
from carbonquota.controls.capacity_limits import NamespaceLimits
from tests.support.claim_store import ModelClaims, Stock
from tests.support.valkey import ValkeyServer, valkey_server

RULES = """
[/]
namespaces = 3
metrics = 40
[team.*]
namespaces = 2
metrics = 12
data-points = 900
[team.*.*]
logical-size = 700
metrics = 5
[loose.*]
metrics = 1
dropping-policy = none
"""
SIZES = [Size(100, 200, 60), Size(250, 300, 100)]
PATIENCE = ClaimTimeouts(grace=60_000)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ValkeyServer]:
    with valkey_server(tmp_path / "valkey") as running:
        yield running


def raw(server: ValkeyServer, node: str = "n1") -> Store:
    return Store(connector(server.url, 5.0), "test", Membership(node))


def claims(server: ValkeyServer, node: str = "n1", patience: ClaimTimeouts = PATIENCE) -> ClaimStore:
    return ClaimStore(raw(server, node), "test", patience)


def settled(server: ValkeyServer) -> None:
    """Have the server keep this cluster for long."""
    claims(server, "first").begin([])
    server.client().hdel("{cq:test}:runs", "first")
    server.client().hset("{cq:test}:stock", "since", "0")


def limits_of(names: list[str], rules: str = RULES) -> list[NamespaceLimits]:
    return QuotaEngine(RuleSet.from_text(rules)).limits_above([namespace_of(name) for name in names])


def ready(store: ClaimStore) -> StoredRun:
    run = store.begin([])
    assert store.declared(run)
    return run


def claim(store: ClaimStore, run: StoredRun, names: list[str], rules: str = RULES, *, asks: bool = True) -> Claimed:
    metrics = Metrics(names, namespaces_of(names), [SIZES[len(name) % 2] for name in names])
    return store.claim(run, metrics, limits_of(names, rules), asks=asks)


def usage(server: ValkeyServer) -> dict[bytes, tuple[int, ...]]:
    """What the store says that namespaces hold, by digest."""
    found = server.client().hgetall("{cq:test}:usage")
    return {digest: tuple(int(value) for value in struct.unpack("<8s5d", text)[1:]) for digest, text in found.items()}


def usage_of_model(stock: Stock) -> dict[bytes, tuple[int, ...]]:
    digest = Digester("test").namespace
    names = [namespace for held_in, *_ in stock.names.values() for namespace in _ways(held_in)]
    return {digest(name): stock.usage(name) for name in names}


def _ways(namespace: str) -> Iterator[str]:
    yield "/"
    parts = namespace.split(".") if namespace != "/" else []
    for length in range(1, len(parts) + 1):
        yield ".".join(parts[:length])


POOL = [f"{top}.{a}.{b}.m{i}" for top in ("team", "loose", "x", "y") for a in "ab" for b in "cde" for i in range(4)]
POOL += [f"{top}.m{i}" for top in ("team.a", "team.b", "team", "z") for i in range(4)] + ["m1", "m2", "a;t=1"]


class Both:
    """A node in the real store and in the model, asked the same."""

    def __init__(self, server: ValkeyServer, stock: Stock, name: str, dice: random.Random) -> None:
        self.real, self.model, self.dice = claims(server, name), ModelClaims(stock, name, PATIENCE), dice
        self.run, self.model_run = ready(self.real), ready_model(self.model)
        self.refusals = 0

    def names(self, most: int) -> list[str]:
        return [self.dice.choice(POOL) for _ in range(self.dice.randint(1, most))]

    def claim(self, *, asks: bool = True) -> None:
        names = self.names(6)
        metrics = Metrics(names, namespaces_of(names), [self.dice.choice(SIZES) for _ in names])
        one = self.real.claim(self.run, metrics, limits_of(names), asks=asks)
        other = self.model.claim(self.model_run, metrics, limits_of(names), asks=asks)
        assert (one.status, one.codes.tolist()) == (other.status, other.codes.tolist())
        self.refusals += int((one.codes < 0).sum())

    def declare(self) -> None:
        self.claim(asks=False)

    def release(self) -> None:
        names = self.names(60)
        assert self.real.release(self.run, names) == self.model.release(self.model_run, names)

    def begin(self) -> None:
        self.run, self.model_run = self.real.begin([]), self.model.begin([])
        if self.dice.random() < 0.7:
            assert self.real.declared(self.run)
            assert self.model.declared(self.model_run)

    def prune(self) -> None:
        while self.real.prune(10):
            pass
        self.model.prune()


@pytest.mark.parametrize("seed", range(6))
def test_the_store_equals_the_model_on_the_same_histories(server: ValkeyServer, seed: int) -> None:
    dice = random.Random(seed)
    settled(server)
    stock = Stock(lambda: 0)
    nodes = [Both(server, stock, name, dice) for name in ("n1", "n2", "n3")]
    for _ in range(120):
        node = dice.choice(nodes)
        dice.choice([*[node.claim] * 3, node.declare, *[node.release] * 2, node.begin, node.prune])()
        assert usage(server) == usage_of_model(stock)
    assert sum(node.refusals for node in nodes) > 20


def ready_model(store: ModelClaims) -> StoredRun:
    run = store.begin([])
    assert store.declared(run)
    return run


@pytest.mark.parametrize(
    ("rules", "first", "name", "expected"),
    [
        ("[/]\nmetrics = 1\n[a]\nmetrics = 1\n", "a.x", "a.y", ("/", "metrics")),
        ("[a]\nmetrics = 1\nlogical-size = 1\nphysical-size = 1\n", "", "a.y", ("a", "logical-size")),
        ("[a]\nphysical-size = 1\ndata-points = 1\nnamespaces = 1\n", "a.b.c", "a.d.e", ("a", "physical-size")),
        ("[a]\ndata-points = 1\nnamespaces = 1\n", "a.b.c", "a.d.e", ("a", "data-points")),
        ("[a]\nnamespaces = 1\n", "a.b.c", "a.d.e", ("a", "namespaces")),
        ("[/]\nnamespaces = 1\n[*]\nmetrics = 1\n", "a.b", "b.c.d", ("/", "namespaces")),
        ("[a]\nmetrics = 1\ndropping-policy = none\n[a.b]\nmetrics = 1\n", "a.b.c", "a.b.d", ("a.b", "metrics")),
    ],
    ids=["root first", "logical", "physical", "points", "namespaces", "new top", "not enforcing"],
)
def test_the_first_that_refuses_is_the_one_that_a_single_engine_names(
    server: ValkeyServer, rules: str, first: str, name: str, expected: tuple[str, str]
) -> None:
    settled(server)
    store = claims(server)
    run = ready(store)
    engine = QuotaEngine(RuleSet.from_text(rules), size_of=lambda text: SIZES[len(text) % 2])
    if first:
        claim(store, run, [first], rules, asks=False)
        engine.load(first)
    verdict = engine.offer(name)
    assert (verdict.namespace, verdict.control) == expected
    place, stock = refusal(claim(store, run, [name], rules).codes[0])
    keys = ("metrics", "logical-size", "physical-size", "data-points", "namespaces")
    assert (limits_of([name], rules)[place].namespace, keys[stock]) == expected


def test_a_metric_on_two_nodes_counts_once_and_stays_until_both_release_it(server: ValkeyServer) -> None:
    settled(server)
    one, other = claims(server, "n1"), claims(server, "n2")
    first, second = ready(one), ready(other)
    assert claim(one, first, ["q.a"], "[q]\nmetrics = 1\n").codes.tolist() == [0]
    assert claim(other, second, ["q.a", "q.b"], "[q]\nmetrics = 1\n").codes.tolist()[0] == 1
    assert one.release(first, ["q.a"])
    assert claim(one, first, ["q.b"], "[q]\nmetrics = 1\n").codes[0] < 0
    assert other.release(second, ["q.a", "q.a"])
    assert claim(one, first, ["q.b"], "[q]\nmetrics = 1\n").codes[0] == 0


def test_what_a_killed_node_claimed_and_does_not_have_goes_when_it_has_declared(server: ValkeyServer) -> None:
    settled(server)
    rules = "[q]\nmetrics = 3\n"
    store = claims(server)
    run = ready(store)
    assert claim(store, run, ["q.a", "q.b", "q.c"], rules).codes.tolist() == [0, 0, 0]
    again = claims(server)
    run = again.begin([])
    # Others need not wait for it, as all that it held is still held.
    other = claims(server, "n2")
    assert claim(other, ready(other), ["q.d"], rules).codes[0] < 0
    assert claim(again, run, ["q.d"], rules).status is ClaimStatus.WAIT
    assert claim(again, run, ["q.a"], rules, asks=False).codes.tolist() == [1]
    assert again.declared(run)
    while again.prune():
        pass
    assert claim(again, run, ["q.d", "q.e", "q.f"], rules).codes.tolist()[:2] == [0, 0]
    assert len(server.client().hgetall("{cq:test}:names")) == 3


def test_a_store_that_lost_its_names_grants_nothing_until_all_it_hears_of_have_declared(server: ValkeyServer) -> None:
    rules = "[q]\nmetrics = 3\n"
    settled(server)
    one, other = claims(server, "n1"), claims(server, "n2")
    first, second = ready(one), ready(other)
    nodes = claim(one, first, ["q.a", "q.b"], rules).nodes
    assert sorted(nodes) == ["n1", "n2"]
    assert claim(other, second, ["q.c"], rules).codes.tolist() == [0]
    server.kill()
    server.start()
    one, other = claims(server, "n1"), claims(server, "n2")
    assert claim(one, first, ["q.d"], rules).status is ClaimStatus.BEGIN
    server.client().hset("{cq:test}:stock", "since", "0")
    first = one.begin(nodes)
    claim(one, first, ["q.a", "q.b"], rules, asks=False)
    assert one.declared(first)
    # The other has not declared yet.
    assert claim(one, first, ["q.d"], rules).status is ClaimStatus.WAIT
    assert claim(claims(server, "n1", ClaimTimeouts(grace=0)), first, [], rules).status is ClaimStatus.OK
    second = other.begin([])
    claim(other, second, ["q.c"], rules, asks=False)
    assert other.declared(second)
    assert claim(one, first, ["q.d"], rules).codes[0] < 0


def test_a_store_that_kept_its_names_over_a_restart_has_all_declare_again(tmp_path: Path) -> None:
    with valkey_server(tmp_path, {"appendonly": "yes", "appendfsync": "always"}) as server:
        settled(server)
        one, other = claims(server, "n1"), claims(server, "n2")
        first, _ = ready(one), ready(other)
        assert claim(one, first, ["q.a"], "[q]\nmetrics = 3\n").codes.tolist() == [0]
        server.kill()
        server.start()
        one = claims(server, "n1")
        assert claim(one, first, ["q.d"]).status is ClaimStatus.BEGIN
        run = ready(one)
        assert claim(one, run, ["q.d"]).status is ClaimStatus.WAIT
        ready(claims(server, "n2"))
        time.sleep(2.1)
        while one.prune():
            pass
        assert claim(one, run, ["q.d"], "[q]\nmetrics = 1\n").codes.tolist() == [0]


def test_a_full_store_takes_releases_and_no_claims(server: ValkeyServer) -> None:
    settled(server)
    one = claims(server)
    run = ready(one)
    assert claim(one, run, ["q.a", "q.b"], "[q]\nmetrics = 3\n").codes.tolist() == [0, 0]
    server.client().config_set("maxmemory", "100kb")
    with pytest.raises(StoreError, match="is full"):
        claim(one, run, ["q.c"], "[q]\nmetrics = 3\n")
    assert one.release(run, ["q.a"])
    server.client().config_set("maxmemory", "0")
    assert sorted(server.client().hkeys("{cq:test}:names")) == [Digester("test").metric("q.b")]


def test_a_store_that_was_flushed_or_evicted_a_key_has_all_declare_again(server: ValkeyServer) -> None:
    settled(server)
    one = claims(server)
    run = ready(one)
    client = server.client()
    client.flushall()
    assert claim(one, run, ["q.a"]).status is ClaimStatus.BEGIN
    settled(server)
    run = ready(one)
    assert claim(one, run, ["q.a"]).status is ClaimStatus.OK
    client.config_set("maxmemory-policy", "volatile-ttl")
    client.config_set("maxmemory", "3mb")
    for number in range(100_000):
        client.set(f"filler{number}", "x" * 10_000, ex=10)
        if int(client.info("stats")["evicted_keys"]):
            break
    client.config_set("maxmemory", "0")
    assert claim(one, run, ["q.b"]).status is ClaimStatus.BEGIN


def test_a_node_that_is_silent_for_long_holds_nothing_any_more(server: ValkeyServer) -> None:
    settled(server)
    rules = "[q]\nmetrics = 1\n"
    one, other = claims(server, "n1"), claims(server, "n2", ClaimTimeouts(forget=50))
    claim(one, ready(one), ["q.a"], rules)
    run = ready(other)
    assert claim(other, run, ["q.b"], rules).codes[0] < 0
    time.sleep(0.1)
    assert claim(other, run, [], rules).has_dead
    while other.prune():
        pass
    assert claim(other, run, ["q.b"], rules).codes.tolist() == [0]


def test_what_nodes_recall_of_a_missing_one_is_not_given_to_others(server: ValkeyServer) -> None:
    rules = "[team.*]\nmetrics = 12\n"
    settled(server)
    away, here = claims(server, "away"), claims(server, "here", ClaimTimeouts(grace=1))
    claim(away, ready(away), [f"team.a.m{k}" for k in range(8)], rules)
    found = here.usages(ready(here), "0")
    assert found is not None
    cursor, usages = found
    assert cursor == "0"
    server.client().flushall()
    run = here.begin(["away"])
    assert here.recall(run, usages)
    assert here.declared(run)
    time.sleep(2.2)
    codes = claim(here, run, [f"team.a.n{k}" for k in range(6)], rules).codes.tolist()
    assert [code == 0 for code in codes] == [True] * 4 + [False] * 2
    # It is back, and holds less than before.
    run_of_away = away.begin([])
    claim(away, run_of_away, [f"team.a.m{k}" for k in range(3)], rules, asks=False)
    assert away.declared(run_of_away)
    codes = claim(here, run, [f"team.a.late{k}" for k in range(6)], rules).codes.tolist()
    assert [code == 0 for code in codes] == [True] * 5 + [False]
    assert server.client().hlen("{cq:test}:recalled") == 0
