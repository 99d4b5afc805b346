"""Measure the rate limiter: checks in process and on a store, beside the package `limits` in the same run; an attack.

Times of checks in process are of the processor, as the machine may be busy, and the median of rounds that the peers
take turns in; those on a store are of the clock. Keys are text that is made just before, as a request brings it.
"""

from __future__ import annotations

import argparse
import json
import random
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

sys.path.insert(0, str(Path(__file__).parents[1]))

from limits import parse, storage, strategies

from carbonquota.limiter.algorithms import Algorithm, policy_of
from carbonquota.limiter.charge import Charge
from carbonquota.limiter.counters import local_counters
from carbonquota.limiter.model import Descriptor, Request
from carbonquota.limiter.native import Table
from carbonquota.limiter.rules import DomainRules
from carbonquota.limiter.service import Limiter
from carbonquota.limiter.stores import StoreCounters, StoreSettings
from carbonquota.testing import ManualClock
from tests.support.valkey import valkey_server

KEYS: Final = 1_000_000
CHUNK: Final = 10_000
ROUNDS: Final = 15
ATTACK: Final = 10_000_000
KNOWN: Final = 10_000

RULES: Final = """
domain: bench
descriptors:
  - key: client
    rate_limit: {unit: minute, requests_per_unit: 100, algorithm: token_bucket}
"""
BUCKET: Final = policy_of(Algorithm.TOKEN_BUCKET, 100, 60)

Check = Callable[[str], object]
Row = tuple[str, float, str]


def key(number: int) -> str:
    """A client's name, at random places of memory."""
    return f"client-{number * 7919 % KEYS}"


def chunks() -> Iterator[list[str]]:
    """Keys at random, made just before."""
    dice = random.Random(1)
    while True:
        yield [key(dice.randrange(KEYS)) for _ in range(CHUNK)]


def seconds_each(check: Check, keys: list[str]) -> float:
    """Of the processor, for one check."""
    started = time.thread_time()
    for one in keys:
        check(one)
    return (time.thread_time() - started) / len(keys)


def in_process() -> Iterator[Row]:
    """One check of one key among a million, by a token bucket."""
    limiter = Limiter(DomainRules.from_text(RULES))
    keyed = limiter.keyed("bench", "client")
    table = Table(KEYS)
    own = table.limit(BUCKET)
    item, peers = parse("100/minute"), storage.MemoryStorage()
    fixed, moving = strategies.FixedWindowRateLimiter(peers), strategies.MovingWindowRateLimiter(peers)
    sliding = strategies.SlidingWindowCounterRateLimiter(peers)
    everyone = [key(number) for number in range(KEYS)]
    own.check_many(everyone)
    keyed.check_many(everyone)
    for one in everyone:
        fixed.hit(item, one)
    del everyone
    checks: dict[str, Check] = {
        "a compiled limit": own.check,
        "a rule's limit by key": keyed.check,
        "the limiter, with rules, lists and counts": lambda one: limiter.check_one("bench", (("client", one),)),
        "the same, of a request that is made for it": lambda one: limiter.check(
            Request("bench", (Descriptor((("client", one),)),))
        ),
        "the same, yes or no": lambda one: limiter.allows("bench", (("client", one),)),
        "(to make such a request)": lambda one: Request("bench", (Descriptor((("client", one),)),)),
        "limits, fixed window": lambda one: fixed.hit(item, one),
        "limits, sliding window counter": lambda one: sliding.hit(item, one),
        "limits, moving window": lambda one: moving.hit(item, f"moving-{one}"),
        "(an empty call)": len,
    }
    taken: dict[str, list[float]] = {name: [] for name in (*checks, "a compiled limit, many at once")}
    source = chunks()
    for _ in range(ROUNDS):
        for name, check in checks.items():
            taken[name].append(seconds_each(check, next(source)))
        keys = next(source)
        started = time.thread_time()
        own.check_many(keys)
        taken["a compiled limit, many at once"].append((time.thread_time() - started) / CHUNK)
    ours = statistics.median(taken["a compiled limit"])
    for name, times in taken.items():
        middle, least = statistics.median(times), min(times)
        yield f"check: {name}", middle * 1e6, f"us; {least * 1e6:.2f} at best; {middle / ours:.1f} times the first"
    yield "memory: the full table", table.memory / KEYS, "bytes a key"


def on_store() -> Iterator[Row]:
    """Checks one after the other on one Valkey."""
    with tempfile.TemporaryDirectory() as folder, valkey_server(Path(folder) / "valkey") as server:
        peer = strategies.FixedWindowRateLimiter(storage.RedisStorage(server.url))
        moving = strategies.MovingWindowRateLimiter(storage.RedisStorage(server.url))
        item = parse("1000000/minute")
        plain = StoreCounters(StoreSettings(server.url, "plain", timeout=5.0, slices=False))
        sliced = StoreCounters(StoreSettings(server.url, "sliced", timeout=5.0))
        policy = policy_of(Algorithm.TOKEN_BUCKET, 1_000_000, 60)
        none = policy_of(Algorithm.TOKEN_BUCKET, 1, 3_600)
        checks: dict[str, Check] = {
            "a check": lambda one: plain.decide([Charge(f"d\x1f{one}", policy)]),
            "of a busy key, with slices": lambda _: sliced.decide([Charge("d\x1fbusy", policy)]),
            "of a key over its limit": lambda _: plain.decide([Charge("d\x1fover", none)]),
            "limits, fixed window": lambda one: peer.hit(item, one),
            "limits, moving window": lambda one: moving.hit(item, f"moving-{one}"),
        }
        taken: dict[str, list[float]] = {name: [] for name in checks}
        for _ in range(15):
            keys = [key(number) for number in range(300)]
            for name, check in checks.items():
                started = time.perf_counter()
                for one in keys:
                    check(one)
                taken[name].append((time.perf_counter() - started) / len(keys))
        ours = statistics.median(taken["a check"])
        for name, times in taken.items():
            middle = statistics.median(times)
            yield f"store: {name}", middle * 1e6, f"us; {middle / ours:.2f} times the first"


def exact() -> Iterator[Row]:
    """What passes over a limit of 100, of 2,000 requests at once; and around the end of a window."""
    hundred = policy_of(Algorithm.TOKEN_BUCKET, 100, 86_400)
    counters = local_counters()
    with ThreadPoolExecutor(16) as pool:
        passed = sum(pool.map(lambda _: counters.decide([Charge("k", hundred)]).passes, range(2_000)))
    yield "exact: over a limit of 100 by 2,000 at once", passed - 100, "requests"
    for algorithm in (Algorithm.FIXED_WINDOW, Algorithm.SLIDING_WINDOW, Algorithm.TOKEN_BUCKET):
        clock = ManualClock(59.0)
        limit = Table(1_000, clock).limit(policy_of(algorithm, 100, 60))
        before = sum(limit.check("k") for _ in range(300))
        clock.set(61.0)
        within = before + sum(limit.check("k") for _ in range(300))
        yield f"boundary: {algorithm.name.lower()}, 100 a minute", within, "passed in 2 s around its end"


def attack() -> Iterator[Row]:
    """Ten million keys, each once, while known clients go on asking."""
    table = Table(KEYS)
    limit = table.limit(BUCKET)
    limit.check_many([f"filler-{number}" for number in range(KEYS)])
    known = [f"known-{number}" for number in range(KNOWN)]
    for _ in range(2):
        limit.check_many(known)
    dice = random.Random(2)

    def ask() -> list[int]:
        found = []
        for one in dice.choices(known, k=500):
            started = time.perf_counter_ns()
            limit.check(one)
            found.append(time.perf_counter_ns() - started)
        return found

    def quietly() -> None:
        # As much goes through the processor's caches as in the attack, of keys that are there.
        limit.check_many([f"filler-{dice.randrange(KEYS)}" for _ in range(CHUNK)])

    quiet: list[int] = []
    loud: list[int] = []
    number = 0
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for turn in range(ATTACK // CHUNK):
        limit.check_many([f"attack-{one}" for one in range(number, number + CHUNK)])
        number += CHUNK
        loud += ask()
        if turn % 10 == 0:
            quietly()
            quiet += ask()
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    yield "attack: memory that 10,000,000 keys take", (after - before) / 1024, "MiB"
    yield "attack: keys that had to go while they were limited", table.evicted_limited, "keys"
    for name, part in (("median", 0.5), ("p99", 0.99)):
        calm, busy = percentile(quiet, part), percentile(loud, part)
        yield f"attack: known clients' {name}", busy / 1e3, f"us; {busy / calm:.2f} times that of quiet"


def percentile(values: list[int], part: float) -> float:
    """A value that so many of all do not pass."""
    return sorted(values)[int(part * (len(values) - 1))]


PARTS: Final = {"process": in_process, "store": on_store, "exact": exact, "attack": attack}


def main() -> None:
    """Print a table, and write JSON where that is asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, help="write the figures into this file")
    parser.add_argument("parts", nargs="*", choices=[*PARTS, []], help="what to measure; all of it if not given")
    chosen = parser.parse_args()
    rows: list[Row] = []
    for part in chosen.parts or PARTS:
        for name, figure, unit in PARTS[part]():
            rows.append((name, figure, unit))
            print(f"{name:60} {figure:12,.2f} {unit}", flush=True)
    if chosen.json:
        chosen.json.write_text(
            json.dumps([{"what": name, "figure": figure, "unit": unit} for name, figure, unit in rows])
        )


if __name__ == "__main__":
    main()
