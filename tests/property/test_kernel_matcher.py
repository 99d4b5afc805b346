"""The matcher's plan walked in C leads where the matcher does, whatever the patterns and names are."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from carbonquota.kernel import COMPILED
from carbonquota.rules import Matcher, RuleSet
from tests.support.example_counts import examples

if not COMPILED:
    pytest.skip("there is no compiled kernel", allow_module_level=True)

from carbonquota.kernel._cy import FlatMatcher

LETTERS = "abé€"
PIECES = ("a", "b", "é", "€", "😀", "*", "*", "**", "?", "[ab]", "[^a]", "[a-é]", "[^é-€b]", "-")
letters = st.text(LETTERS + "-😀", min_size=1, max_size=6)
plain = st.lists(st.sampled_from(PIECES), min_size=1, max_size=5).map("".join)
choices = st.builds(
    lambda before, options, after: f"{before}{{{','.join(options)}}}{after}",
    st.sampled_from(["", "a", "*", "b?"]),
    st.lists(plain | st.just(""), min_size=2, max_size=4),
    st.sampled_from(["", "b", "*", "{a,b,}"]),
)
components = plain | letters | choices | st.sampled_from(["*", "a", "b"])
patterns = st.lists(components, min_size=1, max_size=3).map(".".join) | st.just("/")
namespaces = st.lists(letters | st.sampled_from(["a", "b"]), min_size=1, max_size=4)


def assert_same(sections: list[str], names: list[list[str]]) -> None:
    """Every step down every name, from the states that the matcher gives."""
    matcher = RuleSet.from_text("".join(f"[{section}]\nmetrics = 1\n" for section in sections)).matcher()
    flat = FlatMatcher(matcher, matcher.plan())
    for _ in range(2):  # what was learned the first time is known the second
        for name in names:
            state, _ = matcher.root()
            for component in name:
                expected = matcher.step(state, component)
                assert flat.step(state, component.encode()) == expected, (name, component)
                state, _ = expected


@settings(max_examples=examples(300))
@given(st.lists(patterns, max_size=12), st.lists(namespaces, min_size=1, max_size=12))
def test_every_step_is_the_matchers(sections: list[str], names: list[list[str]]) -> None:
    assert_same(sections, names)


@given(
    st.lists(st.builds("{}{}{}".format, letters, st.sampled_from("*?"), letters), min_size=4, max_size=30),
    st.lists(st.builds("{}{}{}".format, letters, st.sampled_from(["", "a", "éé"]), letters), min_size=1, max_size=20),
)
def test_many_globs_are_found_by_how_names_begin_or_end(globs: list[str], names: list[str]) -> None:
    ends = [glob.partition("*")[2] or glob for glob in globs]
    assert_same([*globs, *(f"*{end}" for end in ends), "*.x"], [[name, "x"] for name in [*names, *globs]])


def test_thousands_of_literals_and_globs() -> None:
    sections = [f"team{number}.app.*" for number in range(2000)] + [f"*-{number}.a*{number}" for number in range(500)]
    names = [["team7", "app", "x"], ["team7", "b", "x"], ["x-7", "aa7"], ["x-77", "aa7"], ["team1999", "app", "y", "z"]]
    assert_same([*sections, "*", "team7"], names)


@pytest.mark.parametrize(
    "section",
    ["{a,b}{a,b}{a,b}{a,b}{a,b}{a,b}{a,b*}", "*a*b*a*b*a*b*a*b*a*b*"],
    ids=["more spellings than are multiplied out", "many runs"],
)
def test_what_is_hard_to_match_is_matched_alike(section: str) -> None:
    assert_same([section, f"{section}.{section}", "*"], [["aaaaaab"], ["ab" * 7, "ab" * 40], ["abababab", "abababa"]])


def test_sets_of_nodes_past_any_room_are_left_to_the_matcher() -> None:
    sections = [f"{'?' * before}a{'?' * (70 - before)}.x{before}" for before in range(70)]
    assert_same([*sections, "*.x"], [["a" * 71, "x3"], ["a" * 71, "x"], ["b" * 70 + "a", "x"]])


def test_every_state_is_a_number() -> None:
    matcher = Matcher([])
    flat = FlatMatcher(matcher, matcher.plan())
    assert flat.step(0, b"a") == (0, -1)
    with pytest.raises(ValueError, match="from 0"):
        flat.step(-1, b"a")
