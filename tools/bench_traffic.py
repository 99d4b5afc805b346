"""What the benchmarks of the engine offer: the same series, lines and rules in every process.

The series lie in a tenth as many namespaces (team, application and host), under twenty rules of which four hold every
series: `/`, `*`, `*.*` and `*.*.*`. So each host has a counter of its own. Names come in a shuffled order, as caches
like least.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence

BATCH = 1000
"""Lines offered at once."""
PER_HOST = 10
"""Series in a namespace."""
_STRIDE = 7_368_787
"""A prime: its multiples, modulo the number of series, visit each in no order that a cache could make use of."""


def name(number: int) -> bytes:
    """The name of a series: 20 teams of 50 applications each, and as many hosts as it takes."""
    host, metric = divmod(number, PER_HOST)
    return b"%s.metric%d" % (host_name(host), metric)


def host_name(number: int) -> bytes:
    """The namespace of a host."""
    host, application = divmod(number, 50)
    host, team = divmod(host, 20)
    return b"team%02d.app%02d.host%04d" % (team, application, host)


def line(number: int) -> bytes:
    """A data point of a series, as it comes over the wire."""
    return b"%s %d.%d 17000%05d\n" % (name(number), number % 97, number % 10, number % 86400)


def joined(lines: Sequence[bytes], size: int = BATCH) -> list[bytes]:
    """The lines in batches."""
    return [b"".join(lines[start : start + size]) for start in range(0, len(lines), size)]


def batches(numbers: Sequence[int], size: int = BATCH) -> list[bytes]:
    """Points of these series in batches."""
    return joined(list(map(line, numbers)), size)


def every_series(series: int) -> Iterator[list[bytes]]:
    """A point of each series, some batches at a time, so that they take no memory to speak of."""
    for start in range(0, series, 10 * BATCH):
        yield batches([place * _STRIDE % series for place in range(start, min(start + 10 * BATCH, series))])


def some_series(series: int) -> list[int]:
    """A fifth of all series, at random."""
    return random.Random(7).sample(range(series), series // 5)


def other_series(series: int) -> list[int]:
    """Another fifth."""
    return random.Random(8).sample(range(series), series // 5)


def new_lines(series: int) -> list[bytes]:
    """A point of a new series in each known namespace, shuffled."""
    hosts = list(range(-(-series // PER_HOST)))
    random.Random(9).shuffle(hosts)
    return [b"%s.extra%d 1 1700000000\n" % (host_name(host), host % 10) for host in hosts]


def rules(root: str = "max", host: str = "1,000,000,000", crowded: str = "1,000,000,000") -> str:
    """Twenty rules with throughput limits; a tenth of the hosts get the limit `crowded`."""
    sections = [("/", root), ("*", "max"), ("*.*", "900,000,000,000"), ("*.*.*", host)]
    sections += [(f"other{number}.*.*", "1,000") for number in range(15)] + [("*.*.host???7", crowded)]
    return "".join(f"[{pattern}]\nthroughput = {limit}\n" for pattern, limit in sections)


def many_rules() -> str:
    """1,000 rules, one for each application."""
    return "".join(
        f"[team{team:02}.app{application:02}.host*]\nthroughput = 1,000,000\n"
        for team in range(20)
        for application in range(50)
    )


DRY_RUN_RULES = """[/]
metrics = 100,000,000
throughput = 100,000,000
[*]
metrics = 100,000,000
logical-size = max
[*.*]
metrics = {per_application}
throughput = 100,000,000
[*.*.*]
metrics = 1,000
throughput = 100,000,000
"""
"""Rules of the dry run: nine limits of four rules, one of which says how many series an application may have."""
DRY_RUN_SCHEMAS = """[carbon]
pattern = ^carbon\\.
retentions = 60s:90d
[machines]
pattern = ^servers\\.
retentions = 10s:6h, 1m:7d, 10m:1y
[default]
pattern = .*
retentions = 60s:30d, 1h:5y
"""
