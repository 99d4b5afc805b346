"""`dry-run`: demand against limits, who is rejected by which rule, and what changes between two files."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path

import pytest
import whisper
from click.testing import Result

Run = Callable[..., Result]

NEITHER = "neither a name nor `name value timestamp`"
TABLE = """\
namespace  control     limit  usage  percent  over  rejected  rule
team.b     metrics         1      2   200.0%     1         -  [team.b] rules.conf:9 (not enforced)
team.a     metrics         2      3   150.0%     1         1  [team.*] rules.conf:5
/          metrics         5      6   120.0%     1         -  [/] rules.conf:1
team.a     throughput      3      3   100.0%     -         -  [team.*] rules.conf:5
/          namespaces      3      2    66.7%     -         -  [/] rules.conf:1
"""
REJECTED = """\

rejected by  control  points  rule                   such as
team.a       metrics       1  [team.*] rules.conf:5  team.a.z
"""
VERDICT = """\

6 points of 6 metrics in 4 namespaces: 1 would be rejected.
"""


def dry_run(run: Run, arguments: str, stdin: bytes | str = b"") -> Result:
    return run("dry-run", *arguments.split(), stdin=stdin)


def test_demand_stands_against_limits_with_the_most_pressing_first(run: Run, files: Path) -> None:
    result = dry_run(run, "--rules rules.conf names.txt")
    assert (result.stdout, result.stderr, result.exit_code) == (TABLE + REJECTED + VERDICT, "", 0)


@pytest.mark.parametrize(
    "content",
    [
        "team.a.x 1 1700000000\nteam.a.y\nteam.a.z 2.5 1700000060\r\n\nteam.b.p\nteam.b.q\nother.m",
        ".team.a.x\nteam..a.y\nteam.a.z.\nteam.b.p\nteam.b.q\nother.m\n",
    ],
)
def test_names_and_points_may_be_mixed_and_are_brought_to_normal_form(run: Run, files: Path, content: str) -> None:
    result = dry_run(run, "--rules rules.conf -", stdin=content)
    assert result.stdout.startswith(TABLE)
    assert result.stdout.endswith(VERDICT)


def test_gzip_and_several_sources_add_up(run: Run, files: Path) -> None:
    names = (files / "names.txt").read_bytes()
    (files / "first.gz").write_bytes(gzip.compress(names[:27]))
    (files / "second").write_bytes(names[27:])
    assert dry_run(run, "--rules rules.conf first.gz second").stdout == TABLE + REJECTED + VERDICT


def test_every_line_is_a_point_and_all_fall_into_one_interval(run: Run, files: Path) -> None:
    lines = "".join(f"team.a.x {value} {1_700_000_000 + 3600 * value}\n" for value in range(8))
    result = dry_run(run, "--rules rules.conf -", stdin=lines)
    assert "team.a     throughput      3      8   266.7%     5         5  [team.*] rules.conf:5\n" in result.stdout
    assert result.stdout.endswith("8 points of 1 metric in 2 namespaces: 5 would be rejected.\n")


@pytest.mark.parametrize(
    ("arguments", "limit"),
    [("", "3"), ("--interval 5m", "3"), ("--interval 5m --throughput-unit minute", "15")],
)
def test_throughput_is_read_per_interval_or_per_minute(run: Run, files: Path, arguments: str, limit: str) -> None:
    document = json.loads(dry_run(run, f"--rules rules.conf --json {arguments} names.txt").stdout)
    limits = {(quota["namespace"], quota["control"]): quota["limit"] for quota in document["quotas"]}
    assert limits["team.a", "throughput"] == int(limit)


def test_a_limit_that_an_interval_leaves_nothing_of_has_no_percentage(run: Run, files: Path) -> None:
    arguments = "--rules rules.conf --interval 1 --throughput-unit minute"
    result = dry_run(run, f"{arguments} names.txt")
    assert result.stdout.splitlines()[1] == (
        "team.a     throughput      0      3        -     3         3  [team.*] rules.conf:5"
    )
    assert json.loads(dry_run(run, f"{arguments} --json names.txt").stdout)["quotas"][0]["percent"] is None


def test_sizes_come_from_schemas(run: Run, files: Path) -> None:
    (files / "size.conf").write_text("[team]\nlogical-size = 100,000\nphysical-size = 100,000\ndata-points = 10,000\n")
    (files / "schemas.conf").write_text("[all]\npattern = .*\nretentions = 60s:1d\n")
    result = dry_run(run, "--rules size.conf --schemas schemas.conf names.txt")
    assert result.stdout.splitlines()[1:4] == [
        "team       physical-size  100,000  102,400   102.4%  2,400         1  [team] size.conf:1",
        "team       logical-size   100,000   86,540    86.5%      -         -  [team] size.conf:1",
        "team       data-points     10,000    7,200    72.0%      -         -  [team] size.conf:1",
    ]


def test_a_whisper_tree_counts_with_its_real_sizes(run: Run, files: Path) -> None:
    logical = physical = 0
    for name in ("x", "y"):
        path = files / "data" / "team" / f"{name}.wsp"
        path.parent.mkdir(parents=True, exist_ok=True)
        whisper.create(str(path), [(60, 1000)], sparse=name == "x")
        logical += path.stat().st_size
        physical += path.stat().st_blocks * 512
    (files / "data" / "team" / "broken.wsp").write_text("x")
    (files / "size.conf").write_text("[team]\nlogical-size = 15,000\nphysical-size = max\ndata-points = 5,000\n")
    result = dry_run(run, "--rules size.conf --json data")
    document = json.loads(result.stdout)
    usage = {quota["control"]: quota["usage"] for quota in document["quotas"]}
    assert usage == {"logical-size": logical, "physical-size": physical, "data-points": 2000}
    assert document["rejections"] == [
        {
            "namespace": "team",
            "control": "logical-size",
            "points": 1,
            "rule": {"pattern": "team", "file": "size.conf", "line": 1, "enforced": True},
            "samples": ["team.y"],
        }
    ]
    assert document["unreadable"] == [{"path": "data/team/broken.wsp", "reason": "no Whisper header"}]
    assert result.stderr == (
        "carbonquota: 1 unreadable file left out\ncarbonquota:   data/team/broken.wsp: no Whisper header\n"
    )


def test_malformed_lines_are_counted_and_shown_but_not_fatal(run: Run, files: Path) -> None:
    result = dry_run(
        run, "--rules rules.conf -", stdin=b"a b c\nx 1 2\n\nc\xe9 1 2\nq\nz 1 nan\nd\xe9\nfive is too many\n/./\n"
    )
    assert result.stderr == (
        "carbonquota: 6 malformed lines left out, such as\n"
        "carbonquota:   standard input:1: the value is not a number: 'a b c'\n"
        "carbonquota:   standard input:4: metric name b'c\\xe9' is not valid UTF-8: 'c\\\\xe9 1 2'\n"
        "carbonquota:   standard input:6: the timestamp is not a number: 'z 1 nan'\n"
        "carbonquota:   standard input:7: metric name b'd\\xe9' is not valid UTF-8: 'd\\\\xe9'\n"
        "carbonquota:   standard input:8: neither a name nor `name value timestamp`: 'five is too many'\n"
    )
    assert result.stdout.endswith("2 points of 2 metrics in 0 namespaces: all would be accepted.\n")
    assert result.exit_code == 0


def test_no_rule_for_any_of_it_is_said(run: Run, files: Path) -> None:
    (files / "elsewhere.conf").write_text("[nowhere]\nmetrics = 1\n")
    result = dry_run(run, "--rules elsewhere.conf names.txt")
    assert result.stdout == (
        "No rule holds any of these namespaces.\n\n6 points of 6 metrics in 4 namespaces: all would be accepted.\n"
    )


def test_top_shows_the_first_rows_and_says_how_many_there_are(run: Run, files: Path) -> None:
    result = dry_run(run, "--rules rules.conf --top 2 names.txt")
    assert result.stdout.splitlines()[2:4] == [
        "team.a     metrics      2      3   150.0%     1         1  [team.*] rules.conf:5",
        "... and 3 more; --top 0 shows all",
    ]
    assert len(json.loads(dry_run(run, "--rules rules.conf --top 2 --json names.txt").stdout)["quotas"]) == 2


@pytest.mark.parametrize(("names", "code"), [("names.txt", 2), ("few.txt", 0)])
def test_fail_on_drop_makes_it_a_test(run: Run, files: Path, names: str, code: int) -> None:
    (files / "few.txt").write_text("team.a.x\n")
    assert dry_run(run, f"--rules rules.conf --fail-on-drop {names}").exit_code == code


def test_json_has_it_all(run: Run, files: Path) -> None:
    document = json.loads(dry_run(run, "--rules rules.conf --json names.txt").stdout)
    assert document["points"] == {"offered": 6, "accepted": 5, "rejected": 1}
    assert (document["metrics"], document["namespaces"]) == (6, 4)
    assert (document["malformed"], document["unreadable"]) == ({"lines": 0, "samples": []}, [])
    rule = {"pattern": "team.*", "file": "rules.conf", "line": 5, "enforced": True}
    assert document["quotas"][1] == {
        "namespace": "team.a",
        "control": "metrics",
        "limit": 2,
        "usage": 3,
        "percent": 150.0,
        "over": 1,
        "rejected": 1,
        "rule": rule,
    }
    assert document["rejections"] == [
        {"namespace": "team.a", "control": "metrics", "points": 1, "rule": rule, "samples": ["team.a.z"]}
    ]


CHANGES = """\
- [team.b] (rules.conf:9): metrics 1, dropping-policy none
+ [team.c] (new.conf:9): metrics 1, dropping-policy none
~ [team.*] (new.conf:5): metrics 2 -> 3

namespace  control      limit  usage    over  rejected  rule
/          metrics          5      6       1    0 -> 1  [/] rules.conf:1 -> [/] new.conf:1
team.a     metrics     2 -> 3      3  1 -> 0    1 -> 0  [team.*] rules.conf:5 -> [team.*] new.conf:5
team.b     metrics     1 -> 3      2  1 -> 0         0  [team.b] rules.conf:9 (not enforced) -> [team.*] new.conf:5
team.b     throughput  - -> 3      2  - -> 0    - -> 0  - -> [team.*] new.conf:5

6 points of 6 metrics in 4 namespaces: 1 would be rejected.
"""


@pytest.fixture
def new_rules(files: Path) -> None:
    text = (files / "rules.conf").read_text()
    (files / "new.conf").write_text(text.replace("metrics = 2", "metrics = 3").replace("[team.b]", "[team.c]"))


@pytest.mark.usefixtures("new_rules")
def test_against_an_old_file_only_changes_are_shown(run: Run) -> None:
    result = dry_run(run, "--rules new.conf --against rules.conf names.txt")
    assert (result.stdout, result.stderr, result.exit_code) == (CHANGES, "", 0)


@pytest.mark.usefixtures("new_rules")
def test_a_limit_that_is_gone_is_a_change(run: Run) -> None:
    document = json.loads(dry_run(run, "--rules rules.conf --against new.conf --json names.txt").stdout)
    assert document["rules_changed"][0] == "- [team.c] (new.conf:9): metrics 1, dropping-policy none"
    gone = document["changes"][-1]
    assert (gone["namespace"], gone["control"], gone["new"]) == ("team.b", "throughput", None)
    assert (gone["old"]["limit"], gone["old"]["usage"]) == (3, 2)


def test_rules_that_come_to_the_same_change_nothing(run: Run, files: Path) -> None:
    text = (files / "rules.conf").read_text()
    (files / "new.conf").write_text("# the same, and one for nobody\n" + text + "[nobody]\nmetrics = 1\n")
    nothing = "Nothing changes for these metrics: each limit is the same, and so is what it rejects.\n"
    assert dry_run(run, "--rules rules.conf --against rules.conf names.txt").stdout == nothing
    assert dry_run(run, "--rules new.conf --against rules.conf names.txt").stdout == (
        f"+ [nobody] (new.conf:14): metrics 1\n\n{nothing}"
    )


@pytest.mark.parametrize(("new", "old", "code"), [("rules.conf", "max.conf", 2), ("max.conf", "rules.conf", 0)])
def test_with_against_it_is_the_new_rules_that_may_fail(run: Run, files: Path, new: str, old: str, code: int) -> None:
    (files / "max.conf").write_text("[/]\nmetrics = max\n")
    assert dry_run(run, f"--rules {new} --against {old} --fail-on-drop names.txt").exit_code == code


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("--rules nowhere.conf names.txt", "nowhere.conf: there is no such file"),
        ("--rules rules.conf --against nowhere.conf names.txt", "nowhere.conf: there is no such file"),
        ("--rules rules.conf --schemas nowhere.conf names.txt", "nowhere.conf: there is no such file"),
        ("--rules rules.conf nowhere", "nowhere: there is no such file"),
        ("--rules rules.conf names.txt void", "void: there is no Whisper file (*.wsp) in this directory tree"),
        ("--rules rules.conf names.txt empty", "empty: empty: there is no metric in it"),
        ("--rules rules.conf blank", "blank: empty: there is no metric in it"),
        ("--rules rules.conf -", "standard input: empty: there is no metric in it"),
        ("--rules rules.conf - names.txt -", "standard input can be read only once, so `-` can stand only once"),
        ("--rules rules.conf binary", "binary: a binary file, neither metric names nor plaintext lines"),
        (
            "--rules rules.conf prose",
            f"prose: neither metric names nor plaintext lines: line 2: {NEITHER}: 'Once upon a time'",
        ),
        (
            "--rules rules.conf broken",
            "broken: no Whisper file in it can be read: broken/a.wsp: empty",
        ),
        ("--rules bad.conf names.txt", 'bad.conf:1:1: this section has no name\n    []\n    ^^\n  the root is "[/]"'),
    ],
)
def test_bad_input_is_one_clear_message(run: Run, files: Path, arguments: str, message: str) -> None:
    for folder in ("void", "broken"):
        (files / folder).mkdir()
    contents = {"empty": b"", "blank": b"\n \n", "binary": b"a\0\n", "prose": b"\nOnce upon a time\nthere was\n"}
    for name, content in (contents | {"broken/a.wsp": b"", "bad.conf": b"[]\n"}).items():
        (files / name).write_bytes(content)
    result = dry_run(run, arguments)
    assert (result.stdout, result.stderr, result.exit_code) == ("", f"carbonquota: {message}\n", 1)
