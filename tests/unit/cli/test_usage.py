"""`usage`: the tree of what namespaces hold."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import whisper
from click.testing import Result

Run = Callable[..., Result]


@pytest.fixture(autouse=True)
def more_files(files: Path) -> None:
    (files / "schemas.conf").write_text(
        "[big]\npattern = ^other\nretentions = 1s:1d\n[all]\npattern = .*\nretentions = 60s:1d\n"
    )


TREE = """\
namespace  metrics  namespaces  data-points  logical-size  physical-size
/                6           2       93,600     1,123,368      1,142,784
  team           5           2        7,200        86,540        102,400
    a            3           0        4,320        51,924         61,440
    b            2           0        2,880        34,616         40,960
  other          1           0       86,400     1,036,828      1,040,384
"""


def test_namespaces_stand_below_their_parents(run: Run) -> None:
    result = run("usage", "--schemas", "schemas.conf", "names.txt")
    assert (result.stdout, result.stderr, result.exit_code) == (TREE, "", 0)


def labels(result: Result) -> list[str]:
    return [line[: line.index("  ", len(line) - len(line.lstrip()))] for line in result.stdout.splitlines()[1:]]


@pytest.mark.parametrize(
    ("arguments", "names"),
    [
        ("--depth 0", ["/"]),
        ("--depth 1", ["/", "  team", "  other"]),
        ("--depth 1 --sort name", ["/", "  other", "  team"]),
        ("--depth 1 --sort logical-size", ["/", "  other", "  team"]),
        ("--depth 1 --sort data-points", ["/", "  other", "  team"]),
        ("--depth 1 --sort physical-size", ["/", "  other", "  team"]),
        ("--depth 1 --sort namespaces", ["/", "  team", "  other"]),
        ("--depth 1 --top 1", ["/", "  team", "  ... 1 more"]),
        ("--depth 9 --top 1", ["/", "  team", "    a", "    ... 1 more", "  ... 1 more"]),
    ],
)
def test_depth_order_and_number_can_be_chosen(run: Run, arguments: str, names: list[str]) -> None:
    assert labels(run("usage", "--schemas", "schemas.conf", *arguments.split(), "names.txt")) == names


def test_what_is_not_shown_is_summed_up(run: Run) -> None:
    result = run("usage", "--schemas", "schemas.conf", "--sort", "name", "--top", "1", "--depth", "1", "names.txt")
    assert (
        result.stdout.splitlines()[-1] == "  ... 1 more        5           2        7,200        86,540        102,400"
    )


def test_whisper_trees_and_names_add_up(run: Run, files: Path) -> None:
    path = files / "data" / "team" / "a" / "stored.wsp"
    path.parent.mkdir(parents=True)
    whisper.create(str(path), [(60, 10)])
    document = json.loads(run("usage", "--json", "--schemas", "schemas.conf", "names.txt", "data").stdout)
    root, team, a, *_ = document["usage"]
    assert [root["metrics"], team["metrics"], a["metrics"]] == [7, 6, 4]
    assert a == {
        "namespace": "team.a",
        "depth": 2,
        "hidden": 0,
        "metrics": 4,
        "namespaces": 0,
        "data_points": 4330,
        "logical_size": 51_924 + path.stat().st_size,
        "physical_size": 61_440 + path.stat().st_blocks * 512,
    }
    assert document["malformed"] == {"lines": 0, "samples": []}
    assert document["unreadable"] == []


def test_json_tells_how_many_are_hidden(run: Run) -> None:
    document = json.loads(run("usage", "--json", "--depth", "1", "--top", "1", "names.txt").stdout)
    assert [(line["namespace"], line["depth"], line["hidden"]) for line in document["usage"]] == [
        ("/", 0, 0),
        ("team", 1, 0),
        ("/", 1, 1),
    ]


def test_sizes_past_an_index_are_an_error_not_a_traceback(run: Run, files: Path) -> None:
    (files / "huge.conf").write_text("[all]\npattern = .*\nretentions = 1s:9000000000y\n")
    result = run("usage", "--schemas", "huge.conf", "names.txt")
    assert result.exit_code == 1
    assert result.stderr.startswith("carbonquota: ")


def test_files_tell_nothing_of_other_nodes(run: Run) -> None:
    result = run("usage", "--cluster", "names.txt")
    assert result.exit_code == 2
    assert "--cluster needs --url: files tell nothing of other nodes" in result.stderr
