"""The index of patterns gives what comparing each with each gives."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from carbonquota.rules import RuleSet
from carbonquota.rules.automaton import includes, overlap
from carbonquota.rules.comparison import PatternComparison
from carbonquota.rules.pattern_index import NONE, PatternIndex

PARTS = ["a", "b", "ab", "*", "a*", "*b", "?", "[ab]", "{a,b}", "a?b", "*a*", "{a,b}*", "[^a]", "{ab,b*}", "abc"]
PATTERNS = st.lists(st.lists(st.sampled_from(PARTS), min_size=1, max_size=3).map(".".join), min_size=1, max_size=12)


@given(PATTERNS)
def test_the_latest_covering_and_overlapping_patterns_are_found(names: list[str]) -> None:
    patterns = RuleSet.from_text("".join(f"[{name}]\n" for name in names)).patterns
    comparison = PatternComparison()
    index = PatternIndex(comparison)
    for number, pattern in enumerate(patterns):
        index.add(pattern, number)
    for number, inner in enumerate(patterns):
        covering = [
            at
            for at, outer in enumerate(patterns)
            if at > number and outer.depth == inner.depth and comparison.covers_above(outer, inner)
        ]
        assert index.latest_covering(inner, after=number) == max(covering, default=number)
        for depth in range(inner.depth):
            overlapping = [
                at
                for at, upper in enumerate(patterns)
                if upper.depth == depth and comparison.may_overlap_above(upper, inner)
            ]
            assert index.latest_overlapping(inner, depth) == max(overlapping, default=NONE)


GLOBS = st.text("ab*", min_size=1, max_size=8)


@given(GLOBS, GLOBS)
def test_text_and_stars_are_compared_as_automata_are(one: str, other: str) -> None:
    (first,), (second,) = (RuleSet.from_text(f"[{name}]\n").patterns[0].components for name in (one, other))
    assert PatternComparison().includes(first, second) == includes(first.automaton, second.automaton)
    assert PatternComparison().overlap(first, second) == overlap(first.automaton, second.automaton)


TOKENS = st.lists(st.sampled_from(["a", "b", "*", "?", "[ab]", "[^a]", "{a,b*}", "{b,?}"]), min_size=1, max_size=6)


@given(TOKENS, TOKENS)
def test_whatever_can_be_written_is_included_as_automata_say(one: list[str], other: list[str]) -> None:
    text = "".join(f"[{''.join(tokens)}]\n" for tokens in (one, other))
    (first,), (second,) = (pattern.components for pattern in RuleSet.from_text(text).patterns)
    assert PatternComparison().includes(first, second) == includes(first.automaton, second.automaton)
