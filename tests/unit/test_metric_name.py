"""Metric names: the one normal form, and what is said of a name that no metric can have."""

from __future__ import annotations

import numpy as np
import pytest
from carbon.util import TaggedSeries
from hypothesis import given
from hypothesis import strategies as st

from carbonquota.errors import MetricNameError, QuotaError
from carbonquota.metric_name import dotted_part, normalize


@pytest.mark.parametrize(
    ("name", "normal"),
    [
        ("a", "a"),
        ("a.b.c", "a.b.c"),
        (".a..b.", "a.b"),
        ("...a....b...", "a.b"),
        ("größe.日本", "größe.日本"),
        ("a b.c", "a b.c"),
        ("a/b.c-d_e:f", "a.b.c-d_e:f"),
        ("team/a/m0", "team.a.m0"),
        ("/team//a/./m0/", "team.a.m0"),
        ("a\\b", "a\\b"),
        ("a.b.wsp", "a.b.wsp"),
        ("a/../b", "a.b"),
        ("../../etc/passwd", "etc.passwd"),
        ("~a.b", "a.b"),
        ("~~./~a~.~b~", "a~.~b~"),
        ("a/b;path=/var/x..y/", "a.b;path=/var/x..y/"),
        ("~a;b=c", "a;b=c"),
        ("a;name=b", "a"),
        ("a;name=b;c=d", "a;c=d"),
        ('a.b{c="d"}', "a.b;c=d"),
        ('a{c="d",b="e"}', "a;b=e;c=d"),
        (r'a{c="d\"\\"}', 'a;c=d"\\'),
        ('a{b="c",}', 'a{b="c",}'),
        ('a{b="c"x}', 'a{b="c"x}'),
        ('a{b=";"}', 'a{b=";"}'),
        ('a{b;="c"}', 'a{b;="c"}'),
        ("tag.s;", "tag.s;"),
        ("tag.e;k=", "tag.e;k="),
        ("tag/e;k=", "tag.e;k="),
        ("cpu;z=1;host", "cpu;z=1;host"),
        ("cpu;z=1;=a;b=2", "cpu;z=1;=a;b=2"),
        ("cpu;host=~a", "cpu;host=~a"),
        ("cpu;h!=a", "cpu;h!=a"),
        ("cpu;h^=a;a=1", "cpu;h^=a;a=1"),
        ("cpu;name=x;host=", "cpu;name=x;host="),
        ("a\u2028b", "a\u2028b"),
        ("a\u200bb", "a\u200bb"),
        ("cpu;dc=x;host=a", "cpu;dc=x;host=a"),
        ("cpu;host=a;dc=x", "cpu;dc=x;host=a"),
        ("cpu;host=a;host=b", "cpu;host=b"),
        ("cpu;host=a;dc=x;host=b", "cpu;dc=x;host=b"),
        (".cpu..idle.;host=a.b..c.", "cpu.idle;host=a.b..c."),
        ("cpu;a=b=c", "cpu;a=b=c"),
        ("cpu;a=b~", "cpu;a=b~"),
        ("cpu;a=!^", "cpu;a=!^"),
        ("cpu;a~=b", "cpu;a~=b"),
        ("cpu;Host=a;host=b", "cpu;Host=a;host=b"),
        ("cpu;a=d;a.b=c", "cpu;a.b=c;a=d"),
        ("cpu;a=2;ab=3;a-b=1", "cpu;a-b=1;a=2;ab=3"),
    ],
)
def test_the_normal_form(name: str, normal: str) -> None:
    assert normalize(name) == normal
    assert normalize(name.encode()) == normal
    assert normalize(normal) == normal


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("", "metric name '' is empty"),
        (b"", "metric name '' is empty"),
        (".", "metric name '.' is empty"),
        ("...", "metric name '...' is empty"),
        ("/", "metric name '/' is empty"),
        ("~", "metric name '~' is empty"),
        ("~/.~", "metric name '~/.~' is empty"),
        (";host=a", "metric name ';host=a' is empty"),
        ("..;host=a", "metric name '..;host=a' is empty"),
        ("a\x00b", r"metric name 'a\x00b' holds the control character '\x00'"),
        ("a\tb\n", r"metric name 'a\tb\n' holds the control character '\t'"),
        ("a\x1fb", r"metric name 'a\x1fb' holds the control character '\x1f'"),
        ("a\x7f", r"metric name 'a\x7f' holds the control character '\x7f'"),
        ("a\x80", r"metric name 'a\x80' holds the control character '\x80'"),
        ("a\x85b", r"metric name 'a\x85b' holds the control character '\x85'"),
        (b"a\xc2\x9fb", r"metric name 'a\x9fb' holds the control character '\x9f'"),
        ("cpu;a=b\x01", r"metric name 'cpu;a=b\x01' holds the control character '\x01'"),
        (b"a\xff", r"metric name b'a\xff' is not valid UTF-8"),
        (b"a\xc3", r"metric name b'a\xc3' is not valid UTF-8"),
        (b"\xc0\xafa", r"metric name b'\xc0\xafa' is not valid UTF-8"),
        (b"a\xed\xa0\x80", r"metric name b'a\xed\xa0\x80' is not valid UTF-8"),
        (b"\xf4\x90\x80\x80", r"metric name b'\xf4\x90\x80\x80' is not valid UTF-8"),
        ("a\ud800", r"metric name 'a\ud800' is not valid UTF-8"),
        ("a.\udcff", r"metric name 'a.\udcff' is not valid UTF-8"),
    ],
)
def test_what_is_said_of_a_name_that_is_none(name: str | bytes, message: str) -> None:
    with pytest.raises(MetricNameError) as caught:
        normalize(name)
    assert str(caught.value) == message
    assert isinstance(caught.value, QuotaError)
    assert isinstance(caught.value, ValueError)


@pytest.mark.parametrize("code", [*range(0x20), *range(0x7F, 0xA0)])
def test_no_control_character_is_in_a_name(code: int) -> None:
    for name in (f"a.b{chr(code)}", f"{chr(code)}", f"cpu;a={chr(code)}"):
        with pytest.raises(MetricNameError, match="holds the control character"):
            normalize(name)


@pytest.mark.parametrize(("name", "dotted"), [("a", "a"), ("a.b", "a.b"), ("a.b;c=d.e", "a.b"), ("a;c=d;e=f", "a")])
def test_the_dotted_part_is_the_name_without_its_tags(name: str, dotted: str) -> None:
    assert dotted_part(name) == dotted


anything = st.text(st.sampled_from('ab./;=~!é\x00\x85\ud800 {}"') | st.characters(), max_size=30)
tagged = st.builds(
    lambda path, tags: path + "".join(f";{tag}={value}" for tag, value in tags),
    st.text("ab.", min_size=1, max_size=8),
    st.lists(st.tuples(st.text("abc.", min_size=1, max_size=3), st.text("xyz=.", min_size=1, max_size=3)), max_size=5),
)


def normal_or_none(name: str | bytes) -> str | None:
    """The normal form, or None where there is none; any other exception is a bug."""
    try:
        return normalize(name)
    except MetricNameError:
        return None


@given(anything | tagged)
def test_the_normal_form_of_a_normal_form_is_itself(name: str) -> None:
    normal = normal_or_none(name)
    if normal is not None:
        assert normalize(normal) == normal
        assert "" not in dotted_part(normal).replace("/", ".").split(".")


@given(anything | tagged | st.binary(max_size=20))
def test_bytes_and_text_of_a_name_have_one_normal_form(name: str | bytes) -> None:
    if isinstance(name, bytes):
        assert normal_or_none(name) == normal_or_none(name.decode("utf-8", "surrogateescape"))
    elif (encoded := name.encode("utf-8", "surrogatepass")).decode("utf-8", "replace") == name:
        assert normal_or_none(encoded) == normal_or_none(name)


@given(tagged, st.data())
def test_the_order_of_tags_makes_no_other_metric(name: str, data: st.DataObject) -> None:
    path, *tags = name.split(";")
    distinct = list({tag.partition("=")[0]: tag for tag in tags}.values())
    shuffled = data.draw(st.permutations(distinct))
    assert normal_or_none(";".join([path, *shuffled])) == normal_or_none(";".join([path, *distinct]))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("a" * 4097, f"metric name {'a' * 40!r}... has over 4,096 characters"),
        (b"a." * 2049, f"metric name {b'a.' * 20!r}... has over 4,096 characters"),
        ("a." * 255 + "b", f"metric name {'a.' * 20!r}... has over 255 parts between dots"),
    ],
)
def test_a_name_has_a_longest_and_a_deepest(name: str | bytes, message: str) -> None:
    with pytest.raises(MetricNameError) as caught:
        normalize(name)
    assert str(caught.value) == message


@pytest.mark.parametrize("name", ["a" * 4096, "a." * 254 + "b", "." * 2000 + "a" + "." * 2000])
def test_up_to_there_it_is_a_name(name: str) -> None:
    assert normalize(name) == name.strip(".")


@pytest.mark.parametrize("name", ["cpu;a=d;a.b=c", "cpu;ab=3;a=2;a-b=1", "x;host=a;host2=b", "x;b=1;a=2;b=0"])
def test_the_order_of_tags_is_carbons(name: str) -> None:
    assert normalize(name) == TaggedSeries.parse(name).path


@pytest.mark.parametrize(
    "name", ["cpu;", "cpu;a=b;", "cpu;k=", "cpu;=a", "cpu;z=1;host", "cpu;host=~a", "cpu;h!=a", "cpu;h^=a;a=1"]
)
def test_tags_that_carbon_cannot_read_stay_as_they_are(name: str) -> None:
    with pytest.raises(Exception, match=r"Tag|tag|parse"):
        TaggedSeries.parse(name)
    assert normalize(name) == name


@pytest.mark.parametrize(
    "name", [b"a/b;c=d", bytearray(b"a/b;c=d"), memoryview(b"a/b;c=d"), np.str_("a/b;c=d"), np.bytes_(b"a/b;c=d")]
)
def test_a_name_may_be_any_text_or_bytes(name: str | bytes) -> None:
    assert normalize(name) == "a.b;c=d"
    assert type(normalize(name)) is str


@pytest.mark.parametrize("name", [None, 5, 1.5, ["a"], object])
def test_a_name_is_nothing_else(name: object) -> None:
    with pytest.raises(TypeError) as caught:
        normalize(name)  # type: ignore[arg-type]
    assert str(caught.value) == f"a metric's name must be text or bytes, not {type(name).__name__}"
