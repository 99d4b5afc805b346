"""Lint: each finding with its code and full text, and the cases next to it that are none."""

from __future__ import annotations

import pytest

from carbonquota.rules import Finding, RuleSet, Severity, lint


def findings(text: str, namespaces: list[str] | None = None, interval: float = 60.0) -> tuple[Finding, ...]:
    return lint(RuleSet.from_text(text, "q.conf"), namespaces, interval)


def codes(text: str, namespaces: list[str] | None = None) -> list[tuple[str, int]]:
    return [(finding.code, finding.problem.line) for finding in findings(text, namespaces)]


def shown(text: str, namespaces: list[str] | None = None, interval: float = 60.0) -> str:
    return "\n".join(map(str, findings(text, namespaces, interval)))


def test_a_sound_file_has_no_findings() -> None:
    assert findings("[*]\nmetrics = 10\n[a.*]\nmetrics = 5\n[a.b]\nmetrics = 7\n[/]\nmetrics = 100\n") == ()


def test_findings_come_in_file_order_with_severities() -> None:
    found = findings("[a]\nthroughput = 6\n[a]\n[*]\nstat-metric-prefix = x\n")
    assert [(finding.code, finding.severity) for finding in found] == [
        ("Q002", Severity.WARNING),
        ("Q007", Severity.INFO),
        ("Q001", Severity.WARNING),
        ("Q005", Severity.WARNING),
    ]


def test_a_rule_that_can_never_win() -> None:
    assert shown("[sys.app]\n[other]\n[sys.*]\n") == (
        "q.conf:1:2: Q001 this rule never wins: [sys.*] at line 3 matches all that it does\n"
        "    [sys.app]\n"
        "     ^^^^^^^\n"
        "  put this section below that one, or take it out"
    )


@pytest.mark.parametrize(
    ("narrow", "wide"),
    [
        ("a", "*"),
        ("*", "**"),
        ("*", "?*"),
        ("a?", "a*"),
        ("[ab]", "[a-c]"),
        ("[^a-c]", "[^b]"),
        ("[ab]x", "{a,b}x"),
        ("{a,b}x", "[ab]x"),
        ("{a,b}", "{b,c,a}"),
        ("a*b*c", "a*c"),
        ("{a,b{c,d}}*", "[ab]*"),
        ("web[0-4]", "web?"),
        ("a.b", "*.*"),
        ("a*.b?.c", "{a*,x}.*.[b-d]"),
    ],
)
def test_inclusion_is_found_and_only_one_way(narrow: str, wide: str) -> None:
    assert codes(f"[{narrow}]\n[{wide}]\n")[:1] == [("Q001", 1)]
    same = narrow in ("*", "[ab]x", "{a,b}x")
    assert (codes(f"[{wide}]\n[{narrow}]\n") == []) != same


@pytest.mark.parametrize(
    "text",
    [
        "[*]\n[a]\n",
        "[a]\n[*.*]\n",
        "[a.*]\n[*.b]\n",
        "[*]\n[a*]\n[[^a]*]\n",
        "[/]\n[*]\n",
        "[a*b]\n[ab*]\n",
    ],
    ids=["a narrower one", "another depth", "an overlap", "two only together", "the root", "neither way"],
)
def test_what_may_still_win(text: str) -> None:
    assert codes(text) == []


def test_a_duplicate_section() -> None:
    assert shown("[a.*]\n[b]\n[a.*]\n") == (
        "q.conf:1:2: Q002 this section stands again at line 3, and that one wins\n"
        "    [a.*]\n"
        "     ^^^\n"
        "  keep one of the two"
    )


def test_a_limit_above_its_parents() -> None:
    assert shown("[/]\nmetrics = 1,000\n[*]\n[sys.*]\nmetrics = 2,000\n") == (
        "q.conf:5:11: Q003 metrics can never reach this: [/] at line 1, above it, grants 1,000\n"
        "    metrics = 2,000\n"
        "              ^^^^^\n"
        "  lower it to 1,000 or less, or raise the one above"
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[*]\nmetrics = 5\n[/]\nmetrics = 9\n[a.b]\nmetrics = 10\n", "[*] at line 1"),
        ("[*]\nmetrics = 9\n[/]\nmetrics = 5\n[a.b]\nmetrics = 8\n", "[/] at line 3"),
        ("[a*.*]\nthroughput = 5\n[ab.{c,d}.*]\nthroughput = 6\n", "[a*.*] at line 1"),
    ],
)
def test_the_nearest_limit_above_that_is_lower_is_named(text: str, expected: str) -> None:
    assert [finding.problem.message for finding in findings(text) if finding.code == "Q003"] == [
        f"{finding.problem.message.split(' ')[0]} can never reach this: {expected}, above it, grants 5"
        for finding in findings(text)
        if finding.code == "Q003"
    ]
    assert "Q003" in dict(codes(text))


@pytest.mark.parametrize(
    "text",
    [
        "[/]\nmetrics = 5\n[a]\nmetrics = 5\n",
        "[/]\nmetrics = 5\n[a]\nmetrics = max\n",
        "[/]\nmetrics = 5\n[a]\ndata-points = 6\n",
        "[/]\nnamespaces = 5\n[a]\nnamespaces = 6\n",
        "[/]\nmetrics = 5\ndropping-policy = none\n[a]\nmetrics = 6\n",
        "[a]\nmetrics = 5\n[*.x]\nmetrics = 6\n",
        "[*]\nmetrics = 5\n[a]\nmetrics = 50\n[a.x]\nmetrics = 6\n",
        "[*]\nmetrics = 5\n[a]\n[a.x]\nmetrics = 6\n",
        "[*]\nmetrics = 5\n[a*]\nmetrics = 50\n[*b.x]\nmetrics = 6\n",
    ],
    ids=[
        "equal",
        "max",
        "another control",
        "direct children",
        "only watched above",
        "not every parent",
        "another rule holds the parent",
        "a rule without limits holds the parent",
        "another rule may hold the parent",
    ],
)
def test_limits_that_can_be_reached(text: str) -> None:
    assert "Q003" not in dict(codes(text))


def test_stat_names_that_collide_by_their_patterns() -> None:
    assert shown("[a.b-c]\n[a-b.c]\n") == (
        'q.conf:2:2: Q004 "a.b-c" and "a-b.c" bear the same stat name, "a-b-c"\n'
        "    [a-b.c]\n"
        "     ^^^^^\n"
        "  a stat-metric-prefix of its own tells it apart; without one the later gets a suffix"
    )


@pytest.mark.parametrize(
    ("text", "namespaces", "expected"),
    [
        ("[*.*]\n", ["a.b-c", "a-b.c", "x.y"], ['"a.b-c" and "a-b.c" bear the same stat name, "a-b-c"']),
        ("[*.*]\n", ["x.y.z", "x-y"], []),
        (
            "[*.*]\n[*]\n",
            ["x.y.z", "x-y", "p.q.r", "p-q"],
            ['"x-y" and "x.y" bear the same stat name, "x-y" (1 more like it)'],
        ),
        ("[/]\n[root]\n", None, ['"/" and "root" bear the same stat name, "root"']),
        ("[/]\n[root]\nstat-metric-prefix = top.\n", None, []),
        ("[a.b-c]\n[a-b.c]\nstat-metric-prefix = x.\n", None, []),
        ("[a.b]\nstat-metric-prefix = x-\n[x.a-b]\n", None, ['"a.b" and "x.a-b" bear the same stat name, "x-a-b"']),
        ("[*.*]\n[{a,c}]\n", ["a.b-c"], []),
    ],
)
def test_stat_names_that_collide(text: str, namespaces: list[str] | None, expected: list[str]) -> None:
    assert sorted(finding.problem.message for finding in findings(text, namespaces) if finding.code == "Q004") == (
        sorted(expected)
    )


def test_a_prefix_without_its_dot() -> None:
    assert shown('[a]\nstat-metric-prefix = "level1"\n') == (
        'q.conf:2:23: Q005 stat-metric-prefix does not end with a dot, so that names become "level1..."\n'
        '    stat-metric-prefix = "level1"\n'
        "                          ^^^^^^\n"
        '  did you mean "level1."?'
    )


def test_a_rule_that_matches_no_namespace() -> None:
    assert shown("[srv.*]\n", ["srw.a", "x"]) == (
        'q.conf:1:2: Q006 this rule matches none of the namespaces\n    [srv.*]\n     ^^^^^\n  did you mean "srw"?'
    )


@pytest.mark.parametrize(
    ("pattern", "namespaces", "found"),
    [
        ("/", [], False),
        ("a.b", ["a.b.c"], False),
        ("a.{x,b}", ["a.b"], False),
        ("*.*.*", ["a.b"], True),
        ("a.b", ["a.c"], True),
        ("[^a]*", ["a", "ab", "/"], True),
        ("[^a]*", ["b"], False),
    ],
)
def test_which_rules_match_a_namespace(pattern: str, namespaces: list[str], found: bool) -> None:
    assert codes(f"[{pattern}]\n", namespaces) == ([("Q006", 1)] if found else [])


def test_without_namespaces_no_rule_is_said_to_match_none() -> None:
    assert codes("[a.b]\n") == []


@pytest.mark.parametrize(
    ("limit", "interval", "reading"),
    [
        ("600,000", 60.0, "10,000 points per second, in intervals of 60 s"),
        ("100", 60.0, "1.67 points per second, in intervals of 60 s"),
        ("5", 0.5, "10 points per second, in intervals of 0.5 s"),
    ],
)
def test_a_throughput_in_points_per_second(limit: str, interval: float, reading: str) -> None:
    line = f"throughput = {limit}"
    assert shown(f"[a]\n{line}\n", interval=interval) == (
        f"q.conf:2:14: Q007 throughput is {reading}\n    {line}\n    {' ' * 13}{'^' * len(limit)}"
    )


def test_a_throughput_of_max_is_no_rate() -> None:
    assert codes("[a]\nthroughput = max\n") == []


def test_a_key_that_stands_twice() -> None:
    assert shown("[a]\nmetrics = 1\nnamespaces = 2\nMetrics = 3\n") == (
        'q.conf:4:1: Q008 "metrics" stands at line 2 of this section already, and this one counts\n'
        "    Metrics = 3\n"
        "    ^^^^^^^\n"
        "  keep one of the two"
    )


@pytest.mark.parametrize("interval", [0.0, -1.0, float("nan")])
def test_an_interval_is_longer_than_nothing(interval: float) -> None:
    with pytest.raises(ValueError, match="an interval is longer than 0 s"):
        findings("[a]\n", interval=interval)


@pytest.mark.parametrize(
    ("limit", "interval", "code", "message"),
    [
        (60, 10, "Q007", "throughput is 1 point per second, in intervals of 10 s"),
        (60, 60, "Q007", "throughput is 1 point per second, in intervals of 60 s"),
        (60, 120, "Q007", "throughput is 1 point per second, in intervals of 120 s"),
        (5, 10, "Q009", "5 points a minute are 0 in each interval of 10 s: every point is rejected"),
        (1, 1, "Q009", "1 point a minute is 0 in each interval of 1 s: every point is rejected"),
    ],
)
def test_a_throughput_per_minute_is_what_an_interval_gets(limit: int, interval: float, code: str, message: str) -> None:
    rules = RuleSet.from_text(f"[a]\nthroughput = {limit}\n", "q.conf")
    (found,) = lint(rules, interval=interval, throughput_unit="minute")
    assert (found.code, found.problem.message) == (code, message)


@pytest.mark.parametrize(
    ("name", "column", "suggestion"),
    [
        ("team.(a|b)", 7, "did you mean [team.{a,b}]?"),
        ("team.*$", 8, "did you mean [team.*]?"),
        ("^team", 2, "did you mean [team]?"),
        (r"team\.a", 6, "did you mean [team.a]?"),
        ("cpu;host=a", 5, "did you mean [cpu]?"),
        ('"team.*"', 2, "did you mean [team.*]?"),
        ("'team'", 2, "did you mean [team]?"),
        ("^team$", 2, "did you mean [team]?"),
        ("(?:a)", 2, "did you mean [a]?"),
        ("(?i)team", 2, "did you mean [team]?"),
        (r"team.\d+", 7, "did you mean [team.*]?"),
        ("team.$", 7, "take it out"),
        ("team.+", 7, "did you mean [team.*]?"),
        ("team.{a, b}", 10, "did you mean [team.{a,b}]?"),
        ("team.a b", 8, "did you mean [team.ab]?"),
        ("~team", 2, "did you mean [team]?"),
        ('team.cpu{host="a"}', 10, "did you mean [team.cpu]?"),
        ("team.{{ host }}", 7, "did you mean [team.*]?"),
        ("team.${host}.a", 7, "did you mean [team.*.a]?"),
        ("team.<host>", 7, "did you mean [team.*]?"),
    ],
)
def test_a_pattern_in_another_language_is_found(name: str, column: int, suggestion: str) -> None:
    rules = RuleSet.from_text(f"[{name}]\nmetrics = 1\n", "q.conf")
    (found,) = lint(rules)
    assert (found.code, found.problem.column, found.problem.suggestion) == ("Q010", column, suggestion)
    assert found.problem.message.startswith("this can match nothing: ")


@pytest.mark.parametrize(
    "name",
    [
        "/",
        "team.[^a]*",
        "team.{a,b}",
        "a$b.c^d",
        "[(|)$]",
        "team.a-b_c:d",
        "lang.c++",
        "a+b",
        "a~b",
        "a.{{x,y},z}",
        "a<b",
    ],
)
def test_what_patterns_have_is_not_found(name: str) -> None:
    assert lint(RuleSet.from_text(f"[{name}]\nmetrics = 1\n", "q.conf")) == ()


def test_a_pattern_that_matches_what_there_is_is_not_found() -> None:
    rules = RuleSet.from_text("[cost$]\nmetrics = 1\n", "q.conf")
    assert [found.code for found in lint(rules, ["cost"])] == ["Q006", "Q010"]
    assert lint(rules, ["cost$"]) == ()


DROPPED = """\
q.conf:4:2: Q011 [team.*] at line 1 limits metrics and throughput, and this rule does not: here there is none
    [team.a]
     ^^^^^^
  nothing is inherited; write them here, or "metrics =" if no limit is meant"""


def test_a_narrower_rule_that_drops_a_limit_is_found() -> None:
    wide = "[team.*]\nmetrics = 5\nthroughput = max\n"
    assert shown("[team.*]\nmetrics = 5\nthroughput = 60\n[team.a]\nnamespaces = 3\n").splitlines()[3:] == (
        DROPPED.splitlines()
    )
    assert lint(RuleSet.from_text(f"{wide}[team.a]\nmetrics =\n", "q.conf")) == ()
    assert lint(RuleSet.from_text(f"{wide}[other.a]\nnamespaces = 1\n", "q.conf")) == ()
    assert lint(RuleSet.from_text("[team.a]\nmetrics = 1\n[team.?]\nmetrics = 2\n", "q.conf"))[0].code == "Q001"


def test_many_rules_are_linted_one_by_one() -> None:
    """Rules that nothing groups: a lint that compared each with each would compare 400,000,000 times."""
    text = "".join(f"[n{number}.*]\nmetrics = 5\n" for number in range(20_000))
    assert lint(RuleSet.from_text(text + "[n7.?]\nmetrics = 4\n[n8.*]\nmetrics = 3\n", "q.conf"))[0].code == "Q002"
