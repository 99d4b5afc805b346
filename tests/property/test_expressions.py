"""Patterns of schemas: whichever engine reads one, it says what Python's `re` says, and the first one counts."""

from __future__ import annotations

import re
import warnings

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from carbonquota.rules.expressions import Expression, ExpressionEngine, ExpressionError, read_expression
from carbonquota.rules.first_match import FirstMatch
from tests.support.example_counts import examples

CHARACTERS = st.sampled_from([*"ab.k0-_ ", r"\.", r"\-", r"\_", r"\w", r"\W", r"\d", r"\D", r"\s", r"\S", r"\x61",
                              "\u00b5", "\u212a", r"\/", "{", "}", "]", ":", "=", ",", "&", "~"])  # fmt: skip
CLASSES = st.sampled_from([r"[ab]", r"[^ab]", r"[a-k]", r"[^.]", r"[\w-]", r"[^\W]", r"[]a]", r"[^]]", r"[a\]]",
                           r"[.*+]", r"[[a]", r"[a&&b]", "[\u00b5-\u017f]", r"[\d.]", r"[a-]", r"[--0]",
                           r"[a|b]", r"[\x61-c]"])  # fmt: skip
ANCHORS = st.sampled_from(["^", "$", r"\b", r"\B", r"\A", r"\Z"])
REPEATS = st.sampled_from(["*", "+", "?", "*?", "+?", "??", "{2}", "{1,2}", "{,2}", "{1,}", "{,}", "{0}", "{}", "{a",
                           "{2}?", "*+", "++", "{1,2}+"])  # fmt: skip
SPECIAL = st.sampled_from([r"(?=a)", r"(?!a)", r"(?<=a)", r"(?<!b)", r"(.)\1", r"(?P<n>a)(?P=n)", r"(?>a+)", "(?#x)"])


def _grown(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    """What is made of smaller patterns."""
    opening = st.sampled_from(["(", "(?:", "(?i:", "(?s:", "(?P<name>"])
    grouped = st.tuples(opening, inner).map(lambda pair: "".join(pair) + ")")
    return st.one_of(
        st.tuples(grouped, REPEATS).map("".join),
        grouped,
        st.tuples(inner, inner).map("|".join),
        st.lists(inner, min_size=1, max_size=3).map("".join),
    )


ATOMS = st.one_of(CHARACTERS, st.tuples(CHARACTERS, REPEATS).map("".join), CLASSES,
                  st.tuples(CLASSES, REPEATS).map("".join), ANCHORS, SPECIAL)  # fmt: skip
PATTERNS = st.tuples(
    st.sampled_from(["", "", "^", "(?i)", "(?m)", "^a.", r"^a\.", r"^ab\.k"]), st.recursive(ATOMS, _grown, max_leaves=8)
).map("".join)
NAMES = st.text(alphabet="abkAK0.-_ \u00b5\u017f\u212a:", min_size=1, max_size=9)


def read_by_python(pattern: str) -> re.Pattern[str]:
    """The pattern as `re` has it; one that it refuses is none of this test's."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        try:
            return re.compile(pattern)
        except re.error:
            assume(False)
            raise


@settings(max_examples=examples(300), deadline=None)
@given(PATTERNS, st.lists(NAMES, min_size=1, max_size=6))
@example(r"a{,2}$", ["aa", "aaa"])
@example("(?i)k", ["K", "\u212a"])
@example(r"^a\b", ["a.", "a\u00b5"])
@example("x{", ["x{"])
def test_an_expression_is_found_where_re_finds_it(pattern: str, names: list[str]) -> None:
    by_python = read_by_python(pattern)
    expression = read_expression(pattern, as_python=True)
    for name in names:
        assert expression.search(name) == bool(by_python.search(name)), (pattern, expression.re2_text, name)


@settings(max_examples=examples(150), deadline=None)
@given(st.lists(PATTERNS, max_size=6), st.lists(NAMES, max_size=12))
@example([r"^a\.b", r"^a\.", "k$", "."], ["a.b.c", "a.b", "a.k", "b.k", "b.a"])
@example([r"^a\.\w", r"^a\.", "(?=k)", r"\w"], ["a.\u00b5", "\u00b5.k", "a.k.\u00b5"])
def test_the_first_expression_of_a_list_is_that_of_one_by_one(patterns: list[str], names: list[str]) -> None:
    by_python = [read_by_python(pattern) for pattern in patterns]
    first = FirstMatch([read_expression(pattern, as_python=True) for pattern in patterns])
    expected = [next((n for n, one in enumerate(by_python) if one.search(name)), len(patterns)) for name in names]
    assert first.find_all(names) == expected
    # Again, from what is remembered by namespace, and each by itself.
    assert first.find_all(names) == expected
    assert first.find_all(names) == expected
    assert [first.find(name) for name in names] == expected


REAL = [
    r"^carbon\.", r".*", r"^collectd\..*\.df-", r"^stats\.timers\..*\.(min|max|upper_\d+)$", r"\.count$",
    r"(?i)^servers\.[^.]+\.cpu", r"^(dev|test)\.", r"^[a-z0-9_-]+\.prod\.", r"\.(sum|count(_ps)?)$", r"^a{1,3}\.\w+$",
]  # fmt: skip


@pytest.mark.parametrize("pattern", REAL)
def test_patterns_of_real_files_are_read_by_re2(pattern: str) -> None:
    assert read_expression(pattern).engine is ExpressionEngine.RE2


@pytest.mark.parametrize(
    ("pattern", "found", "missed"),
    [
        (r"^\pL+$", "\u00e4b", "a1"),
        (r"\p{Greek}", "a\u03bb", "ab"),
        (r"b\z", "a.b", "b.a"),
        (r"^[[:alpha:]]+$", "ab", "a1"),
        (r"^[[:^alpha:]]+$", "12", "a1"),
        (r"^[x[:digit:]]+$", "1x", "a1"),
        (r"a(?i)B", "ab", "Ab"),
        (r"\Qa.b\E", "xa.b", "axb"),
    ],
)
def test_what_only_gos_engine_takes_means_what_it_means_there(pattern: str, found: str, missed: str) -> None:
    expression = read_expression(pattern)
    assert (expression.search(found), expression.search(missed)) == (True, False)
    assert FirstMatch([expression]).find_all([found, missed]) == [0, 1]


LOOKING = st.one_of(
    st.tuples(st.sampled_from(["(?=", "(?!"]), st.recursive(ATOMS, _grown, max_leaves=4)).map(
        lambda two: f"{two[0]}{two[1]})"
    ),
    st.sampled_from([r"(?<=a)", r"(?<!b)", r"(?<!\.k)", r"(?<=^a)", r"(?<!a|b)"]),
)
ONE_WAY = st.one_of(
    CHARACTERS, CLASSES, st.sampled_from([r"[^.]+\.", r"[^\.]*?\.", r"[^.]+", ".", r"\b", "a?", "(a)", ""])
)


@settings(max_examples=examples(400), deadline=None)
@given(
    st.sampled_from(["^", "^", r"\A", "", "(?i)^"]),
    st.lists(st.one_of(ONE_WAY, LOOKING), max_size=5),
    st.one_of(ATOMS, st.sampled_from([".*", ".*a", ".*|b"])),
    st.lists(LOOKING, max_size=2),
    st.sampled_from(["$", "$", r"\Z", "", "k$", "$*"]),
    st.lists(NAMES, min_size=1, max_size=8),
)
@example("^", ["(?!a)"], "*", [], "", ["a", "b"])
@example("^", [r"[^.]+\.", "(?!a)"], ".*", ["(?<!k)"], "$", ["b.a", "b.k", "b.b", "b", "a.b.a"])
@example("^", ["a{", "(?!b)"], ".*", [], "", ["a{b", "a{a"])
def test_look_around_is_found_where_re_finds_it(
    anchor: str, head: list[str], body: str, tail: list[str], end: str, names: list[str]
) -> None:
    pattern = "".join((anchor, *head, body, *tail, end))
    by_python = read_by_python(pattern)
    expression = read_expression(pattern, as_python=True)
    first = FirstMatch([expression, read_expression("a")])
    for name in names:
        found = bool(by_python.search(name))
        assert expression.search(name) == found, (pattern, expression.re2_text, name)
        assert first.find(name) == (0 if found else 1 if "a" in name else 2), (pattern, name)


@pytest.mark.parametrize(
    "pattern",
    [r"^(?!carbon\.)", r"^(?!carbon\.).*\.fast\.", r"^servers\.(?!test)", r"^servers\.[^.]+\.(?!test|dev).*\.cpu$",
     r"^(?=.*\.cpu)(?=.*\.prod)(?!.*\.test).*", r".*(?<!\.count)$", r"(?i)^(?!Carbon).*(?<!_ps)(?<!_max)$"],
)  # fmt: skip
def test_look_around_of_real_files_is_read_by_re2(pattern: str) -> None:
    assert read_expression(pattern).engine is ExpressionEngine.RE2


@pytest.mark.parametrize("pattern", ["(", r"\C", r"a\q", "[[:nothing:]]", "a**b("])
def test_what_neither_engine_takes_is_refused(pattern: str) -> None:
    with pytest.raises(ExpressionError):
        read_expression(pattern)


def test_an_expression_with_too_many_states_for_re2_is_left_to_re() -> None:
    expression = read_expression("(a{1000}){50}" * 40 + "|b")
    assert (expression.engine, expression.search("b")) == (ExpressionEngine.RE, True)


@pytest.mark.parametrize(
    ("pattern", "part", "name"),
    [
        (r"a(?!b).*", "(?!", "look-around"),
        (r"^a*(?!b).*", "(?!", "look-around"),
        (r"(.)x\1", r"\1", "a back-reference"),
        (r"(?P<n>.)(?P=n)", "(?P=n)", "a back-reference"),
        (r"a(?>b+)", "(?>", "an atomic group or possessive repetition"),
        (r"(?x) a", "(?x", "syntax of Python's re alone"),
    ],
)
def test_the_costly_part_is_named(pattern: str, part: str, name: str) -> None:
    costly = read_expression(pattern).costly
    assert costly is not None
    assert (pattern[costly.offset : costly.offset + costly.width], costly.name) == (part, name)


def nested(pattern: str) -> str | None:
    """What repeats within a repetition."""
    syntax = read_expression(pattern).syntax
    span = syntax.nested if syntax else None
    return None if span is None else pattern[span.offset : span.offset + span.width]


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("(a+)+$", "(a+)+"),
        (r"^x(?:[a-z]+\.)*y", r"(?:[a-z]+\.)*"),
        ("((a*)b)+", "((a*)b)+"),
        ("(?=x)(a+)+", "(a+)+"),
        ("(?=(a+)+)", "(a+)+"),
        (r"(.)\1(?:b*)*", "(?:b*)*"),
        ("(ab)+", None),
        ("a+b+", None),
    ],
)
def test_a_repetition_within_a_repetition_is_found(pattern: str, expected: str | None) -> None:
    assert nested(pattern) == expected


def test_memory_of_namespaces_is_bounded() -> None:
    first = FirstMatch([read_expression("^a\\."), read_expression("b$")])
    for number in range(50_000):
        first.find(f"{'x' * 200}{number}.b")
        first.find(f"{'y' * 300}{number}.b")
    assert first.remembered <= 20_000


@pytest.mark.parametrize("rest", [[], [r"^a\."], [r"^a\.", ".*"], ["k$"]])
def test_a_pattern_of_a_deeper_namespace_is_found_whoever_was_asked_about_first(rest: list[str]) -> None:
    expressions = [read_expression(pattern) for pattern in (r"^a\.b\.c\.", r"^a\.b\.", *rest)]
    deeper = ["a.b.c.x", "a.b.c.d.x", "a.b.x", "a.b.d.x"]
    for names in (["a.x", "a.y", *deeper], [*deeper, "a.x"], ["a.b.x", "a.b.y", "a.x", *deeper]):
        first, whole = FirstMatch(expressions), FirstMatch(expressions)
        for _ in range(3):
            assert [first.find(name) for name in deeper if name in names] == [0, 0, 1, 1]
            assert whole.find_all([*names, *deeper])[-4:] == [0, 0, 1, 1]
            first.find_all(names)


@pytest.mark.parametrize("dots", [100, 2_000, 50_000])
def test_a_name_of_very_many_parts_is_matched_like_any_other(dots: int) -> None:
    first = FirstMatch([read_expression(pattern) for pattern in (r"^b\.a", r"^a\.a\.", "b$")])
    names = ["a." * dots + "b", "x." * dots + "b", "b.x." + "a." * dots + "c"]
    for _ in range(3):
        assert first.find_all(names) == [1, 2, 3]


def test_a_pattern_that_re_would_need_forever_for_is_matched_at_once() -> None:
    expressions: list[Expression] = [read_expression("(a+)+$"), read_expression("(.*a){20}$")]
    assert FirstMatch(expressions).find("a" * 4_000 + "b") == 2
