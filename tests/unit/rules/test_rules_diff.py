"""The difference of two rule sets, as values and as lines."""

from __future__ import annotations

from carbonquota.rules import FieldChange, RuleSet, diff

OLD = """[*]
metrics = 100
throughput = max
[sys.*]
metrics = 10
[gone]
data-points = 1,000
[sys.app]
"""

NEW = """[sys.app]
[*]
metrics = 2,000
dropping-policy = none
stat-metric-prefix = top.
[sys.*]
metrics = 10
[fresh]
logical-size = max
namespaces = 4
"""


def rule_set(text: str, source: str = "q.conf") -> RuleSet:
    return RuleSet.from_text(text, source)


def test_what_is_added_removed_changed_and_moved() -> None:
    found = diff(rule_set(OLD, "old"), rule_set(NEW, "new"))
    assert found
    assert [rule.pattern for rule in found.added] == ["fresh"]
    assert [rule.pattern for rule in found.removed] == ["gone"]
    assert [(change.before.line, change.after.line, change.fields) for change in found.changed] == [
        (
            1,
            2,
            (
                FieldChange("metrics", 100, 2_000),
                FieldChange("throughput", 2**63 - 1, None),
                FieldChange("dropping-policy", "new", "none"),
                FieldChange("stat-metric-prefix", "", "top."),
            ),
        )
    ]
    assert [(move.winner.pattern, move.loser.pattern) for move in found.moved] == [("sys.*", "sys.app")]


def test_a_line_for_each_difference() -> None:
    assert str(diff(rule_set(OLD, "old"), rule_set(NEW, "new"))) == (
        "- [gone] (old:6): data-points 1,000\n"
        "+ [fresh] (new:8): namespaces 4, logical-size max\n"
        "~ [*] (new:2): metrics 100 -> 2,000, throughput max -> unset, dropping-policy new -> none, "
        'stat-metric-prefix "" -> top.\n'
        "> [sys.*] (new:6) now wins over [sys.app] (new:1)"
    )


def test_no_difference_is_false() -> None:
    found = diff(rule_set(OLD), rule_set("# other comments, lines and spellings\n\n" + OLD.replace("100", "1_00")))
    assert not found
    assert str(found) == "no difference"


def test_an_order_that_decides_nothing_is_no_difference() -> None:
    assert not diff(rule_set("[a]\n[b]\n[a.*]\n[b.*]\n"), rule_set("[b.*]\n[b]\n[a.*]\n[a]\n"))


def test_a_rule_that_moves_past_many_is_one_line() -> None:
    names = "".join(f"[a{number}]\n" for number in range(9))
    down = str(diff(rule_set(f"[*]\n{names}"), rule_set(f"{names}[*]\n")))
    assert down == "> [*] (q.conf:10) now wins over [a0] (q.conf:1), [a1] (q.conf:2), [a2] (q.conf:3) and 6 more"
    up = str(diff(rule_set(f"{names}[*]\n"), rule_set(f"[*]\n{names}")))
    assert up == "> [*] (q.conf:1) now loses to [a0] (q.conf:2), [a1] (q.conf:3), [a2] (q.conf:4) and 6 more"


def test_of_sections_of_one_name_the_one_that_counts_is_compared() -> None:
    found = diff(rule_set("[a]\nmetrics = 1\n[a]\nmetrics = 2\n"), rule_set("[a]\nmetrics = 2\n"))
    assert [rule.line for rule in found.removed] == [1]
    assert not found.changed
