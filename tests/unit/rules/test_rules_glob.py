"""Globs: what each construct matches, and every flaw a pattern can have."""

from __future__ import annotations

from time import thread_time

import pytest

from carbonquota.errors import ConfigError
from carbonquota.rules import RuleSet


def matches(pattern: str, namespace: str) -> bool:
    rules = RuleSet.from_text(f"[{pattern}]")
    matcher = rules.matcher()
    state, rule = matcher.root()
    for component in namespace.split(".") if namespace != "/" else ():
        state, rule = matcher.step(state, component)
    matched = rules.match(namespace) is not None
    assert matched == (rule == 0) == bool(rules.matches(namespace)), "both ways of matching agree"
    return matched


@pytest.mark.parametrize(
    ("pattern", "matched", "unmatched"),
    [
        ("/", ["/"], ["a", "root", "a.b"]),
        ("a", ["a"], ["/", "b", "aa", "a.a", "A"]),
        ("*", ["a", "abc", "é"], ["/", "a.b"]),
        ("**", ["a", "abc"], ["/", "a.b"]),
        ("a.*", ["a.b", "a.bcd"], ["a", "b.c", "a.b.c"]),
        ("a*", ["a", "ab", "abc"], ["b", "ba"]),
        ("*a", ["a", "ba", "aa"], ["b", "ab"]),
        ("a*b", ["ab", "axb", "abab"], ["a", "b", "abc", "aba"]),
        ("a**b", ["ab", "axb"], ["aba"]),
        ("*a*b*", ["ab", "xaxbx", "aab"], ["ba", "a"]),
        ("ab*ba", ["abba", "abxba"], ["aba", "abab"]),
        ("?", ["a", "é", "*"], ["/", "ab"]),
        ("a?c", ["abc", "aéc"], ["ac", "abbc"]),
        ("?*", ["a", "ab"], ["/"]),
        ("[a-c]", ["a", "b", "c"], ["d", "-", "ab"]),
        ("[^a-c]", ["d", "-", "é"], ["a", "b", "dd"]),
        ("[abx-z]", ["a", "b", "x", "y", "z"], ["c", "w"]),
        ("[a-]", ["a", "-"], ["b"]),
        ("[-a]", ["a", "-"], ["b"]),
        ("[a^]", ["a", "^"], ["b"]),
        ("[a!]", ["a", "!"], ["b"]),
        ("[*?{,]", ["*", "?", "{", ","], ["a", ""]),
        ("[à-ü]", ["é"], ["e"]),
        ("x[0-9]*", ["x1", "x12"], ["x", "xa"]),
        ("{a,b}", ["a", "b"], ["c", "ab", "a,b"]),
        ("{a,b{c,d}}", ["a", "bc", "bd"], ["b", "ac", "abc"]),
        ("{a,b{1,c}}*", ["a", "ab", "b1", "bcx"], ["b", "ba"]),
        ("x{,y}z", ["xz", "xyz"], ["x", "xyyz"]),
        ("{web,db[0-9]}.?pu*", ["web.cpu0", "db7.gpu"], ["db.cpu", "web.pu"]),
        ("{*,a}b", ["b", "ab", "xb"], ["ba"]),
        ("a,b", ["a,b"], ["a", "b"]),
        ("a\\b", ["a\\b"], ["ab"]),
        ("a+(b)$", ["a+(b)$"], ["aab"]),
        ("{a,b,c,d}{a,b,c,d}{a,b,c,d}{a,b,c,d}", ["abcd", "dddd"], ["abc", "abcde"]),
    ],
)
def test_matching(pattern: str, matched: list[str], unmatched: list[str]) -> None:
    assert [name for name in matched + unmatched if matches(pattern, name)] == matched


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        (
            "a[b",
            '<text>:1:3: this "[" is never closed\n    [a[b]\n      ^\n  close it with "]" before the next dot',
        ),
        (
            "a.x{b",
            '<text>:1:5: this "{" is never closed\n    [a.x{b]\n        ^\n  close it with "}" before the next dot',
        ),
        (
            "{a.b",
            '<text>:1:2: this "{" is never closed\n    [{a.b]\n     ^\n  close it with "}" before the next dot',
        ),
        (
            "x{a{b}",
            '<text>:1:3: this "{" is never closed\n    [x{a{b}]\n      ^\n  close it with "}" before the next dot',
        ),
        (
            "a}",
            '<text>:1:3: this "}" closes nothing\n    [a}]\n      ^\n  take it out, or open it with "{"',
        ),
        (
            "a]",
            '<text>:1:3: this "]" closes nothing\n    [a]]\n      ^\n  take it out, or open it with "["',
        ),
        (
            "a{b,c.d}",
            (
                "<text>:1:7: a dot inside brackets: a glob never crosses a dot\n"
                "    [a{b,c.d}]\n          ^\n  write a section for each alternative"
            ),
        ),
        (
            "[.]",
            (
                "<text>:1:3: a dot inside brackets: a glob never crosses a dot\n"
                "    [[.]]\n      ^\n  write a section for each alternative"
            ),
        ),
        (
            "x[z-a]",
            '<text>:1:4: the range "z-a" runs backwards\n    [x[z-a]]\n       ^^^\n  did you mean "a-z"?',
        ),
        (
            "x[0-9b-a]",
            '<text>:1:7: the range "b-a" runs backwards\n    [x[0-9b-a]]\n          ^^^\n  did you mean "a-b"?',
        ),
        ("x[]", "<text>:1:3: this class holds no character\n    [x[]]\n      ^^"),
        ("x[^]", "<text>:1:3: this class holds no character\n    [x[^]]\n      ^^^"),
        ("x{}", "<text>:1:3: there is nothing to choose from between the braces\n    [x{}]\n      ^^"),
        (
            "[!a-z]",
            (
                '<text>:1:3: a class is negated by "^"; for a plain "!" put it last\n'
                '    [[!a-z]]\n      ^\n  did you mean "[^a-z]"?'
            ),
        ),
        (
            "[!]",
            (
                '<text>:1:3: a class is negated by "^"; for a plain "!" put it last\n'
                '    [[!]]\n      ^\n  write "^" to negate'
            ),
        ),
        (
            "a..b",
            "<text>:1:3: there is nothing between the two dots\n    [a..b]\n      ^^\n  take one dot out",
        ),
        (".a", "<text>:1:2: the pattern starts with a dot\n    [.a]\n     ^\n  take the dot out"),
        ("a.", "<text>:1:3: the pattern ends with a dot\n    [a.]\n      ^\n  take the dot out"),
        (
            "a/b",
            (
                '<text>:1:3: components are parted by dots; a slash alone, "/", is the root\n'
                '    [a/b]\n      ^\n  did you mean "a.b"?'
            ),
        ),
        (
            "//",
            (
                '<text>:1:2: components are parted by dots; a slash alone, "/", is the root\n'
                '    [//]\n     ^\n  the root is "/"'
            ),
        ),
        ("a\x01", "<text>:1:3: a control character (U+0001), which no name holds\n    [a\x01]\n      ^"),
        (
            "{" * 17 + "a" + "}" * 17,
            "<text>:1:18: alternatives are nested deeper than 16\n"
            "    [{{{{{{{{{{{{{{{{{a}}}}}}}}}}}}}}}}}]\n" + " " * 21 + "^",
        ),
    ],
)
def test_flaws(pattern: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        RuleSet.from_text(f"[{pattern}]")
    assert str(caught.value) == message


def test_each_component_of_a_pattern_shows_its_flaw() -> None:
    with pytest.raises(ConfigError) as caught:
        RuleSet.from_text("[a}.b..x[c-a].{d.e}.f[]")
    assert [problem.column for problem in caught.value.problems] == [3, 6, 10, 17, 22]


@pytest.mark.parametrize("length", [2, 20, 1500])
def test_an_empty_dot_is_shown_at_every_place(length: int) -> None:
    with pytest.raises(ConfigError) as caught:
        RuleSet.from_text(f"[{'.' * length}]")
    assert all(1 < problem.column <= length + 1 for problem in caught.value.problems)


@pytest.mark.parametrize(
    "pattern",
    ["*a*a*a*a*a*a*b", "?*?*?*?*?*?*b", "{*a,*aa,a*}" * 3 + "b", "{*a,*aa,a*}" * 8 + "b", "{a,a}" * 1_000 + "b"],
    ids=["stars", "one or more", "wild alternatives", "too many spellings", "ambiguous alternatives"],
)
def test_a_hostile_glob_takes_no_more_than_its_length_times_the_names(pattern: str) -> None:
    rules = RuleSet.from_text(f"[{pattern}]")
    started = thread_time()
    assert rules.match("a" * 2_000) is None
    assert thread_time() - started < 5, "backtracking would take longer than the universe has"
