"""Limits inside a real carbon-cache: exact on every way in, and seen in the Whisper files."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from tests.support.carbon_daemons import Graphite, Protocol, many_of, one_each, running

EVERY_WAY: tuple[Protocol, ...] = ("plaintext", "pickle", "udp")
RULES = """\
[new.*]
metrics = 10

[flow.*]
throughput = 25

[outer]
metrics = 8

[outer.*]
metrics = 5

[parents]
namespaces = 2

[sized.points]
data-points = 10,800

[sized.bytes]
logical-size = 86,456

[tagged]
metrics = 3

[watched]
metrics = 2
dropping-policy = none
"""


TAGGED = ["host=h0;dc=x", "dc=x;host=h0", "host=h1;dc=x", "host=h2;dc=x", "host=h3;dc=x"]
EARLIER = int(time.time()) - 60


def numbered(namespace: str, count: int) -> list[str]:
    """A line for each of so many metrics of a namespace."""
    return one_each(f"{namespace}.m{number}" for number in range(count))


def traffic(by: Protocol) -> list[str]:
    """What is sent one way; the namespaces named after it are for it alone."""
    first = {
        "plaintext": [
            *numbered("new.known", 10),
            *numbered("outer.a", 7), *numbered("outer.b", 7), *numbered("outer.c", 7),
            *one_each(["parents.a.x", "parents.b.x", "parents.c.x", "parents.leaf", "parents.a.y"]),
            *numbered("sized.points", 6), *numbered("sized.bytes", 6),
            *one_each(f"tagged.cpu;{tags}" for tags in TAGGED),
            *numbered("watched", 6),
            *numbered("free", 100),
        ],
        "pickle": [f"new.known.m3 7 {EARLIER}", f"new.known.another 7 {EARLIER}"],
        "udp": [],
    }  # fmt: skip
    shared = one_each(f"new.shared.{by}{number}" for number in range(4))
    return [*first[by], *numbered(f"new.{by}", 45), *many_of(f"flow.{by}.load", 70), *shared]


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Graphite]:
    """What one carbon-cache has on disk after all of it, one way after the other."""
    graphite = Graphite(tmp_path_factory.mktemp("limits") / "graphite", quotas=RULES)
    with running(graphite.daemon()) as (cache,):
        for by in EVERY_WAY:
            cache.deliver(traffic(by), by=by)
        yield graphite


def below(stored: Graphite, namespace: str) -> set[str]:
    """What has a file below a namespace, without the namespace."""
    return {name.removeprefix(f"{namespace}.") for name in stored.every_metric() if name.startswith(f"{namespace}.")}


@pytest.mark.parametrize("by", EVERY_WAY)
def test_a_limit_of_metrics_lets_exactly_so_many_files_come_to_be(stored: Graphite, by: Protocol) -> None:
    assert below(stored, f"new.{by}") == {f"m{number}" for number in range(10)}


@pytest.mark.parametrize("by", EVERY_WAY)
def test_a_limit_of_throughput_lets_exactly_the_first_points_through(stored: Graphite, by: Protocol) -> None:
    assert list(stored.points(f"flow.{by}.load").values()) == [float(number) for number in range(1, 26)]


def test_all_ways_in_share_one_limit(stored: Graphite) -> None:
    names = [f"{by}{number}" for by in EVERY_WAY for number in range(4)]
    assert below(stored, "new.shared") == set(names[:10])


def test_a_metric_that_is_known_goes_on_where_a_new_one_is_dropped(stored: Graphite) -> None:
    assert stored.points("new.known.m3")[EARLIER] == 7
    assert below(stored, "new.known") == {f"m{number}" for number in range(10)}


def test_every_namespace_on_the_way_has_its_say(stored: Graphite) -> None:
    assert below(stored, "outer") == {"a.m0", "a.m1", "a.m2", "a.m3", "a.m4", "b.m0", "b.m1", "b.m2"}


def test_a_limit_of_namespaces_holds_new_ones_and_no_leaf(stored: Graphite) -> None:
    assert below(stored, "parents") == {"a.x", "b.x", "a.y", "leaf"}


@pytest.mark.parametrize(("namespace", "files"), [("sized.points", 3), ("sized.bytes", 2)])
def test_sizes_are_those_of_carbons_own_storage_schemas(stored: Graphite, namespace: str, files: int) -> None:
    assert len(below(stored, namespace)) == files
    path = stored.data.joinpath(*namespace.split("."), "m0.wsp")
    assert path.stat().st_size == 16 + 12 + 12 * 3600


def test_a_tagged_series_counts_in_its_namespace_once_for_every_order_of_its_tags(stored: Graphite) -> None:
    found = {name.split(".", 3)[3] for name in stored.every_metric() if name.startswith("_tagged.")}
    assert found == {f"tagged_DOT_cpu;dc=x;host=h{number}" for number in range(3)}


def test_a_rule_that_only_watches_drops_nothing(stored: Graphite) -> None:
    assert len(below(stored, "watched")) == 6


def test_what_no_rule_speaks_of_is_let_in(stored: Graphite) -> None:
    assert len(below(stored, "free")) == 100
