"""`/api`: what namespaces hold, why a metric is rejected, which rules there are, and who is near a limit."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import pytest

from carbonquota import QuotaEngine, RuleSet, Size
from carbonquota.errors import QuotaError
from carbonquota.service.health import HealthSample
from carbonquota.testing import ManualClock
from carbonquota.trie.columns import Column
from carbonquota.web.kept import Recent
from tests.support.http import Client, client_of, engine_with_names, source_of
from tests.support.small import engine_under

ROOT_RULE = {"pattern": "/", "file": "<text>", "line": 1, "enforced": True}
TEAMS_RULE = {"pattern": "team.*", "file": "<text>", "line": 5, "enforced": True}
B_RULE = {"pattern": "team.b", "file": "<text>", "line": 9, "enforced": False}


def usage(namespaces: int, metrics: int, throughput: int = 0) -> dict[str, int]:
    return {
        "namespaces": namespaces,
        "metrics": metrics,
        "logical_size": 10 * metrics,
        "physical_size": 4096 * metrics,
        "data_points": 3 * metrics,
        "throughput": throughput,
    }


@pytest.fixture
def engine() -> QuotaEngine:
    return engine_with_names()


@pytest.fixture
def client(engine: QuotaEngine) -> Client:
    return client_of(source_of(engine))


def test_a_namespace_shows_usage_rule_limits_and_children(client: Client, engine: QuotaEngine) -> None:
    engine.admit(b"team.b.p 1 1\nteam.b.r 1 1\n")
    assert client.json("/api/namespaces/team.b") == {
        "namespace": "team.b",
        "usage": usage(0, 3),
        "rule": B_RULE,
        "lost": [TEAMS_RULE],
        "controls": [{"control": "metrics", "limit": 2, "usage": 3, "headroom": -1, "percent": 150.0}],
        "total": 0,
        "offset": 0,
        "limit": 100,
        "children": [],
    }


@pytest.mark.parametrize("path", ["/api/namespaces", "/api/namespaces/", "/api/namespaces/%2F", "/api/namespaces/."])
def test_the_root_has_many_spellings(client: Client, path: str) -> None:
    page = client.json(path)
    assert (page["namespace"], page["rule"], page["usage"]) == ("/", ROOT_RULE, usage(3, 7))
    assert page["children"][0] == {"namespace": "team", "usage": usage(2, 5), "controls": []}


def test_children_are_shown_with_their_limits(client: Client) -> None:
    _, other = client.json("/api/namespaces/team", sort="name")["children"]
    assert other["controls"] == [{"control": "metrics", "limit": 2, "usage": 2, "headroom": 0, "percent": 100.0}]


class TwoNodes:
    """A cluster of which another node uses as much of everything as this one."""

    shares_capacities = True
    is_away = False

    def over_all_nodes(self, _: Sequence[str], own: Sequence[Column]) -> list[Column]:
        if self.is_away:
            raise QuotaError("the store cannot be reached")
        return [2 * column for column in own]

    def start(self) -> None: ...

    def stop(self) -> None: ...

    def health(self) -> Iterable[HealthSample]:
        return ()

    @property
    def troubles(self) -> tuple[str, ...]:
        return ()


def test_usage_is_that_of_all_nodes_where_that_is_asked_for(engine: QuotaEngine) -> None:
    cluster = TwoNodes()
    client = client_of(source_of(engine, cluster=cluster))
    own, both = (client.json("/api/quotas", of=whose)["quotas"] for whose in ("node", "cluster"))
    usages = [{row["namespace"]: row["controls"][0]["usage"] for row in rows} for rows in (own, both)]
    assert usages[0]
    assert usages[1] == {namespace: 2 * usage for namespace, usage in usages[0].items()}
    lines = client.json("/api/usage", namespace="team", top=1, of="cluster")["usage"]
    # What sums up others stays this node's.
    assert [(line["metrics"], line["hidden"]) for line in lines] == [(10, 0), (6, 0), (2, 1)]
    # An answer is given again for as long as it is recent, so another client asks.
    cluster.is_away = True
    client = client_of(source_of(engine, cluster=cluster))
    assert client.get("/api/quotas?of=cluster").status_code == 503
    cluster.shares_capacities = False
    assert "throughput alone" in client.get("/api/usage?of=cluster").json()["detail"]


def test_a_metric_is_explained_by_the_usage_of_all_nodes_where_that_is_asked_for() -> None:
    engine = QuotaEngine(RuleSet.from_text("[team.*]\nmetrics = 5\n"))
    engine.admit(b"".join(b"team.a.m%d 1 1\n" % number for number in range(3)))
    client = client_of(source_of(engine, cluster=TwoNodes()))
    new, known = client.json("/api/explain?metric=team.a.new&metric=team.a.m1&of=cluster")["metrics"]
    control = {"control": "metrics", "limit": 5, "usage": 6, "headroom": -1}
    assert new["namespaces"][-1]["controls"] == [control | {"needed": 1, "over": True}]
    assert (new["accepted"], new["rejected_by"]["namespace"], new["rejected_by"]["control"]) == (
        False,
        "team.a",
        "metrics",
    )
    assert known["namespaces"][-1]["controls"] == [control | {"needed": 0, "over": False}]
    assert (known["accepted"], known["rejected_by"]) == (True, None)
    assert client.json("/api/explain?metric=team.a.new")["metrics"][0]["accepted"]


def test_a_daemon_alone_has_no_cluster_to_tell_of(client: Client) -> None:
    answer = client.get("/api/quotas?of=cluster")
    assert (answer.status_code, answer.json()["detail"]) == (
        422,
        "this daemon is no node of a cluster: its [cluster] mode is off",
    )


def test_a_namespace_without_a_rule_has_no_limits(client: Client) -> None:
    page = client.json("/api/namespaces/.team.")
    assert (page["namespace"], page["rule"], page["lost"], page["controls"]) == ("team", None, [], [])


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ({}, ["team", "cpu", "other"]),
        ({"order": "asc"}, ["cpu", "other", "team"]),
        ({"sort": "name"}, ["cpu", "other", "team"]),
        ({"sort": "name", "order": "asc"}, ["cpu", "other", "team"]),
        ({"sort": "name", "order": "desc"}, ["team", "other", "cpu"]),
        ({"sort": "namespaces"}, ["team", "cpu", "other"]),
        ({"sort": "throughput"}, ["cpu", "other", "team"]),
        ({"sort": "logical_size", "order": "asc", "limit": 2}, ["cpu", "other"]),
        ({"sort": "physical_size", "limit": 1}, ["team"]),
        ({"sort": "data_points", "limit": 1, "offset": 1}, ["cpu"]),
        ({"sort": "name", "limit": 1, "offset": 1}, ["other"]),
        ({"offset": 3}, []),
        ({"offset": 2**63 - 1}, []),
    ],
)
def test_children_are_sorted_and_paged(client: Client, query: dict[str, Any], names: list[str]) -> None:
    page = client.json("/api/namespaces/", **query)
    assert ([child["namespace"] for child in page["children"]], page["total"]) == (names, 3)


def test_pages_make_up_the_whole(engine: QuotaEngine, client: Client) -> None:
    for number in range(60):
        engine.load(f"many.n{number}.x")
    found = [
        child["namespace"]
        for offset in range(0, 60, 7)
        for child in client.json("/api/namespaces/many", limit=7, offset=offset)["children"]
    ]
    assert found == engine.children("many")


@pytest.mark.parametrize("name", ["team.x", "other.m", "cpu.idle;host=a", "Team", "a-b", "%", "é", "a//b"])
def test_an_unknown_namespace_is_404_by_its_name(client: Client, name: str) -> None:
    answer = client.get("/api/namespaces/" + name.replace("%", "%25").replace("/", "%2F"))
    shown = name.replace("//", ".")
    assert (answer.status_code, answer.json()["detail"]) == (404, f"no metric lies in a namespace called {shown!r}")


def test_a_name_may_hold_any_letters_and_a_slash_is_a_dot(client: Client, engine: QuotaEngine) -> None:
    engine.load("vär/log.?x.m")
    for spelling in ("v%C3%A4r%2Flog.%3Fx", "v%C3%A4r.log.%3Fx", "v%C3%A4r/log/%3Fx"):
        assert client.json(f"/api/namespaces/{spelling}")["namespace"] == "vär.log.?x"


def test_usage_is_a_tree_of_lines(client: Client) -> None:
    amounts = {"namespaces": 0, "logical_size": 0, "physical_size": 0, "data_points": 0, "metrics": 0}
    lines = client.json("/api/usage", depth=1, top=1)["usage"]
    assert [(line["namespace"], line["depth"], line["hidden"], line["metrics"]) for line in lines] == [
        ("/", 0, 0, 7),
        ("team", 1, 0, 5),
        ("/", 1, 2, 2),
    ]
    assert lines[0].keys() == {"namespace", "depth", "hidden"} | amounts.keys()
    below = client.json("/api/usage", namespace="team", sort="name")["usage"]
    assert [(line["namespace"], line["depth"]) for line in below] == [("team", 0), ("team.a", 1), ("team.b", 1)]


def test_a_tree_has_so_many_lines_and_no_more(client: Client, engine: QuotaEngine) -> None:
    engine.apply(RuleSet.from_text(""))
    engine.admit(b"".join(b"wide%d.m 1 1\n" % number for number in range(20_000)))
    answer = client.get("/api/usage")
    assert (answer.status_code, answer.json()["detail"]) == (
        422,
        "the tree has over 20,000 lines: ask for a lower depth, or give a top",
    )
    assert len(client.json("/api/usage", top=1000, depth=1)["usage"]) == 1002


def test_explain_is_what_the_command_prints(client: Client) -> None:
    (metric,) = client.json("/api/explain", metric="team..b.new")["metrics"]
    assert metric["metric"] == "team.b.new"
    assert (metric["known"], metric["accepted"], metric["rejected_by"]) == (False, True, None)
    assert metric["size"] == {"logical": 10, "physical": 4096, "data_points": 3}
    assert metric["namespaces"][1:] == [
        {"namespace": "team", "exists": True, "rule": None, "lost": [], "controls": []},
        {
            "namespace": "team.b",
            "exists": True,
            "rule": B_RULE,
            "lost": [TEAMS_RULE],
            "controls": [{"control": "metrics", "limit": 2, "usage": 2, "headroom": 0, "needed": 1, "over": True}],
        },
    ]


def test_explain_takes_points_and_several_metrics(client: Client) -> None:
    metrics = client.json("/api/explain", metric=["team.a.x", "team.a.y"], points=4)["metrics"]
    rejection = {"namespace": "team.a", "control": "throughput", "rule": TEAMS_RULE}
    assert [(one["metric"], one["rejected_by"]) for one in metrics] == [
        ("team.a.x", rejection),
        ("team.a.y", rejection),
    ]


@pytest.mark.parametrize(
    ("metric", "detail"),
    [
        ("/.~", "metric name '/.~' is empty"),
        ("..", "metric name '..' is empty"),
        ("", "'' is no metric name, as it is empty or has blanks in it"),
        ("a b", "'a b' is no metric name, as it is empty or has blanks in it"),
        ("a\x07", r"metric name 'a\x07' holds the control character '\x07'"),
        ("a" * 5000, f"metric name {'a' * 40!r}... has over 4,096 characters"),
    ],
)
def test_a_bad_metric_is_400(client: Client, metric: str, detail: str) -> None:
    answer = client.get("/api/explain", metric=metric)
    assert (answer.status_code, answer.json()["detail"]) == (400, detail)


@pytest.mark.parametrize(
    ("path", "query", "detail"),
    [
        ("/api/explain", {}, "metric: Field required"),
        ("/api/explain", {"metric": ["a"] * 101}, "metric: List should have at most 100 items"),
        ("/api/explain", {"metric": "a", "points": 0}, "points: Input should be greater than or equal to 1"),
        ("/api/explain", {"metric": "a", "points": 2**63}, "points: Input should be less than or equal to 9223372036"),
        ("/api/namespaces/", {"limit": 0, "offset": -1}, "limit: Input should be greater than or equal to 1; offset: "),
        ("/api/namespaces/", {"limit": 1001}, "limit: Input should be less than or equal to 1000"),
        ("/api/namespaces/", {"sort": "size"}, "sort: Input should be 'name', 'namespaces', "),
        ("/api/namespaces/" + "a" * 4097, {}, "namespace: String should have at most 4096 characters"),
        ("/api/usage", {"namespace": "a" * 4097}, "namespace: String should have at most 4096 characters"),
        ("/api/usage", {"depth": 256}, "depth: Input should be less than or equal to 255"),
        ("/api/quotas", {"over": "perhaps"}, "over: Input should be a valid boolean"),
    ],
)
def test_a_parameter_out_of_range_is_422_by_its_name(
    client: Client, path: str, query: dict[str, Any], detail: str
) -> None:
    answer = client.get(path, **query)
    assert answer.status_code == 422
    assert answer.json()["detail"].startswith(detail)


def test_sizes_past_the_index_are_422() -> None:
    engine = engine_under(size_of=lambda _: Size(logical=2**62))
    engine.load("full")
    answer = client_of(source_of(engine)).get("/api/explain", metric="a")
    assert answer.status_code == 422
    assert "2^63" in answer.json()["detail"]


def test_rules_come_with_places_limits_and_how_much_they_hold(client: Client) -> None:
    rules = client.json("/api/rules")["rules"]
    assert [(rule["pattern"], rule["file"], rule["line"], rule["namespaces"]) for rule in rules] == [
        ("/", "<text>", 1, 1),
        ("team.*", "<text>", 5, 1),
        ("team.b", "<text>", 9, 1),
    ]
    limits = {"namespaces": None, "metrics": 2, "logical_size": None, "physical_size": None}
    assert rules[2]["limits"] == limits | {"data_points": None, "throughput": None}
    assert (rules[2]["dropping_policy"], rules[2]["enforced"], rules[2]["stat_metric_prefix"]) == ("none", False, "")


def rows(client: Client, **query: object) -> list[str]:
    return [row["namespace"] for row in client.json("/api/quotas", **query)["quotas"]]


def test_quotas_show_the_most_pressing_first(client: Client, engine: QuotaEngine) -> None:
    engine.admit(b"team.a.x 1 1\n" * 5)
    page = client.json("/api/quotas")
    assert (page["total"], page["offset"], page["limit"]) == (3, 0, 100)
    assert [(row["namespace"], row["percent"]) for row in page["quotas"]] == [
        ("/", 100.0),
        ("team.a", 100.0),
        ("team.b", 100.0),
    ]
    assert page["quotas"][1] == {
        "namespace": "team.a",
        "rule": TEAMS_RULE,
        "percent": 100.0,
        "throttle": 2,
        "dropped": {"throughput": 2},
        "controls": [
            {"control": "metrics", "limit": 4, "usage": 3, "headroom": 1, "percent": 75.0},
            {"control": "throughput", "limit": 3, "usage": 3, "headroom": 0, "percent": 100.0},
        ],
    }


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ({"sort": "namespace"}, ["/", "team.a", "team.b"]),
        ({"sort": "namespace", "order": "desc"}, ["team.b", "team.a", "/"]),
        ({"sort": "percent"}, ["team.b", "/", "team.a"]),
        ({"sort": "percent", "order": "asc"}, ["/", "team.a", "team.b"]),
        ({"sort": "throttle"}, ["team.a", "team.b", "/"]),
        ({"sort": "dropped"}, ["team.a", "/", "team.b"]),
        ({"over": True, "sort": "namespace"}, ["team.a", "team.b"]),
        ({"limit": 1, "offset": 1}, ["/"]),
    ],
)
def test_quotas_are_sorted_filtered_and_paged(query: dict[str, Any], names: list[str]) -> None:
    engine = engine_with_names("[/]\nnamespaces = 3\n[team.*]\nthroughput = 3\n[team.b]\nmetrics = 1\n"
                               "dropping-policy = none\n[team.a]\nmetrics = 4\n")  # fmt: skip
    engine.admit(b"team.a.n 1 1\nteam.a.n2 1 1\nteam.a.n3 1 1\nteam.b.new 1 1\n")
    # team.a has 4 of 4 metrics and dropped 2 points, team.b 3 of 1, not enforced, and the root 3 of 3 namespaces.
    assert rows(client_of(source_of(engine)), **query) == names


def test_a_limit_of_nothing_has_no_percentage_and_presses_most() -> None:
    engine = engine_under("[/]\nthroughput = 1\n[a]\nmetrics = 1\n", interval=1, throughput_unit="minute")
    engine.load("a.x")
    first, second = client_of(source_of(engine)).json("/api/quotas")["quotas"]
    assert (first["namespace"], first["percent"], first["controls"][0]["limit"]) == ("/", None, 0)
    assert (second["namespace"], second["percent"]) == ("a", 100.0)


def test_what_is_costly_is_made_at_most_a_tenth_of_the_time() -> None:
    clock, made = ManualClock(100.0), 0

    def make() -> int:
        nonlocal made
        made += 1
        clock.advance(2.0)
        return made

    recent: Recent[int] = Recent(clock)
    for seconds, expected in ((0, 1), (19.0, 1), (1.0, 2), (0, 2)):
        clock.advance(seconds)
        assert recent.get("a", make) == expected
    assert recent.get("b", make) == 3, "another question has another answer"


def test_the_values_of_the_last_keys_are_kept() -> None:
    clock = ManualClock(100.0)
    made: list[str] = []

    def make(key: str) -> None:
        made.append(key)
        clock.advance(1.0)

    def get(key: str) -> None:
        recent.get(key, lambda: make(key))

    recent: Recent[object] = Recent(clock, most=2)
    for key in "abab":
        get(key)
    assert made == ["a", "b"]
    for key in "cba":
        get(key)
    assert made == ["a", "b", "c", "a"], "the one asked for longest ago goes"
