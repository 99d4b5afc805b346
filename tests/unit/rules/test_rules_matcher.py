"""The matcher: states on the way down, and the last section that wins."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from carbonquota.rules import DEAD, NO_RULE, Matcher, RuleSet


def winner(rules: RuleSet, namespace: str) -> str | None:
    rule = rules.match(namespace)
    return rule.pattern if rule else None


def descend(matcher: Matcher, namespace: str) -> tuple[int, int]:
    state, rule = matcher.root()
    for component in namespace.split("."):
        state, rule = matcher.step(state, component)
    return state, rule


@pytest.mark.parametrize(
    ("text", "namespace", "pattern"),
    [
        ("[sys.*]\n[sys.app]\n", "sys.app", "sys.app"),
        ("[sys.app]\n[sys.*]\n", "sys.app", "sys.*"),
        ("[*]\n[/]\n", "/", "/"),
        ("[*]\n[a.b]\n", "a.b.c", None),
        ("[a.b.c]\n[*]\n", "a.b", None),
        ("", "a", None),
        ("", "/", None),
    ],
)
def test_the_last_matching_section_of_exactly_that_depth_wins(text: str, namespace: str, pattern: str | None) -> None:
    rules = RuleSet.from_text(text)
    assert winner(rules, namespace) == pattern
    if namespace != "/":
        _, rule = descend(rules.matcher(), namespace)
        assert (rules.rules[rule].pattern if rule != NO_RULE else None) == pattern


def test_of_a_section_that_stands_twice_the_later_wins() -> None:
    rules = RuleSet.from_text("[a]\nmetrics = 1\n[a]\nmetrics = 2\n")
    assert [rule.limits.metrics for rule in rules.matches("a")] == [1, 2]
    found = rules.match("a")
    assert found is not None
    assert found.line == 3
    assert descend(rules.matcher(), "a") == (DEAD, 1)


def test_all_matching_rules_come_in_file_order() -> None:
    rules = RuleSet.from_text("[a.*]\n[b.*]\n[*.c]\n[a.{c,d}]\n[a]\n")
    assert [rule.pattern for rule in rules.matches("a.c")] == ["a.*", "*.c", "a.{c,d}"]


def test_the_root_has_the_last_root_section() -> None:
    assert RuleSet.from_text("[/]\n[a]\n[/]\n").matcher().root()[1] == 2
    assert RuleSet.from_text("[a]\n").matcher().root()[1] == NO_RULE


def test_without_rules_all_is_dead() -> None:
    matcher = RuleSet.from_text("").matcher()
    assert matcher.root() == (DEAD, NO_RULE)
    assert matcher.step(DEAD, "anything") == (DEAD, NO_RULE)


def test_a_namespace_that_no_rule_can_match_below_is_dead() -> None:
    matcher = RuleSet.from_text("[a.b]\n[/]\n").matcher()
    assert descend(matcher, "x") == (DEAD, NO_RULE)
    assert descend(matcher, "a.b") == (DEAD, 0)


def test_equal_sets_of_rules_are_one_state() -> None:
    matcher = RuleSet.from_text("[*.x.y]\n[a.x.*]\n[b.x.*]\n").matcher()
    assert descend(matcher, "c") == descend(matcher, "d")
    assert descend(matcher, "a") != descend(matcher, "b")


def test_names_nobody_foresaw_cost_no_states() -> None:
    matcher = RuleSet.from_text("[team*.*.z]\n[*7.*.z]\n[x.y.z]\n").matcher()
    for number in range(2_000):
        descend(matcher, f"team{number}.app{number}.z")
    assert len(matcher) <= 6


def test_states_are_numbered_without_gaps() -> None:
    matcher = RuleSet.from_text("[a.*.x]\n[*.b.y]\n[{a,c}.b.z]\n").matcher()
    states = {descend(matcher, name)[0] for name in ("a", "b", "c", "a.b", "a.c", "c.b", "d.b", "d.e")}
    assert states | {matcher.root()[0], DEAD} == set(range(len(matcher)))


def test_any_thread_may_step() -> None:
    rules = RuleSet.from_text("".join(f"[*{number}.app*.x{number}?]\n[t{number}.*.*]\n" for number in range(30)))
    names = [f"t{number}.app{number}.x{number}y" for number in range(60)] * 5
    matcher = rules.matcher()
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda name: descend(matcher, name)[1], names))
    assert found == [descend(rules.matcher(), name)[1] for name in names]
