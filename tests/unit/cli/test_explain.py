"""`explain`: who holds a metric, who lost, what is left, and the verdict as a test."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

Run = Callable[..., Result]

ROOT_LIMIT = "rejected by the metrics limit of /, rule [/] (rules.conf:1)"
ROOM = "--rules rules.conf --schemas schemas.conf"


@pytest.fixture(autouse=True)
def more_files(files: Path) -> None:
    (files / "schemas.conf").write_text("[all]\npattern = .*\nretentions = 60s:1d\n")
    (files / "few.txt").write_text("team.a.x\nteam.b.p\n")


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (
            f"{ROOM} --index few.txt team.b.new",
            """\
team.b.new (new): accepted
  would hold 1,440 data points, 17,308 bytes logical, 20,480 bytes physical
/: [/] (rules.conf:1)
  control     limit  usage  headroom  needed  offer
  namespaces      3      1         2       0  fits
  metrics         5      2         3       1  fits
team: no rule
team.b: [team.b] (rules.conf:9), not enforced
  overrides [team.*] (rules.conf:5)
  control  limit  usage  headroom  needed  offer
  metrics      1      1         0       1  over
""",
        ),
        (
            f"{ROOM} --index names.txt team..a.x.",
            """\
team.a.x (in the index): accepted
/: [/] (rules.conf:1)
  control     limit  usage  headroom  needed  offer
  namespaces      3      2         1       0  fits
  metrics         5      6        -1       0  fits
team: no rule
team.a: [team.*] (rules.conf:5)
  control     limit  usage  headroom  needed  offer
  metrics         2      3        -1       0  fits
  throughput      3      0         3       1  fits
""",
        ),
        (
            f"{ROOM} --index names.txt team.a.new alone",
            """\
team.a.new (new): rejected by the metrics limit of /, rule [/] (rules.conf:1)
  would hold 1,440 data points, 17,308 bytes logical, 20,480 bytes physical
/: [/] (rules.conf:1)
  control     limit  usage  headroom  needed  offer
  namespaces      3      2         1       0  fits
  metrics         5      6        -1       1  over
team: no rule
team.a: [team.*] (rules.conf:5)
  control     limit  usage  headroom  needed  offer
  metrics         2      3        -1       1  over
  throughput      3      0         3       1  fits

alone (new): rejected by the metrics limit of /, rule [/] (rules.conf:1)
  would hold 1,440 data points, 17,308 bytes logical, 20,480 bytes physical
/: [/] (rules.conf:1)
  control     limit  usage  headroom  needed  offer
  namespaces      3      2         1       0  fits
  metrics         5      6        -1       1  over
""",
        ),
    ],
)
def test_a_metric_is_explained_from_the_root_down(run: Run, arguments: str, text: str) -> None:
    result = run("explain", *arguments.split())
    assert (result.stdout, result.stderr, result.exit_code) == (text, "", 0)


def test_a_limit_of_max_leaves_max(run: Run, files: Path) -> None:
    (files / "max.conf").write_text("[/]\nmetrics = max\n")
    result = run("explain", "--rules", "max.conf", "--index", "names.txt", "a.b")
    assert "  metrics    max      6       max       1  fits\n" in result.stdout


def test_without_an_index_it_is_said_that_everything_is_new(run: Run) -> None:
    result = run("explain", "--rules", "rules.conf", "team.a.x")
    assert result.stdout.startswith("team.a.x (new): accepted\n")
    assert result.stderr == "carbonquota: no --index given: usage is 0 and every metric is new\n"


@pytest.mark.parametrize(
    ("expected", "metrics", "code", "note"),
    [
        ("accepted", "team.b.p", 0, ""),
        ("rejected", "team.a.new", 0, ""),
        (
            "accepted",
            "team.b.p team.a.new",
            1,
            f"carbonquota: team.a.new: expected to be accepted, but it is {ROOT_LIMIT}\n",
        ),
        ("rejected", "team.b.p", 1, "carbonquota: team.b.p: expected to be rejected, but it is accepted\n"),
    ],
)
def test_an_expectation_makes_it_a_test(run: Run, expected: str, metrics: str, code: int, note: str) -> None:
    result = run("explain", *f"{ROOM} --index names.txt --expect {expected} {metrics}".split())
    assert (result.stderr, result.exit_code) == (note, code)


def test_a_bad_name_is_one_line(run: Run) -> None:
    result = run("explain", *f"{ROOM} --index few.txt /.~".split())
    message = "metric name '/.~' is empty"
    assert (result.stdout, result.stderr, result.exit_code) == ("", f"carbonquota: {message}\n", 1)


def test_json_has_it_all(run: Run) -> None:
    result = run("explain", *f"{ROOM} --index few.txt --json team.b.new".split())
    document = json.loads(result.stdout)
    assert document["malformed"] == {"lines": 0, "samples": []}
    (metric,) = document["metrics"]
    assert metric["metric"] == "team.b.new"
    assert (metric["known"], metric["accepted"], metric["rejected_by"]) == (False, True, None)
    assert metric["size"] == {"logical": 17_308, "physical": 20_480, "data_points": 1440}
    assert [namespace["namespace"] for namespace in metric["namespaces"]] == ["/", "team", "team.b"]
    assert metric["namespaces"][1] == {
        "namespace": "team", "exists": True, "rule": None, "lost": [], "controls": [],
    }  # fmt: skip
    assert metric["namespaces"][2] == {
        "namespace": "team.b",
        "exists": True,
        "rule": {"pattern": "team.b", "file": "rules.conf", "line": 9, "enforced": False},
        "lost": [{"pattern": "team.*", "file": "rules.conf", "line": 5, "enforced": True}],
        "controls": [{"control": "metrics", "limit": 1, "usage": 1, "headroom": 0, "needed": 1, "over": True}],
    }


def test_json_names_who_rejects(run: Run) -> None:
    result = run("explain", *f"{ROOM} --index names.txt --json team.a.new".split())
    assert json.loads(result.stdout)["metrics"][0]["rejected_by"] == {
        "namespace": "/",
        "control": "metrics",
        "rule": {"pattern": "/", "file": "rules.conf", "line": 1, "enforced": True},
    }


def test_a_line_is_no_metric_name(run: Callable[..., Result]) -> None:
    result = run("explain", "--rules", "rules.conf", "team.a.x 1 1700000000")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == (
        "carbonquota: 'team.a.x 1 1700000000' is no metric name, as it has blanks in it: give the name alone\n"
    )


def test_files_tell_nothing_of_other_nodes(run: Run) -> None:
    result = run("explain", "--cluster", "--rules", "rules.conf", "team.a.x")
    assert result.exit_code == 2
    assert "--cluster needs --url: files tell nothing of other nodes" in result.stderr
