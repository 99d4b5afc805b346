"""Laws of globs: they match as an independent slow matcher says, and what lint claims of them is so."""

from __future__ import annotations

from collections.abc import Callable

from hypothesis import assume, given
from hypothesis import strategies as st

from carbonquota.errors import ConfigError, Problem
from carbonquota.rules import NO_RULE, RuleSet, Schemas, diff, lint
from tests.support.globs import glob_matches

LETTERS = "abc"

letters = st.sampled_from(LETTERS)
classes = st.builds(
    "[{}{}]".format, st.sampled_from(["", "^"]), st.sampled_from(["a", "ab", "a-b", "b-c", "ac", "a-c"])
)
pieces = letters | classes | st.sampled_from(["*", "**", "?"])
globs = st.recursive(
    st.lists(pieces, min_size=1, max_size=4).map("".join),
    lambda inner: st.builds(
        lambda before, options, after: f"{before}{{{','.join(options)}}}{after}",
        st.sampled_from(["", "a", "*"]),
        st.lists(inner | st.just(""), min_size=2, max_size=3),
        st.sampled_from(["", "b", "*"]),
    ),
    max_leaves=5,
)
patterns = st.lists(globs, min_size=1, max_size=3).map(".".join) | st.just("/")
names = st.text(LETTERS + "d", min_size=1, max_size=5)
namespaces = st.lists(names, min_size=1, max_size=3).map(".".join) | st.just("/")


def rules_of(*section_names: str) -> RuleSet:
    return RuleSet.from_text("".join(f"[{name}]\nmetrics = 1\n" for name in section_names))


def winner_on_the_way_down(rules: RuleSet, namespace: str) -> int:
    matcher = rules.matcher()
    state, rule = matcher.root()
    for component in () if namespace == "/" else namespace.split("."):
        state, rule = matcher.step(state, component)
    return rule


@given(patterns, st.lists(namespaces, min_size=1, max_size=20))
def test_a_glob_equals_an_independent_slow_matcher(pattern: str, candidates: list[str]) -> None:
    rules = rules_of(pattern)
    expected = [name for name in candidates if glob_matches(pattern, name)]
    assert [name for name in candidates if rules.match(name)] == expected
    assert [name for name in candidates if winner_on_the_way_down(rules, name) == 0] == expected


@given(st.lists(patterns, max_size=8), st.lists(namespaces, min_size=1, max_size=12))
def test_the_matcher_finds_the_last_of_all_matching_rules(sections: list[str], candidates: list[str]) -> None:
    rules = rules_of(*sections)
    matcher = rules.matcher()
    for name in candidates:
        matching = [index for index, pattern in enumerate(sections) if glob_matches(pattern, name)]
        state, rule = matcher.root()
        for component in () if name == "/" else name.split("."):
            state, rule = matcher.step(state, component)
        assert rule == (matching[-1] if matching else NO_RULE)
        assert [found.line for found in rules.matches(name)] == [2 * index + 1 for index in matching]


@given(st.lists(patterns, min_size=2, max_size=6), st.lists(namespaces, min_size=1, max_size=30))
def test_a_rule_that_lint_says_never_wins_never_wins(sections: list[str], candidates: list[str]) -> None:
    rules = rules_of(*sections)
    hopeless = {finding.problem.line for finding in lint(rules) if finding.code in ("Q001", "Q002")}
    winners = {rule.line for rule in map(rules.match, candidates) if rule}
    assert not hopeless & winners


@given(globs)
def test_a_glob_before_itself_in_braces_or_with_a_star_more_never_wins(glob: str) -> None:
    for wider in (f"{{{glob},x}}", f"{glob}*", f"*{glob}"):
        codes = [finding.code for finding in lint(rules_of(glob, wider))]
        assert codes in (["Q001"], ["Q002"]), (glob, wider)


@given(globs, globs, st.lists(names, min_size=1, max_size=30))
def test_two_rules_that_change_places_over_a_common_namespace_are_reported(
    one: str, other: str, candidates: list[str]
) -> None:
    assume(one != other)
    moves = diff(rules_of(one, other), rules_of(other, one)).moved
    if any(glob_matches(one, name) and glob_matches(other, name) for name in candidates):
        assert [(move.winner.pattern, move.loser.pattern) for move in moves] == [(one, other)]


noise = st.text(st.sampled_from("ab.*?[]{}^-!,/\\\"' =#;\t\r\n\x00\u00e9\ud800019:smax"), max_size=60)
lines = st.lists(
    noise | st.sampled_from(["[a]", "[a.{b,c}]", "metrics = 1", "throughput = max", "pattern = .*", "retentions = 1:1"])
).map("\n".join)


@given(noise | lines)
def test_any_text_is_read_or_refused_with_places_that_exist(text: str) -> None:
    for read in (RuleSet.from_text, Schemas.from_text):
        problems = problems_of(read, text)
        for problem in problems:
            line = text.split("\n")[problem.line - 1].removesuffix("\r")
            assert problem.text == line
            assert 1 <= problem.column < problem.column + problem.width <= len(line) + 2
        assert problems == sorted(problems, key=lambda problem: (problem.line, problem.column))


def problems_of(read: Callable[[str], object], text: str) -> list[Problem]:
    try:
        read(text)
    except ConfigError as error:
        return list(error.problems)
    return []


@given(st.lists(patterns, max_size=8), st.lists(namespaces, max_size=12), st.text(LETTERS + "d", max_size=3))
def test_many_steps_are_as_one_by_one(sections: list[str], candidates: list[str], above: str) -> None:
    matcher = rules_of(*sections).matcher()
    state, _ = matcher.root()
    for component in above:
        state, _ = matcher.step(state, component)
    steps = [matcher.step(state, name.rpartition(".")[2]) for name in candidates]
    assert matcher.steps(state, candidates) == steps
    assert rules_of(*sections).matcher().steps(0, candidates) == [(0, NO_RULE)] * len(candidates), "0 is the dead state"
